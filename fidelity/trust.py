"""The value of every measure where the answer is known: for renders of the target scene, and for those of another one.

    python -m fidelity.trust --json fidelity/trust.json

The first is the value of a perfect image, so how far it lies from the end of the range is the measure's own error; the
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
from fidelity.measures import MEASURES, evaluate
from fidelity.target import Target
from world import edits, surfaces
from world.captions import describe
from world.render import Rendering, render
from world.scene import Scene, draw
from world.surfaces import Surfaces

FILE = Path(__file__).parent / "trust.json"
FIRST_SCENE = 30_000  # of the test split: scenes that no other figure uses


@cache
def stored_figures() -> dict[str, dict[str, float]]:
    """measure -> {"own", "other"}, as stored; {} where there is no file."""
    try:
        stored: dict[str, dict[str, float]] = json.loads(FILE.read_text())
    except (OSError, ValueError):
        return {}
    return stored


def target_of(scene: Scene, out: Rendering, i: int, n: int) -> Target:
    """Every condition of scene number n, as the renderer knows it; out: a rendering of which it is row i."""
    rgb = out.rgb[i : i + 1]
    names = [f"a {s.colour} {s.shape}" for s in scene.solids]
    boxes = [
        Box(left, top, right, bottom, name)
        for (left, top, right, bottom), name in zip(out.boxes[i].clamp(0, 1).tolist(), names)
        if right > left
    ]
    operator = BlockAverage((3, *rgb.shape[2:]), 4)
    return Target(
        prompt=describe(scene, np.random.default_rng([n, 2])).text, ground_truth=rgb, source=rgb,
        edges=out.edges[i][None, None].float(), near=out.near[i][None, None], boxes=boxes, colours=rgb,
        observation=Measurement(operator, operator.A(rgb * 2 - 1), 0.0), references=[rgb], world=True,
    )  # fmt: skip


def figures(count: int) -> dict[str, dict[str, float]]:
    """measure -> its mean over `count` test scenes: of the scene's own render, and of that of the scene before."""
    scenes = [draw("test", n) for n in range(FIRST_SCENE, FIRST_SCENE + count)]
    out = render(scenes, 128)
    values_of: dict[str, dict[str, list[float]]] = {}
    for i, scene in enumerate(scenes):
        target = target_of(scene, out, i, FIRST_SCENE + i)
        for whose, k in (("own", i), ("other", i - 1)):
            for key, value in evaluate(out.rgb[k : k + 1] if k >= 0 else out.rgb[-1:], target).items():
                values_of.setdefault(key, {"own": [], "other": []})[whose].append(value)
    values_of["done"] = edit_success(count // 2)
    values_of |= surface_errors(out)
    return {key: {whose: float(np.mean(values)) for whose, values in both.items()} for key, both in values_of.items()}


def surface_errors(out: Rendering) -> dict[str, dict[str, list[float]]]:
    """Predicted surfaces against those of the renderer: the error of the perception model itself."""
    true, predicted = surfaces.surfaces_of_render(out), surfaces.read(out.rgb)
    shuffled = Surfaces(predicted.depth.roll(1, 0), predicted.normals.roll(1, 0), predicted.classes.roll(1, 0))
    errors: dict[str, dict[str, list[float]]] = {}
    for whose, read in (("own", predicted), ("other", shuffled)):
        depth_errors = surfaces.depth_errors(read, true)
        figures = {"abs_rel": depth_errors["abs_rel"], "rmse": depth_errors["rmse"],
                   "normals": surfaces.normal_angle_error(read, true),
                   "miou": 100 * surfaces.mean_iou(read, true)}  # fmt: skip
        for key, values in figures.items():
            errors.setdefault(key, {})[whose] = values[values.isfinite()].tolist()
    return errors


def edit_success(count: int) -> dict[str, list[float]]:
    """The measure "done" of scenes after an edit ("own") and before it ("other")."""
    values: dict[str, list[float]] = {"own": [], "other": []}
    n = FIRST_SCENE
    while len(values["own"]) < count:
        n += 1
        try:
            edited = edits.edit(draw("test", n), np.random.default_rng([n, 6]), ("recolour", "ground", "sky")[n % 3])
        except ValueError:
            continue
        before, after, _ = edits.render_edits([edited], 128)
        texts = [describe(scene, np.random.default_rng([n, 2])).text for scene in (edited.before, edited.after)]
        target = Target(prompt=texts[1], source_prompt=texts[0], world=True)
        for whose, out in (("own", after), ("other", before)):
            value = evaluate(out.rgb, target).get("done")
            if value is not None:
                values[whose].append(value)
    return values


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m fidelity.trust", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=100, help="of the test split (default: 100)")
    parser.add_argument("--quick", action="store_true", help="20 scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small tensors: more threads only cost
    count = 20 if args.quick else args.scenes
    means = figures(count)
    print(f"{'of ' + str(count) + ' test renders':<28}{'own scene':>14}{'another':>14}")
    for key in MEASURES:
        if key in means:
            measure = MEASURES[key]
            print(f"{measure.title:<28}{measure.text(means[key]['own']):>14}{measure.text(means[key]['other']):>14}")
    if args.json:
        rounded = {key: {whose: round(value, 4) for whose, value in both.items()} for key, both in means.items()}
        args.json.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
