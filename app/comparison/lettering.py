"""Words on an image, in any script that the two fonts here have between them: Latin, Cyrillic, Greek, Arabic, Hebrew,
Chinese, Japanese, Korean and others."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

FONTS = Path(__file__).parents[1] / "assets" / "fonts"
LATIN, EASTERN = "DejaVuSans.ttf", "DroidSansFallback.ttf"
#: What the eastern font has: ideographs, kana, hangul, their punctuation and wide forms.
_EASTERN = re.compile("[\u1100-\u11ff\u2e80-\u303f\u3040-\u31ff\u3200-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
                      "\ufe30-\ufe4f\uff00-\uffef]+")  # fmt: skip


def draw_words(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], words: str, colour: str, size: float, width: float
) -> None:
    """The words on one line from their upper left corner on, cut with dots where they would be wider than `width`.

    size: of the letters, pixels.
    """
    line = " ".join(words.split())
    while line and length(line, size) > width:
        line = line[:-2].rstrip("… ") + "…" if len(line) > 1 else ""
    x, y = place
    for run, font in _runs(line, size):
        draw.text((x, y + size), run, colour, font, anchor="ls")  # all runs on one base line
        x += font.getlength(run)


def length(words: str, size: float) -> float:
    """Pixels that the words take."""
    return sum(font.getlength(run) for run, font in _runs(words, size))


def _runs(words: str, size: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The words in pieces that one font has."""
    runs, at = [], 0
    for found in _EASTERN.finditer(words):
        runs += [(words[at : found.start()], LATIN), (found.group(), EASTERN)]
        at = found.end()
    runs.append((words[at:], LATIN))
    return [(run, _font(name, size)) for run, name in runs if run]


@cache
def _font(name: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / name), size)
