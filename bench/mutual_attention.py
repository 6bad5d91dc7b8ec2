"""How much of an image's looks self-attention carries: what MasaCtrl can hand from one image to another.

At one state the network predicts the image under the caption that is true of it, under that of another scene, and under
the other with the keys and values of the first in its self-attention, as MasaCtrl puts them there. The figure is how
far that goes from the second prediction to the first: 1 all the way, 0 not at all.

    python -m bench.mutual_attention --scenes 24 --json FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from backbones import load
from backbones.base import Backbone
from bench.fidelity import cases, rendered
from bench.table import Report
from samplers.protocol import Ask, Cond

LEVELS = (20.0, 5.0, 2.0, 1.0, 0.5, 0.2)
PAPER = 0.625  # of the layers: MasaCtrl acts from there on


class Keep:
    """An edit that keeps keys and values of self-attention, by layer, and changes nothing."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[Tensor, Tensor]] = {}

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "self":
            self.made[site.name] = (k, v)
        return plain(q, k, v)


class Put:
    """An edit that puts them in place of the ask's own, from this part of the layers on."""

    def __init__(self, made: dict[str, tuple[Tensor, Tensor]], layer: float):
        self.made, self.layer = made, layer

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "self" and site.index >= self.layer * site.of:
            k, v = self.made[site.name]
        return plain(q, k, v)


def carried(backbone: Backbone, x: Tensor, sigma: float, own: Cond, other: Cond, layer: float) -> Tensor:
    """(B,): the way from the prediction under `other` to that under `own`, made by own's keys and values."""
    s, keep = torch.full((len(x),), sigma), Keep()
    first = backbone.denoise(Ask(x, s, own, keep))
    second = backbone.denoise(Ask(x, s, other))
    mixed = backbone.denoise(Ask(x, s, other, Put(keep.made, layer)))
    way = (first - second).flatten(1)
    return ((mixed - second).flatten(1) * way).sum(1) / way.square().sum(1)


def main(arguments: Sequence[str] | None = None) -> None:
    with Report("bench.mutual_attention", __doc__, _options, arguments) as report:
        backbone, scenes = load("still-life"), cases(6 if report.quick else report.args.scenes, 0)
        own = backbone.encode_prompt([case.text for case in scenes])
        other = {name: one.roll(1, 0) for name, one in own.items()}
        with torch.no_grad():
            z = backbone.encode_image(rendered(report, scenes))
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        for sigma in report.steps(LEVELS, "levels"):
            x = z + sigma * noise
            all_layers, papers = (carried(backbone, x, sigma, own, other, layer) for layer in (0.0, PAPER))
            report.figure(f"carried_{sigma:g}", all_layers.mean().item(), f"all layers, sigma {sigma:g}", "",
                          most=all_layers.max().item(), papers=papers.mean().item())  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", type=int, default=24)


if __name__ == "__main__":
    main()
