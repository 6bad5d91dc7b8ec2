"""The backbone as one run has its texts read: by its clip skip, and all in as many chunks, so that they share network
evaluations, and so that attention to one prompt can be laid over that to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from app.engine.unread_text import texts
from app.schema.recipe import Recipe
from backbones.text_length import EMPTY_CHUNK, filled_up


def learned_in(recipe: Recipe, backbone: Any) -> dict[str, str]:
    """Words of textual inversion that the run reads in its texts, with the hashes of their files. backbone: or its
    outline."""
    learned = getattr(backbone, "learned_words", None)
    if learned is None:
        return {}
    return {word.name: word.digest for _, _, text in texts(recipe) for word in learned.in_text(text)}


def other_words(recipe: Recipe, backbone: Any) -> list[str]:
    """What differs between the words of textual inversion that an image was made with and those here, in words."""
    learned, found = getattr(backbone, "learned_words", None), []
    for name, digest in recipe.embeddings.items():
        here = {word.name: word.digest for word in learned.in_text(name)} if learned is not None else {}
        if name not in here:
            found.append(f"The file of “{name}”, a word of textual inversion, is not here: it is read as a plain word.")
        elif here[name] != digest:
            found.append(f"The file of the word “{name}” is another one here: expect another image.")
    return found


class AsRead:
    """A backbone whose texts are filled up with empty chunks to `length` places; in all else it is that backbone.

    encode: a text -> its cond of one row.
    """

    def __init__(self, backbone: Any, encode: Callable[[str], dict[str, Tensor]], length: int):
        self.backbone, self.encode, self.length = backbone, encode, length

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """B texts -> the cond of B rows."""
        empty = self.encode(EMPTY_CHUNK)
        rows = [filled_up(self.encode(text), self.length, empty) for text in texts]
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}


def as_read(recipe: Recipe, backbone: Any, encode: Callable[..., dict[str, Tensor]]) -> Any:
    """The backbone that the run of a recipe is given; the same one where every text is in one chunk and nothing is
    skipped. encode: (text, clip skip) -> its cond of one row."""
    if not getattr(backbone, "reads_chunks", False):
        return backbone
    size = backbone.count_tokens("")[1]
    read = [recipe.negative, *(text for _, _, text in texts(recipe))]
    chunks = max(backbone.count_tokens(text)[1] for text in read) // size
    if chunks == 1 and recipe.clip_skip == 1:
        return backbone
    return AsRead(backbone, partial(encode, clip_skip=recipe.clip_skip), chunks * backbone.tokens)
