"""A scene of the world: one to four solids on a ground, under a sky, before a camera.

Coordinates: x to the right, y away from the camera, z up; the ground is z = 0; lengths in metres, angles in radians.
Scene n of a split is the same on every machine: `draw("train", 7)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

SHAPES = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid")
COLOURS = {  # linear-light albedo, chosen apart from each other under every sky
    "red": (0.80, 0.035, 0.04),
    "orange": (0.95, 0.30, 0.02),
    "yellow": (0.92, 0.76, 0.03),
    "green": (0.06, 0.42, 0.06),
    "cyan": (0.06, 0.68, 0.72),
    "blue": (0.04, 0.10, 0.72),
    "purple": (0.34, 0.05, 0.55),
    "white": (0.90, 0.90, 0.90),
    "black": (0.02, 0.02, 0.02),
    "grey": (0.25, 0.25, 0.26),
    "pink": (0.95, 0.36, 0.55),
    "brown": (0.26, 0.10, 0.02),
}
FIRST_COLOURS = tuple(COLOURS)[:8]  # those of the scenes on which the first networks were trained
SIZES = {"small": 0.44, "large": 0.84}  # metres: half the extent of the canonical solid
MATERIALS = ("matte", "metal")
GROUNDS = ("grass", "sand", "snow", "tiles", "wood")
SKIES = ("day", "overcast", "sunset", "night")
SPLITS = ("train", "validation", "test")

# Half height of each canonical solid (it stands on the ground) and the radius of its bounding sphere.
HALF_HEIGHT = {"sphere": 1.0, "cube": 0.8, "cylinder": 0.9, "cone": 0.95, "torus": 0.33, "pyramid": 0.85}
BOUND = {
    "sphere": 1.0,
    "cube": 0.8 * math.sqrt(3),
    "cylinder": math.hypot(0.7, 0.9),
    "cone": math.hypot(0.85, 0.95),
    "torus": 1.05,
    "pyramid": 0.85 * math.sqrt(3),
}
FOOTPRINT = {"sphere": 1.0, "cube": 1.13, "cylinder": 0.7, "cone": 0.85, "torus": 1.05, "pyramid": 1.2}

Vector = tuple[float, float, float]

HELD_OUT = frozenset(  # colour-shape pairs that no training or validation scene shows
    {
        ("purple", "cube"),
        ("cyan", "sphere"),
        ("orange", "cone"),
        ("green", "torus"),
        ("white", "cylinder"),
        ("yellow", "pyramid"),
    }
)


@dataclass(frozen=True)
class Solid:
    """One solid. `x`, `y`: where it stands; `turn`: rotation about the vertical."""

    shape: str
    colour: str
    size: str
    material: str
    x: float
    y: float
    turn: float = 0.0

    @property
    def scale(self) -> float:
        return SIZES[self.size]

    @property
    def centre(self) -> Vector:
        return (self.x, self.y, self.scale * HALF_HEIGHT[self.shape])

    @property
    def radius(self) -> float:
        """Radius of the footprint on the ground."""
        return self.scale * FOOTPRINT[self.shape]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (x, -distance, height) that looks at (look_x, 0, look_z); `fov` is the full angle."""

    x: float = 0.0
    distance: float = 5.6
    height: float = 2.3
    look_x: float = 0.0
    look_z: float = 0.55
    fov: float = math.radians(41)

    @property
    def position(self) -> Vector:
        return (self.x, -self.distance, self.height)

    @property
    def axes(self) -> tuple[Vector, Vector, Vector]:
        """Unit vectors in the world: right, up, forward."""
        x, y, z = self.look_x - self.x, self.distance, self.look_z - self.height
        flat, length = math.hypot(x, y), math.hypot(x, y, z)
        forward = (x / length, y / length, z / length)
        right = (y / flat, -x / flat, 0.0)
        up = (right[1] * forward[2], -right[0] * forward[2], right[0] * forward[1] - right[1] * forward[0])
        return right, up, forward

    def project(self, point: Vector) -> Vector:
        """(u, v, depth): u, v in [-1, 1] inside the image, u to the right, v up; depth in metres along the view."""
        way = tuple(p - c for p, c in zip(point, self.position, strict=True))
        right, up, depth = (sum(a * w for a, w in zip(axis, way, strict=True)) for axis in self.axes)
        f = 1 / math.tan(self.fov / 2)
        return f * right / depth, f * up / depth, depth


@dataclass(frozen=True)
class Scene:
    solids: tuple[Solid, ...]
    ground: str
    sky: str
    camera: Camera = Camera()
    sun: float = 0.6  # azimuth of the light

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Scene:
        return cls(
            tuple(Solid(**solid) for solid in data["solids"]),
            data["ground"],
            data["sky"],
            Camera(**data["camera"]),
            data["sun"],
        )

    def with_solid(self, index: int, **changes) -> Scene:
        """The scene with some attributes of one solid changed."""
        solids = list(self.solids)
        solids[index] = replace(solids[index], **changes)
        return replace(self, solids=tuple(solids))

    def place(self, index: int) -> Vector:
        """(u, v, depth) of a solid's centre in the image."""
        return self.camera.project(self.solids[index].centre)


