"""Spatial control: boxes with what is in them, two objects of one prompt, maps of depth and edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone
from bench.tasks.base import (
    RENDERED,
    Case,
    Figures,
    Output,
    Row,
    Task,
    caption,
    ground_truth_of,
    render_images,
    renders_of_other_scenes,
    test_scenes,
)
from conditioning.inputs import Box
from conditioning.registry import Method
from fidelity import distances
from fidelity.measures import box_overlaps
from world.captions import GROUND_WORDS, SHAPE_WORDS, SIZE_WORDS, SKY_WORDS, Claims, parse
from world.evaluator import check, read
from world.render import render
from world.scene import Scene, Solid


def _name(solid: Solid) -> str:
    return f"a {SIZE_WORDS[solid.size][0]} {solid.colour} {SHAPE_WORDS[solid.shape][0]}"


def _place(scene: Scene) -> str:
    return f"{GROUND_WORDS[scene.ground][0]} {SKY_WORDS[scene.sky][0]}"


def _named_once(scene: Scene) -> bool:
    """Two or three solids, no two of one colour and shape."""
    return 1 < len(scene.solids) < 4 and len({(s.colour, s.shape) for s in scene.solids}) == len(scene.solids)


def layout_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    scenes = test_scenes(count, _named_once)
    out = render([scene for _, scene in scenes], RENDERED)
    cases = []
    for i, (n, scene) in enumerate(scenes):
        boxes = []
        for k, solid in enumerate(scene.solids):
            left, top, right, bottom = out.boxes[i, k].clamp(0, 1).tolist()
            boxes.append(Box(left, top, right, bottom, f"{_name(solid)} {_place(scene)}"))
        prompt = " and ".join(_name(solid) for solid in scene.solids) + " " + _place(scene)
        cases.append(Case(n, prompt, {"boxes": boxes}, out.rgb[i : i + 1], target=scene))
    return cases


def _named_boxes(case: Case) -> Case:
    """For methods that look for the words of a box in the prompt."""
    named = [replace(box, text=_name(solid)) for box, solid in zip(case.inputs["boxes"], case.target.solids)]
    return replace(case, inputs={**case.inputs, "boxes": named})


def _background(case: Case) -> Case:
    """For methods that give every box an image of its own: the prompt then names ground and sky only."""
    return replace(case, prompt=_place(case.target))


def layout_measure(cases: Sequence[Case], outputs: Sequence[Output], backbone: Backbone) -> list[Figures]:
    """iou: of each box with the solid of its colour and shape (0 where there is none); any: with any solid."""
    figures = []
    for case, reading in zip(cases, read(torch.cat([output.image for output in outputs]))):
        boxes = case.inputs["boxes"]
        anything = [Box(box.left, box.top, box.right, box.bottom) for box in boxes]
        own, any_ = box_overlaps(reading, boxes), box_overlaps(reading, anything)
        figures.append({"iou": 100 * float(np.mean(own)), "any": 100 * float(np.mean(any_))})
    return figures


def layout_baselines(backbone: Backbone) -> list[Row]:
    return [
        Row("no guidance: the prompt alone"),
        renders_of_other_scenes(RENDERED),
        Row("ceiling: the ground truth", generate=ground_truth_of),
    ]


def binding_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    scenes = test_scenes(count, lambda scene: len(scene.solids) == 2 and _named_once(scene))
    cases = []
    for n, scene in scenes:
        a, b = (f"{'an' if s.colour[0] in 'aeiou' else 'a'} {s.colour} {SHAPE_WORDS[s.shape][0]}" for s in scene.solids)
        prompt = f"{a} and {b} {_place(scene)}"
        words = ", ".join(SHAPE_WORDS[s.shape][0] for s in scene.solids)
        # A caption of Still Life names all there is: one that names a alone holds where b is not, and both do nowhere.
        inputs = {"also": f"{b} and {a} {_place(scene)}", "words": words}
        cases.append(Case(n, prompt, inputs, render_images([scene], RENDERED), target=parse(prompt)))
    return cases


def binding_measure(cases: Sequence[Case], outputs: Sequence[Output], backbone: Backbone) -> list[Figures]:
    figures = []
    for case, reading in zip(cases, read(torch.cat([output.image for output in outputs]))):
        claims: Claims = case.target
        verdict = check(reading, claims)
        figures.append(
            {
                "whole": 100.0 * verdict.exact,
                "both": 100.0 * all(verdict.present),
                "each": 100 * float(np.mean(verdict.present)),
            }
        )
    return figures


def binding_baselines(backbone: Backbone) -> list[Row]:
    return [
        Row("no guidance: the prompt alone"),
        renders_of_other_scenes(RENDERED),
        Row("ceiling: the ground truth", generate=ground_truth_of),
    ]


def control_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    scenes = test_scenes(count)
    out = render([scene for _, scene in scenes], RENDERED)
    cases = []
    for i, (n, scene) in enumerate(scenes):
        maps = {"depth": out.near[i].expand(1, 3, -1, -1), "edges": out.edges[i].float().expand(1, 3, -1, -1)}
        maps["target"] = out.rgb[i : i + 1]
        cases.append(Case(n, caption(n, scene), maps, out.rgb[i : i + 1], target=maps))
    return cases


def control_measure(cases: Sequence[Case], outputs: Sequence[Output], backbone: Backbone) -> list[Figures]:
    """depth: mean difference of the nearness that the perception model predicts for image and ground truth; f1: of
    their Canny edges."""
    from conditioning.operators.annotators import canny

    figures = []
    for case, output in zip(cases, outputs):
        pair = (output.image, ground_truth_of(case))
        detected, expected = (canny(image)[:, 0] > 0.5 for image in pair)
        near = [nearness(image, backbone) for image in pair]
        error = math.nan if near[0] is None else float(distances.depth_error(near[0], near[1]))
        figures.append({"depth": error, "f1": 100 * float(distances.edges_f1(detected, expected))})
    return figures


def nearness(image: Tensor, backbone: Backbone) -> Any:
    """Nearness of an image by the backbone's perception model, (1, 1, h, w); None where it has none."""
    perception_model = getattr(backbone, "perception_model", None)
    return None if perception_model is None else perception_model(image).nearness


