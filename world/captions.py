"""Captions in plain English, all true of their scene, and a parser from a caption to what it claims.

describe(scene, rng).text   "a large red ball to the left of a small metal cube on grass at sunset"
parse(text)                 Claims(solids=(...), relations=((0, "left", 1),), ground="grass", sky="sunset")
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from world.scene import FIRST_COLOURS, Scene

# The words for each attribute, the usual one first.
SHAPE_WORDS = {
    "sphere": ("sphere", "ball"),
    "cube": ("cube", "block"),
    "cylinder": ("cylinder",),
    "cone": ("cone",),
    "torus": ("torus", "ring"),
    "pyramid": ("pyramid",),
}
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
MATERIAL_WORDS = {"matte": ("matte",), "metal": ("metal", "shiny")}
COLOUR_WORDS = {colour: (colour,) for colour in FIRST_COLOURS}
GROUND_WORDS = {
    "grass": ("on grass", "on the grass"),
    "sand": ("on sand", "on the sand"),
    "snow": ("on snow", "in the snow"),
    "tiles": ("on tiles", "on a tiled floor"),
    "wood": ("on wood", "on a wooden floor"),
}
SKY_WORDS = {
    "day": ("by day", "on a sunny day", "in daylight"),
    "overcast": ("under an overcast sky", "on an overcast day"),
    "sunset": ("at sunset", "in the evening"),
    "night": ("at night", "by night"),
}
RELATION_WORDS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "front": ("in front of",),
    "behind": ("behind",),
    "next": ("next to", "beside"),
}
OPENINGS = ("", "", "", "there is", "a picture of", "a photo of")


@dataclass(frozen=True)
class Caption:
    """words: the caption, word by word (a comma is a word); owners: the solid that each word describes, or None."""

    words: tuple[str, ...]
    owners: tuple[int | None, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words).replace(" ,", ",")


@dataclass(frozen=True)
class Claim:
    """What a caption says of one solid; None where it says nothing."""

    shape: str
    colour: str | None = None
    size: str | None = None
    material: str | None = None


@dataclass(frozen=True)
class Claims:
    solids: tuple[Claim, ...]
    relations: tuple[tuple[int, str, int], ...] = ()  # (subject, relation, object)
    ground: str | None = None
    sky: str | None = None


def relations(scene: Scene, i: int, j: int) -> tuple[str, ...]:
    """What is true of solid i seen from solid j, clearly enough to say so: left, right, front, behind, next."""
    a, b = scene.solids[i], scene.solids[j]
    (ua, _, da), (ub, _, db) = scene.place(i), scene.place(j)
    gap = math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius
    true = {
        "left": ua < ub - 0.25,
        "right": ua > ub + 0.25,
        "front": da < db - 0.7,
        "behind": da > db + 0.7,
        "next": gap < 0.6,
    }
    return tuple(name for name, holds in true.items() if holds)


def describe(scene: Scene, rng: np.random.Generator) -> Caption:
    """A random true caption: names every solid, sometimes its size and material, some relations, the ground and the
    sky."""
    order = [int(i) for i in rng.permutation(len(scene.solids))]
    pieces: list[tuple[str, int | None]] = []  # (words, owner)
    say_size, say_material = rng.random() < 0.7, rng.random() < 0.45
    place = _pick(rng, GROUND_WORDS[scene.ground])
    light = _pick(rng, SKY_WORDS[scene.sky])
    opening = _pick(rng, OPENINGS)
    light_first = rng.random() < 0.15 and not opening
    if light_first:
        pieces += [(light, None), (",", None)]
    elif opening:
        pieces.append((opening, None))
    said: set[str] = set()
    for k, i in enumerate(order):
        relation, other = (None, None) if rng.random() < 0.3 else _relation(scene, order, k, rng)
        if k and not (k == 1 and relation):
            last = k == len(order) - 1
            pieces.append(("and" if last else ",", None))
            if last and len(order) > 2 and rng.random() < 0.3:
                pieces.insert(-1, (",", None))
        if k == 1 and relation:
            pieces.append((_pick(rng, RELATION_WORDS[relation]), None))
        pieces.append((_name(scene, i, say_size, say_material, said, rng), i))
        if k > 1 and relation and other is not None:
            pieces.append((_pick(rng, RELATION_WORDS[relation]), None))
            solid = scene.solids[other]
            pieces.append((f"the {solid.colour} {_pick(rng, SHAPE_WORDS[solid.shape])}", other))
    pieces.append((place, None))
    if not light_first:
        pieces.append((light, None))
    words = [(word, owner) for phrase, owner in pieces for word in phrase.split()]
    return Caption(tuple(w for w, _ in words), tuple(o for _, o in words))


def _relation(scene: Scene, order: list[int], k: int, rng: np.random.Generator) -> tuple[str | None, int | None]:
    """A true relation to say with the k-th solid, and the earlier solid it is to.

    For k = 1 it is said of the first solid ("A behind B"), later of the solid itself ("..., and C behind the red
    cube") if the earlier one can be told by its colour and shape.
    """
    if k == 0:
        return None, None
    if k == 1:
        true, other = relations(scene, order[0], order[1]), order[0]
    else:
        kinds = [(s.colour, s.shape) for s in scene.solids]
        told = [j for j in order[:k] if kinds.count(kinds[j]) == 1]
        if not told:
            return None, None
        other = told[int(rng.integers(len(told)))]
        true = relations(scene, order[k], other)
    if not true:
        return None, None
    weights = np.array([1.0 if name != "next" else 0.4 for name in true])
    return true[int(rng.choice(len(true), p=weights / weights.sum()))], other


def _name(scene: Scene, i: int, say_size: bool, say_material: bool, said: set[str], rng: np.random.Generator) -> str:
    solid = scene.solids[i]
    words = [_pick(rng, SIZE_WORDS[solid.size])] if say_size else []
    if say_material:
        words.append(_pick(rng, MATERIAL_WORDS[solid.material]))
    words += [solid.colour, _pick(rng, SHAPE_WORDS[solid.shape])]
    article = "another" if " ".join(words) in said else "an" if words[0][0] in "aeiou" else "a"
    said.add(" ".join(words))
    return " ".join([article, *words])


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _lookup(*tables: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: name for table in tables for name, words in table.items() for word in words}


_SHAPE = _lookup(SHAPE_WORDS) | {"donut": "torus", "box": "cube"}
_SIZE, _COLOUR, _MATERIAL = _lookup(SIZE_WORDS), _lookup(COLOUR_WORDS), _lookup(MATERIAL_WORDS)
_RELATION = sorted(((tuple(p.split()), n) for n, ps in RELATION_WORDS.items() for p in ps), key=lambda x: -len(x[0]))
_GROUND = {
    "grass": "grass",
    "sand": "sand",
    "snow": "snow",
    "tiles": "tiles",
    "tiled": "tiles",
    "wood": "wood",
    "wooden": "wood",
}
_SKY = {
    "overcast": "overcast",
    "sunset": "sunset",
    "evening": "sunset",
    "night": "night",
    "sunny": "day",
    "daylight": "day",
}
VOCABULARY = frozenset(
    word
    for table in (SHAPE_WORDS, SIZE_WORDS, MATERIAL_WORDS, COLOUR_WORDS, GROUND_WORDS, SKY_WORDS, RELATION_WORDS)
    for phrases in table.values()
    for phrase in phrases
    for word in phrase.split()
) | {",", "a", "an", "the", "another", "and", "there", "is", "picture", "photo", "of"}


def parse(text: str) -> Claims:
    """What a caption claims. Words it does not know are passed over; "the red cube" points back to a red cube if
    there is one."""
    words = re.findall(r"[a-z]+|,", text.lower())
    solids: list[Claim] = []
    said: list[tuple[int, str, int]] = []
    ground = sky = None
    current: dict[str, str] = {}
    definite, pending = False, None  # pending: (subject, relation) waiting for its object
    last: int | None = None
    k = 0
    while k < len(words):
        word = words[k]
        phrase = next((p for p in _RELATION if tuple(words[k : k + len(p[0])]) == p[0]), None)
        if phrase and last is not None:
            pending = (last, phrase[1])
            k += len(phrase[0])
            current, definite = {}, False
            continue
        if word in ("a", "an", "another", "the"):
            current, definite = {}, word == "the"
        elif word in _SIZE:
            current["size"] = _SIZE[word]
        elif word in _MATERIAL:
            current["material"] = _MATERIAL[word]
        elif word in _COLOUR:
            current["colour"] = _COLOUR[word]
        elif word in _SHAPE:
            claim = Claim(_SHAPE[word], **current)
            back = _referent(solids, claim) if definite else None
            if back is None:
                solids.append(claim)
                back = len(solids) - 1
            if pending is not None and pending[0] != back:
                said.append((pending[0], pending[1], back))
            pending, current, definite, last = None, {}, False, back
        elif word in _GROUND:
            ground = _GROUND[word]
        elif word in _SKY:
            sky = _SKY[word]
        elif word == "day":
            sky = sky or "day"
        k += 1
    return Claims(tuple(solids), tuple(said), ground, sky)


def _referent(solids: list[Claim], claim: Claim) -> int | None:
    for i, old in enumerate(solids):
        if old.shape == claim.shape and all(
            getattr(claim, a) in (None, getattr(old, a)) for a in ("colour", "size", "material")
        ):
            return i
    return None


def surprise(seed: int) -> str:
    """A random true caption of a scene of the test split."""
    from world.scene import draw

    return describe(draw("test", seed), np.random.default_rng(seed)).text


def unknown_words(text: str) -> list[str]:
    """The words of a prompt that no caption of this world uses, in their order, each once."""
    known = VOCABULARY | set(_SHAPE) | set(_SKY) | set(_GROUND)
    return [w for w in dict.fromkeys(re.findall(r"[^\W\d_]+|\d+", text.lower())) if w not in known]
