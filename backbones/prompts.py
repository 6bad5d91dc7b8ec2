"""Prompts as conds of several rows, each text encoded on its own and once."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from backbones.learned_words import LearnedWords
from backbones.text_length import EMPTY_CHUNK, filled_up, longer

REMEMBERED = 512  # prompts whose encoding is kept


class TextEncoder(Protocol):
    """Reads prompts; see `backbones.base.Backbone` for what the attributes mean."""

    tokens: int
    weighs_words: bool | None  # None: it reads no prompts

    @property
    def reads_chunks(self) -> bool: ...

    @property
    def learned_words(self) -> LearnedWords | None: ...

    @property
    def clip_skips(self) -> int: ...

    def encode(self, text: str, clip_skip: int = 1) -> dict[str, Tensor]:
        """One prompt -> its row of a cond."""
        ...

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]: ...

    def parts(self, length: int) -> list[tuple[int, int]]: ...

    def between_marks(self, tokens: Tensor) -> Tensor: ...

    def unread(self, text: str) -> str: ...

    def count_tokens(self, text: str) -> tuple[int, int]: ...

    def unknown_words(self, text: str) -> list[str]: ...


class Prompts:
    """What a text encoder makes of prompts."""

    def __init__(self, text: TextEncoder):
        self.text = text
        self._kept: dict[tuple[str, int, tuple[str, ...]], dict[str, Tensor]] = {}

    def encode(self, texts: Sequence[str], clip_skip: int = 1) -> dict[str, Tensor]:
        """B texts -> the cond of B rows."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError("encode_prompt takes a list of at least one text")
        rows = [self._row(text, clip_skip) for text in texts]
        if self.text.reads_chunks:
            longest = max(row["text"].shape[1] for row in rows)
            if any(row["text"].shape[1] < longest for row in rows):
                empty = self.text.encode(EMPTY_CHUNK, clip_skip)
                rows = [filled_up(row, longest, empty) for row in rows]
        elif "length" in rows[0]:
            longest = max(row["text"].shape[1] for row in rows)
            rows = [{**row, **longer(row, longest)} for row in rows]
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    def _row(self, text: str, clip_skip: int) -> dict[str, Tensor]:
        learned = self.text.learned_words
        key = text, clip_skip, learned.version(text) if learned is not None else ()
        if key not in self._kept:
            if len(self._kept) >= REMEMBERED:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self.text.encode(text, clip_skip)
        return self._kept[key]
