"""Every method with all it can be given, as a recipe has it."""

from typing import Any

import numpy as np
from PIL import Image

from app.engine import method_checks
from app.storage.image_files import content_hash
from conditioning.registry import METHODS

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
MASK = Image.fromarray(np.repeat(np.arange(64)[:, None, None] < 32, 3, 2).repeat(64, 1).astype(np.uint8) * 255)
SHA, MASKED = content_hash(IMAGE), content_hash(MASK)
IMAGES = {SHA: IMAGE, MASKED: MASK}
OF_KIND: dict[str, Any] = {
    "image": SHA, "map": SHA, "mask": MASKED, "prompt": "green", "words": "disc", "network": "depth",
    "references": (SHA,), "loras": "<lora:ink:0.5>",
    "boxes": ({"left": 0, "top": 0, "right": 0.5, "bottom": 1, "text": "red"},), "points": ({"x": 0.5, "y": 0.5},),
    "operator": {"image": SHA, "name": "super_resolution", "parameters": {"factor": 2}},
}  # fmt: skip


def full(name: str, **more: Any) -> dict[str, Any]:
    """A use of this method with all it can be given."""
    return {
        "name": name,
        "inputs": {n: OF_KIND[one.kind] for n, one in method_checks.wanted(METHODS[name]).items()},
        "knobs": {n: knob.default for n, knob in METHODS[name].knobs.items()} | more,
    }
