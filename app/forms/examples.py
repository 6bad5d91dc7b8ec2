"""One example for every method, made from the world: a scene and what is known of it.

    example("sdedit", 128)          what its click gives: `example_recipes` says what, chosen by looking
    shared_example("sdedit", 128)   what comparisons give it: one scene and one edit for all methods, by the kinds and
                                    names of their inputs; and what a method gives that has no example yet

Imports torch when it is called, not before.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from app.forms.example_recipes import CFG_SCALE, SHOWN, Of, Shown
from app.forms.scenes import SHARED, Known, evening, ground_truth, known, pair
from app.forms.stack import Card
from app.schema.method_inputs import DegradationValue, PointValue
from app.storage.image_files import content_hash

BEFORE = "a large red cube to the left of a small blue sphere on grass"
AFTER = "a large yellow cube to the left of a small blue sphere on grass"
NAMES = SHARED  # of the solids in BEFORE
WORDS = "cube, sphere"  # of BEFORE, to attend to
ALSO = f"{NAMES[1]} on grass"
WIDE = "a large red cube to the left of a small blue sphere on sand at sunset"
LORA = "<lora:night:1>"  # that comes with Still Life
PANORAMA = 3  # times the network's width
TRIED = {"sampler": "euler", "schedule": "native", "steps": 20, "cfg_scale": CFG_SCALE}  # inversions want small steps


@dataclass(frozen=True)
class Example:
    """A card with its inputs, settings of the recipe that go with it, and the images by their content hash."""

    card: Card
    settings: dict[str, Any]
    images: dict[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scene:
    """What is known of a scene, and what stands for it where the example has BEFORE, AFTER, WORDS and ALSO."""

    known: Known
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
    return _Scene(known(scene, names, size, subject), before, after, ", ".join(shapes) or WORDS, also)


def example(method: str, size: int, shown: Shown | None = None) -> Example:
    """One click's worth of inputs for a method of the registry; size: the usual width of the network, pixels. shown: in
    place of the method's own."""
    shown = shown or SHOWN.get(method)
    if shown is None:
        return shared_example(method, size)
    scene = pair(size)
    parts = {Of.IMAGE: scene.image, Of.NEAR: scene.near, Of.MASK: scene.mask, Of.EVENING: evening(size)}
    images: dict[str, Image.Image] = {}

    def given(value: Any) -> Any:
        if isinstance(value, DegradationValue):
            return value.model_copy(update={"image": given(Of.IMAGE)})
        if isinstance(value, tuple):
            return tuple(map(given, value))
        if value is Of.BOXES:
            return scene.boxes
        if isinstance(value, Of):
            images[sha := content_hash(parts[value])] = parts[value]
            return sha
        return value

    inputs = {name: given(value) for name, value in shown.inputs.items()}
    settings = {"prompt": shown.prompt, "seed": shown.seed, "width": shown.width * size, "height": size, "count": 1}
    return Example(Card(name=method, inputs=inputs, knobs=shown.knobs), settings | TRIED | shown.settings, images)


def example_key(method: str, shown: Shown) -> str:
    """Another one where anything of an example is changed, a default of the method included: figures name the one that
    they are of."""
    from conditioning.registry import find

    return hashlib.sha256(repr((shown, TRIED, find(method).with_defaults(shown.knobs))).encode()).hexdigest()[:16]


def shared_example(method: str, size: int) -> Example:
    """What a method is given where all are given the same; size: the usual width of the network, pixels."""
    from app.engine.method_checks import wanted
    from conditioning.registry import find

    one = find(method)
    scene = ground_truth(size)
    images = {content_hash(p): p for p in (scene.image, scene.near, scene.edges, scene.mask)}
    asked = wanted(one)
    given = {
        name: _value(name, declared.kind, scene)
        for name, declared in asked.items()
        if name not in one.optional or declared.kind == "map"
    }
    settings: dict[str, Any] = {"prompt": AFTER, "width": size, "height": size, "count": 1} | TRIED
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


def _value(name: str, kind: str, scene: Known) -> Any:
    if kind == "map":
        return content_hash(scene.edges if "edge" in name else scene.near if "depth" in name else scene.image)
    if kind == "mask":
        return content_hash(scene.mask)
    if kind == "prompt":
        return BEFORE if "source" in name else ALSO if name == "also" else "at sunset"
    if kind == "words":
        return WORDS
    if kind == "loras":
        return LORA
    if kind == "references":
        return (content_hash(scene.image),)
    if kind == "boxes":
        return scene.boxes
    if kind == "points":
        box = scene.boxes[0]
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        return (PointValue(x=round(x, 3), y=round(y, 3), to_x=round(min(x + 0.2, 1.0), 3), to_y=round(y, 3)),)
    if kind == "operator":
        return DegradationValue(image=content_hash(scene.image), name="super_resolution", parameters={"factor": 4})
    return content_hash(scene.image)
