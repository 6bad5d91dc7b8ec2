"""The noise-aware classifier's training: what noisy latents will show, at every level.

    python -m training classifier --images 150000 --threads 1      train, in pieces
    python -m training.classifier                                    ship what was trained last
    python -m training.classifier --check                            validate what is shipped

Each colour, each shape and each pair of both that training scenes show is there or not (cross-entropy of a yes or no);
ground and sky are one of a few (cross-entropy). And each cell of the map is given what is on it as its target, from the
renderer's instance maps: without, 11,000 images had taught it grounds and skies, little of colours, and nothing of
shapes. Levels are spread evenly in ln sigma, from where everything is seen to where only the sky is.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from backbones import STILL_LIFE
from backbones.guiding_networks import Classifier, begun, load, save
from training import data
from training.latents import latents, shipped_autoencoder
from training.loop import averaged_network, grid
from training.text import words
from world.captions import SHAPE_WORDS
from world.scene import FIRST_COLOURS, GROUNDS, HELD_OUT, SHAPES, SKIES

PAIRS = tuple((colour, shape) for colour in FIRST_COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT)
GROUPS = ((*FIRST_COLOURS, *SHAPES, *(f"{colour} {shape}" for colour, shape in PAIRS)), GROUNDS, SKIES)
OTHER_WORDS = {other: name for name, others in SHAPE_WORDS.items() for other in others[1:]} | {
    "grassy": "grass", "sandy": "sand", "snowy": "snow", "tiled": "tiles", "wooden": "wood",
    "daylight": "day", "sunny": "day", "evening": "sunset",
}  # fmt: skip
CONFIG = {"groups": GROUPS, "other_words": OTHER_WORDS}
SHOWN = (0.1, 1.0, 4.0, 16.0)  # levels of the figures


class ClassifierSpec:
    name, rows, rate = "classifier", 64, 2e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = begun(STILL_LIFE, "classifier", **CONFIG)
        autoencoder = shipped_autoencoder().eval().requires_grad_(False)
        self.latents = latents(autoencoder, "train")
        self.there, self.place = ground_truth("train", len(self.latents))
        self.masks = torch.from_numpy(data.instances("train")[: len(self.latents), 1::2, 1::2].astype(np.int64))
        self.each = solids("train", len(self.latents))
        self.held_out = latents(autoencoder, "validation")[:500].float()
        self.held_out_truth = ground_truth("validation", len(self.held_out))

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        index = torch.from_numpy(np.sort(rng.choice(len(self.latents), self.rows, replace=False)))
        low, high = (math.log(level) for level in Classifier.LEVELS)
        u = (rng.permutation(self.rows) + rng.random(self.rows)) / self.rows  # stratified
        sigma = torch.from_numpy(np.exp(low + (high - low) * u)).float().to(device)
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        z = self.latents[index].float()
        x = z.to(device) + sigma[:, None, None, None] * torch.randn(z.shape, generator=draws).to(device)
        owner = self.masks[index].clamp(min=-1)  # (B, 16, 16), -1 where there is no solid: the row of zeros at the end
        at = self.each[index][torch.arange(self.rows)[:, None, None], owner].permute(0, 3, 1, 2).float()
        targets = {"there": self.there[index], "place": self.place[index], "at": at}
        return {"x": x, "sigma": sigma, **{name: one.to(device) for name, one in targets.items()}}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        cells, scores = network.maps(batch["x"], batch["sigma"])
        there, ground, sky = scores.split([len(group) for group in GROUPS], 1)
        each = F.binary_cross_entropy_with_logits(cells, batch["at"], reduction="none")
        parts = {
            "there": F.binary_cross_entropy_with_logits(there, batch["there"]) * 10,
            "cells": (each * torch.where(batch["at"].amax(1, keepdim=True) > 0, 4.0, 1.0)).mean() * 20,
            "ground": F.cross_entropy(ground, batch["place"][:, 0]),
            "sky": F.cross_entropy(sky, batch["place"][:, 1]),
        }
        return torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()}

    def check(self, network: nn.Module) -> dict[str, float]:
        return figures(network, self.held_out, *self.held_out_truth)

    def preview(self, network: nn.Module) -> Image.Image:
        """Four held-out latents (their first three channels), each at the levels of the figures: what it is given."""
        z = self.held_out[:4, :3]
        draws = torch.Generator().manual_seed(0)
        noisy = [(z + s * torch.randn(z.shape, generator=draws)) / (1 + s * s) ** 0.5 for s in SHOWN]
        return grid(torch.stack(noisy, 1).flatten(0, 1) / 4 + 0.5, columns=4, scale=3)


def ground_truth(split: str, count: int) -> tuple[Tensor, Tensor]:
    """(N, 56) float, 1 where a colour, a shape or a pair is there, in the order of GROUPS[0]; (N, 2): ground, sky."""
    place = torch.from_numpy(words(split, count).place[:, :2].astype(np.int64))
    return solids(split, count).any(1).float(), place


def solids(split: str, count: int) -> Tensor:
    """(N, 5, 56) bool: which of GROUPS[0] each solid is, in the order of the instance maps; the last is none."""
    attributes = torch.from_numpy(words(split, count).attributes.astype(np.int64))  # (N, 4, 4)
    shape, colour = attributes[..., 0], attributes[..., 1]
    pairs = [(colour == FIRST_COLOURS.index(c)) & (shape == SHAPES.index(s)) for c, s in PAIRS]
    singles = [*(colour == k for k in range(len(FIRST_COLOURS))), *(shape == k for k in range(len(SHAPES)))]
    return F.pad(torch.stack([*singles, *pairs], 2), (0, 0, 0, 1))


def figures(network: nn.Module, z: Tensor, there: Tensor, place: Tensor) -> dict[str, float]:
    """At each of the levels SHOWN: how much of the entropy of colours, of shapes and of pairs it explains (0 is the
    base rate), and the parts of grounds and skies classified correctly."""
    out, device = {}, next(network.parameters()).device
    parts = {"colour": slice(0, 8), "shape": slice(8, 14), "pair": slice(14, None)}
    for level in SHOWN:
        draws = torch.Generator().manual_seed(1)
        x = z + level * torch.randn(z.shape, generator=draws)
        with torch.no_grad():
            scores = [
                network(part.to(device), part.new_full((len(part),), level).to(device)).cpu() for part in x.split(100)
            ]
        yes, ground, sky = torch.cat(scores).split([len(group) for group in GROUPS], 1)
        for name, part in parts.items():
            rate = there[:, part].mean(0).clamp(1e-3, 1 - 1e-3).expand(len(z), -1)
            base = F.binary_cross_entropy(rate, there[:, part])
            entropy = F.binary_cross_entropy_with_logits(yes[:, part], there[:, part])
            out[f"{name}_{level:g}"] = float(1 - entropy / base)
        out[f"ground_{level:g}"] = float((ground.argmax(1) == place[:, 0]).float().mean())
        out[f"sky_{level:g}"] = float((sky.argmax(1) == place[:, 1]).float().mean())
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.classifier", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="validate what is shipped, and write nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not args.check:
        file = save(STILL_LIFE, "classifier", averaged_network("classifier"), **CONFIG)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    z = latents(shipped_autoencoder().eval(), "validation").float()
    results = figures(load(STILL_LIFE, "classifier"), z, *ground_truth("validation", len(z)))
    for level in SHOWN:
        row = {name.split("_")[0]: value for name, value in results.items() if name.endswith(f"_{level:g}")}
        print(f"sigma {level:<5g}" + "".join(f"  {name} {value:.3f}" for name, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
