"""One measure for each condition: title, unit, direction, range, and its value for an image and its target.

    evaluate(image, Target(prompt="a red cube on grass", world=True))      {"solids": 100.0, "relations": 0.0, ...}

A measure that needs the evaluators of the rendered world (`world=True`) is defined for images of that world only; for
those of other checkpoints it is left out, and the general ones stay. `left_out` says in words which, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.inputs import Box
from fidelity import distances, sources
from fidelity.clip import HOW_TO_ENABLE
from fidelity.target import Perception, Target, ground_truth_perception


@dataclass(frozen=True)
class Measure:
    """better: "more" or "less". low, high: the range of values; math.inf where there is no end. of: what it compares
    with, in words. compute(image (1, 3, H, W), target, perception) -> its value, None where the target lacks the
    condition; perception: the outputs of the evaluators, computed once for all measures."""

    key: str
    title: str
    unit: str
    better: str
    low: float
    high: float
    of: str
    world: bool
    compute: Callable[[Tensor, Target, Perception], float | None] = field(repr=False)

    @property
    def digits(self) -> int:
        """Decimal places, as the page writes a value."""
        return {"%": 0, "dB": 1, "°": 1}.get(self.unit, 3)

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.{self.digits}f}" + (f" {self.unit}" if self.unit else "")


MEASURES: dict[str, Measure] = {}


def measure(
    key: str, title: str, unit: str, better: str, span: tuple[float, float], of: str, world: bool = False
) -> Callable[
    [Callable[[Tensor, Target, Perception], float | None]], Callable[[Tensor, Target, Perception], float | None]
]:
    """Registers a function in MEASURES, in the order of this file."""

    def register(
        compute: Callable[[Tensor, Target, Perception], float | None],
    ) -> Callable[[Tensor, Target, Perception], float | None]:
        MEASURES[key] = Measure(key, title, unit, better, *span, of, world, compute)
        return compute

    return register


def evaluate(image: Tensor, target: Target, perception: Perception | None = None) -> dict[str, float]:
    """Every measure that is defined for an image (1, 3, H, W) in [0, 1] and its target. perception: of this image,
    where it is needed elsewhere too. Raises ValueError for another shape."""
    if image.dim() != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"one image is measured at a time, (1, 3, H, W), and this is {tuple(image.shape)}.")
    perception, values = perception or Perception(image), {}
    with torch.no_grad():
        for entry in MEASURES.values():
            if (entry.world and not target.world) or entry.key in target.guided_by:
                continue
            value = entry.compute(image, target, perception)
            if value is not None and math.isfinite(value):
                values[entry.key] = float(value)
    return values


def left_out(target: Target, image: Tensor) -> str:
    """Why some measures of an image (1, 3, H, W) are not there, in words; "" where none is left out."""
    sentences = []
    if target.world and image.shape[2] != image.shape[3]:
        titles = ", ".join(MEASURES[key].title for key in ("right", "atoms", "well_formed"))
        sentences.append(f"{titles} are left out: solids are compared with the renderer's in square images only.")
    if not target.world:
        sentences.append(
            "Measures of the rendered world (solids, depth, boxes) are left out: this model generates other images."
        )
        sentences += [HOW_TO_ENABLE] if target.prompt and target.clip is None else []
    if target.text_score_problem:
        sentences.append(f"{MEASURES['text'].title} is left out: its network {target.text_score_problem}.")
    names = [MEASURES[key].title for key in MEASURES if key in target.guided_by]
    if names:
        sentences.append(f"Left out, as the run was guided by it: {', '.join(names)}.")
    return " ".join(sentences)


# ---- the prompt ---------------------------------------------------------------------------------------------------


def _verdict(target: Target, perception: Perception) -> Any:
    from world import captions, evaluator

    claims = captions.parse(target.prompt)
    return evaluator.check(perception.reading, claims) if claims.anything else None


def _percent(verdicts: Sequence[bool | None]) -> float | None:
    known = [verdict for verdict in verdicts if verdict is not None]
    return 100 * sum(known) / len(known) if known else None


def _named_and_formed(verdict: Any, formed: Sequence[bool]) -> list[bool]:
    """Of each solid named: there, whatever its colour, and well formed."""
    return [i is not None and formed[i] for i in verdict.match]


@measure("atoms", "Claims right", "%", "more", (0, 100), "every claim of the prompt by itself; a solid that is named "
         "has to be well formed", world=True)  # fmt: skip
def atoms(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Accuracy per atom, as in GenEval 2 (arXiv 2512.16853); caption accuracy is that per prompt."""
    verdict = _verdict(target, perception)
    if verdict is None or perception.formed is None:
        return None
    formed = iter(_named_and_formed(verdict, perception.formed))  # for each an atom of the kind "solid", in their order
    return _percent([atom.true and (atom.kind != "solid" or next(formed)) for atom in verdict.atoms])


