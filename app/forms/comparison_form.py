"""What the tab "Compare" is made of: what can be compared, a comparison that runs, files in and out.

Imports torch only where it is called for a run.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from app.comparison.runner import ComparisonRunner
from app.comparison.spec import ETA, KIND, LABEL, MOST_VALUES, SAMPLER, Axis, Change, Comparison
from app.comparison.store import ComparisonStore
from app.forms import references
from app.forms.page_catalogue import catalogue
from app.forms.presets import READY
from app.schema.foreign_names import sampler_named, schedule_in, schedule_named
from app.schema.method_inputs import Use
from app.schema.recipe import LIMITS, SAMPLERS, SCHEDULES, Problem, Recipe, RecipeError, differences
from app.schema.solvers import knob_label, knob_names
from app.service.state import LOADING, AppState
from app.storage.image_files import ImageError, content_hash, open_upload
from app.version import VERSION
from common.image_bytes import encoded

LARGEST_FILE = 32 * 2**20  # bytes
HELD = 12  # comparisons in memory
AXES = {
    "seed": "Seed", "prompt": "Prompt", "negative": "Negative prompt", "steps": LIMITS["steps"].label,
    "cfg_scale": LIMITS["cfg_scale"].label, "cfg_rescale": LIMITS["cfg_rescale"].label,
    "stop_sigma": LIMITS["stop_sigma"].label, "sampler": "Sampling method",
    "schedule": "Schedule type", "backbone": "Model", **references.AXES,
}  # fmt: skip
NAMED = {"sampler": SAMPLERS, "schedule": SCHEDULES}
NAMED_BY = {"sampler": sampler_named, "schedule": schedule_named}
STACK, NONE = "stack", "none"


# ---- what can be compared ------------------------------------------------------------------------------------------


def ready_list(
    found: Mapping[str, Any] = READY, head: str = "Ready to compare", label: str = "Ready-made comparisons"
) -> str:  # fmt: skip
    """What one click begins: key -> what has a title and a summary."""
    rows = "".join(
        f'<li><button type="button" class="nw-ready" data-ready="{key}"><b>{escape(one.title)}</b>'
        f"<span>{escape(one.summary)}</span></button></li>"
        for key, one in found.items()
    )
    return f'<section aria-label="{label}"><h2>{escape(head)}</h2><ul class="nw-readies">{rows}</ul></section>'


def empty() -> str:
    """Nothing yet: what this tab is for."""
    return (
        '<div class="nw-board" data-state="empty"><h2>Compare methods on one input</h2><p>Choose a comparison on the '
        "left. Its cells are made one by one, each with its cost and how faithful it is; then look at two of them "
        "under a slider, rank them, or vote without knowing whose they are.</p></div>"
    )


def axis_choices() -> list[tuple[str, str]]:
    return [("none", ""), *((label, key) for key, label in AXES.items())]


def knob_choices() -> list[tuple[str, str]]:
    """Every knob that a row may turn, those of solvers first: (its name in words, method.knob or sampler.knob)."""
    return [(f"Sampling method: {knob_label(name)}", f"{SAMPLER}.{name}") for name in knob_names()] + [
        (f"{one['title']}: {knob['label']}", f"{name}.{knob['name']}")
        for name, one in catalogue()["methods"].items() if not one["fixed"] for knob in one["knobs"]
    ]  # fmt: skip


def column_choices(known: bool = False) -> list[tuple[str, str]]:
    """What a column may be; the methods only where the registry may be read (it imports torch)."""
    found = [("The stack of Create", STACK), ("No method", NONE)]
    if known:
        found += [(one["title"], name) for name, one in catalogue()["methods"].items() if not one["fixed"]]
    return found


def ready(state: AppState, key: str) -> Comparison:
    """A comparison of one click, its images held by the state. Raises RecipeError for an unknown one."""
    if key not in READY:
        raise RecipeError([Problem("ready", f"There is no comparison {key!r}. There are: {', '.join(READY)}.")])
    state.model().engine(LOADING)  # whose thread imports torch, once for all
    made = READY[key].make()
    for image in made.images.values():
        state.take(image)
    return made.comparison


def own(
    state: AppState, base: Recipe, columns: Sequence[str], axes: Sequence[tuple[Any, Any]],
    shelf: Mapping[str, str] | None = None, visit_token: str = "",
) -> Comparison:  # fmt: skip
    """From what was chosen on the page. shelf: images given as references, name -> content hash. Raises RecipeError
    in words."""
    from app.forms.examples import example, ground_truth

    values: list[Change] = []
    size = state.model(base.backbone).default_size()
    for name in columns or [STACK]:
        if name == STACK:
            values.append(Change(label="the stack of Create" if base.methods else "the prompt alone"))
        elif name == NONE:
            values.append(Change(label="no method", methods=()))
        else:
            made = example(name, size)
            for image in made.images.values():
                state.take(image)
            use = Use(**made.card.model_dump(include={"name", "knobs", "inputs"}))
            values.append(Change(label=catalogue()["methods"][name]["title"], methods=(use,)))
    found = [Axis(name="method", values=tuple(values))]
    known = source = ""
    for kind, text in ((kind, str(text or "")) for kind, text in axes if kind):
        if kind == references.SCENE:
            found.append(references.scenes(state, text, size, base))
            known = state.take(ground_truth(size).image)
        elif kind == references.IMAGE:
            found.append(references.images(state, text, shelf or {}, values, base, visit_token))
            stacks = (base.methods if value.methods is None else value.methods for value in values)
            source = next((one for stack in stacks if (one := references.source_of(stack))), "")
        else:
            found.append(axis_of(str(kind), text))
    base = base.model_copy(update={"count": 1})
    comparison = Comparison(title="Own comparison", base=base, axes=tuple(found), ground_truth=known, source=source)
    return comparison


def checked(state: AppState, comparison: Comparison, visit_token: str = "") -> str:
    """What is to be said beside a comparison before it is made. Raises RecipeError where it is refused."""
    refused, said = state.runs.comparison_problems(comparison, images_of(state, comparison, visit_token))
    if refused:
        raise RecipeError(refused)
    return " ".join(said)


def images_of(state: AppState, comparison: Comparison, visit_token: str = "", keep: bool = False) -> dict[str, Any]:
    """Its images by their hash, as far as this visit may see them. keep: in the history from now on."""
    find = state.keep if keep else state.image
    return {sha: image for sha in comparison.hashes() if (image := find(sha, visit_token)) is not None}


def axis_of(kind: str, text: str) -> Axis:
    """The axis of these values: "0, 1, 2", names of samplers, prompts with | between. Raises RecipeError."""
    kind = ETA if kind == "eta" else kind
    label = AXES.get(kind, kind)
    parts = [part.strip() for part in text.split("|" if kind in ("prompt", "negative") else ",")]
    parts = [part for part in parts if part or kind == "negative"]
    if not parts:
        between = "with | between" if kind in ("prompt", "negative") else "with commas between"
        raise RecipeError([Problem("axes", f"{label}: there are no values. Write some, {between}.")])
    if len(parts) > MOST_VALUES:
        raise RecipeError([Problem("axes", f"{label}: {len(parts)} values are too many. Give at most {MOST_VALUES}.")])
    if kind in AXES:
        values = [_value(kind, part) for part in parts]
        words = [NAMED.get(kind, {}).get(str(value), part) for part, value in zip(short_labels(parts), values)]
        changes = []
        for part, word, value in zip(parts, words, values):
            fields = {kind: value}
            if kind == "sampler" and (schedule := schedule_in(part)):  # "DPM++ 2M Karras" names both
                word, fields["schedule"] = f"{word} {SCHEDULES[schedule]}", schedule
            name = f"{label} {word}" if kind in LIMITS else word or "no words"
            changes.append(Change(label=name, recipe=fields))
    elif kind.startswith(f"{SAMPLER}."):
        label = knob_label(kind.partition(".")[2])
        changes = [Change(label=f"{label} {part}", knobs={kind: _number(part)}) for part in parts]
    elif "." in kind:
        changes = [Change(label=f"{kind.partition('.')[2]} {part}", knobs={kind: _number(part)}) for part in parts]
    else:
        known = ", ".join(AXES)
        raise RecipeError(
            [Problem("axes", f"There is no axis {kind!r}. Give one of {known}, or a knob as method.knob.")]
        )
    return Axis(name=label, values=tuple(changes))


def short_labels(texts: Sequence[str]) -> list[str]:
    """The texts as labels: where one is too long for that, without the words with which all of them begin."""
    if len(texts) < 2 or max(map(len, texts)) <= LABEL:
        return list(texts)
    words = [text.split() for text in texts]
    shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*words)))
    return [" ".join(["…", *rest[shared:]]) if 0 < shared < len(rest) else text for rest, text in zip(words, texts)]


def _value(kind: str, part: str) -> Any:
    if kind in NAMED:
        return NAMED_BY[kind](part) or part  # an unknown one is said at its cells
    return _number(part) if kind in LIMITS else part


def _number(part: str) -> Any:
    try:
        value = float(part)
    except ValueError:
        return {"yes": True, "no": False, "true": True, "false": False}.get(part.lower(), part)
    return int(value) if value.is_integer() and "." not in part else value


# ---- one that runs --------------------------------------------------------------------------------------------------


def runner_of(state: AppState, store: ComparisonStore, id: str, visit_token: str = "") -> ComparisonRunner | None:
    """The comparison of this id, as it runs or as it lies on the disk; None where it is not there. door: of the visit
    that makes it, whose images open for it."""
    held = state.comparisons
    if id in held:
        return held[id]
    try:
        comparison = store.get(id)
    except ValueError:
        return None
    if comparison is None:
        return None
    made = state.runs.comparison(id, comparison, store, images_of(state, comparison, visit_token, keep=True))
    for old in [key for key, one in held.items() if not one.busy][: max(0, len(held) - HELD + 1)]:
        del held[old]
    held[id] = made
    return made


def update(
    state: AppState, store: ComparisonStore, one: ComparisonRunner, since: int, ids: Sequence[str] | None = None
) -> dict[str, Any]:
    """What the page has to know of a comparison; since: -1 for all of it, else the number of the change before; ids:
    of the comparisons whose votes may be shown, None for all."""
    from app.comparison import comparison_json
    from fidelity.trust import stored_figures

    stem = addresses(state, one.id)

    def address(key: str) -> str:
        return f"{stem}/{key}.png"

    if since >= 0:
        return comparison_json.changes(one, address, since)
    whole = comparison_json.whole_comparison(one, address, stored_figures())
    whole["exports"] = exports(stem)
    whole["votes"] = ratings(one, store, ids)
    return whole


def addresses(state: AppState, id: str) -> str:
    """Where the images and files of a comparison are served, signed."""
    return f"comparisons/{id}/{state.sign(f'comparison {id}')}"


def exports(stem: str) -> dict[str, str]:
    """The addresses of a comparison's files, by their kind."""
    return {kind: f"{stem}/export.{kind}" for kind in ("png", "html", "csv", "json")}


