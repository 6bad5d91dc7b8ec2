"""What History shows, as HTML: a card for every image, what can be done with several, what an image was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from html import escape
from typing import Any

from app import theme
from app.catalog import catalogue, input_label
from app.forms.stack import titles
from app.schema.method_inputs import BoxValue, DegradationValue, is_hash
from app.schema.recipe import Recipe
from app.storage.image_history import Entry
from app.tabs.image_view import Given
from app.tabs.notes import note
from common.text import one_line

STAR = "M8 1.6l1.9 4.1 4.5.5-3.3 3 .9 4.4L8 11.4l-4 2.2.9-4.4-3.3-3 4.5-.5z"


def when(made: float) -> str:
    """A time, in seconds since 1970, in the words of the machine's clock."""
    return datetime.fromtimestamp(float(made)).astimezone().strftime("%-d %b %Y, %H:%M")


# the grid -----------------------------------------------------------------------------------------------------------


def grid(entries: Sequence[Entry], address: Callable[[int], str]) -> str:
    """Cards, and above them what can be done with those that are ticked (assets/history.js shows it)."""
    cards = "".join(f"<li>{card(entry, address(entry.id))}</li>" for entry in entries)
    acts = (
        ("zip", "Download zip"), ("favour", "Add to favourites"), ("unfavour", "Not favourites"), ("remove", "Delete"),
        ("none", "Select none"), ("page", "Select this page"),
    )  # fmt: skip
    buttons = "".join(
        f'<button type="button" class="nw-act" data-several="{act}">{words}</button>' for act, words in acts
    )
    return (
        '<div class="nw-several" role="group" aria-label="Selected images" hidden>'
        f'<p class="nw-status" aria-live="polite"></p>{buttons}</div><ul class="nw-grid">{cards}</ul>'
    )


def card(entry: Entry, source: str) -> str:
    """An image with its prompt, its methods and its time; a box to select it, and a star."""
    recipe = entry.recipe
    called = escape(one_line(f"seed {recipe.seed}, {recipe.prompt or 'no prompt'}"))
    id = escape(str(entry.id))
    return (
        f'<button type="button" class="nw-card" data-id="{id}" data-source="{escape(source)}">'
        f'<img src="{escape(source)}" loading="lazy" alt=""><span>{escape(recipe.prompt or "no prompt")}</span>'
        f"{_methods(recipe)}<time>{when(entry.made)}</time></button>"
        f'<label class="nw-tick"><input type="checkbox" data-tick="{id}" aria-label="Select {called}"></label>'
        f'<button type="button" class="nw-star" data-star="{id}" aria-pressed="{str(entry.favourite).lower()}" '
        f'aria-label="Favourite: {called}"><svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">'
        f'<path d="{STAR}"/></svg></button>'
    )


def _methods(recipe: Recipe) -> str:
    """Each method of the stack with its family's glyph; nothing where the prompt alone made the image."""
    if not recipe.methods:
        return ""
    known = catalogue()["methods"]
    glyphs = "".join(theme.glyph(known[use.name]["family"]) for use in recipe.methods if use.name in known)
    return f'<span class="nw-card-ways">{glyphs}{escape(titles(recipe))}</span>'


def deleted(entries: Sequence[Entry]) -> str:
    """What was just deleted, and the way back."""
    if not entries:
        return ""
    ids = " ".join(str(entry.id) for entry in entries)
    one = entries[0].recipe
    what = f"{len(entries)} images are" if len(entries) > 1 else f"“{one_line(one.prompt or 'no prompt')}” is"
    undo = f'<button type="button" class="nw-act" data-undo="{ids}">Undo</button>'
    return f'<div class="nw-undo">{note(f"{escape(what)} deleted. For an hour this can be undone.")}{undo}</div>'


# what an image was made from ----------------------------------------------------------------------------------------


def given(recipe: Recipe, image: Callable[[str], str | None]) -> list[Given]:
    """The images, masks, maps and boxes that its methods were given. image: hash -> address, None where it is gone."""
    found: dict[tuple[str, Any], Given] = {}
    for use in recipe.methods:
        method = catalogue()["methods"].get(use.name, {}).get("title", use.name)
        for name, value in use.inputs.items():
            for label, one in _parts(input_label(use.name, name), value):
                boxes = one if isinstance(one, tuple) else ()
                source = None if boxes else image(str(one))
                found.setdefault((label, one), Given(f"{method}: {label}", source, boxes))
    return list(found.values())


def _parts(label: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Of one input: label and content hash of each image, or label and boxes."""
    if isinstance(value, DegradationValue):
        nothing: dict[str, Any] = {"parameters": []}
        known = next((one for one in catalogue()["operators"] if one["name"] == value.name), nothing)
        labels = {one["name"]: one["label"] for one in known["parameters"]}
        images = {f"Image before {known.get('title', value.name)}": value.image}
        images |= {labels.get(key, key): str(one) for key, one in value.parameters.items()}
        yield from ((name, one) for name, one in images.items() if is_hash(one))
    elif isinstance(value, str):
        yield from ((label, value),) if is_hash(value) else ()
    else:
        yield from _several(label, tuple(value))


def _several(label: str, values: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    if values and isinstance(values[0], BoxValue):
        yield label, values
    yield from ((label, one) for one in values if is_hash(one))
