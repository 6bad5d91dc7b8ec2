"""The images of an example side by side, and all examples on one sheet. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from app.comparison.lettering import draw_words
from app.schema.method_inputs import BoxValue

SIDE, GAP, LINE = 112, 4, 16  # pixels: the height of an image, between two, of a line of words
ACROSS = 2  # strips
HEADS = ("given", "without it", "with it")
PAPER, INK, QUIET, MAT = "#ffffff", "#1b1b1f", "#5c5c66", "#f1f1f3"


def boxes(placed: Sequence[BoxValue], size: tuple[int, int]) -> Image.Image:
    """Boxes with their words, as an image of this size (width, height)."""
    width, height = size
    image = Image.new("RGB", size, MAT)
    draw = ImageDraw.Draw(image)
    for box in placed:
        left, top, right = box.left * width, box.top * height, box.right * width
        draw.rectangle((left, top, right - 1, box.bottom * height - 1), outline=INK)
        draw_words(draw, (left + 3, top + 2), box.text, INK, 9, right - left - 6)
    return image


def strip(given: Image.Image | None, without: Image.Image, made: Image.Image) -> Image.Image:
    """The three of them in a row, each as large as fits; where nothing is given, its place is empty."""
    page = Image.new("RGB", (len(HEADS) * (SIDE + GAP) - GAP, SIDE), PAPER)
    for place, image in enumerate((given, without, made)):
        if image is not None:
            small = ImageOps.contain(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
            at = (place * (SIDE + GAP) + (SIDE - small.width) // 2, (SIDE - small.height) // 2)
            page.paste(small, at)
    return page


def sheet(strips: Mapping[str, Path], words: Mapping[str, str]) -> Image.Image:
    """All strips, each under its title, its figures below. strips, words: title -> file, figures in words."""
    wide, high = len(HEADS) * (SIDE + GAP) + 4 * GAP, SIDE + 3 * LINE
    rows = -(-len(strips) // ACROSS)
    page = Image.new("RGB", (ACROSS * wide, rows * high + LINE + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    for n in range(ACROSS * len(HEADS)):
        place = n // len(HEADS) * wide + n % len(HEADS) * (SIDE + GAP) + GAP
        draw_words(draw, (place, 2), HEADS[n % len(HEADS)], QUIET, 10, SIDE)
    for n, (title, path) in enumerate(strips.items()):
        x, y = n // rows * wide + GAP, n % rows * high + LINE
        draw_words(draw, (x, y), title, INK, 11, wide - 2 * GAP)
        with Image.open(path) as image:
            page.paste(image.convert("RGB"), (x, y + LINE))
        draw_words(draw, (x, y + LINE + SIDE + 1), words[title], QUIET, 10, wide - 2 * GAP)
    return page
