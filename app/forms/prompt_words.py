"""Words that methods look for in the prompt, and that it does not have: of boxes, of things that must appear or change.

Without them a run stops at its first step, or what was asked for does nothing: so it is said before.
"""

from __future__ import annotations

import re

from app.catalog import catalogue
from app.schema.method_inputs import BoxValue, Use
from common.weighted_text import plain

COMMON = frozenset("a an the of on in at to by with and or is are left right front behind next".split())


def missing(use: Use, prompt: str) -> dict[str, list[str]]:
    """Input -> words that it names and the prompt does not say; whole texts where it says the words, but otherwise."""
    known = catalogue()["methods"].get(use.name, {"inputs": (), "traits": {}})
    found: dict[str, list[str]] = {}
    for one in known["inputs"]:
        value = use.inputs.get(one["name"])
        texts: list[str] = []
        places = [prompt]
        if one["kind"] == "boxes" and "prompt_names_boxes" in known["traits"] and isinstance(value, tuple):
            texts = [box.text for box in value if isinstance(box, BoxValue)]
        elif one["kind"] == "words" and "prompt_names_words" in known["traits"] and isinstance(value, str):
            texts = [part.rpartition(":")[0] if ":" in part else part for part in value.split(",")]
            if ":" not in value:  # what is weighted is of the prompt alone
                places.append(str(use.inputs.get("source_prompt", "")))
        words = [word for text in texts for word in _missing(text, places)]
        if words:
            found[one["name"]] = list(dict.fromkeys(words))
    return found


def quoted(words: list[str]) -> str:
    return ", ".join(f"“{word}”" for word in words)


def words_of(text: str) -> set[str]:
    """Those that say something; of (cube:1.3) cube."""
    return set(re.findall(r"[^\W\d_]+", plain(text).lower())) - COMMON


def _missing(text: str, places: list[str]) -> list[str]:
    """Of a text that has to stand in one of these places as it is, but for an article at its start."""
    wanted = _plain(text)
    while len(wanted) > 1 and wanted[0] in ("a", "an", "the"):
        wanted = wanted[1:]
    said = [_plain(place) for place in places]
    n = len(wanted)
    if not wanted or any(words[i : i + n] == wanted for words in said for i in range(len(words) - n + 1)):
        return []
    everything = {word for words in said for word in words}
    return [word for word in wanted if word not in everything and word not in COMMON] or [" ".join(text.split())]


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", plain(text).lower())
