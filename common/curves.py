"""Strengths that change over the steps: "0:1, 0.4:1, 0.6:0" is full until 40 % of the steps and gone from 60 % on."""

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Points (progress 0..1, value), straight lines between them, constant before the first and after the last.

    Two points of one progress are a jump; there the later one holds.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        places = [place for place, _ in self.points]
        if not places or places != sorted(places) or not (0 <= places[0] and places[-1] <= 1):
            raise ValueError(f"curve {str(self)!r}: give places between 0 and 1 that do not go back")
        if not all(math.isfinite(value) for _, value in self.points):
            raise ValueError(f"curve {str(self)!r}: give finite values")

    def __call__(self, progress: float) -> float:
        after = bisect_right(self.points, progress, key=lambda point: point[0])
        if after == 0:
            return self.points[0][1]
        (a, left), (b, right) = self.points[after - 1], self.points[min(after, len(self.points) - 1)]
        return left if a == b else left + (right - left) * (progress - a) / (b - a)

    def __str__(self) -> str:
        return ", ".join(f"{place!r}:{value!r}".replace(".0:", ":").removesuffix(".0") for place, value in self.points)

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.points]


def parse(text: str) -> float | Curve:
    """A number, as "7.5", or a curve, as "0:1, 0.4:1, 0.6:0". Raises ValueError with what was given."""
    try:
        if ":" not in text:
            return float(text)
        pairs = [part.split(":") for part in text.split(",")]
        points = tuple((float(place), float(value)) for place, value in pairs)
    except ValueError:
        raise ValueError(f'{text!r} is no strength: give a number, or a curve such as "0:1, 0.4:1, 0.6:0"') from None
    return Curve(points)
