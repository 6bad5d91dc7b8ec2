"""Reference inputs as an axis of a comparison: scenes of the world by their number, or images that a person gives.

Each value swaps what the columns were given for what belongs to another image. Imports torch when called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.comparison.spec import Axis, Change, distinct
from app.forms.examples import AFTER, ALSO, BEFORE, WORDS, ground_truth, of_scene
from app.schema.method_inputs import DegradationValue, Use
from app.schema.recipe import LIMITS, Problem, Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_files import content_hash, open_upload

SCENE, IMAGE = "scene", "image"
AXES = {SCENE: "Reference: scene number", IMAGE: "Reference: own images"}
MOST = 24  # images given at once
LAST = 999_999  # scene


def scenes(state: AppState, text: str, size: int, base: Recipe) -> Axis:
    """For what the example gives (image, depth, edges, mask, boxes, words, prompts) that of these scenes of the test
    split. Raises RecipeError for what is not the number of a scene."""
    values = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) > LAST:
            raise _wrong(f"{part.strip()!r} is not a scene number. Give some from 0 to {LAST}.")
        shown = of_scene(int(part), size)
        first, names = ground_truth(size), ("image", "near", "edges", "mask")
        pairs = [(getattr(first, name), getattr(shown.known, name)) for name in names]
        swap = {content_hash(old): state.take(new) for old, new in pairs}
        swap |= {BEFORE: shown.before, AFTER: shown.after, WORDS: shown.words, ALSO: shown.also}
        values.append(
            Change(
                label=f"scene {int(part)}",
                recipe={"prompt": swap.get(base.prompt, shown.before)},
                swap=swap,
                boxes=shown.known.boxes,
            )
        )
    return Axis(name=AXES[SCENE], values=tuple(values))


def given(state: AppState, files: Sequence[Any], shelf: Mapping[str, str], visit_token: str) -> dict[str, str]:
    """The shelf (name -> content hash) with these uploads on it, each by the name of its file. Raises ImageError in
    words, and RecipeError for too many."""
    if len(files) > MOST:
        raise _wrong(f"{len(files)} images were given. Give at most {MOST} at once.")
    found = dict(shelf)
    for file in files:
        path = Path(str(file))
        image = open_upload(path.read_bytes()).image
        largest = int(LIMITS["width"].high)
        image.thumbnail((largest, largest))
        sha, name = state.take(image, visit_token), path.stem.replace(",", " ").strip() or "image"
        if sha not in found.values():  # else it is the same image once more
            found[distinct([*found, name])[-1]] = sha
    return found


def images(
    state: AppState, text: str, shelf: Mapping[str, str], columns: Sequence[Change], base: Recipe, visit_token: str
) -> Axis:  # fmt: skip
    """In place of every image that the columns were given (source, reference, what is degraded, what a map is made
    of) these ones, by the names on the shelf; masks, boxes and words stay. Raises RecipeError for a name that is not on
    it, where no column takes an image, and where one was given a finished map of depth, which no upload has."""
    names = [part.strip() for part in text.split(",") if part.strip()] or list(shelf)
    if not names:
        raise _wrong("There are no images: add some with “Own images as rows”.")
    unknown = next((name for name in names if name not in shelf), None)
    if unknown is not None:
        there = f"There are: {', '.join(shelf)}." if shelf else "Add it with “Own images as rows”."
        raise _wrong(f"No image {unknown!r} was given. {there}")
    stacks = [base.methods if column.methods is None else column.methods for column in columns]
    named = dict.fromkeys(one for stack in stacks for use in stack for one in _images(use))
    if not named:
        raise _wrong("No column takes an image, so other images would change nothing. Add a method that takes one.")
    values = []
    for name in names:
        swap = {}
        for old, what in named:
            edges = _edges(state, shelf[name], visit_token) if what != IMAGE else None
            swap[old] = shelf[name] if edges is None else state.take(edges, visit_token)
        values.append(Change(label=name, swap=swap))
    return Axis(name=AXES[IMAGE], values=tuple(values))


def source_of(stack: Sequence[Use]) -> str:
    """The first image that a stack was given, by its hash; "" where there is none."""
    return next((one for use in stack for one, what in _images(use) if what == IMAGE), "")


def _images(use: Use) -> Iterator[tuple[str, str]]:
    """(hash, "image" or "edges") of what a method was given, masks left out."""
    from app.engine.method_checks import wanted
    from conditioning.registry import METHODS

    if use.name not in METHODS:
        return
    method = METHODS[use.name]
    choices = {name: str(use.knobs.get(name, knob.default)) for name, knob in method.knobs.items()}
    for name, declared in wanted(method).items():
        value = use.inputs.get(name)
        if not value:
            continue
        if isinstance(value, DegradationValue):
            yield value.image, IMAGE
        elif declared.kind == "references" and isinstance(value, tuple):
            yield from ((str(one), IMAGE) for one in value)
        elif declared.kind == "image" and isinstance(value, str):
            yield value, IMAGE
        elif declared.kind == "map" and isinstance(value, str):
            finished = choices.get(f"{name}_by", choices.get("energy", "")) in ("as it is", "depth map", "edge map")
            if finished and "depth" in f"{name} {choices.get('energy', '')}":
                raise _wrong(
                    f"{method.title} was given a finished map of depth, which no other image has. Leave this column "
                    "out, or take scenes as references."
                )
            yield value, "edges" if finished else IMAGE


def _edges(state: AppState, sha: str, visit_token: str) -> Any:
    """The map of edges of an image that was given."""
    from torchvision.transforms.functional import to_pil_image

    from app.comparison.targets import image_tensor
    from conditioning.operators.annotators import canny

    image = state.image(sha, visit_token)
    if image is None:
        raise _wrong("An image is gone: add it once more.")
    return to_pil_image(canny(image_tensor(image))[0].clamp(0, 1))


def _wrong(words: str) -> RecipeError:
    return RecipeError([Problem("axes", words)])
