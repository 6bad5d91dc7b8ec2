"""What each method makes of its one-click example, and what the same run makes without the method.

    python -m tools.example_images                 all methods, and the networks
    python -m tools.example_images sdedit ddrm     some; what is known of the others stays
    python -m tools.example_images --try 0,1,2,3 --keep FOLDER sdedit      other seeds: looked at, nothing else written

It runs what "Try it" runs, on the embedded networks, and writes
- app/assets/examples/<name>.webp, the result, for the page,
- docs/images/examples/<name>.webp, given, without and with the method side by side,
- docs/examples.json, how far the image moves and the measure without and with the method,
- docs/images/examples.webp and docs/examples.md, all of them on one sheet and in one table.

To be done again when an example or the weights have changed; a test says of which recipe the figures are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.catalog.prompts import EXAMPLES as PROMPTS
from app.comparison.targets import image_tensor, targets
from app.engine import observation_preview
from app.engine.events import Failed, Finished
from app.forms.example_recipes import OPEN, SHOWN, Shown
from app.forms.examples import Example, example, example_key
from app.forms.page_catalogue import catalogue
from app.schema.method_inputs import DegradationValue, Use
from app.schema.recipe import Recipe
from app.service.runs import Engines
from app.tabs.taxonomy_panels import EXAMPLES, TRAINED
from backbones.embedded import EMBEDDED
from backbones.outline import outline
from conditioning.registry import find
from fidelity.measures import MEASURES, Perception, better
from tools import contact_sheet

DOCS = Path(__file__).parents[1] / "docs"
STRIPS, FIGURES = DOCS / "images" / "examples", DOCS / "examples.json"
SEED = 3  # of a network's first prompt
WIDEST = 256  # pixels, of what is kept: a panorama is three times as wide as it is high


@dataclass(frozen=True)
class Made:
    """Images of one example. given: what the method was given, or the image that it began with."""

    given: Image.Image | None
    without: Image.Image
    image: Image.Image
    moved: float  # mean absolute difference of the two, of 255
    before: float  # the measure, without the method
    after: float


def network_of(method: str) -> str:
    """The embedded network that its example runs on."""
    needs = set(find(method).needs)
    return next(id for id in EMBEDDED if needs <= set(outline(id).offers))


def recipe_of(method: str, shown: Shown) -> tuple[Recipe, Example]:
    """The recipe of an example, and the example."""
    id = network_of(method)
    made = example(method, outline(id).default_size, shown)
    use = Use(**made.card.model_dump(include={"name", "knobs", "inputs"}))
    return Recipe.make(**{"backbone": id, **made.settings}, methods=(use,)), made


def painted(engines: Engines, recipe: Recipe, images: Mapping[str, Image.Image]) -> Image.Image:
    """The image of a recipe. Raises RuntimeError with what the run said."""
    needed = {sha for use in recipe.methods for sha in use.hashes()}
    inputs = {sha: image for sha, image in images.items() if sha in needed}
    for event in engines(recipe.backbone).submit(recipe, inputs):
        if isinstance(event, Finished):
            return event.images[0].convert("RGB")
        if isinstance(event, Failed):
            raise RuntimeError(str(event.reason))
    raise RuntimeError("it ended without an image")


def made_of(engines: Engines, method: str, shown: Shown) -> Made:
    """An example with and without its method, measured."""
    recipe, one = recipe_of(method, shown)
    alone = recipe.but(methods=())
    image, without = painted(engines, recipe, one.images), painted(engines, alone, one.images)
    backbone = engines(recipe.backbone).backbone
    assert backbone is not None  # `painted` had it
    (use,) = recipe.methods
    given = begun = None
    for name, declared in find(method).inputs.items():
        value = use.inputs.get(name)
        if isinstance(value, DegradationValue):
            given = observation_preview.preview(recipe, backbone, one.images)[0]
        elif declared.kind == "boxes":
            given = contact_sheet.boxes(value, image.size)  # type: ignore[arg-type]
        elif declared.kind in ("image", "map") and value in one.images:
            given = one.images[value]
        elif declared.kind == "prompt" and name == "source_prompt" and given is None:
            given = begun = painted(engines, alone.but(prompt=value), {})
    target = replace(targets(recipe, one.images, backbone), guided_by=frozenset())
    if begun is not None:
        target = replace(target, source=image_tensor(begun))
    if target.ground_truth is None:
        target = replace(target, ground_truth=target.source)  # whose depth an edit keeps
    if shown.wanted:
        target = replace(target, prompt=shown.wanted)
    values = [MEASURES[shown.measure].compute(t := image_tensor(i), target, Perception(t)) for i in (without, image)]
    moved = np.abs(np.asarray(image, float) - np.asarray(without, float)).mean()
    before, after = (float("nan") if value is None else float(value) for value in values)
    return Made(given, without, image, float(moved), before, after)


def take(names: list[str]) -> None:
    """Make, measure and write them; one that fails is reported, and the others go on."""
    known = [*TRAINED, *SHOWN]
    strange = [name for name in names if name not in known]
    if strange:
        raise SystemExit(f"no example {', '.join(strange)}: give some of {', '.join(known)}")
    for folder in (EXAMPLES, STRIPS):
        folder.mkdir(parents=True, exist_ok=True)
    engines = Engines()
    for name in names or known:
        began = time.monotonic()
        if name in TRAINED:
            first = Recipe.make(prompt=PROMPTS[0], backbone=name, seed=SEED)
            save(EXAMPLES / f"{name}.webp", painted(engines, first, {}))
            continue
        try:
            made = made_of(engines, name, shown := SHOWN[name])
        except Exception as error:
            print(f"{name}: {error}", flush=True)
            continue
        save(EXAMPLES / f"{name}.webp", made.image)
        save(STRIPS / f"{name}.webp", contact_sheet.strip(made.given, made.without, made.image))
        figures = known_figures()
        figures[name] = {
            "recipe": example_key(name, shown), "moved": round(made.moved, 1), "measure": shown.measure,
            "without": round(made.before, 4), "with": round(made.after, 4),
        }  # fmt: skip
        print(f"{name}: {in_words(figures[name])}; {time.monotonic() - began:.0f} s", flush=True)
        figures = {name: figures[name] for name in SHOWN if name in figures}
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")  # each at once: all of them take many minutes
    engines.close()
    write_page(known_figures())


def known_figures() -> dict[str, Any]:
    """Those that were measured, in their order."""
    return json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}


def look(names: list[str], seeds: list[int], folder: Path) -> None:
    """The strips of other seeds, one image a method."""
    engines = Engines()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or list(SHOWN):
        strips = []
        for seed in seeds:
            made = made_of(engines, name, shown := replace(SHOWN[name], seed=seed))
            strips.append(contact_sheet.strip(made.given, made.without, made.image))
            figures = {"moved": made.moved, "measure": shown.measure, "without": made.before, "with": made.after}
            print(f"{name}, seed {seed}: {in_words(figures)}", flush=True)
        page = Image.new("RGB", (strips[0].width, sum(strip.height + 4 for strip in strips)), contact_sheet.PAPER)
        for n, strip in enumerate(strips):
            page.paste(strip, (0, n * (strip.height + 4)))
        page.save(folder / f"{name}.png")
    engines.close()


def save(path: Path, image: Image.Image) -> None:
    small = image.convert("RGB")
    small.thumbnail((max(WIDEST, contact_sheet.SIDE * 4), WIDEST))
    small.save(path, quality=88, method=6)


def in_words(one: Mapping[str, Any]) -> str:
    """The figures of an example on one line."""
    measure = MEASURES[one["measure"]]
    verdict = "" if better(one["measure"], one["with"], one["without"]) else ", no better"
    return (
        f"moves {one['moved']:.1f}; {measure.title} {measure.text(one['without'])} to "
        f"{measure.text(one['with'])}{verdict}"
    )


def write_page(figures: Mapping[str, Any]) -> None:
    """docs/examples.md and its sheet, of what is known."""
    book = catalogue()["methods"]
    titles = {name: book[name]["title"] for name in figures}
    strips = {titles[name]: STRIPS / f"{name}.webp" for name in figures}
    words = {titles[name]: in_words(one) for name, one in figures.items()}
    contact_sheet.sheet(strips, words).save(DOCS / "images" / "examples.webp", quality=80, method=6)
    rows = []
    for name, one in figures.items():
        measure, shown = MEASURES[one["measure"]], SHOWN[name]
        cells = (
            titles[name], shown.prompt or "none", shown.seed, f"{one['moved']:.1f}", measure.title,
            measure.text(one["without"]), measure.text(one["with"]),
        )  # fmt: skip
        rows.append(f"| {' | '.join(map(str, cells))} |")
    still = [f"- {titles[name]}: {words_of}" for name, words_of in OPEN.items() if name in titles]
    rows += ["", "Of these no example was found yet at which one sees the method work:", "", *still] if still else []
    (DOCS / "examples.md").write_text("\n".join([*PAGE, *rows]) + "\n")


PAGE = (
    "# Examples", "",
    "Every method has an example one click away. This page shows each of them: what the method is given (an image, a "
    "map, boxes, an observation, or the image of the source prompt), what the run makes without the method, and what "
    "it makes with it. Written by `python -m tools.example_images`; a test holds that every figure here is of the "
    "example as it is now.", "",
    "![All examples: given, without the method, with it](images/examples.webp)", "",
    "*Moves*: mean absolute difference between the image with and without the method, of 255. The measure is the one "
    "of the method's condition (`fidelity/measures.py`); of energy guidance it is what the run goes down itself.", "",
    "| method | prompt | seed | moves | measure | without | with |",
    "| --- | --- | ---: | ---: | --- | ---: | ---: |",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="METHOD")
    parser.add_argument("--try", dest="seeds", metavar="SEEDS", help="seeds to look at, with commas between")
    parser.add_argument("--keep", type=Path, default=Path("outputs/examples"), metavar="FOLDER")
    args = parser.parse_args()
    if args.seeds:
        look(args.names, [int(seed) for seed in args.seeds.split(",")], args.keep)
    else:
        take(args.names)


if __name__ == "__main__":
    main()
