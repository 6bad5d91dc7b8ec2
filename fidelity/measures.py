"""One measure for each condition: name, unit, direction, range, and a number for a picture and what it was told.

    measured(picture, Told(prompt="a red cube on grass", world=True))      {"solids": 100.0, "count": 0.0, ...}

A measure that reads the world (`world=True`) speaks of pictures of that world only; for those of other checkpoints it
is left out, and the general ones stay. `left_out` says in words which, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.inputs import Box
from conditioning.operators import Measurement
from fidelity import distances
from fidelity.clip import HOW


@dataclass(frozen=True, eq=False)
class Told:
    """What a picture of H x W pixels was told. Pictures and maps (1, 3 or 1, H, W) in [0, 1]; None: nothing of it.

    prompt: of the picture, and of its source where it is an edit. source: the picture it began from; mask: where it may
    change, 1 inside. truth: the picture that it should be. edges, near: maps that it should follow (near: nearness, 1
    at the nearest point). boxes, with words. measured: of the true picture. colours: a picture to be like in that.
    score: of a network that knows words, (pictures, text) -> (B,); unscored: why it cannot read the prompt, if so;
    clip: the same of a CLIP (`fidelity.clip`). world: whether it shows the rendered world. steered: names of measures
    that the run itself went by, which say nothing then.
    """

    prompt: str = ""
    source_prompt: str = ""
    source: Tensor | None = None
    mask: Tensor | None = None
    truth: Tensor | None = None
    edges: Tensor | None = None
    near: Tensor | None = None
    boxes: Sequence[Box] = ()
    measured: Measurement | None = None
    colours: Tensor | None = None
    references: Sequence[Tensor] = ()
    score: Callable[[Tensor, str], Tensor] | None = None
    unscored: str = ""
    clip: Callable[[Tensor, str], Tensor] | None = None
    world: bool = False
    steered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Measure:
    """better: "more" or "less". low, high: the range of values; math.inf where there is no end. of: what it compares
    with, in words. number(picture (1, 3, H, W), told, seen) -> a number, None where it has nothing to say; seen: what
    the judges read, once for all measures."""

    key: str
    title: str
    unit: str
    better: str
    low: float
    high: float
    of: str
    world: bool
    number: Callable[[Tensor, Told, Seen], float | None] = field(repr=False)

    @property
    def digits(self) -> int:
        """Behind the point, as the page writes a value."""
        return {"%": 0, "dB": 1, "°": 1}.get(self.unit, 3)

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.{self.digits}f}" + (f" {self.unit}" if self.unit else "")


class Seen:
    """What the world's judges read of a picture, when it is first asked for."""

    def __init__(self, picture: Tensor):
        self.picture = picture
        self._kept: dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        if name not in self._kept:
            self._kept[name] = read()
        return self._kept[name]

    @property
    def reading(self) -> Any:
        from world import judge

        return self._once("reading", lambda: judge.read(self.picture)[0])

    @property
    def surfaces(self) -> Any:
        from world import surfaces

        return self._once("surfaces", lambda: surfaces.read(self.picture))

    @property
    def features(self) -> Tensor:
        from world import judge

        return self._once("features", lambda: judge.features(self.picture))


@lru_cache(maxsize=8)
def _of_truth(told: Told) -> Seen:
    """What the judges read of the truth, once for all that is told alike."""
    assert told.truth is not None
    return Seen(told.truth)


MEASURES: dict[str, Measure] = {}


def measure(
    key: str, title: str, unit: str, better: str, span: tuple[float, float], of: str, world: bool = False
) -> Callable[[Callable[[Tensor, Told, Seen], float | None]], Callable[[Tensor, Told, Seen], float | None]]:
    """Puts a function into MEASURES, in the order of this file."""

    def put(number: Callable[[Tensor, Told, Seen], float | None]) -> Callable[[Tensor, Told, Seen], float | None]:
        MEASURES[key] = Measure(key, title, unit, better, *span, of, world, number)
        return number

    return put


def measured(picture: Tensor, told: Told) -> dict[str, float]:
    """Every number that can be said of a picture (1, 3, H, W) in [0, 1]. Raises ValueError for another shape."""
    if picture.dim() != 4 or picture.shape[:2] != (1, 3):
        raise ValueError(f"one picture is measured at a time, (1, 3, H, W), and this is {tuple(picture.shape)}.")
    seen, found = Seen(picture), {}
    with torch.no_grad():
        for one in MEASURES.values():
            if (one.world and not told.world) or one.key in told.steered:
                continue
            value = one.number(picture, told, seen)
            if value is not None and math.isfinite(value):
                found[one.key] = float(value)
    return found


