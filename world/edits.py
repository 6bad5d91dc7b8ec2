"""Edits: an instruction in plain words, and the scene exactly so edited.

    edit(scene, rng)                "make the red cube blue"    before, after
    edit(scene, rng, "move")        "move the small ball to the left of the yellow cone"
    render_edits(edits)             both renderings, and the mask of every pixel that changed

Every edited scene is well placed, so all of its captions are true; the instruction names its solid so that no other
fits. Unless asked for, no edit makes a colour-shape pair that training must not see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world import captions
from world.captions import MATERIAL_WORDS, RELATION_WORDS, SHAPE_WORDS, SIZE_WORDS, relations
from world.render import Rendering, render
from world.scene import FIRST_COLOURS, GROUNDS, HELD_OUT, MATERIALS, SHAPES, SIZES, SKIES, Scene, Solid, well_placed

TRIES = 200  # draws before an edit is given up
# {it}: the solid, "the red cube"; {to}: what it becomes, or where it goes.
TEXTS = {
    "recolour": ("make {it} {to}", "paint {it} {to}", "change the colour of {it} to {to}", "turn {it} {to}"),
    "remove": ("remove {it}", "take away {it}", "delete {it}"),
    "add": ("add {to}", "put {to} into the scene", "place {to} there"),
    "shape": ("turn {it} into a {to}", "replace {it} with a {to}", "change {it} to a {to}"),
    "size": ("make {it} {to}", "change {it} to a {to} one"),
    "material": ("make {it} {to}", "change {it} to a {to} one"),
    "move": ("move {it} {to}", "put {it} {to}", "shift {it} {to}"),
    "ground": ("change the ground to {to}", "put everything on {to}", "make the floor {to}"),
    "sky": ("make it {to}", "change the light to {to}", "show it {to}"),
    "view": ("look from {to}", "show the scene from {to}", "move the camera {to}"),
}


class Side(NamedTuple):
    at: str  # where a solid stands
    to: tuple[str, ...]  # where it goes, seen from its old place


SIDES = {
    "left": Side("on the left", ("to the left", "further left")),
    "right": Side("on the right", ("to the right", "further right")),
    "front": Side("in front", ("to the front", "nearer to us")),
    "behind": Side("at the back", ("to the back", "further away")),
}
SKY_TO = {  # by the text of the instruction
    "make it {to}": {"day": "day", "overcast": "overcast", "sunset": "sunset", "night": "night"},
    "change the light to {to}": {"day": "day", "overcast": "an overcast sky", "sunset": "a sunset", "night": "night"},
    "show it {to}": {"day": "by day", "overcast": "on an overcast day", "sunset": "at sunset", "night": "at night"},
}
VIEWS = {  # the words, and how far the camera goes along x, away, up (metres)
    "further left": (-1.3, 0.0, 0.0),
    "further right": (1.3, 0.0, 0.0),
    "higher up": (0.0, 0.0, 1.1),
    "lower down": (0.0, 0.0, -0.8),
    "further away": (0.0, 1.2, 0.3),
}
VOCABULARY = captions.PLAIN_VOCABULARY | frozenset(
    word
    for texts in (
        *TEXTS.values(),
        *((side.at, *side.to) for side in SIDES.values()),
        *(skies.values() for skies in SKY_TO.values()),
        VIEWS,
        ("to the other side",),
    )
    for text in texts
    for word in text.split()
    if word not in ("{it}", "{to}")
)


@dataclass(frozen=True)
class Edit:
    """subject: the number of the edited solid before and after; None where it is not there, or the whole scene is
    meant."""

    kind: str
    instruction: str
    before: Scene
    after: Scene
    subject: tuple[int | None, int | None] = (None, None)


def edit(scene: Scene, rng: np.random.Generator, kind: str | None = None, held_out: bool = False) -> Edit:
    """An edit of that kind, or of a random one that the scene allows. held_out: whether it may make the pairs of
    `HELD_OUT`.

    Raises ValueError for an unknown kind, and where the scene allows none of this kind: the only solid is not removed,
    a fifth not added, and what has no room, or no name of its own, not edited.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"edit {kind!r}: allowed are {', '.join(KINDS)}.")
    old = {(s.colour, s.shape) for s in scene.solids}
    for name in [kind] if kind else rng.permutation(list(KINDS)).tolist():
        for _ in range(TRIES):
            candidate = KINDS[name](scene, rng)
            if candidate is None or not well_placed(candidate.after):
                continue
            if held_out or not ({(s.colour, s.shape) for s in candidate.after.solids} - old) & HELD_OUT:
                return candidate
    raise ValueError(f"This scene allows no edit {kind!r}." if kind else "This scene allows no edit.")


