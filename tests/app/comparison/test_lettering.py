"""Words on an image: every script of the page's readers is readable, and none is a row of boxes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.comparison.lettering import draw_words, length

MISSING = "\U000f0000"  # of no script: what a font draws that has no such letter


def drawn(words: str, width: float = 480) -> np.ndarray:
    image = Image.new("L", (500, 40), 255)
    draw_words(ImageDraw.Draw(image), (4, 6), words, "black", 18, width)
    return np.asarray(image)


@pytest.mark.parametrize("words", [
    "赤い球", "красный шар", "كرة حمراء", "ein großer Ball", "café – “É”", "红色的球", "빨간 공", "κόκκινη σφαίρα",
    "כדור אדום", "カメラ", "červená koule",
])  # fmt: skip
def test_every_letter_is_drawn_as_itself(words):
    letters = sorted({letter for letter in words if not letter.isspace()})
    boxes = drawn(MISSING)
    for letter in letters:
        assert not np.array_equal(drawn(letter), boxes), f"{letter} is a box"
    assert (drawn(words) < 128).any() and length(words, 18) > 0


def test_scripts_stand_beside_each_other_and_on_one_line():
    mixed = "红色的球 on grass, 赤い"
    parts = ("红色的球", " on grass, ", "赤い")
    assert length(mixed, 18) == pytest.approx(sum(length(part, 18) for part in parts), abs=1)
    assert np.array_equal(drawn("two\nlines\tand"), drawn("two lines and"))


@pytest.mark.parametrize("words", ["a large red sphere " * 9, "赤い球" * 40])
def test_what_is_too_wide_is_cut_with_dots(words):
    inked = (drawn(words, 200) < 128).any(0)
    assert inked[4:204].any() and not inked[206:].any()
    assert np.array_equal(drawn("", 200), drawn(words, 1))
