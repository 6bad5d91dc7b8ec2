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
from app.comparison.spec import KIND, Axis, Change, Comparison, key_of
from app.comparison.store import NEITHER, SAME, ComparisonStore
from app.forms import references
from app.forms.axis_values import axis_of
from app.forms.columns import differing, headers, task_of, unfitting, with_inputs_of
from app.forms.page_catalogue import catalogue
from app.forms.presets import READY
from app.schema.recipe import Problem, Recipe, RecipeError
from app.schema.this_machine import differences
from app.service.state import LOADING, AppState
from app.storage.image_files import ImageError, content_hash, open_upload
from app.version import VERSION
from common.image_bytes import encoded
from common.text import one_line

LARGEST_FILE = 32 * 2**20  # bytes
HELD = 12  # comparisons in memory
RATED = 6  # newest ones that say how long an evaluation takes
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


def column_choices(known: bool = False) -> list[tuple[str, str]]:
    """What a column may be beside the stacks that are added in Create: methods, on the inputs of Create's stack, only
    where the registry may be read (it imports torch)."""
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
    shelf: Mapping[str, str] | None = None, visit_token: str = "", added: Sequence[Recipe] = (),
) -> tuple[Comparison, list[str]]:  # fmt: skip
    """From what was chosen on the page, and in words what its maker should know of it.

    columns: the stack of Create, no method, or methods on the inputs of that stack. added: further columns, each with
    its own stack and settings. shelf: images given as references, name -> content hash. Raises RecipeError in words.
    """
    recipes = [_column(name, base) for name in columns or ([] if added else [STACK])] + list(added)
    labels = headers(recipes)
    _told_apart(recipes, labels)
    values = [Change(label=label, methods=one.methods, recipe=differing(one, base))
              for label, one in zip(labels, recipes)]  # fmt: skip
    task, notes = task_of(recipes)
    found = [Axis(name="method", values=tuple(values))]
    size = state.model(base.backbone).default_size()
    for kind, text in ((kind, str(text or "")) for kind, text in axes if kind):
        if kind == references.SCENE:
            found.append(references.scenes(state, text, size, base))
            task = task.model_copy(update={"ground_truth": state.take(references.ground_truth(size).image)})
        elif kind == references.IMAGE:
            found.append(references.images(state, text, shelf or {}, values, base, visit_token))
        else:
            found.append(axis_of(str(kind), text, base.prompt))
    comparison = Comparison(title="Own comparison", base=base.model_copy(update={"count": 1}), axes=tuple(found),
                            task=task)  # fmt: skip
    return comparison, [*notes, *dict.fromkeys(words for one in recipes for words in unfitting(one))]


def _column(name: str, base: Recipe) -> Recipe:
    """One of what a column may be, over the settings of Create."""
    if name == STACK:
        return base
    if name == NONE:
        return base.model_copy(update={"methods": ()})
    return base.model_copy(update={"methods": with_inputs_of(name, base.methods)})


def _told_apart(recipes: Sequence[Recipe], labels: Sequence[str]) -> None:
    """Raises RecipeError for two columns that are the same."""
    keys = [key_of(one.model_copy(update={"seed": 0})) for one in recipes]
    for place, key in enumerate(keys):
        if (before := keys.index(key)) < place:
            words = f"Columns {before + 1} and {place + 1} are the same ({labels[place]}): take one of them out."
            raise RecipeError([Problem("columns", words)])


def checked(state: AppState, comparison: Comparison, visit_token: str = "") -> str:
    """What is to be said beside a comparison before it is made. Raises RecipeError where it is refused."""
    images = images_of(state, comparison, visit_token)
    refused, said = state.runs.comparison_problems(comparison, images)
    if refused := refused or state.runs.wrong_values(comparison, images):
        raise RecipeError(refused)
    return " ".join(said)


def cost_before(state: AppState, comparison: Comparison, store: ComparisonStore, visit_token: str = "") -> str:
    """In words, how many images a comparison has, the network evaluations that they take, and the time, going by what
    evaluations took in the comparisons before it."""
    count = f"{comparison.size} {'image' if comparison.size == 1 else 'images'}"
    nfe, is_all = state.runs.evaluations(comparison, images_of(state, comparison, visit_token))
    if not nfe:
        return f"{count}; how many network evaluations (NFE) is known after them."
    words = f"{count} · {'' if is_all else 'more than '}{nfe} network evaluations (NFE)"
    rate = _seconds_an_evaluation(store, comparison)
    return f"{words} · about {duration(rate * nfe)}." if rate else f"{words}; the time is known after the first ones."


def _seconds_an_evaluation(store: ComparisonStore, comparison: Comparison) -> float:
    """Of runs of the same model in the newest comparisons; 0 where there are none."""
    seconds = evaluations = 0.0
    for id, one, done in itertools.islice(store.all(), RATED):
        if not done or one.base.backbone != comparison.base.backbone:
            continue
        results = [store.result(id, cell.key) for cell in one.cells()[:24]]
        seconds += sum(result.seconds for result in results if result is not None)
        evaluations += sum(result.nfe for result in results if result is not None)
    return seconds / evaluations if evaluations else 0.0


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def images_of(state: AppState, comparison: Comparison, visit_token: str = "", keep: bool = False) -> dict[str, Any]:
    """Its images by their hash, as far as this visit may see them. keep: in the history from now on."""
    find = state.keep if keep else state.image
    return {sha: image for sha in comparison.hashes() if (image := find(sha, visit_token)) is not None}


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

    same = store.votes(one.id, SAME), store.all_votes(ids, SAME)
    neither = len(store.votes(one.id, NEITHER))
    return rated(one.comparison, store.votes(one.id), store.all_votes(ids), same, neither)


def progress(done: int, comparison: Comparison) -> str:
    """How many of its images a kept comparison has."""
    images = comparison.size if done >= comparison.size else comparison.pictures
    words = f"{images} {'image' if images == 1 else 'images'}"
    return words if done >= images else f"{done} of {words}"


def copied(title: str) -> str:
    """The title of a copy."""
    return one_line(f"{title} (copy)", 200)


def when(id: str) -> str:
    """The time in a comparison's id, in words."""
    return datetime.strptime(id[:15], "%Y%m%d-%H%M%S").strftime("%-d %b, %H:%M")


# ---- files ----------------------------------------------------------------------------------------------------------


def to_file(one: ComparisonRunner, state: AppState) -> str:
    """Everything that another machine needs: the comparison, the images given, what made the cells here."""
    from app.schema.this_machine import versions

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
    from app.schema.this_machine import Here, versions

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
