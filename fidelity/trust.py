"""What every measure gives where the answer is known: for the renders of the very scene, and for those of another one.

    python -m fidelity.trust --json fidelity/trust.json

The first is what a perfect picture gets, so how far it lies from the end of the range is the measure's own error; the
second is chance. The page shows both beside every figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from conditioning.inputs import Box
from conditioning.operators import BlockAverage, Measurement
from fidelity.measures import MEASURES, Told, measured
from world import edits, surfaces
from world.captions import describe
from world.render import Rendering, render
from world.scene import Scene, draw
from world.surfaces import Surfaces

FILE = Path(__file__).parent / "trust.json"
FIRST = 30_000  # of the test split: scenes that no other figure is measured on


@cache
def known() -> dict[str, dict[str, float]]:
    """measure -> {"own", "other"}, as kept; {} where there is no file."""
    try:
        told: dict[str, dict[str, float]] = json.loads(FILE.read_text())
    except (OSError, ValueError):
        return {}
    return told


def told_of(scene: Scene, out: Rendering, i: int, n: int) -> Told:
    """All that a picture of this scene could be told, as the renderer knows it; out: a rendering whose row i it is."""
    rgb = out.rgb[i : i + 1]
    names = [f"a {s.colour} {s.shape}" for s in scene.solids]
    boxes = [
        Box(left, top, right, bottom, name)
        for (left, top, right, bottom), name in zip(out.boxes[i].clamp(0, 1).tolist(), names)
        if right > left
    ]
    operator = BlockAverage((3, *rgb.shape[2:]), 4)
    return Told(
        prompt=describe(scene, np.random.default_rng([n, 2])).text, truth=rgb, source=rgb,
        edges=out.edges[i][None, None].float(), near=out.near[i][None, None], boxes=boxes, colours=rgb,
        measured=Measurement(operator, operator.A(rgb * 2 - 1), 0.0), references=[rgb], world=True,
    )  # fmt: skip


def figures(count: int) -> dict[str, dict[str, float]]:
    """measure -> mean over `count` test scenes of what the render of the scene gets, and that of the scene before."""
    scenes = [draw("test", n) for n in range(FIRST, FIRST + count)]
    out = render(scenes, 128)
    found: dict[str, dict[str, list[float]]] = {}
    for i, scene in enumerate(scenes):
        told = told_of(scene, out, i, FIRST + i)
        for whose, k in (("own", i), ("other", i - 1)):
            for key, value in measured(out.rgb[k : k + 1] if k >= 0 else out.rgb[-1:], told).items():
                found.setdefault(key, {"own": [], "other": []})[whose].append(value)
    found["done"] = edits_done(count // 2)
    found |= surfaces_read(out)
    return {key: {whose: float(np.mean(values)) for whose, values in told.items()} for key, told in found.items()}


def surfaces_read(out: Rendering) -> dict[str, dict[str, list[float]]]:
    """What is read of the surfaces against what the renderer knows of them: the network's own error."""
    true, seen = surfaces.of_render(out), surfaces.read(out.rgb)
    others = Surfaces(seen.depth.roll(1, 0), seen.normals.roll(1, 0), seen.classes.roll(1, 0))
    found: dict[str, dict[str, list[float]]] = {}
    for whose, one in (("own", seen), ("other", others)):
        gaps = surfaces.depth_gaps(one, true)
        figures = {"abs_rel": gaps["abs_rel"], "rmse": gaps["rmse"], "normals": surfaces.normals_angle(one, true),
                   "miou": 100 * surfaces.mean_iou(one, true)}  # fmt: skip
        for key, values in figures.items():
            found.setdefault(key, {})[whose] = values[values.isfinite()].tolist()
    return found


def edits_done(count: int) -> dict[str, list[float]]:
    """The measure "done" of scenes after an edit, and before it."""
    told: dict[str, list[float]] = {"own": [], "other": []}
    n = FIRST
    while len(told["own"]) < count:
        n += 1
        try:
            one = edits.edit(draw("test", n), np.random.default_rng([n, 6]), ("recolour", "ground", "sky")[n % 3])
        except ValueError:
            continue
        before, after, _ = edits.pictures([one], 128)
        texts = [describe(scene, np.random.default_rng([n, 2])).text for scene in (one.before, one.after)]
        asked = Told(prompt=texts[1], source_prompt=texts[0], world=True)
        for whose, out in (("own", after), ("other", before)):
            value = measured(out.rgb, asked).get("done")
            if value is not None:
                told[whose].append(value)
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m fidelity.trust", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=100, help="of the test split (default: 100)")
    parser.add_argument("--quick", action="store_true", help="20 scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small tensors: more threads only cost
    count = 20 if given.quick else given.scenes
    told = figures(count)
    print(f"{'of ' + str(count) + ' test renders':<28}{'own scene':>14}{'another':>14}")
    for key in MEASURES:
        if key in told:
            one = MEASURES[key]
            print(f"{one.title:<28}{one.text(told[key]['own']):>14}{one.text(told[key]['other']):>14}")
    if given.json:
        rounded = {key: {whose: round(value, 4) for whose, value in one.items()} for key, one in told.items()}
        given.json.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