def left_out(told: Told) -> str:
    """Why some measures are not there, in words; "" where none is left out."""
    words = []
    if not told.world:
        words.append("What reads the rendered world (solids, depth, boxes) is left out: this model paints another one.")
        words += [HOW] if told.prompt and told.clip is None else []
    if told.unscored:
        words.append(f"{MEASURES['text'].title} is left out: its network {told.unscored}.")
    names = [MEASURES[key].title for key in MEASURES if key in told.steered]
    if names:
        words.append(f"Left out, as the run itself went by it: {', '.join(names)}.")
    return " ".join(words)


# ---- the prompt ---------------------------------------------------------------------------------------------------


def _verdict(told: Told, seen: Seen) -> Any:
    from world import captions, judge

    claims = captions.parse(told.prompt)
    return judge.check(seen.reading, claims) if claims.anything else None


def _percent(told: Sequence[bool | None]) -> float | None:
    said = [one for one in told if one is not None]
    return 100 * sum(said) / len(said) if said else None


@measure("caption", "Caption right", "%", "more", (0, 100), "the prompt, all of it", world=True)
def caption(picture: Tensor, told: Told, seen: Seen) -> float | None:
    verdict = _verdict(told, seen)
    return None if verdict is None else 100.0 * verdict.exact


@measure("solids", "Solids right", "%", "more", (0, 100), "colour and shape of each solid named", world=True)
def solids(picture: Tensor, told: Told, seen: Seen) -> float | None:
    verdict = _verdict(told, seen)
    return None if verdict is None else _percent(verdict.present)


@measure("relations", "Relations right", "%", "more", (0, 100), "left, right, in front, behind, next to", world=True)
def relations(picture: Tensor, told: Told, seen: Seen) -> float | None:
    verdict = _verdict(told, seen)
    return None if verdict is None else _percent(verdict.relations)


@measure("place", "Ground and sky right", "%", "more", (0, 100), "those that the prompt names", world=True)
def place(picture: Tensor, told: Told, seen: Seen) -> float | None:
    verdict = _verdict(told, seen)
    return None if verdict is None else _percent((verdict.ground, verdict.sky))


@measure("text", "Text score", "", "more", (-math.inf, math.inf), "the prompt, by a network that knows words")
def text(picture: Tensor, told: Told, seen: Seen) -> float | None:
    if told.score is None or told.unscored or not told.prompt:
        return None
    return float(told.score(picture, told.prompt))


