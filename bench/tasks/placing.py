"""What is where: boxes with what is in them, two objects of one prompt, maps of depth and edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone
from bench.tasks.base import RENDERED, Case, Figures, Made, Row, Task, caption, drawn, others, pictures, true
from conditioning.inputs import Box
from conditioning.registry import Method
from fidelity import distances
from fidelity.measures import box_overlaps
from world.captions import GROUND_WORDS, SHAPE_WORDS, SIZE_WORDS, SKY_WORDS, Claims, parse
from world.judge import check, read
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
    found = drawn(count, _named_once)
    out = render([scene for _, scene in found], RENDERED)
    made = []
    for i, (n, scene) in enumerate(found):
        boxes = []
        for k, solid in enumerate(scene.solids):
            left, top, right, bottom = out.boxes[i, k].clamp(0, 1).tolist()
            boxes.append(Box(left, top, right, bottom, f"{_name(solid)} {_place(scene)}"))
        prompt = " and ".join(_name(solid) for solid in scene.solids) + " " + _place(scene)
        made.append(Case(n, prompt, {"boxes": boxes}, out.rgb[i : i + 1], told=scene))
    return made


def _named_boxes(case: Case) -> Case:
    """For methods that look for the words of a box in the prompt."""
    named = [replace(box, text=_name(solid)) for box, solid in zip(case.given["boxes"], case.told.solids)]
    return replace(case, given={**case.given, "boxes": named})


def _background(case: Case) -> Case:
    """For methods that give every box a picture of its own: what is left for the prompt is the place."""
    return replace(case, prompt=_place(case.told))


def layout_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    """iou: of each box with the solid of its colour and shape (0 where there is none); any: with any solid."""
    found = []
    for case, reading in zip(cases, read(torch.cat([one.picture for one in made]))):
        boxes = case.given["boxes"]
        anything = [Box(one.left, one.top, one.right, one.bottom) for one in boxes]
        own, any_ = box_overlaps(reading, boxes), box_overlaps(reading, anything)
        found.append({"iou": 100 * float(np.mean(own)), "any": 100 * float(np.mean(any_))})
    return found


def layout_beside(backbone: Backbone) -> list[Row]:
    return [
        Row("no guidance: the prompt alone"),
        others(RENDERED),
        Row("ceiling: the truth", other=true),
    ]


def binding_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    found = drawn(count, lambda scene: len(scene.solids) == 2 and _named_once(scene))
    made = []
    for n, scene in found:
        a, b = (f"{'an' if s.colour[0] in 'aeiou' else 'a'} {s.colour} {SHAPE_WORDS[s.shape][0]}" for s in scene.solids)
        prompt = f"{a} and {b} {_place(scene)}"
        words = ", ".join(SHAPE_WORDS[s.shape][0] for s in scene.solids)
        # A caption of Still Life names all there is: one that names a alone holds where b is not, and both do nowhere.
        given = {"also": f"{b} and {a} {_place(scene)}", "words": words}
        made.append(Case(n, prompt, given, pictures([scene], RENDERED), told=parse(prompt)))
    return made


def binding_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    found = []
    for case, reading in zip(cases, read(torch.cat([one.picture for one in made]))):
        claims: Claims = case.told
        verdict = check(reading, claims)
        found.append(
            {
                "whole": 100.0 * verdict.exact,
                "both": 100.0 * all(verdict.present),
                "each": 100 * float(np.mean(verdict.present)),
            }
        )
    return found


def binding_beside(backbone: Backbone) -> list[Row]:
    return [
        Row("no guidance: the prompt alone"),
        others(RENDERED),
        Row("ceiling: the truth", other=true),
    ]


def control_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    found = drawn(count)
    out = render([scene for _, scene in found], RENDERED)
    made = []
    for i, (n, scene) in enumerate(found):
        maps = {"depth": out.near[i].expand(1, 3, -1, -1), "edges": out.edges[i].float().expand(1, 3, -1, -1)}
        maps["target"] = out.rgb[i : i + 1]
        made.append(Case(n, caption(n, scene), maps, out.rgb[i : i + 1], told=maps))
    return made


def control_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    """depth: mean difference of what the reader sees from that of the truth; f1: of Canny's edges with the truth's."""
    from conditioning.operators.annotators import canny

    found = []
    for case, one in zip(cases, made):
        both = (one.picture, true(case))
        got, wanted = (canny(picture)[:, 0] > 0.5 for picture in both)
        near = [nearness(picture, backbone) for picture in both]
        error = math.nan if near[0] is None else float(distances.depth_error(near[0], near[1]))
        found.append({"depth": error, "f1": 100 * float(distances.edges_f1(got, wanted))})
    return found


def nearness(picture: Tensor, backbone: Backbone) -> Any:
    """What the backbone's reader sees of a picture, (1, 1, h, w); None where it has none."""
    reader = getattr(backbone, "reader", None)
    return None if reader is None else reader(picture).nearness


def control_lines(method: Method, backbone: Backbone) -> list[Row]:
    """With depth, with edges, with both, and each with the maps of another scene."""
    ways: list[tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]]
    if method.name == "energy_guidance":  # reads its target itself
        ways = [((name,), {"energy": name}, ("target",)) for name in ("depth", "edges")]
    else:
        ways = [(names, {}, names) for names in (("depth",), ("edges",), ("depth", "edges"))]
    return [
        Row(f"{method.name}, {' and '.join(names)}{whose}", [(method.name, dict(knobs))], changed=_only(given, places))
        for names, knobs, given in ways
        for places, whose in ((0, ""), (1, ", of others"))
    ]


def _only(names: Sequence[str], places: int) -> Callable[[Sequence[Case]], Sequence[Case]]:
    """Of all that is told only these, from the case so many places before."""

    def changed(cases: Sequence[Case]) -> Sequence[Case]:
        told = [cases[i - places].told for i in range(len(cases))]
        return [replace(case, given={name: own[name] for name in names}) for case, own in zip(cases, told)]

    return changed


def control_beside(backbone: Backbone) -> list[Row]:
    return [Row("no map: the prompt alone"), Row("ceiling: the truth", other=true)]


TASKS = {
    "layout": Task(
        "Layout", ("still-life",), {"iou": "IoU %", "any": "any solid %"},
        layout_cases, layout_measure, layout_beside, ("layout",),
        special={"layout_guidance": _named_boxes, "multidiffusion": _background},
    ),
    "binding": Task(
        "Two objects", ("still-life",), {"whole": "whole %", "both": "both there %", "each": "each there %"},
        binding_cases, binding_measure, binding_beside, (), ("composable", "attend_and_excite"),
    ),
    "control": Task(
        "Control by maps", ("still-life",), {"depth": "depth error", "f1": "edge F1 %"},
        control_cases, control_measure, control_beside, ("visual-signal-to-image",), ("energy_guidance",),
        control_lines,
    ),
}  # fmt: skip