def render_edits(
    edits: Sequence[Edit], size: int = 128, device: str | torch.device = "cpu"
) -> tuple[Rendering, Rendering, Tensor]:
    """The scenes before and after, and (B, H, W) bool: the pixels that change, shadows and mirror images too."""
    before, after = render([e.before for e in edits], size, device), render([e.after for e in edits], size, device)
    return before, after, ((before.rgb - after.rgb).abs() > 0.5 / 255).any(1)


def referring_expression(scene: Scene, index: int, rng: np.random.Generator) -> str | None:
    """Words that fit one solid of the scene and no other: "the red cube", "the small red cube", "the red cube on the
    left"; None where there are none.
    """
    solid, others = scene.solids[index], [s for i, s in enumerate(scene.solids) if i != index]
    words_for = {
        "size": _pick(rng, SIZE_WORDS[solid.size]),
        "material": _pick(rng, MATERIAL_WORDS[solid.material]),
        "colour": solid.colour,
        "shape": _pick(rng, SHAPE_WORDS[solid.shape]),
    }
    for used in (("colour", "shape"), ("size", "colour", "shape"), ("material", "colour", "shape"), tuple(words_for)):
        if all(any(getattr(o, a) != getattr(solid, a) for a in used) for o in others):
            return " ".join(["the", *(words_for[a] for a in used)])
    twins = [i for i, o in enumerate(scene.solids) if i != index and (o.colour, o.shape) == (solid.colour, solid.shape)]
    for side, where in SIDES.items():
        if all(side in relations(scene, index, twin) for twin in twins):
            return f"the {solid.colour} {words_for['shape']} {where.at}"
    return None


# ------------------------------------------------------------------------------------------------ kinds
# Each makes one try: an Edit whose placing is still to be checked, or None.

Maker = Callable[[Scene, np.random.Generator], Edit | None]


def _pick(rng: np.random.Generator, of: Sequence[str]) -> str:
    return of[int(rng.integers(len(of)))]


def _spot(rng: np.random.Generator) -> tuple[float, float]:
    """Where a solid may stand."""
    return float(rng.uniform(-2.2, 2.2)), float(rng.uniform(-1.4, 2.2))


def _chosen(scene: Scene, rng: np.random.Generator) -> tuple[int, str] | None:
    """A random solid and its name, if it has one."""
    index = int(rng.integers(len(scene.solids)))
    it = referring_expression(scene, index, rng)
    return None if it is None else (index, it)


def _attribute(kind: str, attribute: str, words: Mapping[str, Sequence[str]]) -> Maker:
    """The kind that gives one attribute of a solid another value."""

    def make(scene: Scene, rng: np.random.Generator) -> Edit | None:
        chosen = _chosen(scene, rng)
        if chosen is None:
            return None
        index, it = chosen
        value = _pick(rng, [v for v in words if v != getattr(scene.solids[index], attribute)])
        text = _pick(rng, TEXTS[kind]).format(it=it, to=_pick(rng, words[value]))
        return Edit(kind, text, scene, scene.with_solid(index, **{attribute: value}), (index, index))

    return make


def _remove(scene: Scene, rng: np.random.Generator) -> Edit | None:
    chosen = _chosen(scene, rng)
    if chosen is None or len(scene.solids) == 1:
        return None
    index, it = chosen
    left = tuple(s for i, s in enumerate(scene.solids) if i != index)
    return Edit("remove", _pick(rng, TEXTS["remove"]).format(it=it), scene, replace(scene, solids=left), (index, None))


