"""Editing: a rendered picture after an edit that words can say, against the scene exactly so edited; and a picture that
the network made itself, whose edit should leave what lies outside of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from backbones.base import Backbone
from bench.tasks.base import RENDERED, Case, Figures, Made, Row, Stack, Task, decoded, true
from conditioning.compose import compose
from conditioning.registry import METHODS, Method
from fidelity import distances
from samplers import SAMPLERS
from samplers.flow import Noise, run
from samplers.schedules import native
from world import edits
from world.captions import GROUND_WORDS, SHAPE_WORDS, SKY_WORDS
from world.edits import Edit
from world.judge import Detection, SceneReading, read
from world.scene import Scene, draw

KINDS = ("recolour", "shape", "material", "size", "ground", "sky")
GIVE_BACK = ("ddim_inversion", "null_text", "edict", "edit_friendly_ddpm")  # the source, under its own prompt
OF_SOLIDS = KINDS[:4]
BESIDE = ("prompt_to_prompt", "masactrl", "plug_and_play", "semantic_guidance")  # these need no picture of others
MARGIN = 0.25  # of the longer side of a solid's box: so far its shadow and its mirror picture count as the solid
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
        before, after, changed = edits.render_edits([one], RENDERED)
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
        lines = [Row(method.name, [(method.name, {})])]
        if method.name in GIVE_BACK:  # under the source prompt: what is kept is to be that of the ceiling
            lines.append(Row(f"{method.name}, nothing edited", lines[0].stack, changed=_unedited))
        return lines
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
                "kept": float(distances.psnr(one.picture, case.given["image"], ~changed)),
                "psnr": float(distances.psnr(one.picture, true(case))),
                "ssim": float(distances.ssim(one.picture, true(case))),
            }
        )
    return found


def edit_done(edit: Edit, reading: SceneReading) -> bool:
    """Whether the solid in the edited place, or the whole scene, now is as the edit says."""
    if edit.kind in ("ground", "sky"):
        return getattr(reading, edit.kind) == getattr(edit.after, edit.kind)
    assert edit.subject[1] is not None
    u, v, _ = edit.after.place(edit.subject[1])
    return _is_now(edit, reading, u, v)


def _is_now(edit: Edit, reading: SceneReading, u: float, v: float) -> bool:
    """Whether the solid nearest to a place is as the edit says."""
    assert edit.subject[1] is not None
    near = sorted((math.hypot(seen.u - u, seen.v - v), i) for i, seen in enumerate(reading.solids))
    if not near or near[0][0] > 0.2:
        return False
    attribute = _attribute(edit)
    return getattr(reading.solids[near[0][1]], attribute) == getattr(edit.after.solids[edit.subject[1]], attribute)


def _attribute(edit: Edit) -> str:
    return "colour" if edit.kind == "recolour" else edit.kind


def edit_beside(backbone: Backbone) -> list[Row]:
    return [
        Row("do nothing", other=lambda case: case.given["image"]),
        Row("chance: the new prompt alone"),
        decoded(backbone),
    ]


def _from_the_source(case: Case) -> Case:
    """For a method that steers the run of the source prompt towards the new one."""
    return replace(case, prompt=case.given["prompt"])


def _unedited(cases: Sequence[Case]) -> list[Case]:
    return [_from_the_source(case) for case in cases]


def _told_where(case: Case) -> Case:
    return replace(case, given={**case.given, "mask": case.told[1].float()})


# ---- pictures of the network's own -----------------------------------------------------------------------------


def own_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    """Edits of pictures that the network makes of the source prompt, as the task runs it, from the number as its seed.

    Only what the judge finds in the picture as the prompt has it is edited. With other --steps, or another --seed, the
    source is another picture, and what is kept of it tells nothing.
    """
    made: list[Case] = []
    n = 0
    while len(made) < count:
        found: list[tuple[int, Edit]] = []
        while len(found) < count - len(made):
            kind = OF_SOLIDS[n % len(OF_SOLIDS)]
            try:
                found.append((n, edits.edit(draw("test", n), np.random.default_rng([n, 6]), kind, held_out=True)))
            except ValueError:  # this scene allows none of this kind
                pass
            n += 1
        numbers = [number for number, _ in found]
        sources = own_pictures(backbone, [_aligned(number, one.before) for number, one in found], numbers)
        for (number, one), picture, reading in zip(found, sources.split(1), read(sources)):
            seen = as_said(one, reading)
            if seen is not None:
                given = {"image": picture, "prompt": _aligned(number, one.before)}
                told = (one, seen, beside(seen, picture.shape[-2:]))
                made.append(Case(number, _aligned(number, one.after), given, told=told))
        if n > 100 * count:
            raise ValueError(f"{backbone.id} draws too few of the solids it is told: {len(made)} of {n} pictures")
    return made


def own_pictures(backbone: Backbone, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1], of guided runs by Euler's steps."""
    cond, null = backbone.encode_prompt(prompts), backbone.encode_prompt([""] * len(prompts))
    sigmas, noise = native(OWN.steps, backbone.sigmas), Noise(seeds)
    stack: Stack = [("cfg", {"scale": OWN.scale})] if cond else []
    D, sampler, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=backbone)
    latent = backbone.latent_shape(backbone.default_size, backbone.default_size)
    x = noise(torch.empty(len(prompts), *latent)) * math.sqrt(1 + sigmas[0] ** 2)
    with torch.no_grad():
        return backbone.decode(run(sampler(D, x, sigmas, cond, noise), backbone.denoise)).float().cpu()


