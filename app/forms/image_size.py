"""Sizes by their aspect: as many pixels as the model was trained on, in another shape."""

from __future__ import annotations

import math

from app.schema.recipe import LIMITS

ASPECTS = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16")


def of_aspect(aspect: str, usual: int, multiple: int) -> tuple[int, int]:
    """Width and height in multiples of `multiple` pixels whose ratio is nearest to the aspect ("3:2"), at about
    usual * usual pixels; of an aspect that no size here has, the nearest. Raises ValueError for what is no aspect."""
    wide, high = (float(part) for part in aspect.split(":"))
    if not (wide > 0 and high > 0):
        raise ValueError(f"{aspect!r} is no aspect: give one such as 3:2.")
    most, least = LIMITS["width"].high, LIMITS["width"].low  # and of the height
    widest = min(most / usual, usual / least) ** 2
    ratio = min(max(wide / high, 1 / widest), widest)
    exact = usual * math.sqrt(ratio)
    widths = {max(multiple, multiple * math.floor(exact / multiple)), multiple * math.ceil(exact / multiple)}
    sizes = [(width, max(multiple, multiple * round(width / ratio / multiple))) for width in sorted(widths)]
    return min(sizes, key=lambda size: (abs(math.log(size[0] / size[1] / ratio)), abs(size[0] - exact)))
