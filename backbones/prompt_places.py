"""Which places of a text, as a transformer reads it, are which words of the prompt.

A pipeline lays templates, marks and filling around a prompt, each in its own way. So nothing of that is done over here:
the tokens that its text encoders were called with are looked through for the prompt.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from backbones.text_length import NONE


@contextmanager
def recorded(pipe: Any, parts: Sequence[str]) -> Iterator[dict[str, tuple[Tensor, Tensor | None]]]:
    """part of a pipeline -> the tokens (L,) that this text encoder is called with, and which of them are no filling."""
    seen: dict[str, tuple[Tensor, Tensor | None]] = {}

    def looking(part: str) -> Any:
        def hook(_module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
            ids, mask = given["input_ids"] if "input_ids" in given else args[0], given.get("attention_mask")
            seen[part] = ids[0].cpu(), None if mask is None else mask[0].bool().cpu()

        return hook

    encoders = {part: encoder for part in parts if (encoder := getattr(pipe, part, None)) is not None}
    hooks = [one.register_forward_pre_hook(looking(part), with_kwargs=True) for part, one in encoders.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def of_prompt(tokenizer: Any, text: str, ids: Tensor, kept: Tensor | None, length: int) -> Tensor:
    """The tokens of the text's `length` features, (length,); NONE where one is not the prompt's.

    ids (L,), kept (L,): see `recorded`. Features are of all of these tokens, of those that are no filling, or of the
    last so many, where a template's begin is cut off.
    """
    if kept is not None and len(ids) != length and int(kept.sum()) == length:
        ids = ids[kept]
    ids = ids[-length:]
    letters, places = _letters(tokenizer, ids.tolist())
    alone = tokenizer(text, add_special_tokens=False, verbose=False).input_ids  # without what it does not know, either
    wanted, said = _plain(_letters(tokenizer, alone)[0]), _plain(letters)
    owners = [place for letter, place in zip(letters, places) for _ in _plain(letter)]
    begin = said.rfind(wanted)
    while begin < 0 and wanted:  # the end was cut off
        wanted = wanted[:-1]
        begin = said.rfind(wanted)
    out = torch.full((length,), NONE)
    if wanted:
        mine = slice(owners[begin], owners[begin + len(wanted) - 1] + 1)
        out[mine] = ids[mine]
    return out


def words(tokenizer: Any, tokens: Tensor, begin: int = 0) -> list[tuple[str, list[int]]]:
    """The words and marks of a prompt, in order, in small letters, each with the places of its tokens; tokens (L,) as
    `of_prompt` gives them. begin: of these places."""
    letters, places = _letters(tokenizer, tokens.tolist())
    found = re.finditer(r"\w+|[^\w\s]", letters.lower())
    return [(one.group(), sorted({begin + place for place in places[one.start() : one.end()]})) for one in found]


def _letters(tokenizer: Any, ids: list[int]) -> tuple[str, list[int]]:
    """A text, and for each letter of it the place of its token; marks have no letters."""
    pieces = [_piece(tokenizer, one) for one in ids]
    return "".join(pieces), [place for place, piece in enumerate(pieces) for _ in piece]


def _piece(tokenizer: Any, token: int) -> str:
    if token == NONE or token in tokenizer.all_special_ids:
        return ""
    piece: str = tokenizer.convert_ids_to_tokens(token)
    if piece.endswith("</w>"):
        return piece.removesuffix("</w>") + " "
    if piece.startswith("▁"):  # decoded alone, it would lose the space before it
        return piece.replace("▁", " ")
    decoded: str = tokenizer.decode([token])
    return decoded


def _plain(text: str) -> str:
    """Without what tokenizers make of letters and spaces."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
