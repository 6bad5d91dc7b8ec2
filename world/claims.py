"""What a text claims of a scene, and what is true of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from world.scene import Scene


@dataclass(frozen=True)
class Claim:
    """What a text says of one solid; None where it says nothing."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    material: str | None = None

    def __str__(self) -> str:
        words = [word for word in (self.size, self.material, self.colour, self.shape) if word]
        return " ".join(words) or "thing"


@dataclass(frozen=True)
class Claims:
    """What a text says of a scene. Solids are numbered in the order in which they are first named.

    relations: (subject, relation, object), a relation of left, right, front, behind, next, far; places: (solid, place),
    a place in the image of left, right, middle, front, back; between: (solid, neighbour, other neighbour); counts: the
    solids that were named together by a number, "two red cubes"; absent: what is said not to be there."""

    solids: tuple[Claim, ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    ground: str | None = None
    sky: str | None = None
    places: tuple[tuple[int, str], ...] = ()
    between: tuple[tuple[int, int, int], ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    absent: tuple[Claim, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is any claim at all."""
        return bool(self.solids or self.absent or self.ground or self.sky)


def relations(scene: Scene, i: int, j: int) -> tuple[str, ...]:
    """What is true of solid i seen from solid j, clearly enough to say so: left, right, front, behind, next."""
    (ua, _, da), (ub, _, db) = scene.place(i), scene.place(j)
    true = {
        "left": ua < ub - 0.25,
        "right": ua > ub + 0.25,
        "front": da < db - 0.7,
        "behind": da > db + 0.7,
        "next": gap(scene, i, j) < 0.6,
    }
    return tuple(name for name, holds in true.items() if holds)


def gap(scene: Scene, i: int, j: int) -> float:
    """Metres between the footprints of two solids."""
    a, b = scene.solids[i], scene.solids[j]
    return math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius


def far_apart(scene: Scene, i: int, j: int) -> bool:
    """Whether two solids are clearly far from each other."""
    return gap(scene, i, j) > 2.0


def places(scene: Scene, i: int) -> tuple[str, ...]:
    """Where a solid is in the image, clearly enough to say so: left, right, middle, front, back.

    front and back: nearer, or further away, than the middle of the ground and by 0.6 m than every other solid.
    """
    u, _, distance = scene.place(i)
    others = [scene.place(j)[2] for j in range(len(scene.solids)) if j != i]
    true = {
        "left": u < -0.3,
        "right": u > 0.3,
        "middle": abs(u) < 0.15,
        "front": distance < 5.6 and all(distance < other - 0.6 for other in others),
        "back": distance > 6.6 and all(distance > other + 0.6 for other in others),
    }
    return tuple(name for name, holds in true.items() if holds)


def is_between(scene: Scene, i: int, j: int, k: int) -> bool:
    """Whether solid i stands clearly between solids j and k: near the line from one to the other."""
    points = [(scene.solids[n].x, scene.solids[n].y) for n in (i, j, k)]
    along, aside = between_line(*points)
    return 0.2 < along < 0.8 and aside < 0.5


Point = tuple[float, ...]


def between_line(point: Point, start: Point, end: Point) -> tuple[float, float]:
    """Where a point lies beside a line: the fraction of the way from its start to its end, and metres aside."""
    way = [b - a for a, b in zip(start, end, strict=True)]
    off = [p - a for a, p in zip(start, point, strict=True)]
    length = sum(w * w for w in way)
    along = sum(o * w for o, w in zip(off, way, strict=True)) / length if length else 0.0
    return along, math.dist(off, [along * w for w in way])
