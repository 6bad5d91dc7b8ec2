"""Editing: a rendered picture after an edit that words can say, against the scene exactly so edited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from backbones.base import Backbone
from bench import measures
from bench.tasks.base import RENDERED, Case, Figures, Made, Row, Task, decoded, true
from conditioning.registry import Method
from world import edits
from world.captions import GROUND_WORDS, SHAPE_WORDS, SKY_WORDS
from world.edits import Edit
from world.judge import Reading, read
from world.scene import Scene, draw

KINDS = ("recolour", "shape", "material", "size", "ground", "sky")
INVERTED = {
    "semantic_guidance": "edit_friendly_ddpm"
}  # which inversion a method is run under; others: direct_inversion


def edit_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    """Edits of what can be said by another word of the same caption, as many of each kind."""
    made: list[Case] = []
    n = 0
    while len(made) < count:
        scene, rng = draw("test", n), np.random.default_rng([n, 6])
        try:
            one = edits.edit(scene, rng, KINDS[len(made) % len(KINDS)], held_out=True)
        except ValueError:  # this scene allows none of this kind
            n += 1
            continue
        before, after, changed = edits.pictures([one], RENDERED)
        source, target = (_aligned(n, scene) for scene in (one.before, one.after))
        given = {"image": before.rgb, "prompt": source, "edit": target}
        made.append(Case(n, target, given, after.rgb, told=(one, changed[:, None])))
        n += 1
    return made


def _aligned(n: int, scene: Scene) -> str:
    """A caption that says all, in the same words for what is the same."""
    named = []
    for i in sorted(range(len(scene.solids)), key=lambda i: scene.place(i)[0]):
        s = scene.solids[i]
        named.append(f"a {s.size} {s.material} {s.colour} {SHAPE_WORDS[s.shape][0]}")
    listed = named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]
    return f"{listed} {GROUND_WORDS[scene.ground][0]} {SKY_WORDS[scene.sky][0]}"


def edit_lines(method: Method, backbone: Backbone) -> list[Row]:
    """A method that takes no picture is run under an inversion, which gives it the picture."""
    if any(kind.kind == "image" for kind in method.inputs.values()):
        return [Row(method.name, [(method.name, {})])]
    inversion = INVERTED.get(method.name, "direct_inversion")
    return [Row(f"{method.name}, {inversion}", [(inversion, {}), (method.name, {})])]


def edit_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    readings = read(torch.cat([one.picture for one in made]))
    found = []
    for case, one, reading in zip(cases, made, readings):
        edit, changed = case.told
        found.append(
            {
                "done": 100.0 * edit_done(edit, reading),
                "kept": float(measures.psnr(one.picture, case.given["image"], ~changed)),
                "psnr": float(measures.psnr(one.picture, true(case))),
                "ssim": float(measures.ssim(one.picture, true(case))),
            }
        )
    return found


def edit_done(edit: Edit, reading: Reading) -> bool:
    """Whether the solid in the edited place, or the whole scene, now is as the edit says."""
    if edit.kind in ("ground", "sky"):
        return getattr(reading, edit.kind) == getattr(edit.after, edit.kind)
    index = edit.subject[1]
    assert index is not None
    u, v, _ = edit.after.place(index)
    near = sorted((math.hypot(seen.u - u, seen.v - v), i) for i, seen in enumerate(reading.solids))
    if not near or near[0][0] > 0.2:
        return False
    attribute = "colour" if edit.kind == "recolour" else edit.kind
    return getattr(reading.solids[near[0][1]], attribute) == getattr(edit.after.solids[index], attribute)


def edit_beside(backbone: Backbone) -> list[Row]:
    return [
        Row("do nothing", other=lambda case: case.given["image"]),
        Row("chance: the new prompt alone"),
        decoded(backbone),
    ]


def _from_the_source(case: Case) -> Case:
    """For a method that steers the run of the source prompt towards the new one."""
    return replace(case, prompt=case.given["prompt"])


def _told_where(case: Case) -> Case:
    return replace(case, given={**case.given, "mask": case.told[1].float()})


TASKS = {
    "edit": Task(
        "Editing", ("still-life",), {"done": "done %", "kept": "kept dB", "psnr": "PSNR", "ssim": "SSIM"},
        edit_cases, edit_measure, edit_beside, ("editing",), ("blended_latent",), edit_lines,
        {"semantic_guidance": _from_the_source, "blended_latent": _told_where},
    )
}  # fmt: skip
