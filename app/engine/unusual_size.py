"""What is to be expected of an image that is far from the size that the network was trained on."""

from __future__ import annotations

from typing import Any

from app.schema.recipe import Problem, Recipe

SQUARE = 1.5  # times as long as high, or as high as long: beyond, and beyond this part of the area, something is said
AREA = 1.5


def unusual_size(recipe: Recipe, backbone: Any) -> list[Problem]:
    """At the width, in words: what such a size does to the image, and to the time. Nothing where a method splits the
    image into windows of the usual size, or where the network is not known."""
    usual = getattr(backbone, "default_size", None)
    if not usual or any(_has_windows(use.name) for use in recipe.methods):
        return []
    width, height = recipe.width, recipe.height
    area, sides = width * height / usual**2, max(width, height) / min(width, height)
    if 1 / AREA <= area <= AREA and sides <= SQUARE:
        return []
    fate = "things come twice or fall apart" if area > 1 or sides > SQUARE else "things are cut off or coarse"
    time = f" A step takes about {area:.0f} times as long." if area >= 1.75 else ""
    windows = " The method MultiDiffusion panorama is made for that." if sides > SQUARE else ""
    trained = f"The model was trained on {usual} × {usual} pixels"
    return [Problem("width", f"{trained}: at {width} × {height} {fate} more often.{time}{windows}")]


def _has_windows(name: str) -> bool:
    from conditioning.registry import METHODS

    return name in METHODS and any("window" in knob for knob in METHODS[name].knobs)