def ratings(one: ComparisonRunner, store: ComparisonStore, ids: Sequence[str] | None) -> dict[str, Any]:
    """After the votes of this comparison, and of these or all."""
    from app.comparison.comparison_json import ratings as rated

    return rated(one.comparison, store.votes(one.id), store.all_votes(ids))


def when(id: str) -> str:
    """The time in a comparison's id, in words."""
    return datetime.strptime(id[:15], "%Y%m%d-%H%M%S").strftime("%-d %b, %H:%M")


# ---- files ----------------------------------------------------------------------------------------------------------


def to_file(one: ComparisonRunner, state: AppState) -> str:
    """Everything that another machine needs: the comparison, the images given, what made the cells here."""
    from app.schema.recipe import versions

    recipes = [cell.recipe for cell in one.cells if cell.recipe is not None]
    models = {name: str(getattr(state.models[name].backbone, "revision", ""))
              for name in dict.fromkeys(recipe.backbone for recipe in recipes) if name in state.models}  # fmt: skip
    images = {sha: base64.b64encode(encoded(image)).decode() for sha, image in one.images.items()}
    return json.dumps({"kind": KIND, "version": VERSION, "comparison": one.comparison.model_dump(mode="json"),
                       "images": images, "models": models, "versions": dict(versions())}, indent=1)  # fmt: skip