def _add(scene: Scene, rng: np.random.Generator) -> Edit | None:
    """Another solid, half of the time against one that is there: "add a small matte red cube behind the blue ball"."""
    new = len(scene.solids)
    if new == 4:
        return None
    kinds = (_pick(rng, SHAPES), _pick(rng, FIRST_COLOURS), _pick(rng, tuple(SIZES)), _pick(rng, MATERIALS))
    shape, colour, size, material = kinds
    after = replace(scene, solids=(*scene.solids, Solid(*kinds, *_spot(rng), float(rng.uniform(0, np.pi / 2)))))
    words = (SIZE_WORDS[size], MATERIAL_WORDS[material], (colour,), SHAPE_WORDS[shape])
    to = " ".join(["a", *(_pick(rng, each) for each in words)])
    if rng.random() < 0.5:
        chosen = _chosen(scene, rng)
        true = relations(after, new, chosen[0]) if chosen else ()
        if not chosen or not true:
            return None
        to += f" {_pick(rng, RELATION_WORDS[_pick(rng, true)])} {chosen[1]}"
    return Edit("add", _pick(rng, TEXTS["add"]).format(to=to), scene, after, (None, new))


def _move(scene: Scene, rng: np.random.Generator) -> Edit | None:
    """To a side of its old place, to the other side of the image, or against another solid."""
    chosen = _chosen(scene, rng)
    if chosen is None:
        return None
    index, it = chosen
    x, y = _spot(rng)
    way = rng.random()
    if way < 0.5:  # sideways or in depth only, so that the words say all
        solid = scene.solids[index]
        x, y = (x, solid.y) if rng.random() < 0.5 else (solid.x, y)
    after = scene.with_solid(index, x=x, y=y)
    (u, _, near), (u_old, _, near_old) = after.place(index), scene.place(index)
    if way < 0.5:
        across, away = u - u_old, near - near_old
        moved = {"left": across < -0.25, "right": across > 0.25, "front": away < -0.7, "behind": away > 0.7}
        true = [side for side, holds in moved.items() if holds]
        if len(true) != 1:
            return None
        to = _pick(rng, SIDES[true[0]].to)
    elif way < 0.65:
        if abs(u) < 0.25 or abs(u_old) < 0.25 or u * u_old > 0 or abs(near - near_old) > 0.7:
            return None
        to = "to the other side"
    else:
        other = _chosen(scene, rng)
        if other is None or other[0] == index:
            return None
        true = [r for r in relations(after, index, other[0]) if r not in relations(scene, index, other[0])]
        if not true:
            return None
        to = f"{_pick(rng, RELATION_WORDS[_pick(rng, true)])} {other[1]}"
    return Edit("move", _pick(rng, TEXTS["move"]).format(it=it, to=to), scene, after, (index, index))


def _ground(scene: Scene, rng: np.random.Generator) -> Edit:
    ground = _pick(rng, [g for g in GROUNDS if g != scene.ground])
    return Edit("ground", _pick(rng, TEXTS["ground"]).format(to=ground), scene, replace(scene, ground=ground))


def _sky(scene: Scene, rng: np.random.Generator) -> Edit:
    sky = _pick(rng, [s for s in SKIES if s != scene.sky])
    text = _pick(rng, TEXTS["sky"])
    return Edit("sky", text.format(to=SKY_TO[text][sky]), scene, replace(scene, sky=sky))


def _view(scene: Scene, rng: np.random.Generator) -> Edit:
    to = _pick(rng, tuple(VIEWS))
    x, away, up = (float(way * rng.uniform(0.8, 1.2)) for way in VIEWS[to])
    old = scene.camera
    camera = replace(old, x=old.x + x, distance=old.distance + away, height=old.height + up)
    return Edit("view", _pick(rng, TEXTS["view"]).format(to=to), scene, replace(scene, camera=camera))


KINDS: dict[str, Maker] = {
    "recolour": _attribute("recolour", "colour", {colour: (colour,) for colour in FIRST_COLOURS}),
    "remove": _remove,
    "add": _add,
    "shape": _attribute("shape", "shape", SHAPE_WORDS),
    "size": _attribute("size", "size", SIZE_WORDS),
    "material": _attribute("material", "material", MATERIAL_WORDS),
    "move": _move,
    "ground": _ground,
    "sky": _sky,
    "view": _view,
}
