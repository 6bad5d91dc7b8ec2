"""Whether images follow the maps they are conditioned on: depth and edges of held-out test scenes.

For every scene an image is made from its caption and its rendered map, one from its caption and the map of another
scene, and one from the caption alone; all three are held against the scene. `chance` is the map of another scene,
`ceiling` the renderer's own image after the autoencoder. Depth is read by the perception model (what that is worth
says `python -m training.perception_model --check`) and scaled to fit, since a map of nearness has no metres; the error
is the mean absolute one of nearness in [0, 1]. Edges are Canny's, and F1 counts an edge as found within a pixel of a
true one.

    python -m bench.controlnet --scenes 50 --json FILE
    python -m bench.controlnet --keep FILE.png            keeps a sheet: map, with it, with another's, without, render
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import conditioning  # noqa: F401  fills the registry
from backbones import STILL_LIFE, guiding_networks, load
from backbones.base import Backbone
from bench.fidelity import cases, rendered
from bench.table import Report
from conditioning.compose import compose
from conditioning.operators.annotators import canny
from samplers import SAMPLERS, SCHEDULES
from samplers.flow import Noise, run
from training.loop import grid
from world.render import Rendering, render

STEPS, SCALE, SIZE, ROWS = 20, 3.0, 128, 8
KINDS = {"depth": ("depth",), "edges": ("edges",), "both": ("depth", "edges")}


def sample(backbone: Backbone, texts: Sequence[str], maps: Mapping[str, Tensor], seeds: Sequence[int]) -> Tensor:
    """One image for each text, (B, 3, H, W) in [0, 1]; maps: (B, 3, H, W) by condition, or none."""
    cond, null = backbone.encode_prompt(texts), backbone.encode_prompt([""] * len(texts))
    sigmas = SCHEDULES["native"](STEPS, backbone.sigmas)
    stack = [("cfg", {"scale": SCALE}), *([("controlnet", maps)] if maps else [])]
    D, sampler, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=backbone)
    noise = Noise(seeds)
    shape = backbone.latent_shape(SIZE, SIZE)
    x = noise(torch.empty(len(texts), *shape)) * math.sqrt(1 + sigmas[0] ** 2)
    x = run(sampler(D, x, sigmas, cond, noise), backbone.denoise)
    with torch.no_grad():
        return backbone.decode(x).float()


def depth_error(read: Tensor, true: Tensor) -> Tensor:
    """(B,): mean absolute error of nearness (B, 1, h, w), read up to a factor, against the true one in [0, 1]."""
    scale = (read * true).sum((1, 2, 3), keepdim=True) / (read * read).sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
    return (scale * read - true).abs().mean((1, 2, 3))


def edge_f1(detected: Tensor, true: Tensor) -> Tensor:
    """(B,): F1 of edges (B, 1, H, W) bool, each allowed to be a pixel off."""
    near_true, near_detected = (F.max_pool2d(one.float(), 3, 1, 1) > 0 for one in (true, detected))
    precision = (detected & near_true).sum((1, 2, 3)) / detected.sum((1, 2, 3)).clamp(min=1)
    recall = (true & near_detected).sum((1, 2, 3)) / true.sum((1, 2, 3)).clamp(min=1)
    return 2 * precision * recall / (precision + recall).clamp(min=1e-6)


class MapEvaluator:
    """Depth error and edge F1 of images against scenes."""

    def __init__(self) -> None:
        self.perception_model = guiding_networks.load(STILL_LIFE, "perception_model")

    def __call__(self, images: Tensor, ground_truth: Rendering) -> dict[str, Tensor]:
        with torch.no_grad():
            predicted = torch.cat([self.perception_model(part).nearness for part in images.split(16)])
        return {
            "depth": depth_error(predicted, F.avg_pool2d(ground_truth.near[:, None], SIZE // predicted.shape[-1])),
            "edges": edge_f1(canny(images)[:, :1] > 0.5, ground_truth.edges[:, None]),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    with Report("bench.controlnet", __doc__, _options, arguments) as report:
        count = 8 if report.quick else report.args.scenes
        captions, backbone, evaluator = cases(count, report.args.first), load("still-life"), MapEvaluator()
        ground_truth = render([case.scene for case in captions], SIZE)
        maps = {"depth": ground_truth.near[:, None].expand(-1, 3, -1, -1), "edges": ground_truth.edges[:, None].float()}
        maps = {name: one.expand(-1, 3, -1, -1) for name, one in maps.items()}
        others = {name: one.roll(1, 0) for name, one in maps.items()}
        runs = {"none": {}}
        for kind, names in KINDS.items():
            runs |= {kind: {n: maps[n] for n in names}, f"{kind} of another": {n: others[n] for n in names}}
        samples: dict[str, list[Tensor]] = {name: [] for name in runs}
        parts = list(range(0, count, ROWS))
        for name, start in report.steps([(name, start) for start in parts for name in runs], "batches"):
            part = slice(start, min(start + ROWS, count))
            texts, seeds = [case.text for case in captions[part]], list(range(start, part.stop))
            control = {condition: one[part] for condition, one in runs[name].items()}
            samples[name].append(sample(backbone, texts, control, seeds))
        images = {name: torch.cat(parts) for name, parts in samples.items()}
        with torch.no_grad():
            images["render"] = backbone.decode(backbone.encode_image(rendered(report, captions)))
        read = {name: evaluator(one, ground_truth) for name, one in images.items()}
        best, alone = read["render"], read["none"]
        for kind, names in KINDS.items():
            for figure in names:
                own, other = read[kind][figure], read[f"{kind} of another"][figure]
                label, bar = ("depth error", "at most half of chance") if figure == "depth" else (
                    "edge F1", "at least twice chance")  # fmt: skip
                report.figure(f"{kind}_{figure}", own.mean().item(), f"{label}, {kind}", "", bar,
                              chance=other.mean().item(), ceiling=best[figure].mean().item(),
                              without=alone[figure].mean().item(), spread=own.std().item())  # fmt: skip
        if report.args.keep:
            for kind, names in KINDS.items():
                rows = [*(maps[n] for n in names), images[kind], images[f"{kind} of another"], images["none"],
                        images["render"]]  # fmt: skip
                file = report.args.keep.with_stem(f"{report.args.keep.stem}_{kind}")
                grid(torch.cat([one[:8] for one in rows]), 8).save(file)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first test scene")
    parser.add_argument("--keep", type=Path, metavar="FILE.png")


if __name__ == "__main__":
    main()
