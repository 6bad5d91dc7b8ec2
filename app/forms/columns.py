"""Columns of one's own comparison: stacks with their inputs, named by what differs, and the one task that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from app.comparison.task import Task
from app.forms.page_catalogue import catalogue
from app.forms.prompt_words import missing, quoted, words_of
from app.schema.method_inputs import PLAIN_EDGE, BoxValue, DegradationValue, MaskEdge, Use
from app.schema.recipe import LIMITS, SAMPLERS, WRITTEN_IF_SET, Problem, Recipe, RecipeError, schedule_label
from app.schema.solvers import knob_label
from common.fitting import FITS, Fit
from common.image_bytes import data_uri
from common.text import one_line

#: No column has these of its own.
SHARED = ("seed", "count", "methods", "revision", "versions", "embeddings", "loras", "lora_hashes", "unused", "schema")
THUMBNAIL = 64  # pixels
How = Fit | MaskEdge | None
FITTED = ("image", "map", "references", "operator")  # kinds of inputs
OF_IMAGES = ("source", "mask", "depth", "edges", "observation", "references")  # fields of a Task
DIFFERENT = {"source": "images", "mask": "masks", "depth": "depth maps", "edges": "edge maps", "boxes": "boxes",
             "observation": "degraded images", "references": "references",
             "source_prompt": "source prompts"}  # fmt: skip


# ---- what a column is called -----------------------------------------------------------------------------------------


def headers(recipes: Sequence[Recipe]) -> list[str]:
    """Each by what it has and others have not: methods, their knobs and inputs, then the settings. A column alone is
    called by its methods."""
    aspects = [_aspects(recipe) for recipe in recipes]
    names = list(dict.fromkeys(name for one in aspects for name in one))
    differing = [name for name in names if len({one[name] for one in aspects if name in one}) > 1]
    found = [" · ".join(one[name] for name in differing if one.get(name)) for one in aspects]
    return [words or one["stack"] for words, one in zip(found, aspects)]


def _aspects(recipe: Recipe) -> dict[str, str]:
    """Everything that two columns may differ in, in words: of settings that a recipe has not set, nothing."""
    known = catalogue()["methods"]
    titles = [known.get(use.name, {}).get("title", use.name) for use in recipe.methods]
    found = {"stack": " + ".join(titles) or "no method"}
    for use in recipe.methods:
        one = known.get(use.name, {"knobs": (), "inputs": ()})
        for knob in one["knobs"]:
            value = use.knobs.get(knob["name"], knob["default"])
            found[f"{use.name}.{knob['name']}"] = f"{knob['label'].lower()} {_number(value)}"
        for given in one["inputs"]:
            if value := use.inputs.get(given["name"]):
                found[f"{use.name}.{given['name']}"] = f"{given['label'].lower()} {_given(value)}"
                if how := _how(use, given["kind"], given["name"]):
                    found[f"{use.name}.{given['name']}, how"] = _how_words(how)
    found["sampler"] = " ".join([SAMPLERS.get(recipe.sampler, recipe.sampler), *(
        f"{knob_label(name).lower()} {_number(value)}" for name, value in recipe.knobs_set.items())])  # fmt: skip
    found["schedule"] = schedule_label(recipe.schedule, recipe.steps)
    found |= {name: f"{limit.label} {_number(getattr(recipe, name))}" for name, limit in LIMITS.items()
              if name not in SHARED and hasattr(recipe, name)}  # fmt: skip
    found |= {"prompt": f"“{recipe.prompt}”", "negative": f"without “{recipe.negative}”", "model": recipe.backbone}
    return found


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _given(value: Any) -> str:
    """What an input was given, shortly: words as they are, of an image the beginning of its hash."""
    if isinstance(value, DegradationValue):
        return f"{value.name.replace('_', ' ')} {', '.join(map(str, value.parameters.values()))}".strip()
    if isinstance(value, tuple):
        return ", ".join(one.text if isinstance(one, BoxValue) else str(one)[:6] for one in value)
    return value[:6] if len(str(value)) == 64 and " " not in str(value) else f"“{value}”"


def differing(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """The settings of a column that are not those of the base, as a Change has them."""
    own, others = ({**WRITTEN_IF_SET, **one.model_dump()} for one in (recipe, base))
    return {name: value for name, value in own.items() if name not in SHARED and value != others[name]}


# ---- what a column is given ------------------------------------------------------------------------------------------


def with_inputs_of(name: str, stack: Sequence[Use]) -> tuple[Use, ...]:
    """A method on the inputs that a stack has: its image, mask, words, boxes, maps, by their kinds. A method that
    edits, and takes no image itself, stands on the inversion of that stack. Raises RecipeError where an input is
    missing: nothing is made up for it."""
    known = catalogue()["methods"]
    given = list(_inputs(stack))
    inputs, how, missing = {}, {}, []
    for one in known[name]["inputs"]:
        kind, own = one["kind"], one["name"]
        alike = [(value, way) for other, called, value, way in given if other == kind and _alike(kind, own, called)]
        if alike:
            inputs[own], how[own] = alike[0]
        elif not one["optional"]:
            missing.append(one["label"].lower())
    if missing:
        title, what = known[name]["title"], " and ".join(missing)
        words = (
            f"{title}: the stack of Create gives it no {what}. Put {title} into the stack there, give it its {what}, "
            "and press “Add this stack as a column”."
        )
        raise RecipeError([Problem("columns", words)])
    edges = {name: way for name, way in how.items() if isinstance(way, MaskEdge)}
    fit: dict[str, Fit] = {name: way for name, way in how.items() if isinstance(way, str) and way != "crop"}
    made = Use(name=name, inputs=inputs, fit=fit, mask_edges=edges)
    takes_image = any(one["kind"] == "image" for one in known[name]["inputs"])
    under = [use for use in stack if known.get(use.name, {}).get("family") == "inversion"]
    return (*under[:1], made) if known[name]["task"] == "editing" and not takes_image else (made,)


def _inputs(stack: Sequence[Use]) -> Iterator[tuple[str, str, Any, How]]:
    """(kind, name, value, how it is fitted) of everything that a stack was given."""
    known = catalogue()["methods"]
    for use in stack:
        for one in known.get(use.name, {"inputs": ()})["inputs"]:
            if value := use.inputs.get(one["name"]):
                yield one["kind"], one["name"], value, _how(use, one["kind"], one["name"])


def _how(use: Use, kind: str, name: str) -> How:
    """How the images of an input are fitted to the size, the edge of a mask; None for what is neither."""
    return use.fit_of(name) if kind in FITTED else use.mask_edge_of(name) if kind == "mask" else None


def _how_words(how: Fit | MaskEdge) -> str:
    if not isinstance(how, MaskEdge):
        return FITS[how].lower()
    return f"grown by {how.grow}, feathered by {how.feather:g}" if how != PLAIN_EDGE else "edge as it was painted"


def _alike(kind: str, name: str, other: str) -> bool:
    """Whether an input of this name may take what another one was given: a source prompt is none of the others, and a
    map of depth is none of edges."""
    if kind == "prompt":
        return ("source" in name) is ("source" in other)
    return kind != "map" or name == other


def unfitting(recipe: Recipe) -> list[str]:
    """Inputs of its methods that the prompt knows nothing of, in words: words to attend to, words of boxes, and a
    source prompt that has not a word in common with it."""
    known, said = catalogue()["methods"], words_of(recipe.prompt)
    found = []
    for use in recipe.methods:
        title = known.get(use.name, {}).get("title", use.name)
        for kind, name, value, _ in _inputs([use]):
            if kind == "prompt" and "source" in name and not words_of(value) & said:
                found.append(f"{title}: its source prompt “{one_line(value)}” and the prompt have no word in common.")
        lacking = missing(use, recipe.prompt).values()
        found += [f"{title}: the prompt does not say {quoted(words)}." for words in lacking]
    return found


# ---- what all columns do -------------------------------------------------------------------------------------------


def task_of(recipes: Sequence[Recipe]) -> tuple[Task, list[str]]:
    """What the columns are given and agree on: all are measured against that; and in words, in what they differ, where
    each is measured against its own."""
    given: dict[str, list[Any]] = {}
    for recipe in recipes:
        for name, value in _conditions(recipe):
            if value not in given.setdefault(name, []):
                given[name].append(value)
    fields = {name: values[0] for name, values in given.items() if len(values) == 1}
    notes = [f"The columns are given different {DIFFERENT[name]}: each is measured against its own."
             for name, values in given.items() if len(values) > 1 and name in DIFFERENT]  # fmt: skip
    if len({recipe.prompt for recipe in recipes}) > 1:
        notes.append("The columns have different prompts: each is measured against its own.")
    if len(given.get("fit", ())) > 1:
        notes.append("The columns fit their images differently to the size: each is measured against its own.")
        fields = {name: value for name, value in fields.items() if name not in (*OF_IMAGES, "fit")}
    if len(given.get("mask_edge", ())) > 1:
        notes.append("The edges of the columns' masks differ: each is measured against its own.")
        fields.pop("mask", None)
    if "edges" not in fields:
        fields.pop("edges_by", None)
    return Task(**fields), notes


def _conditions(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """(field of a Task, value) of what a stack is given."""
    for use in recipe.methods:
        for kind, name, value, how in _inputs([use]):
            if how is not None:
                yield "mask_edge" if kind == "mask" else "fit", how
            if kind in ("image", "mask", "boxes", "references"):
                yield "source" if kind == "image" else kind, value
            elif kind == "prompt" and "source" in name:
                yield "source_prompt", value
            elif kind == "operator":
                yield "observation", value
            elif kind == "map":
                energy = str(use.knobs.get("energy", ""))
                if name == "edges" or energy == "edge map":
                    yield "edges", value
                    yield "edges_by", str(use.knobs.get("edges_by", "as it is"))
                elif use.knobs.get("depth_by", "as it is") != "as it is":
                    continue  # that of each column is found in its own image
                elif name == "depth" or energy == "depth map":
                    yield "depth", value


# ---- seen ----------------------------------------------------------------------------------------------------------


def shown(recipes: Sequence[Recipe], image: Callable[[str], Any], editing: int | None) -> str:
    """The columns that were added, each with all that its methods are given. image(hash): the image, or None.
    editing: the one that is in Create."""
    if not recipes:
        return ""
    rows = "".join(
        f'<li{" data-editing" if place == editing else ""}><b>{escape(one_line(label, 120))}</b>'
        f"<small>{escape(one_line(recipe.prompt, 120)) or 'no prompt'}</small>"
        f'<span class="nw-given-inputs">{"".join(_seen(*one, image) for one in _inputs(recipe.methods))}</span>'
        f'<span class="nw-acts">{_button("edit", place, "Edit in Create")}{_button("copy", place, "Duplicate")}'
        f"{_button('remove', place, 'Remove')}</span></li>"
        for place, (label, recipe) in enumerate(zip(headers(recipes), recipes))
    )
    return f'<ol class="nw-own-columns" aria-label="Columns that were added">{rows}</ol>'


def _button(act: str, place: int, words: str) -> str:
    return f'<button type="button" class="nw-act" data-column="{act}" data-place="{place}">{words}</button>'


def _seen(kind: str, name: str, value: Any, how: How, image: Callable[[str], Any]) -> str:
    """An input to look at."""
    label = escape(name.replace("_", " ")) + ("" if how in (None, "crop", PLAIN_EDGE) else f", {_how_words(how)}")
    hashes = [value] if kind in ("image", "map", "mask") else value if kind == "references" else []
    hashes = [value.image] if isinstance(value, DegradationValue) else hashes
    pictures = [found for sha in hashes if (found := image(sha)) is not None]
    if pictures:
        return "".join(f'<img alt="{label}" title="{label}" src="{_thumbnail(one)}">' for one in pictures)
    return f"<small>{label}: {escape(_given(value))}</small>"


def _thumbnail(image: Any) -> str:
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_uri(small)