def as_said(one: Edit, reading: SceneReading) -> Detection | None:
    """The solid to be edited, where the picture has just one such as the prompt says."""
    assert one.subject[0] is not None
    solid, kind = one.before.solids[one.subject[0]], _attribute(one)
    like = [s for s in reading.solids if all(getattr(s, a) == getattr(solid, a) for a in {"colour", "shape", kind})]
    return like[0] if len(like) == 1 else None


def beside(seen: Detection, size: Sequence[int]) -> torch.Tensor:
    """(1, 1, H, W) bool: what lies outside of a solid's box and its margin."""
    x0, y0, x1, y1 = seen.box
    margin = MARGIN * max(x1 - x0, y1 - y0)
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    inside = ((y > y0 - margin) & (y < y1 + margin))[:, None] & ((x > x0 - margin) & (x < x1 + margin))
    return ~inside[None, None]


def own_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    found = []
    for case, one, reading in zip(cases, made, read(torch.cat([one.picture for one in made]))):
        edit, seen, outside = case.told
        done = _is_now(edit, reading, seen.u, seen.v)
        found.append({"done": 100.0 * done, "kept": float(distances.psnr(one.picture, case.given["image"], outside))})
    return found


def own_beside(backbone: Backbone) -> list[Row]:
    return [Row("do nothing", other=lambda case: case.given["image"]), Row("plain: the new prompt, the same seed")]


def own_lines(method: Method, backbone: Backbone) -> list[Row]:
    lines = [Row(method.name, [(method.name, {})])]
    if "only" in METHODS[method.name].inputs:
        lines.append(Row(f"{method.name}, only the solid", lines[0].stack, changed=_only_the_solid))
    return lines


def _only_the_solid(cases: Sequence[Case]) -> list[Case]:
    found = []
    for case in cases:
        one: Edit = case.told[0]
        solids = [scene.solids[i] for scene, i in zip((one.before, one.after), one.subject) if i is not None]
        words = ", ".join(dict.fromkeys(f"{s.colour} {SHAPE_WORDS[s.shape][0]}" for s in solids))
        found.append(replace(case, given={**case.given, "only": words}))
    return found


OWN = Task(
    "Editing of its own pictures", ("still-life",), {"done": "done %", "kept": "kept dB"},
    own_cases, own_measure, own_beside, (), BESIDE, own_lines, {"semantic_guidance": _from_the_source},
)  # fmt: skip
TASKS = {
    "edit": Task(
        "Editing", ("still-life",), {"done": "done %", "kept": "kept dB", "psnr": "PSNR", "ssim": "SSIM"},
        edit_cases, edit_measure, edit_beside, ("editing",), ("blended_latent",), edit_lines,
        {"semantic_guidance": _from_the_source, "blended_latent": _told_where},
    ),
    "edit-own": OWN,
}  # fmt: skip