def outline(scene: Scene, index: int) -> tuple[float, float, float, float, float]:
    """(u, v, width, height, depth): centre and half extents of the ellipse that a solid roughly fills in the
    image."""
    solid = scene.solids[index]
    u, v, depth = scene.place(index)
    zoom = 1 / (math.tan(scene.camera.fov / 2) * depth)
    half_height = 0.95 * solid.scale * HALF_HEIGHT[solid.shape] + 0.3 * solid.radius  # seen from about 17 degrees above
    return u, v, zoom * solid.radius, zoom * half_height, depth


def well_placed(scene: Scene) -> bool:
    """No two solids touch, each is inside the image, and none hides more than about a third of another."""
    outlines = [outline(scene, i) for i in range(len(scene.solids))]
    if any(abs(u) + w > 0.97 or abs(v) + h > 0.97 for u, v, w, h, _ in outlines):
        return False
    for i, a in enumerate(scene.solids):
        for j in range(i):
            b = scene.solids[j]
            if math.hypot(a.x - b.x, a.y - b.y) < a.radius + b.radius + 0.08:
                return False
            (ua, va, wa, ha, da), (ub, vb, wb, hb, db) = outlines[i], outlines[j]
            far_w, far_h = (wa, ha) if da > db else (wb, hb)
            if abs(ua - ub) < wa + wb - 0.6 * far_w and abs(va - vb) < ha + hb - 0.6 * far_h:
                return False
    return True


def draw(split: str, n: int, colours: Sequence[str] = FIRST_COLOURS) -> Scene:
    """Scene n of a split: "train", "validation" or "test". Only test scenes show the colour-shape pairs of `HELD_OUT`.

    colours: names of `COLOURS` to choose from; scene n of other colours is another scene.

    Raises ValueError for an unknown split or a negative n.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: allowed are {', '.join(SPLITS)}.")
    if n < 0:
        raise ValueError(f"scene number {n}: must be 0 or more.")
    rng = np.random.default_rng([SPLITS.index(split), n])
    count = int(rng.choice(4, p=(0.2, 0.4, 0.27, 0.13))) + 1
    return random_scene(rng, count, split == "test", colours)


def random_scene(
    rng: np.random.Generator,
    count: int,
    held_out: bool = False,
    colours: Sequence[str] = tuple(COLOURS),
    alike: float = 0.0,
) -> Scene:
    """A scene of `count` solids, drawn until it is `well_placed`.

    held_out: whether it may show pairs of `HELD_OUT`; alike: the probability that a solid has the shape of the one
    before, and as often as not its colour ("two red cubes" are rare else).
    """
    names = tuple(colours)
    ground, sky = str(rng.choice(GROUNDS)), str(rng.choice(SKIES))
    sun = float(rng.choice((-1, 1)) * rng.uniform(0.5, 1.1))
    while True:
        camera = Camera(
            x=rng.uniform(-0.35, 0.35),
            distance=rng.uniform(5.3, 6.0),
            height=rng.uniform(2.0, 2.7),
            look_x=rng.uniform(-0.12, 0.12),
            look_z=rng.uniform(0.45, 0.65),
        )
        solids: list[Solid] = []
        for _ in range(count):
            colour, shape = names[rng.integers(len(names))], SHAPES[rng.integers(len(SHAPES))]
            while not held_out and (colour, shape) in HELD_OUT:
                colour, shape = names[rng.integers(len(names))], SHAPES[rng.integers(len(SHAPES))]
            if alike and solids and rng.random() < alike:
                before = solids[-1]
                same = rng.random() < 0.5 or (not held_out and (colour, before.shape) in HELD_OUT)
                colour, shape = before.colour if same else colour, before.shape
            size = tuple(SIZES)[rng.integers(2)]
            material = MATERIALS[rng.integers(2)]
            turn = rng.uniform(0, math.pi / 2)
            solids.append(Solid(shape, colour, size, material, 0.0, 0.0, turn))
        for _ in range(60):
            placed = tuple(replace(s, x=rng.uniform(-2.2, 2.2), y=rng.uniform(-1.4, 2.2)) for s in solids)
            scene = Scene(placed, ground, sky, camera, sun)
            if well_placed(scene):
                return scene


def scenes(split: str, start: int, stop: int, colours: Sequence[str] = FIRST_COLOURS) -> Iterator[Scene]:
    """Scenes start, ..., stop - 1 of a split."""
    return (draw(split, n, colours) for n in range(start, stop))
