"""A text in the chunks that CLIP's text encoders read it in, as AUTOMATIC1111 cuts it.

A chunk has 75 tokens, and marks of begin and end of its own. A text that is longer is cut behind the last comma where
one stands among the last 20 tokens of the chunk, else where the chunk is full; BREAK begins another one (A1111's
`tokenize_line`, with its "Prompt word wrap length limit" of 20).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from common.weighted_text import WeightedText

BACKTRACK = 20  # tokens
COMMA = ",</w>"

Piece = tuple[tuple[int, ...], float]  # tokens that belong together, and their weight


@dataclass(frozen=True)
class Chunk:
    """tokens: without the marks of begin and end. weights: one a token."""

    tokens: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def weighs(self) -> bool:
        """Whether any weight is another than 1."""
        return any(weight != 1 for weight in self.weights)


def chunks(tokenizer: Tokenizer, text: WeightedText, size: int) -> list[Chunk]:
    """At least one. tokenizer: one that neither truncates nor pads. size: tokens of a chunk, without its marks."""
    comma = tokenizer.token_to_id(COMMA)
    return [chunk for part in text.parts for chunk in _cut(list(pieces(tokenizer, part)), size, comma)]


def pieces(tokenizer: Tokenizer, text: WeightedText) -> Iterator[Piece]:
    """The tokens of a text, each with its weight: a token counts as its first letter does."""
    read = tokenizer.encode(text.text, add_special_tokens=False)
    for token, (begin, _) in zip(read.ids, read.offsets):
        yield (token,), text.at(begin)


def count(made: list[Chunk], size: int) -> tuple[int, int]:
    """Tokens that are taken, as A1111 counts them (a chunk that another one follows counts as full), and those that
    there are places for."""
    return (len(made) - 1) * size + len(made[-1].tokens), len(made) * size


def _cut(pieces: list[Piece], size: int, comma: int | None) -> Iterator[Chunk]:
    tokens: list[tuple[int, float]] = []  # of the chunk that is being filled
    comma_at: int | None = None  # the last one in it
    for piece, weight in pieces:
        is_comma = piece == (comma,)
        if len(tokens) == size and not is_comma and comma_at is not None and size - comma_at <= BACKTRACK:
            yield _chunk(tokens[: comma_at + 1])
            tokens, comma_at = tokens[comma_at + 1 :], None
        if len(tokens) + len(piece) > size:
            yield _chunk(tokens)
            tokens, comma_at = [], None
        elif is_comma:
            comma_at = len(tokens)
        tokens += [(token, weight) for token in piece]
    yield _chunk(tokens)


def _chunk(tokens: list[tuple[int, float]]) -> Chunk:
    return Chunk(tuple(token for token, _ in tokens), tuple(weight for _, weight in tokens))