@measure("right", "Caption accuracy", "%", "more", (0, 100), "the prompt, all of it, its solids well formed",
         world=True)  # fmt: skip
def right(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Not under the key of 0.1, "caption", which took lumps for solids: cells measured then are not ranked with it."""
    verdict = _verdict(target, perception)
    if verdict is None or perception.formed is None:
        return None
    return 100.0 * (verdict.exact and all(_named_and_formed(verdict, perception.formed)))


@measure("well_formed", "Well-formed solids", "%", "more", (0, 100), "each solid seen, with the best fit of the "
         "renderer's own", world=True)  # fmt: skip
def well_formed(image: Tensor, target: Target, perception: Perception) -> float | None:
    """By `world.well_formed`; of images that are to show solids: those with a prompt or a ground truth."""
    if (not target.prompt and target.ground_truth is None) or perception.formed is None:
        return None
    return _percent(perception.formed)


@measure("solids", "Solid accuracy", "%", "more", (0, 100), "colour and shape of each solid named, lump or not",
         world=True)  # fmt: skip
def solids(image: Tensor, target: Target, perception: Perception) -> float | None:
    verdict = _verdict(target, perception)
    return None if verdict is None else _percent(verdict.present)


@measure("relations", "Relation accuracy", "%", "more", (0, 100), "left, right, in front, behind, next to", world=True)
def relations(image: Tensor, target: Target, perception: Perception) -> float | None:
    verdict = _verdict(target, perception)
    return None if verdict is None else _percent(verdict.relations)


@measure("place", "Ground and sky accuracy", "%", "more", (0, 100), "those that the prompt names", world=True)
def place(image: Tensor, target: Target, perception: Perception) -> float | None:
    verdict = _verdict(target, perception)
    return None if verdict is None else _percent((verdict.ground, verdict.sky))


@measure("text", "Text score", "", "more", (-math.inf, math.inf), "the prompt, by an image-text network")
def text(image: Tensor, target: Target, perception: Perception) -> float | None:
    if target.text_score is None or target.text_score_problem or not target.prompt:
        return None
    return float(target.text_score(image, target.prompt))


@measure("clip", "CLIP score", "", "more", (0, 100), "the prompt, by the CLIP on this machine")
def clip_score(image: Tensor, target: Target, perception: Perception) -> float | None:
    return None if target.clip is None or not target.prompt else float(target.clip(image, target.prompt))


# ---- a source, edited ---------------------------------------------------------------------------------------------


@measure(
    "done", "Edit success", "%", "more", (0, 100), "what the prompt claims and the source prompt does not", world=True
)
def done(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Accuracy of the changed claims: solids that the source prompt lacks, another ground, another sky."""
    return None if not target.source_prompt else _percent(sources.changes(target, perception))


@measure("inside", "Caption inside", "%", "more", (0, 100), "what the prompt names and the source does not show "
         "outside of the mask", world=True)  # fmt: skip
def inside(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Of the solids that are to stand in the mask: there, in it, and well formed."""
    if target.source is None or target.mask is None or target.source_prompt:
        return None
    return _percent(sources.filled(target, perception))


@measure("background", "Background kept", "%", "more", (0, 100), "pixels of the source that stay as they are, outside "
         "of the mask if there is one")  # fmt: skip
def background(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Share of the pixels of which no channel changes by more than a tenth of its range."""
    outside = sources.outside(target)
    if target.source is None or outside is None:
        return None
    return 100 * float(((image - target.source).abs().amax(1, keepdim=True) <= 0.1)[outside].double().mean())


@measure("kept", "Background PSNR", "dB", "more", (0, 100), "PSNR to the source, outside of the mask if there is one")
def kept(image: Tensor, target: Target, perception: Perception) -> float | None:
    outside = sources.outside(target)
    return None if target.source is None or outside is None else float(distances.psnr(image, target.source, outside))


@measure("done_and_kept", "Done and kept", "%", "more", (0, 100), "what is to change, and what is to stay: the "
         "harmonic mean of edit success or caption inside, and of background kept", world=True)  # fmt: skip
def done_and_kept(image: Tensor, target: Target, perception: Perception) -> float | None:
    """0 where nothing is done, and where nothing is kept: an image of the prompt alone has done all and kept little."""
    of = done if target.source_prompt else inside
    asked, stays = of(image, target, perception), background(image, target, perception)
    if asked is None or stays is None:
        return None
    return 2 * asked * stays / (asked + stays) if asked + stays else 0.0


# ---- a ground truth -----------------------------------------------------------------------------------------------


@measure("psnr", "PSNR", "dB", "more", (0, 100), "the ground truth, inside of the mask if there is one")
def psnr(image: Tensor, target: Target, perception: Perception) -> float | None:
    if target.ground_truth is None:
        return None
    inside = (
        None
        if target.mask is None or target.source is None or not bool((target.mask > 0.5).any())
        else target.mask > 0.5
    )
    return float(distances.psnr(image, target.ground_truth, inside))


@measure("ssim", "SSIM", "", "more", (-1, 1), "the ground truth")
def ssim(image: Tensor, target: Target, perception: Perception) -> float | None:
    return None if target.ground_truth is None else float(distances.ssim(image, target.ground_truth))


@measure("perceptual", "Perceptual distance", "", "less", (0, math.inf), "the ground truth, in evaluator features",
         world=True)  # fmt: skip
def perceptual(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Root of the mean squared difference of features that have deviation 1 over renders."""
    return None if target.ground_truth is None else _feature_distance(perception, ground_truth_perception(target))


def _feature_distance(a: Perception, b: Perception) -> float:
    return float((a.features - b.features).square().mean().sqrt())


@measure("abs_rel", "Depth AbsRel", "", "less", (0, math.inf), "the depth of the ground truth", world=True)
def abs_rel(image: Tensor, target: Target, perception: Perception) -> float | None:
    return _depth(target, perception, "abs_rel")


@measure("rmse", "Depth RMSE", "m", "less", (0, math.inf), "the depth of the ground truth", world=True)
def rmse(image: Tensor, target: Target, perception: Perception) -> float | None:
    return _depth(target, perception, "rmse")


def _depth(target: Target, perception: Perception, name: str) -> float | None:
    from world import surfaces

    if target.ground_truth is None:
        return None
    return float(surfaces.depth_errors(perception.surfaces, ground_truth_perception(target).surfaces)[name])


@measure("normals", "Normal angle error", "°", "less", (0, 180), "the surfaces of the ground truth", world=True)
def normals(image: Tensor, target: Target, perception: Perception) -> float | None:
    from world import surfaces

    return (
        None
        if target.ground_truth is None
        else float(surfaces.normal_angle_error(perception.surfaces, ground_truth_perception(target).surfaces))
    )


@measure("miou", "Segmentation mIoU", "%", "more", (0, 100), "the classes of the ground truth", world=True)
def miou(image: Tensor, target: Target, perception: Perception) -> float | None:
    from world import surfaces

    return (
        None
        if target.ground_truth is None
        else 100 * float(surfaces.mean_iou(perception.surfaces, ground_truth_perception(target).surfaces))
    )


# ---- maps, boxes, an observation, colours -------------------------------------------------------------------------


@measure("edges", "Edges F1", "%", "more", (0, 100), "the edge map, a pixel off allowed")
def edges(image: Tensor, target: Target, perception: Perception) -> float | None:
    from conditioning.operators.annotators import canny

    if target.edges is None:
        return None
    detected = canny(image)[:, 0] > 0.5
    return 100 * float(distances.edges_f1(detected, target.edges.mean(1) > 0.5))


@measure("near", "Depth map error", "", "less", (0, 1), "the nearness map, 1 at its nearest point", world=True)
def near(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Mean difference of nearness, each brought to 1 at its nearest point, as such maps come."""
    if target.near is None:
        return None
    depth = perception.surfaces.depth
    detected = (depth.amin((1, 2), keepdim=True) / depth)[:, None]  # 0 in the sky
    expected = F.interpolate(target.near.mean(1, keepdim=True), detected.shape[2:], mode="area")
    return float(distances.depth_error(detected, expected / expected.amax().clamp(min=1e-6)))


@measure("boxes", "Boxes IoU", "%", "more", (0, 100), "each box with the solid that its words name", world=True)
def boxes(image: Tensor, target: Target, perception: Perception) -> float | None:
    return 100 * float(torch.tensor(box_overlaps(perception.reading, target.boxes)).mean()) if target.boxes else None


def box_overlaps(reading: Any, boxes: Sequence[Box]) -> list[float]:
    """Of each box: its best IoU in [0, 1] with a detected solid that its words name; 0 where there is none."""
    from world import captions

    overlaps = []
    for box in boxes:
        claims = captions.parse(box.text).solids
        shape = claims[0].shape if claims else None
        colour = claims[0].colour if claims else None
        candidates = [s for s in reading.solids if shape in (None, s.shape) and colour in (None, s.colour)]
        edges_ = (box.left, box.top, box.right, box.bottom)
        overlaps.append(max((distances.box_iou(edges_, s.box) for s in candidates), default=0.0))
    return overlaps


@measure("measurement", "|Ax - y|", "", "less", (0, math.inf), "the observation, root mean square, for [-1, 1]")
def measurement(image: Tensor, target: Target, perception: Perception) -> float | None:
    if target.observation is None:
        return None
    return float((target.observation.operator.A(image * 2 - 1) - target.observation.y).square().mean().sqrt())


@measure("colours", "Colour distance", "", "less", (0, 1), "the colour histograms of the target")
def colours(image: Tensor, target: Target, perception: Perception) -> float | None:
    """Mean over red, green and blue of the Wasserstein distance of their histograms."""
    if target.colours is None:
        return None
    side = min(min(image.shape[2:]), min(target.colours.shape[2:]))
    a, b = (F.adaptive_avg_pool2d(channels, side).flatten(2).sort(2).values for channels in (image, target.colours))
    return float((a - b).abs().mean())


@measure("identity", "Distance to the references", "", "less", (0, math.inf), "the nearest reference, in evaluator "
         "features", world=True)  # fmt: skip
def identity(image: Tensor, target: Target, perception: Perception) -> float | None:
    return min((_feature_distance(perception, Perception(reference)) for reference in target.references), default=None)


# ---- of several ---------------------------------------------------------------------------------------------------


def better(key: str, a: float, b: float) -> bool:
    """Whether value a of a measure is better than value b."""
    return a > b if MEASURES[key].better == "more" else a < b


def in_page_order(values: Mapping[str, float]) -> list[str]:
    """The keys of these values, in the order of the page."""
    return [key for key in MEASURES if key in values]
