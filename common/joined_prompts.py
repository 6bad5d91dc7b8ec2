"""Prompts that AND joins, as AUTOMATIC1111 writes them: "a cube AND a ball :0.8"."""

from __future__ import annotations

import re
from functools import lru_cache

AND = r"\bAND\b"
_WEIGHT = re.compile(r"(?P<text>.*?)\s*:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*", re.DOTALL)


@lru_cache(maxsize=256)
def joined_prompts(text: str) -> tuple[tuple[str, float], ...]:
    """The prompts of a text, in order, each with its weight; one, of weight 1, where nothing is joined. Parts without
    words are left out."""
    if not re.search(AND, text):
        return ((text, 1.0),)
    found = []
    for part in re.split(AND, text):
        weighed = _WEIGHT.fullmatch(part)
        words, weight = (weighed["text"], float(weighed["weight"])) if weighed else (part, 1.0)
        if words.strip():
            found.append((words.strip(), weight))
    return tuple(found) if len(found) > 1 else ((found[0][0] if found else text, 1.0),)
