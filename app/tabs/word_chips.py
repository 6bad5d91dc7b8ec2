"""The line under the prompt: what the chosen model draws, and its words as buttons that write themselves there.

Imports no Gradio and no torch. What is known of a network before it has loaded: those that come with the program were
trained on the world of `world`; of others their vocabulary tells, once they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from app.service.models import Model, vocabulary
from backbones.embedded import EMBEDDED


def line(model: Model) -> str:
    """HTML; "" for a network that reads no words, and for one of which nothing is known."""
    if model.wordless or model.id == "exact":
        return ""
    name = escape(model.name)
    if model.id in EMBEDDED or (model.backbone is not None and vocabulary(model.backbone)):
        return _of_the_world(name)
    return f'<p class="nw-draws">{name} reads any words: write what you want to see.</p>'


def _of_the_world(name: str) -> str:
    """The six solids in the line, the rest behind "more words"."""
    from world.captions import (
        COLOUR_WORDS,
        GROUND_WORDS,
        MATERIAL_WORDS,
        RELATION_WORDS,
        SHAPE_WORDS,
        SIZE_WORDS,
        SKY_WORDS,
    )

    more = {
        "Colours": _first(COLOUR_WORDS), "Looks": _first({**SIZE_WORDS, **MATERIAL_WORDS}),
        "Places": _first(RELATION_WORDS), "Grounds": _first(GROUND_WORDS), "Light": _first(SKY_WORDS),
    }  # fmt: skip
    rows = "".join(f"<dt>{head}</dt><dd>{_chips(words)}</dd>" for head, words in more.items())
    return (
        f'<p class="nw-draws">{name} draws solids on a ground, nothing else: '
        f"{_chips(f'a {word}' for word in _first(SHAPE_WORDS))}</p>"
        f'<details class="nw-draws"><summary>More of its words</summary><dl>{rows}</dl></details>'
    )


def _first(table: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [words[0] for words in table.values()]


def _chips(words: Iterable[str]) -> str:
    """The article is written with the word and not shown."""
    return " ".join(
        f'<button type="button" class="nw-say" data-word="{escape(one)}" aria-label="Write {escape(one)}">'
        f"{escape(one.removeprefix('a '))}</button>"
        for one in words
    )
