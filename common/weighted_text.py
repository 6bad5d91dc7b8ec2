"""Words with weights in a prompt, written and read as AUTOMATIC1111 does:

    (cube)  1.1    ((cube))  1.21    (cube:1.3)  1.3    [cube]  1 / 1.1    \\( \\) \\[ \\]  the bracket itself

Brackets within brackets multiply; one that is not closed holds to the end. What other tools change the prompt by on the
way ([cube:ball:0.5], [cube|ball]) is text here. Adapters (<lora:style:0.8>) are no words and are left out; BREAK begins
another chunk, for a text encoder that reads a text in chunks, and is left out for others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

ROUND = 1.1  # the weight of a pair of round brackets; of square ones the inverse
HEAVIEST = 10.0  # weight of words, either sign: nobody means more, and features soon overflow
ADAPTER = r"<\s*(?:lora|lyco|hypernet|embedding)\s*:[^<>]*>"
HYPERNET = r"<\s*(?:hypernet|embedding)\s*:[^<>]*>"  # of these adapters those that are read nowhere here
#: from "cube" to "ball" at half of the steps, "ball" from there on, or in turns
CHANGING = r"\[[^\[\]]*:\s*\d*\.?\d+\s*\]|\[[^\[\]]*\|[^\[\]]*\]"
BREAK = r"\bBREAK\b"
GAP = "\x1e"  # what stands for BREAK in the runs: a separator of records, of no text

_PART = re.compile(
    rf"(?P<escaped>\\[()\[\]\\])|(?P<text>{CHANGING})|(?P<left>{ADAPTER})|(?P<gap>{BREAK})\s*"
    r"|(?P<open>[(\[])|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|(?P<close>[)\]])"
)


@dataclass(frozen=True)
class WeightedText:
    """runs: (text, weight) in order, neighbours of different weights; "" has none."""

    runs: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        """Without the syntax: what a text encoder is given."""
        return "".join(text for text, _ in self.runs).replace(GAP, " ")

    @property
    def parts(self) -> tuple[WeightedText, ...]:
        """What BREAK parts the text into, as A1111 does: one before the first word or behind another one leaves an
        empty part, one at the end none."""
        runs: list[list[tuple[str, float]]] = [[]]
        for text, weight in self.runs:
            first, *others = text.split(GAP)
            runs[-1].append((first, weight))
            runs += [[(other, weight)] for other in others]
        *before, last = (WeightedText(tuple(_merged(part))) for part in runs)
        return (*before, last) if last.text.strip() or not before else tuple(before)

    @property
    def weighs(self) -> bool:
        """Whether any weight is another than 1."""
        return bool(self.said)

    @property
    def said(self) -> list[tuple[str, float]]:
        """(words, weight) of what does not count once."""
        words = [(text.replace(GAP, " ").strip(), weight) for text, weight in self.runs if weight != 1]
        return [(text, weight) for text, weight in words if text]

    def at(self, place: int) -> float:
        """The weight of the character at a place of `text`; 1 behind its end."""
        for text, weight in self.runs:
            if place < len(text):
                return weight
            place -= len(text)
        return 1.0


@lru_cache(maxsize=256)
def weighted(text: str) -> WeightedText:
    """A prompt, read. One without the syntax is a single run of weight 1, character by character as it was."""
    runs: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}  # the runs before each bracket that is not closed yet

    def close(bracket: str, weight: float) -> None:
        begin = opened[bracket].pop()
        runs[begin:] = [(words, own * weight) for words, own in runs[begin:]]

    done, text = 0, text.replace(GAP, " ")
    for part in _PART.finditer(text):
        before, done = text[done : part.start()], part.end()
        runs.append((before.rstrip() if part["left"] or part["gap"] else before, 1.0))
        if part["escaped"]:
            runs.append((part["escaped"][1:], 1.0))
        elif part["gap"]:
            runs.append((GAP, 1.0))
        elif part["left"]:
            continue
        elif part["open"]:
            opened[part["open"]].append(len(runs))
        elif part["weight"] and opened["("]:
            close("(", float(part["weight"]))
        elif part["close"] and opened["(" if part["close"] == ")" else "["]:
            round = part["close"] == ")"
            close("(" if round else "[", ROUND if round else 1 / ROUND)
        else:
            runs.append((part[0], 1.0))
    runs.append((text[done:], 1.0))
    while opened["("]:
        close("(", ROUND)
    while opened["["]:
        close("[", 1 / ROUND)
    return WeightedText(tuple(_merged(runs)))


def plain(text: str) -> str:
    """A prompt without the syntax."""
    return weighted(text).text


def _merged(runs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Neighbours of one weight as one run; empty ones left out."""
    merged: list[tuple[str, float]] = []
    for text, weight in runs:
        if text and merged and merged[-1][1] == weight:
            merged[-1] = merged[-1][0] + text, weight
        elif text:
            merged.append((text, weight))
    return merged
