"""Rendered scenes of the examples and what is known of each: its image, depth, edges, a mask, boxes.

Imports torch when it is called, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from app.schema.method_inputs import BoxValue
from common.image_bytes import to_uint8

SHARED = ("a large red cube", "a small blue sphere")  # the solids of the scene that comparisons share
PAIR = ("a red sphere", "a green cylinder")  # of the scene of the examples


@dataclass(frozen=True)
class Known:
    """What is known of a scene, all of one size."""

    image: Image.Image
    near: Image.Image  # nearness, as a depth network would give it
    edges: Image.Image
    mask: Image.Image  # of the solid that an edit is about, with a margin
    boxes: tuple[BoxValue, ...]


@lru_cache(maxsize=4)
def ground_truth(size: int) -> Known:
    """The scene that comparisons share, size x size pixels: a large red cube to the left of a small blue sphere."""
    from world.scene import Scene, Solid

    solids = (
        Solid("cube", "red", "large", "matte", -0.85, 0.3, 0.5),
        Solid("sphere", "blue", "small", "matte", 1.1, -0.2),
    )
    return known(Scene(solids, "grass", "day"), SHARED, size)


@lru_cache(maxsize=4)
def pair(size: int) -> Known:
    """The scene of most examples, size x size pixels: a red sphere and a green cylinder on wood. Still Life draws both
    solids whole, and at the places that these have it hardly puts them by itself."""
    from world.scene import Scene, Solid

    solids = (
        Solid("sphere", "red", "large", "matte", 0.75, 0.35),
        Solid("cylinder", "green", "large", "matte", -0.95, -0.5),
    )
    return known(Scene(solids, "wood", "day"), PAIR, size)


@lru_cache(maxsize=4)
def evening(size: int) -> Image.Image:
    """A scene at sunset, size x size pixels, for its colours. Those of its solids are those of CUBE in
    `example_recipes`: what an image has to take up elsewhere is the light."""
    from world.scene import Scene, Solid

    solids = (
        Solid("sphere", "red", "large", "matte", 0.75, 0.35),
        Solid("cylinder", "blue", "small", "matte", -0.95, -0.5),
    )
    return known(Scene(solids, "sand", "sunset"), (), size).image


def known(scene: Any, names: Sequence[str], size: int, subject: int = 0) -> Known:
    """What is known of a scene. names: of its solids in words. subject: the solid that an edit is about."""
    import torch.nn.functional as F

    from world.render import render

    seen = render([scene], size)
    near_solid = (seen.instances == subject).float()[:, None]
    margin = 2 * max(1, size // 32) + 1
    mask = F.max_pool2d(near_solid, margin, 1, margin // 2)[0, 0]
    edges = [[min(max(float(edge), 0.0), 1.0) for edge in box] for box in seen.boxes[0]]
    boxes = tuple(
        BoxValue(left=round(l, 3), top=round(t, 3), right=round(r, 3), bottom=round(b, 3), text=name)
        for (l, t, r, b), name in zip(edges, names)
        if r - l > 0.01 and b - t > 0.01  # of what is hidden there is none
    )
    return Known(
        image=_image(seen.rgb[0].permute(1, 2, 0)),
        near=_image(seen.near[0]),
        edges=_image(seen.edges[0].float()),
        mask=_image(mask),
        boxes=boxes,
    )


def _image(values: Any) -> Image.Image:
    """(H, W) or (H, W, 3) in [0, 1]."""
    return Image.fromarray(to_uint8(values)).convert("RGB")