def control_rows(method: Method, backbone: Backbone) -> list[Row]:
    """With depth, with edges, with both, and each with the maps of another scene."""
    variants: list[tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]]
    if method.name == "energy_guidance":  # reads its target itself
        variants = [((name,), {"energy": name}, ("target",)) for name in ("depth", "edges")]
    else:
        variants = [(names, {}, names) for names in (("depth",), ("edges",), ("depth", "edges"))]
    return [
        Row(
            f"{method.name}, {' and '.join(names)}{whose}",
            [(method.name, dict(knobs))],
            change_cases=_only(conditions, places),
        )
        for names, knobs, conditions in variants
        for places, whose in ((0, ""), (1, ", of others"))
    ]


def _only(names: Sequence[str], places: int) -> Callable[[Sequence[Case]], Sequence[Case]]:
    """Only these maps, from the case so many places before."""

    def change_cases(cases: Sequence[Case]) -> Sequence[Case]:
        maps = [cases[i - places].target for i in range(len(cases))]
        return [replace(case, inputs={name: own[name] for name in names}) for case, own in zip(cases, maps)]

    return change_cases


def control_baselines(backbone: Backbone) -> list[Row]:
    return [Row("no map: the prompt alone"), Row("ceiling: the ground truth", generate=ground_truth_of)]


TASKS = {
    "layout": Task(
        "Layout", ("still-life",), {"iou": "IoU %", "any": "any solid %"},
        layout_cases, layout_measure, layout_baselines, ("layout",),
        case_adapters={"layout_guidance": _named_boxes, "multidiffusion": _background},
    ),
    "binding": Task(
        "Two objects", ("still-life",), {"whole": "whole %", "both": "both there %", "each": "each there %"},
        binding_cases, binding_measure, binding_baselines, (), ("composable", "attend_and_excite"),
    ),
    "control": Task(
        "Control by maps", ("still-life",), {"depth": "depth error", "f1": "edge F1 %"},
        control_cases, control_measure, control_baselines, ("visual-signal-to-image",), ("energy_guidance",),
        control_rows,
    ),
}  # fmt: skip