def from_file(state: AppState, path: Any) -> tuple[Comparison, str]:
    """A comparison file, its images held by the state, and what differs here in words. Raises RecipeError."""

    def refuse(words: str) -> RecipeError:
        return RecipeError([Problem("file", f"{words} Give a .json that “Comparison file” saved.")])

    if not path:
        raise refuse("No file was given.")
    name = Path(path).name
    if Path(path).stat().st_size > LARGEST_FILE:
        raise refuse(f"{name} has more than {LARGEST_FILE >> 20} MB.")
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise refuse(f"{name} cannot be read as JSON.") from None
    if not isinstance(given, dict) or given.get("kind") != KIND:
        raise refuse(f"{name} is not a Nine Ways comparison.")
    comparison = Comparison.read(json.dumps(given.get("comparison")))
    cells = comparison.cells()  # refuses what is too large
    notes = []
    for sha, text in dict(given.get("images", given.get("pictures")) or {}).items():
        try:
            image = open_upload(base64.b64decode(str(text))).image
        except (ImageError, ValueError):
            notes.append("An image in it is damaged.")
            continue
        if content_hash(image) == sha:
            state.take(image)
    gone = [sha for sha in comparison.hashes() if state.image(sha) is None]
    notes += [f"{len(gone)} of its images are missing."] if gone else []
    notes += _differing(state, [cell.recipe for cell in cells if cell.recipe is not None], given)
    words = "Nothing differs here." if not notes else "What differs here: " + " ".join(notes)
    refused, said = state.runs.comparison_problems(comparison, images_of(state, comparison))
    idle = " ".join([*(problem.message for problem in refused), *said])
    return comparison, f"{comparison.title}: {comparison.size} cells to make. {words} {idle}".strip()


def _differing(state: AppState, recipes: list[Recipe], given: dict[str, Any]) -> list[str]:
    """Models, methods and versions that are other ones here."""
    from app.schema.recipe import Here, versions

    found: list[str] = []
    known = {name: str(getattr(model.backbone, "revision", "")) for name, model in state.models.items()}
    methods = list(catalogue()["methods"]) if state.model().backbone is not None else None
    for recipe in recipes:
        made = recipe.model_copy(update={
            "revision": str(dict(given.get("models") or {}).get(recipe.backbone, "")),
            "versions": {str(k): str(v) for k, v in dict(given.get("versions") or {}).items()},
        })  # fmt: skip
        here = Here(known, methods or [use.name for use in recipe.methods], versions())
        found += differences(made, here)
    return list(dict.fromkeys(found))
