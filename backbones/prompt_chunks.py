"""A text in the chunks that CLIP's text encoders read it in, as AUTOMATIC1111 cuts it.

A chunk has 75 tokens, and marks of begin and end of its own. A text that is longer is cut behind the last comma where
one stands among the last 20 tokens of the chunk, else where the chunk is full; BREAK begins another one (A1111's
`tokenize_line`, with its "Prompt word wrap length limit" of 20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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


#: A text -> its parts in order, each with the place of its begin: words, or tokens that stand for them and are not cut.
Split = Callable[[str], Iterable[tuple[int, str | tuple[int, ...]]]]


def as_it_is(text: str) -> list[tuple[int, str]]:
    return [(0, text)]


def chunks(tokenizer: Tokenizer, text: WeightedText, size: int, split: Split = as_it_is) -> list[Chunk]:
    """At least one. tokenizer: one that neither truncates nor pads. size: tokens of a chunk, without its marks."""
    comma = tokenizer.token_to_id(COMMA)
    return [chunk for part in text.parts for chunk in _cut(list(pieces(tokenizer, part, split)), size, comma)]


def pieces(tokenizer: Tokenizer, text: WeightedText, split: Split = as_it_is) -> Iterator[Piece]:
    """The tokens of a text, each with its weight: a token counts as its first letter does."""
    for begin, part in split(text.text):
        if not isinstance(part, str):
            yield part, text.at(begin)
            continue
        read = tokenizer.encode(part, add_special_tokens=False)
        for token, (first, _) in zip(read.ids, read.offsets):
            yield (token,), text.at(begin + first)


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