@measure("clip", "CLIP score", "", "more", (0, 100), "the prompt, by the CLIP that is here")
def clip_score(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return None if told.clip is None or not told.prompt else float(told.clip(picture, told.prompt))


# ---- a source, edited ---------------------------------------------------------------------------------------------


@measure("done", "Edit done", "%", "more", (0, 100), "what the prompt says and that of the source does not", world=True)
def done(picture: Tensor, told: Told, seen: Seen) -> float | None:
    """Of what is claimed newly: solids that the source's prompt lacks, another ground, another sky."""
    if not told.source_prompt:
        return None
    from world import captions, judge

    before, after = captions.parse(told.source_prompt), captions.parse(told.prompt)
    verdict = judge.check(seen.reading, after)
    old = list(before.solids)
    asked: list[bool | None] = []
    for claim, there, size, material in zip(after.solids, verdict.present, verdict.sizes, verdict.materials):
        if claim in old:
            old.remove(claim)
        else:
            asked.append(there and size is not False and material is not False)
    asked += [verdict.ground] if after.ground != before.ground else []
    asked += [verdict.sky] if after.sky != before.sky else []
    return _percent(asked)


@measure(
    "kept", "Kept of the source", "dB", "more", (0, 100), "PSNR to the source, outside of the mask if there is one"
)
def kept(picture: Tensor, told: Told, seen: Seen) -> float | None:
    if told.source is None:
        return None
    outside = None if told.mask is None else told.mask < 0.5
    if outside is not None and not bool(outside.any()):
        return None
    return float(distances.psnr(picture, told.source, outside))


# ---- a truth ------------------------------------------------------------------------------------------------------


@measure("psnr", "PSNR", "dB", "more", (0, 100), "the true picture, in the hole where there is one")
def psnr(picture: Tensor, told: Told, seen: Seen) -> float | None:
    if told.truth is None:
        return None
    inside = None if told.mask is None or told.source is None or not bool((told.mask > 0.5).any()) else told.mask > 0.5
    return float(distances.psnr(picture, told.truth, inside))


@measure("ssim", "SSIM", "", "more", (-1, 1), "the true picture")
def ssim(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return None if told.truth is None else float(distances.ssim(picture, told.truth))


@measure("perceptual", "Perceptual distance", "", "less", (0, math.inf), "the true picture, in features of the judge",
         world=True)  # fmt: skip
def perceptual(picture: Tensor, told: Told, seen: Seen) -> float | None:
    """Root of the mean squared difference of features that have deviation 1 over renders."""
    return None if told.truth is None else _apart(seen, _of_truth(told))


def _apart(a: Seen, b: Seen) -> float:
    return float((a.features - b.features).square().mean().sqrt())


@measure("abs_rel", "Depth AbsRel", "", "less", (0, math.inf), "the depth of the true picture", world=True)
def abs_rel(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return _depth(told, seen, "abs_rel")


@measure("rmse", "Depth RMSE", "m", "less", (0, math.inf), "the depth of the true picture", world=True)
def rmse(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return _depth(told, seen, "rmse")


def _depth(told: Told, seen: Seen, name: str) -> float | None:
    from world import surfaces

    if told.truth is None:
        return None
    return float(surfaces.depth_gaps(seen.surfaces, _of_truth(told).surfaces)[name])


@measure("normals", "Angle of normals", "°", "less", (0, 180), "the surfaces of the true picture", world=True)
def normals(picture: Tensor, told: Told, seen: Seen) -> float | None:
    from world import surfaces

    return None if told.truth is None else float(surfaces.normals_angle(seen.surfaces, _of_truth(told).surfaces))


@measure("miou", "Segmentation mIoU", "%", "more", (0, 100), "what stands where in the true picture", world=True)
def miou(picture: Tensor, told: Told, seen: Seen) -> float | None:
    from world import surfaces

    return None if told.truth is None else 100 * float(surfaces.mean_iou(seen.surfaces, _of_truth(told).surfaces))


# ---- maps, boxes, a measurement, colours --------------------------------------------------------------------------


@measure("edges", "Edges F1", "%", "more", (0, 100), "the map of edges, a pixel off allowed")
def edges(picture: Tensor, told: Told, seen: Seen) -> float | None:
    from conditioning.operators.annotators import canny

    if told.edges is None:
        return None
    found = canny(picture)[:, 0] > 0.5
    return 100 * float(distances.edges_f1(found, told.edges.mean(1) > 0.5))


@measure("near", "Depth map off by", "", "less", (0, 1), "the map of nearness, 1 at its nearest point", world=True)
def near(picture: Tensor, told: Told, seen: Seen) -> float | None:
    """Mean difference of nearness, each brought to 1 at its nearest point, as such maps come."""
    if told.near is None:
        return None
    depth = seen.surfaces.depth
    read = (depth.amin((1, 2), keepdim=True) / depth)[:, None]  # 0 in the sky
    wanted = F.interpolate(told.near.mean(1, keepdim=True), read.shape[2:], mode="area")
    return float(distances.depth_error(read, wanted / wanted.amax().clamp(min=1e-6)))


@measure("boxes", "Boxes IoU", "%", "more", (0, 100), "each box with the solid that its words name", world=True)
def boxes(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return 100 * float(torch.tensor(box_overlaps(seen.reading, told.boxes)).mean()) if told.boxes else None


def box_overlaps(reading: Any, told: Sequence[Box]) -> list[float]:
    """Of each box: its IoU in [0, 1] with the best of the judge's solids that its words name; 0 where there is none."""
    from world import captions

    found = []
    for box in told:
        claims = captions.parse(box.text).solids
        shape = claims[0].shape if claims else None
        colour = claims[0].colour if claims else None
        like = [s for s in reading.solids if shape in (None, s.shape) and colour in (None, s.colour)]
        edges_ = (box.left, box.top, box.right, box.bottom)
        found.append(max((distances.box_iou(edges_, s.box) for s in like), default=0.0))
    return found


@measure("measurement", "|Ax - y|", "", "less", (0, math.inf), "what was measured, root mean square, for [-1, 1]")
def measurement(picture: Tensor, told: Told, seen: Seen) -> float | None:
    if told.measured is None:
        return None
    return float((told.measured.operator.A(picture * 2 - 1) - told.measured.y).square().mean().sqrt())


@measure("colours", "Colours off by", "", "less", (0, 1), "the colours of the target, and how much of each")
def colours(picture: Tensor, told: Told, seen: Seen) -> float | None:
    """Mean over red, green and blue of the Wasserstein distance of their histograms."""
    if told.colours is None:
        return None
    side = min(min(picture.shape[2:]), min(told.colours.shape[2:]))
    a, b = (F.adaptive_avg_pool2d(p, side).flatten(2).sort(2).values for p in (picture, told.colours))
    return float((a - b).abs().mean())


@measure("identity", "Distance to the references", "", "less", (0, math.inf), "the nearest reference, in features of "
         "the judge", world=True)  # fmt: skip
def identity(picture: Tensor, told: Told, seen: Seen) -> float | None:
    return min((_apart(seen, Seen(one)) for one in told.references), default=None)


# ---- of several ---------------------------------------------------------------------------------------------------


def better(key: str, a: float, b: float) -> bool:
    """Whether a is the better of two values of a measure."""
    return a > b if MEASURES[key].better == "more" else a < b


def shown_first(found: Mapping[str, float]) -> list[str]:
    """The keys of these figures, in the order of the page."""
    return [key for key in MEASURES if key in found]
