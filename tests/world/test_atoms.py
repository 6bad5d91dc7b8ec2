"""Claims one by one against what is there."""

import numpy as np
import pytest

from world.atoms import KINDS, SceneView, atoms, match
from world.captions import describe, parse
from world.evaluator import check, read
from world.render import render
from world.scene import Scene, Solid, random_scene

PAIR = Scene(
    (Solid("cube", "red", "large", "matte", -1.5, 0.0), Solid("cube", "red", "small", "metal", 1.0, 1.0)),
    "grass",
    "night",
)


def false(text: str, scene: Scene = PAIR) -> list[str]:
    return [f"{atom.kind}: {atom.text}" for atom in atoms(parse(text), SceneView(scene)) if not atom.true]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("two red cubes on grass at night", []),
        ("a large matte red cube to the left of a small shiny red cube, no ball", []),
        ("a red cube on the right and a red cube on the left", []),
        ("two blue cubes", ["colour: blue cube", "colour: blue cube", "count: 2 blue cube"]),
        ("three cubes", ["solid: cube", "count: 3 cube", "count: 3 solids"]),
        ("a cube", ["count: 1 solids"]),
        ("two cubes on sand by day, nothing red", ["absent: no red", "ground: sand", "sky: day"]),
        ("a small cube to the left of a large cube", ["relation: small cube left large cube"]),
        ("a tiny cube and another tiny cube", ["size: small cube"]),
    ],
)
def test_what_is_wrong_is_named(text: str, wrong: list[str]) -> None:
    assert false(text) == wrong


def test_solids_are_matched_by_all_that_is_said_of_them() -> None:
    view = SceneView(PAIR)
    assert match(view, parse("a small cube and a large cube")) == (1, 0)
    assert match(view, parse("a red cube on the right and a red cube on the left")) == (1, 0)
    assert match(view, parse("a ball between a cube and a cube"))[1:] != (None, None)


def test_a_caption_of_another_scene_is_mostly_false() -> None:
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng, 1 + n % 4) for n in range(120)]
    claims = [describe(scene, rng, "any").claims for scene in scenes]
    own = [
        atom for scene, own_claims in zip(scenes, claims, strict=True) for atom in atoms(own_claims, SceneView(scene))
    ]
    others = [
        a for scene, own_claims in zip(scenes[1:], claims, strict=False) for a in atoms(own_claims, SceneView(scene))
    ]
    assert all(atom.true for atom in own) and {atom.kind for atom in own} <= set(KINDS)
    assert np.mean([atom.true for atom in others]) < 0.35


def test_the_evaluator_finds_the_atoms_of_renders_true(drawn) -> None:
    """Of captions of every kind: what is said of two solids or of a place is read from images as well."""
    scenes, rng = drawn("test", 150), np.random.default_rng(0)
    claimed = [describe(scene, rng, "any").claims for scene in scenes]
    verdicts = [
        check(reading, claims).atoms for reading, claims in zip(read(render(scenes, 128).rgb), claimed, strict=True)
    ]
    right = {kind: [atom.true for verdict in verdicts for atom in verdict if atom.kind == kind] for kind in KINDS}
    assert all(np.mean(values) > 0.9 for values in right.values() if len(values) > 10), right
    assert all(right[kind] for kind in ("relation", "place", "between", "count", "absent"))
