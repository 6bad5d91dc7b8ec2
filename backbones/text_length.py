"""How much of a text a text encoder reads: it has places for so many tokens, and what comes after them is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from backbones import prompt_chunks
from backbones.learned_words import LearnedWords
from common.weighted_text import plain, weighted

ENDS = 2  # tokens that mark the begin and the end of a text
NONE = -1  # in place of a token that is none of the prompt: of a template, a mark, or filling
EMPTY_CHUNK = "BREAK"  # a text of one chunk without a word; "" may be all zeros, as SDXL's


def count_tokens(tokenizer: Tokenizer, text: str, tokens: int, around: int = ENDS) -> tuple[int, int]:
    """Tokens of a text, and those that there are places for, without what stands around it; see `unread`."""
    return len(tokenizer.encode(plain(text), add_special_tokens=False).ids), tokens - around


def count_in_chunks(tokenizer: Tokenizer, text: str, learned: LearnedWords) -> tuple[int, int]:
    """As `count_tokens`, of an encoder that reads in chunks: more places with each."""

    def split(text: str) -> Iterator[tuple[int, str | tuple[int, ...]]]:
        for begin, part, file in learned.split(text):
            if file is not None and (words := learned.in_text(part)):
                yield begin, (-1,) * words[0].vectors
            else:
                yield begin, part

    return prompt_chunks.count(prompt_chunks.chunks(tokenizer, weighted(text), learned.most, split), learned.most)


def chunk_parts(length: int, chunk: int) -> list[tuple[int, int]]:
    """Begins and ends of the chunks of a text."""
    return [(begin, begin + chunk) for begin in range(0, length, chunk)]


def between_chunk_marks(tokens: Tensor, chunk: int) -> Tensor:
    """Of tokens (B, L) all but the first and the last of each chunk, bool."""
    at = torch.arange(tokens.shape[-1], device=tokens.device) % chunk
    return ((at > 0) & (at < chunk - 1)).expand_as(tokens)


def filled_up(cond: Mapping[str, Tensor], length: int, empty: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A cond of one row whose text has this length, or is filled up to it with empty chunks, as A1111 does with the
    shorter one of prompt and negative prompt; what is all zeros (SDXL's empty prompt) with zeros, as in diffusers.

    empty: of EMPTY_CHUNK. Texts are (1, L, ...), L a multiple of the empty one's.
    """
    filled = dict(cond)
    for key in ("text", "tokens"):
        if key in cond and cond[key].shape[1] < length:
            more = empty[key] if cond[key].any() else torch.zeros_like(empty[key])
            times = (length - cond[key].shape[1]) // more.shape[1]
            filled[key] = torch.cat([cond[key], *[more] * times], 1)
    return filled


def longer(cond: Mapping[str, Tensor], length: int) -> dict[str, Tensor]:
    """The text (1, L, ...) of a cond at this length, with zeros at its end, and its tokens, with such as are none."""
    more = length - cond["text"].shape[1]
    return {
        "text": torch.cat([cond["text"], cond["text"].new_zeros(1, more, *cond["text"].shape[2:])], 1),
        "tokens": torch.cat([cond["tokens"], cond["tokens"].new_full((1, more), NONE)], 1),
    }


def unread(tokenizer: Tokenizer, text: str, tokens: int, around: int = ENDS) -> str:
    """The end of the text that is not read, from the begin of a word; "" where all of it is.

    tokenizer: one that does not truncate. tokens: places of the text encoder, those of what stands around the text
    included, as the marks of begin and end.
    """
    places = tokenizer.encode(text, add_special_tokens=False).offsets
    if len(places) <= tokens - around:
        return ""
    start = places[tokens - around][0]
    while start > 0 and not text[start - 1].isspace():  # a word that is read in part says another thing
        start -= 1
    return text[start:].strip()


@lru_cache(maxsize=8)
def tokenizer_in(folder: Path, part: str = "tokenizer") -> Tokenizer:
    """Of the pipeline in a folder. transformers is imported only where it has to be put together from older files."""
    file = folder / part / "tokenizer.json"
    if file.exists():
        own = Tokenizer.from_file(str(file))
        own.no_truncation()
        own.no_padding()
        return own
    from transformers import AutoTokenizer

    return whole(AutoTokenizer.from_pretrained(folder / part))


def whole(tokenizer: Any) -> Tokenizer:
    """A tokenizer of transformers as one of its own, that neither truncates nor pads, whatever is done to the first."""
    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    return own
