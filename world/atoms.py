"""The claims of a text one by one, each true or false of what is there.

    atoms(parse("two red cubes on grass"), SceneView(scene))
    (Atom("solid", "cube", True), Atom("colour", "red cube", True), ..., Atom("ground", "grass", False))

So accuracy can be given per atom, and per prompt with every atom true (GenEval 2, arXiv 2512.16853). What is there may
be a scene, which is known exactly, or what the evaluator reads from an image (`world.judge.Reading`).
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
    """A solid that is there."""

    @property
    def shape(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def size(self) -> str: ...
    @property
    def material(self) -> str: ...


class View(Protocol):
    """What is there. Solids are given by their numbers; relations and places are those of `world.claims.Claims`."""

    @property
    def solids(self) -> Sequence[Attributes]: ...
    @property
    def ground(self) -> str: ...
    @property
    def sky(self) -> str: ...
    def stands(self, i: int, relation: str, j: int) -> bool: ...
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

    def stands(self, i: int, relation: str, j: int) -> bool:
        return far_apart(self.scene, i, j) if relation == "far" else relation in relations(self.scene, i, j)

    def is_at(self, i: int, place: str) -> bool:
        return place in places(self.scene, i)

    def is_between(self, i: int, j: int, k: int) -> bool:
        return is_between(self.scene, i, j, k)


@dataclass(frozen=True)
class Atom:
    """One thing that a text claims. kind: one of `KINDS`; text: in words; true: whether it is so."""

    kind: str
    text: str
    true: bool


def is_a(solid: Attributes, claim: Claim) -> bool:
    """Whether a solid has all that is claimed of one."""
    names = ("shape", *ATTRIBUTES)
    return all(getattr(claim, name) in (None, getattr(solid, name)) for name in names)


def has_shape_and_colour(solid: Attributes, claim: Claim) -> bool:
    return claim.shape in (None, solid.shape) and claim.colour in (None, solid.colour)


def match(view: View, claims: Claims, beam: int = 400) -> tuple[int | None, ...]:
    """The solid that is there for each claimed one, one to one, by the most in common: shape and colour together first,
    then either, size, material, relations, places. A beam search, exhaustive up to four claims on five solids.
    """
    states: list[tuple[float, tuple[int | None, ...]]] = [(0.0, ())]
    for k, claim in enumerate(claims.solids):
        grown = []
        for score, taken in states:
            for i in [i for i in range(len(view.solids)) if i not in taken]:
                solid = view.solids[i]
                worth = 100.0 * has_shape_and_colour(solid, claim)
                worth += 12 * (solid.shape == claim.shape) + 12 * (solid.colour == claim.colour)
                worth += 2 * (solid.size == claim.size) + (solid.material == claim.material)
                worth += 3 * sum(_placed(view, claims, k, (*taken, i)))
                grown.append((score + worth, (*taken, i)))
            grown.append((score, (*taken, None)))
        states = sorted(grown, key=lambda state: -state[0])[:beam]
    return states[0][1]


def _placed(view: View, claims: Claims, k: int, chosen: tuple[int | None, ...]) -> list[bool]:
    """Whether what is said of the place of claim k holds, as far as the claims up to k say it."""
    holds = []
    for subject, relation, other in claims.relations:
        if max(subject, other) == k:
            a, b = chosen[subject], chosen[other]
            holds.append(a is not None and b is not None and view.stands(a, relation, b))
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
    """Each thing that a text claims and whether it is so.

    An attribute is right on a solid of the right shape; a relation between solids of the right shapes and colours. Who
    names solids names all of them: how many there are is an atom, too.

    chosen: the solid that is there for each claimed one, as `match` gives them and by default.
    """
    chosen = match(view, claims) if chosen is None else chosen
    made: list[Atom] = []
    there: list[int | None] = []  # where shape and colour are right
    for claim, i in zip(claims.solids, chosen, strict=True):
        solid = None if i is None else view.solids[i]
        fits = solid is not None and claim.shape in (None, solid.shape)
        made.append(Atom("solid", claim.shape or "thing", fits))
        for name in ATTRIBUTES:
            value = getattr(claim, name)
            if value is not None:
                made.append(Atom(name, f"{value} {claim.shape or 'thing'}", fits and getattr(solid, name) == value))
        there.append(i if solid is not None and has_shape_and_colour(solid, claim) else None)

    for group in claims.counts:
        made.append(_count(claims, group, view))
    if claims.solids:
        made.append(Atom("count", f"{len(claims.solids)} solids", len(view.solids) == len(claims.solids)))
    names = [str(claim) for claim in claims.solids]
    for a, relation, b in claims.relations:
        i, j = there[a], there[b]
        holds = i is not None and j is not None and view.stands(i, relation, j)
        made.append(Atom("relation", f"{names[a]} {relation} {names[b]}", holds))
    for a, place in claims.places:
        i = there[a]
        made.append(Atom("place", f"{names[a]} {place}", i is not None and view.is_at(i, place)))
    for a, b, c in claims.between:
        i, j, k = there[a], there[b], there[c]
        holds = i is not None and j is not None and k is not None and view.is_between(i, j, k)
        made.append(Atom("between", f"{names[a]} between {names[b]} and {names[c]}", holds))
    for claim in claims.absent:
        made.append(Atom("absent", f"no {claim}", not any(is_a(solid, claim) for solid in view.solids)))
    if claims.ground is not None:
        made.append(Atom("ground", claims.ground, view.ground == claims.ground))
    if claims.sky is not None:
        made.append(Atom("sky", claims.sky, view.sky == claims.sky))
    return tuple(made)


def _count(claims: Claims, group: Sequence[int], view: View) -> Atom:
    """Whether there are as many as the solids of a group, of what they have in common. Others that are claimed may be
    of the same kind: those that are count, those that leave it open may."""
    members = [claims.solids[n] for n in group]
    names = ("shape", *ATTRIBUTES)
    shared = {name: {getattr(one, name) for one in members} for name in names}
    common = Claim(**{name: values.pop() for name, values in shared.items() if len(values) == 1})
    wanted = {name: value for name in names if (value := getattr(common, name)) is not None}
    least = sum(all(getattr(one, name) == value for name, value in wanted.items()) for one in claims.solids)
    most = sum(all(getattr(one, name) in (None, value) for name, value in wanted.items()) for one in claims.solids)
    number = sum(is_a(solid, common) for solid in view.solids)
    return Atom("count", f"{len(members)} {common}", least <= number <= most)
