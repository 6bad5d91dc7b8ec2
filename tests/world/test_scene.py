"""Scenes: repeatable, well placed, split cleanly, and the same after a round trip through JSON."""

import hashlib
import json
import math

import numpy as np
import pytest

from world.scene import (
    BOUND,
    COLOURS,
    FIRST_COLOURS,
    FOOTPRINT,
    GROUNDS,
    HALF_HEIGHT,
    HELD_OUT,
    MATERIALS,
    SHAPES,
    SIZES,
    SKIES,
    Camera,
    Scene,
    draw,
    scenes,
    well_placed,
)

FIRST = ("sand", "night", ("torus", "purple", "small", "matte"))
FIRST_X = -1.7238609532655083
PINNED = {  # sha256 of the JSON of scenes 0, ..., 59: the shipped networks were trained, and are measured, on these
    "train": "c056151a431ae195e5a01812c91839b5ab04553a29d0a919a794e9a8e3fc1382",
    "validation": "e5f29bb3d1972dea697df623340178814772c8fdcec2bf3537c2d3b8c7227835",
    "test": "af90285fd414e262d41153b484a567e8c6c609a00e9009d9ba1a2dafdc9da291",
}


def test_what_the_world_has() -> None:
    assert (len(SHAPES), len(COLOURS), len(SIZES), len(MATERIALS), len(GROUNDS), len(SKIES)) == (6, 12, 2, 2, 5, 4)
    assert set(HALF_HEIGHT) == set(BOUND) == set(FOOTPRINT) == set(SHAPES)
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)


def test_scene_n_is_scene_n() -> None:
    assert draw("test", 5) == draw("test", 5) != draw("test", 6)
    assert draw("train", 5) != draw("test", 5)
    assert list(scenes("train", 3, 6)) == [draw("train", n) for n in (3, 4, 5)]
    first = draw("train", 7)  # the very numbers: a render on disk depends on them
    attributes = (first.ground, first.sky, *((s.shape, s.colour, s.size, s.material) for s in first.solids))
    assert attributes == FIRST, attributes
    assert first.solids[0].x == pytest.approx(FIRST_X, abs=1e-12)


def test_scenes_of_the_first_colours_stay_as_they_were() -> None:
    for split, known in PINNED.items():
        serialized = json.dumps([draw(split, n).to_json() for n in range(60)])
        assert hashlib.sha256(serialized.encode()).hexdigest() == known, split


def test_scenes_of_all_colours() -> None:
    some = list(scenes("train", 0, 300, tuple(COLOURS)))
    assert {s.colour for scene in some for s in scene.solids} == set(COLOURS)
    assert draw("train", 5, tuple(COLOURS)) == draw("train", 5, tuple(COLOURS))
    assert not HELD_OUT & {(s.colour, s.shape) for scene in some for s in scene.solids}


def test_held_out_pairs_are_shown_in_test_only(drawn) -> None:
    seen = {
        split: [(s.colour, s.shape) for scene in drawn(split, count) for s in scene.solids]
        for split, count in (("train", 600), ("validation", 400), ("test", 600))
    }
    assert not HELD_OUT & set(seen["train"]) and not HELD_OUT & set(seen["validation"])
    assert set(seen["test"]) >= HELD_OUT
    share = np.mean([pair in HELD_OUT for pair in seen["test"]])
    assert 0.08 < share < 0.18
    assert len(set(seen["train"])) == len(SHAPES) * len(FIRST_COLOURS) - len(HELD_OUT)


def test_scenes_are_well_placed_and_use_all_that_there_is(drawn) -> None:
    some = drawn("train", 600)
    assert all(well_placed(scene) for scene in some)
    counts = np.bincount([len(scene.solids) for scene in some], minlength=5)[1:] / len(some)
    np.testing.assert_allclose(counts, (0.2, 0.4, 0.27, 0.13), atol=0.06)
    solids = [s for scene in some for s in scene.solids]
    for name, values in {"shape": SHAPES, "colour": FIRST_COLOURS, "size": SIZES, "material": MATERIALS}.items():
        share = [np.mean([getattr(s, name) == value for s in solids]) for value in values]
        assert min(share) > 0.6 / len(share), name
    assert {s.ground for s in some} == set(GROUNDS) and {s.sky for s in some} == set(SKIES)


def test_solids_stand_apart(drawn) -> None:
    for scene in drawn("test", 200):
        for i, a in enumerate(scene.solids):
            for b in scene.solids[:i]:
                assert math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius


def test_round_trip_through_json(drawn) -> None:
    for scene in drawn("test", 50):
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_projection() -> None:
    camera = Camera(x=0.2, distance=5.5, height=2.2, look_x=0.1, look_z=0.5)
    u, v, depth = camera.project((0.1, 0.0, 0.5))  # the point it looks at
    assert (u, v) == pytest.approx((0, 0), abs=1e-9)
    assert depth == pytest.approx(math.dist(camera.position, (0.1, 0.0, 0.5)))
    assert camera.project((1.0, 0.0, 0.5))[0] > 0.1 and camera.project((0.1, 0.0, 1.5))[1] > 0.1
    axes = np.array(camera.axes)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


def test_errors_in_words() -> None:
    with pytest.raises(ValueError, match="allowed are train, validation, test"):
        draw("dev", 0)
    with pytest.raises(ValueError, match="must be 0 or more"):
        draw("train", -1)
