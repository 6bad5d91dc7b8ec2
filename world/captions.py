"""Captions in plain English, all true of their scene.

    describe(scene, rng).text          "a large red ball to the left of a small metal cube on grass at sunset"
    describe(scene, rng, "any").text   "it is dusk. on the lawn stands a red ball. to the right of it is a tiny box."

The plain style is what the first networks of this project know: its own few words, in one order. `styles` has the
others, for all that people say; `world.parsing` reads them back.
"""

from __future__ import annotations

import numpy as np

from world.claims import Claim, Claims, relations
from world.parsing import parse
from world.scene import FIRST_COLOURS, Scene
from world.styles import STYLES
from world.writer import LINKING, Caption, Writer

__all__ = ["PLAIN_VOCABULARY", "Caption", "Claim", "Claims", "describe", "parse", "random_caption", "relations"]

LONGEST = 62  # words of a caption: what the text encoder reads, less its two marks
PLAIN = 0.15  # of all captions

# The words of the plain style, the usual one first.
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


PLAIN_VOCABULARY = frozenset(
    word
    for table in (SHAPE_WORDS, SIZE_WORDS, MATERIAL_WORDS, COLOUR_WORDS, GROUND_WORDS, SKY_WORDS, RELATION_WORDS)
    for phrases in table.values()
    for phrase in phrases
    for word in phrase.split()
) | {",", "a", "an", "the", "another", "and", "there", "is", "picture", "photo", "of"}


def describe(scene: Scene, rng: np.random.Generator, style: str = "plain") -> Caption:
    """A random true caption of at most `LONGEST` words, which names every solid.

    style: "plain", one of `world.styles.STYLES`, or "any" of these, each as often as its weight says. Raises
    ValueError for another.
    """
    if style == "any":
        names = list(STYLES)
        weights = np.array([weight for _, weight in STYLES.values()])
        roll = float(rng.random())
        style = "plain" if roll < PLAIN else names[int(rng.choice(len(names), p=weights / weights.sum()))]
    if style == "plain":
        return _plain(scene, rng)
    if style not in STYLES:
        raise ValueError(f"style {style!r}: allowed are plain, any, {', '.join(STYLES)}.")
    for _ in range(20):
        writer = Writer(scene, rng)
        STYLES[style][0](writer)
        if len(writer.words) <= LONGEST:
            return writer.caption()
    return _plain(scene, rng)  # 54 words at most


def _plain(scene: Scene, rng: np.random.Generator) -> Caption:
    """Names every solid, sometimes its size and material, some relations, the ground and the sky."""
    order = [int(i) for i in rng.permutation(len(scene.solids))]
    pieces: list[tuple[str, int | None, int | None]] = []  # words, the solid they describe, the one they place
    claimed: list[tuple[int, str, int]] = []
    say_size, say_material = rng.random() < 0.7, rng.random() < 0.45
    place = _pick(rng, GROUND_WORDS[scene.ground])
    light = _pick(rng, SKY_WORDS[scene.sky])
    opening = _pick(rng, OPENINGS)
    light_first = rng.random() < 0.15 and not opening
    if light_first:
        pieces += [(light, None, None), (",", None, None)]
    elif opening:
        pieces.append((opening, None, None))
    said: set[str] = set()
    for k, i in enumerate(order):
        relation, other = (None, None) if rng.random() < 0.3 else _relation(scene, order, k, rng)
        if k and not (k == 1 and relation):
            last = k == len(order) - 1
            pieces.append(("and" if last else ",", None, None))
            if last and len(order) > 2 and rng.random() < 0.3:
                pieces.insert(-1, (",", None, None))
        if k == 1 and relation:
            pieces.append((_pick(rng, RELATION_WORDS[relation]), None, order[0]))
            claimed.append((0, relation, 1))
        pieces.append((_name(scene, i, say_size, say_material, said, rng), i, None))
        if k > 1 and relation and other is not None:
            pieces.append((_pick(rng, RELATION_WORDS[relation]), None, i))
            solid = scene.solids[other]
            pieces.append((f"the {solid.colour} {_pick(rng, SHAPE_WORDS[solid.shape])}", other, None))
            claimed.append((k, relation, order.index(other)))
    pieces.append((place, None, None))
    if not light_first:
        pieces.append((light, None, None))
    words = [(word, owner, subject) for phrase, owner, subject in pieces for word in phrase.split()]
    solids = [scene.solids[i] for i in order]
    claims = Claims(
        tuple(
            Claim(s.shape, s.colour, s.size if say_size else None, s.material if say_material else None) for s in solids
        ),
        tuple(claimed),
        scene.ground,
        scene.sky,
    )
    return Caption(
        tuple(word for word, _, _ in words),
        tuple(() if owner is None else (owner,) for _, owner, _ in words),
        tuple((n, (s,)) for n, (word, _, s) in enumerate(words) if s is not None and word in LINKING),
        claims,
        tuple(order),
    )


def _relation(scene: Scene, order: list[int], k: int, rng: np.random.Generator) -> tuple[str | None, int | None]:
    """A true relation to say with the k-th solid, and the earlier solid it is to.

    For k = 1 it is said of the first solid ("A behind B"), later of the solid itself ("..., and C behind the red
    cube") if the colour and shape of the earlier one are unique.
    """
    if k == 0:
        return None, None
    if k == 1:
        true, other = relations(scene, order[0], order[1]), order[0]
    else:
        kinds = [(s.colour, s.shape) for s in scene.solids]
        unique = [j for j in order[:k] if kinds.count(kinds[j]) == 1]
        if not unique:
            return None, None
        other = unique[int(rng.integers(len(unique)))]
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


def random_caption(seed: int) -> str:
    """A random true caption of a scene of the test split."""
    from world.scene import draw

    return describe(draw("test", seed), np.random.default_rng(seed)).text
