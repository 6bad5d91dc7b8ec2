"""One example for every method, made from the world: a scene, the same scene edited, and what is known of both.

Imports torch when it is called, not before. Nothing here names a method: what one is given follows from its task and
from the kinds and names of its inputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from app.forms.stack import Card
from app.schema.method_inputs import BoxValue, DegradationValue, PointValue
from app.storage.image_files import content_hash
from common.image_bytes import to_uint8

BEFORE = "a large red cube to the left of a small blue sphere on grass"
AFTER = "a large yellow cube to the left of a small blue sphere on grass"
NAMES = ("a large red cube", "a small blue sphere")  # of the solids in BEFORE
WORDS = "cube, sphere"  # of BEFORE, to attend to
ALSO = f"{NAMES[1]} on grass"
WIDE = "a large red cube to the left of a small blue sphere on sand at sunset"
PANORAMA = 3  # times the network's width
TRIED = {"sampler": "euler", "schedule": "native", "steps": 20, "cfg_scale": 4.0}  # inversions want small steps
OTHER = {"edict": {"cfg_scale": 1.0}}  # guidance on its way up leads it off: then nothing of the image is kept


@dataclass(frozen=True)
class Example:
    """A card with its inputs, settings of the recipe that go with it, and the images by their content hash."""

    card: Card
    settings: dict[str, Any]
    images: dict[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True)
class _GroundTruth:
    image: Image.Image
    near: Image.Image  # nearness, as a depth network would give it
    edges: Image.Image
    mask: Image.Image  # of the solid that the edit is about, with a margin
    boxes: tuple[BoxValue, ...]


@lru_cache(maxsize=4)
def ground_truth(size: int) -> _GroundTruth:
    """What is known of the scene of BEFORE, size x size pixels."""
    from world.scene import Scene, Solid

    solids = (
        Solid("cube", "red", "large", "matte", -0.85, 0.3, 0.5),
        Solid("sphere", "blue", "small", "matte", 1.1, -0.2),
    )
    return _known(Scene(solids, "grass", "day"), NAMES, size)


@dataclass(frozen=True)
class _Scene:
    """What is known of a scene, and what stands for it where the example has BEFORE, AFTER, WORDS and ALSO."""

    known: _GroundTruth
    before: str
    after: str
    words: str
    also: str


@lru_cache(maxsize=32)
def of_scene(number: int, size: int) -> _Scene:
    """The same of a scene of the test split. Its edit gives a solid a colour that no solid has, if the caption says the
    own colour of one just once; where it does not, nothing changes."""
    from world.captions import GROUND_WORDS, SHAPE_WORDS, describe
    from world.scene import COLOURS, draw

    scene = draw("test", number)
    names = [f"a {solid.size} {solid.colour} {solid.shape}" for solid in scene.solids]
    before = describe(scene, np.random.default_rng([number, 2])).text
    colours = [solid.colour for solid in scene.solids]
    once = [i for i, colour in enumerate(colours) if before.split().count(colour) == 1]
    subject = once[0] if once else 0
    new = next(colour for colour in COLOURS if colour not in colours)
    after = " ".join(new if once and word == colours[subject] else word for word in before.split())
    nouns = {word for words in SHAPE_WORDS.values() for word in words}
    shapes = dict.fromkeys(word for word in re.findall("[a-z]+", before) if word in nouns)
    also = f"{names[-1]} {GROUND_WORDS[scene.ground][0]}"
    return _Scene(_known(scene, names, size, subject), before, after, ", ".join(shapes) or WORDS, also)


def _known(scene: Any, names: Sequence[str], size: int, subject: int = 0) -> _GroundTruth:
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
    return _GroundTruth(
        image=_image(seen.rgb[0].permute(1, 2, 0)),
        near=_image(seen.near[0]),
        edges=_image(seen.edges[0].float()),
        mask=_image(mask),
        boxes=boxes,
    )


def example(method: str, size: int) -> Example:
    """One click's worth of inputs for a method of the registry; size: the usual width of the network, pixels."""
    from app.engine.method_checks import wanted
    from conditioning.registry import find

    one = find(method)
    known = ground_truth(size)
    images = {content_hash(p): p for p in (known.image, known.near, known.edges, known.mask)}
    asked = wanted(one)
    given = {
        name: _value(name, declared.kind, known)
        for name, declared in asked.items()
        if name not in one.optional or declared.kind == "map"
    }
    settings: dict[str, Any] = {"prompt": AFTER, "width": size, "height": size, "count": 1}
    settings |= TRIED | OTHER.get(method, {})
    changed = any(declared.kind in ("image", "mask") or "source" in name for name, declared in asked.items())
    if not changed or one.task == "reference":
        settings["prompt"] = BEFORE
    if one.task == "panorama":
        settings |= {"prompt": WIDE, "width": PANORAMA * size}
    elif any(declared.kind == "boxes" for declared in asked.values()):
        settings["prompt"] = f"{NAMES[0]} and {NAMES[1]} on grass"
    elif "also" in given:
        settings["prompt"] = f"{NAMES[0]} on grass"
    card = Card(name=method, inputs=given)
    needed = set(card.hashes())
    return Example(card, settings, {sha: image for sha, image in images.items() if sha in needed})


def _value(name: str, kind: str, known: _GroundTruth) -> Any:
    if kind == "map":
        return content_hash(known.edges if "edge" in name else known.near if "depth" in name else known.image)
    if kind == "mask":
        return content_hash(known.mask)
    if kind == "prompt":
        return BEFORE if "source" in name else ALSO if name == "also" else "at sunset"
    if kind == "words":
        return WORDS
    if kind == "references":
        return (content_hash(known.image),)
    if kind == "boxes":
        return known.boxes
    if kind == "points":
        box = known.boxes[0]
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        return (PointValue(x=round(x, 3), y=round(y, 3), to_x=round(min(x + 0.2, 1.0), 3), to_y=round(y, 3)),)
    if kind == "operator":
        return DegradationValue(image=content_hash(known.image), name="super_resolution", parameters={"factor": 4})
    return content_hash(known.image)


def _image(values: Any) -> Image.Image:
    """(H, W) or (H, W, 3) in [0, 1]."""
    return Image.fromarray(to_uint8(values)).convert("RGB")
