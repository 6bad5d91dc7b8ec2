"""The claims of a text one by one, each true or false of a scene.

    atoms(parse("two red cubes on grass"), SceneView(scene))
    (Atom("solid", "cube", True), Atom("colour", "red cube", True), ..., Atom("ground", "grass", False))

So accuracy can be given per atom, and per prompt with every atom true (GenEval 2, arXiv 2512.16853). The scene may be
known exactly, or be what the evaluator reads from an image (`world.evaluator.SceneReading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from world.claims import Claim, Claims, far_apart, is_between, places, relations
from world.scene import Scene

ATTRIBUTES = ("colour", "size", "material")
KINDS = ("solid", *ATTRIBUTES, "count", "relation", "place", "between", "absent", "ground", "sky")


class Attributes(Protocol):
    """A solid of the scene."""

    @property
    def shape(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def size(self) -> str: ...
    @property
    def material(self) -> str: ...


class View(Protocol):
    """A scene, known or predicted. Solids are denoted by their numbers; relations and places are those of
    `world.claims.Claims`."""

    @property
    def solids(self) -> Sequence[Attributes]: ...
    @property
    def ground(self) -> str: ...
    @property
    def sky(self) -> str: ...
    def has_relation(self, i: int, relation: str, j: int) -> bool: ...
    def is_at(self, i: int, place: str) -> bool: ...
    def is_between(self, i: int, j: int, k: int) -> bool: ...


@dataclass(frozen=True)
class SceneView:
    """A scene: relations and places hold where they are clear enough for a caption to say them."""

    scene: Scene

    @property
    def solids(self) -> Sequence[Attributes]:
        return self.scene.solids

    @property
    def ground(self) -> str:
        return self.scene.ground

    @property
    def sky(self) -> str:
        return self.scene.sky

    def has_relation(self, i: int, relation: str, j: int) -> bool:
        return far_apart(self.scene, i, j) if relation == "far" else relation in relations(self.scene, i, j)

    def is_at(self, i: int, place: str) -> bool:
        return place in places(self.scene, i)

    def is_between(self, i: int, j: int, k: int) -> bool:
        return is_between(self.scene, i, j, k)


@dataclass(frozen=True)
class Atom:
    """One claim of a text. kind: one of `KINDS`; text: in words; true: whether it is so."""

    kind: str
    text: str
    true: bool


def is_a(solid: Attributes, claim: Claim) -> bool:
    """Whether a solid has every claimed attribute."""
    names = ("shape", *ATTRIBUTES)
    return all(getattr(claim, name) in (None, getattr(solid, name)) for name in names)


def has_shape_and_colour(solid: Attributes, claim: Claim) -> bool:
    return claim.shape in (None, solid.shape) and claim.colour in (None, solid.colour)


def match(view: View, claims: Claims, beam: int = 400) -> tuple[int | None, ...]:
    """The solid of the scene for each claimed one, one to one, by the most in common: shape and colour together first,
    then either, size, material, relations, places. A beam search, exhaustive up to four claims on five solids.
    """
    states: list[tuple[float, tuple[int | None, ...]]] = [(0.0, ())]
    for k, claim in enumerate(claims.solids):
        grown = []
        for score, taken in states:
            for i in [i for i in range(len(view.solids)) if i not in taken]:
                solid = view.solids[i]
                gain = 100.0 * has_shape_and_colour(solid, claim)
                gain += 12 * (solid.shape == claim.shape) + 12 * (solid.colour == claim.colour)
                gain += 2 * (solid.size == claim.size) + (solid.material == claim.material)
                gain += 3 * sum(_placed(view, claims, k, (*taken, i)))
                grown.append((score + gain, (*taken, i)))
            grown.append((score, (*taken, None)))
        states = sorted(grown, key=lambda state: -state[0])[:beam]
    return states[0][1]


def _placed(view: View, claims: Claims, k: int, chosen: tuple[int | None, ...]) -> list[bool]:
    """Whether what is said of the place of claim k holds, as far as the claims up to k say it."""
    holds = []
    for subject, relation, other in claims.relations:
        if max(subject, other) == k:
            a, b = chosen[subject], chosen[other]
            holds.append(a is not None and b is not None and view.has_relation(a, relation, b))
    for subject, place in claims.places:
        if subject == k:
            a = chosen[subject]
            holds.append(a is not None and view.is_at(a, place))
    for group in claims.between:
        if max(group) == k:
            a, b, c = (chosen[n] for n in group)
            holds.append(a is not None and b is not None and c is not None and view.is_between(a, b, c))
    return holds


def atoms(claims: Claims, view: View, chosen: Sequence[int | None] | None = None) -> tuple[Atom, ...]:
    """Each claim of a text and whether it is true.

    An attribute is right on a solid of the right shape; a relation between solids of the right shapes and colours. Who
    names solids names all of them: how many there are is an atom, too.

    chosen: the solid of the scene for each claimed one, as `match` gives them and by default.
    """
    chosen = match(view, claims) if chosen is None else chosen
    result: list[Atom] = []
    present: list[int | None] = []  # where shape and colour are right
    for claim, i in zip(claims.solids, chosen, strict=True):
        solid = None if i is None else view.solids[i]
        fits = solid is not None and claim.shape in (None, solid.shape)
        result.append(Atom("solid", claim.shape or "thing", fits))
        for name in ATTRIBUTES:
            value = getattr(claim, name)
            if value is not None:
                result.append(Atom(name, f"{value} {claim.shape or 'thing'}", fits and getattr(solid, name) == value))
        present.append(i if solid is not None and has_shape_and_colour(solid, claim) else None)

    for group in claims.counts:
        result.append(_count(claims, group, view))
    if claims.solids:
        result.append(Atom("count", f"{len(claims.solids)} solids", len(view.solids) == len(claims.solids)))
    names = [str(claim) for claim in claims.solids]
    for a, relation, b in claims.relations:
        i, j = present[a], present[b]
        holds = i is not None and j is not None and view.has_relation(i, relation, j)
        result.append(Atom("relation", f"{names[a]} {relation} {names[b]}", holds))
    for a, place in claims.places:
        i = present[a]
        result.append(Atom("place", f"{names[a]} {place}", i is not None and view.is_at(i, place)))
    for a, b, c in claims.between:
        i, j, k = present[a], present[b], present[c]
        holds = i is not None and j is not None and k is not None and view.is_between(i, j, k)
        result.append(Atom("between", f"{names[a]} between {names[b]} and {names[c]}", holds))
    for claim in claims.absent:
        result.append(Atom("absent", f"no {claim}", not any(is_a(solid, claim) for solid in view.solids)))
    if claims.ground is not None:
        result.append(Atom("ground", claims.ground, view.ground == claims.ground))
    if claims.sky is not None:
        result.append(Atom("sky", claims.sky, view.sky == claims.sky))
    return tuple(result)


def _count(claims: Claims, group: Sequence[int], view: View) -> Atom:
    """Whether there are as many as the solids of a group, of what they have in common. Others that are claimed may be
    of the same kind: those that are count, those that leave it open may."""
    members = [claims.solids[n] for n in group]
    names = ("shape", *ATTRIBUTES)
    shared = {name: {getattr(claim, name) for claim in members} for name in names}
    common = Claim(**{name: values.pop() for name, values in shared.items() if len(values) == 1})
    attributes = {name: value for name in names if (value := getattr(common, name)) is not None}
    least = sum(all(getattr(claim, name) == value for name, value in attributes.items()) for claim in claims.solids)
    most = sum(
        all(getattr(claim, name) in (None, value) for name, value in attributes.items()) for claim in claims.solids
    )
    number = sum(is_a(solid, common) for solid in view.solids)
    return Atom("count", f"{len(members)} {common}", least <= number <= most)
