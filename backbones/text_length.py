"""How much of a text a text encoder reads: it has places for so many tokens, and what comes after them is dropped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

ENDS = 2  # tokens that mark the begin and the end of a text


def unread(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    """The end of the text that is not read, from the begin of a word; "" where all of it is.

    tokenizer: one that does not truncate. tokens: places of the text encoder, those of the marks of begin and end
    included.
    """
    places = tokenizer.encode(text, add_special_tokens=False).offsets
    if len(places) <= tokens - ENDS:
        return ""
    start = places[tokens - ENDS][0]
    while start > 0 and not text[start - 1].isspace():  # a word that is read in part says another thing
        start -= 1
    return text[start:].strip()


@lru_cache(maxsize=8)
def tokenizer_in(folder: Path) -> Tokenizer:
    """Of the pipeline in a folder. transformers is imported only where it has to be put together from older files."""
    file = folder / "tokenizer" / "tokenizer.json"
    if file.exists():
        return Tokenizer.from_file(str(file))
    from transformers import CLIPTokenizer

    return whole(CLIPTokenizer.from_pretrained(folder / "tokenizer"))


def whole(tokenizer: Any) -> Tokenizer:
    """A tokenizer of transformers as one of its own, that neither truncates nor pads, whatever is done to the first."""
    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    return own
