"""Training of the perception model: depth and classes, from renders, clean and softened as for the evaluator.

    python -m training perception_model --images 60000 --threads 1   train, in pieces
    python -m training.perception_model                       validate what was trained last, and ship it
    python -m training.perception_model --check               validate what is shipped, on renders never seen

It guides sampling (`conditioning/sampling/guidance/energy_guidance.py`), so it must not be what evaluates the result:
that is the evaluator, another network trained on other targets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from backbones import STILL_LIFE
from backbones.guiding_networks import begun, load, save
from training import data
from training.loop import RUNS, averaged_network, grid
from training.softening import soften
from world.render import render
from world.scene import SHAPES, draw

CLASSES = ("sky", "ground", *SHAPES)
NEAREST = 3.0  # metres
SCENES = 10_000


def ground_truth(split: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Nearness (N, 64, 64) float16 and classes (N, 64, 64) uint8 of scenes of a split; made once and kept."""
    path = RUNS / "perception_model" / f"truth_{split}_{start}_{stop}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        near, classes = [], []
        for first in range(start, stop, 50):
            out = render([draw(split, n) for n in range(first, min(first + 50, stop))], data.SIZE // 2)
            near.append((NEAREST / out.depth).half())
            classes.append(out.classes.byte())
            print(f"\rdepth of {split}: {first} of {stop}", end="", flush=True)
        torch.save((torch.cat(near), torch.cat(classes)), path)
    return torch.load(path, weights_only=True)


class PerceptionModelSpec:
    name, rows, rate = "perception_model", 32, 2e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = begun(STILL_LIFE, "perception_model", classes=CLASSES).to(memory_format=torch.channels_last)
        self.near, self.classes = ground_truth("train", 0, SCENES)
        self.rgb = data.images("train")[:SCENES]
        self.held_out = _pixels(data.images("validation")[:200])
        self.held_out_truth = ground_truth("validation", 0, 200)

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        index = np.sort(rng.choice(len(self.rgb), self.rows, replace=False))
        x, rows = _pixels(self.rgb[index]).to(device), torch.from_numpy(index)
        near, classes = self.near[rows].to(device).float(), self.classes[rows].to(device).long()
        if rng.random() < 0.5:
            x, near, classes = x.flip(3), near.flip(2), classes.flip(2)
        if rng.random() < 0.75:
            x = soften(x, rng)
        return {"x": x.contiguous(memory_format=torch.channels_last), "near": near, "classes": classes}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        read = network(batch["x"])
        near = (read.nearness[:, 0] - batch["near"]).abs()
        weight = torch.where(batch["classes"] > 1, 4.0, 1.0)  # solids are a tenth of the image
        near = (near * weight).mean()
        classes = (F.cross_entropy(read.classes, batch["classes"], reduction="none") * weight).mean()
        return 10 * near + classes, {"near": near.detach(), "classes": classes.detach()}

    def check(self, network: nn.Module) -> dict[str, float]:
        return figures(network, self.held_out, *self.held_out_truth)

    def preview(self, network: nn.Module) -> Image.Image:
        """Held-out renders, under each the nearness read, and under that the true one."""
        x, true = self.held_out[:8], self.held_out_truth[0][:8, None].float()
        with torch.no_grad():
            read = network(x.to(next(network.parameters()).device)).nearness.cpu()
        return grid(torch.cat([x, *(F.interpolate(m, scale_factor=2.0).expand(-1, 3, -1, -1) for m in (read, true))]))


def figures(network: nn.Module, x: Tensor, near: Tensor, classes: Tensor) -> dict[str, float]:
    """Of images (N, 3, 128, 128) and their ground truth: mean error of the depth in metres, on solids and on the
    ground; the part of the pixels classified correctly, and mean over classes of intersection by union."""
    device = next(network.parameters()).device
    right, union, error, area = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES)), torch.zeros(2), torch.zeros(2)
    total, count = 0.0, 0
    for part, n, c in zip(x.split(50), near.split(50), classes.split(50), strict=True):
        with torch.no_grad():
            read = network(part.to(device))
        predicted, away = read.classes.argmax(1).cpu(), NEAREST / read.nearness[:, 0].cpu().clamp(min=0.05)
        miss = (away - NEAREST / n.float().clamp(min=0.05)).abs()
        for i, mine in enumerate((c > 1, c == 1)):
            error[i], area[i] = error[i] + miss[mine].sum(), area[i] + mine.sum()
        for k in range(len(CLASSES)):
            right[k] += ((predicted == k) & (c == k)).sum()
            union[k] += ((predicted == k) | (c == k)).sum()
        total, count = total + float((predicted == c).sum()), count + c.numel()
    return {
        "depth_solids": float(error[0] / area[0]),
        "depth_ground": float(error[1] / area[1]),
        "pixels": total / count,
        "iou": float((right / union.clamp(min=1)).mean()),
    }


def _pixels(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255


def validate(network: nn.Module, scenes: int) -> dict[str, float]:
    """Figures on test scenes 10000, ..., which have pairs of colour and shape that training never showed."""
    near, classes = ground_truth("test", 10_000, 10_000 + scenes)
    starts = range(10_000, 10_000 + scenes, 50)
    x = torch.cat([render([draw("test", n) for n in range(i, min(i + 50, 10_000 + scenes))], 128).rgb for i in starts])
    return figures(network, x, near, classes)


def main(arguments: Sequence[str] | None = None) -> None:
    summary = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m training.perception_model", description=summary)
    parser.add_argument("--check", action="store_true", help="validate what is shipped, and write nothing")
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not args.check:
        file = save(STILL_LIFE, "perception_model", averaged_network("perception_model"), classes=CLASSES)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    results = validate(load(STILL_LIFE, "perception_model"), args.scenes)
    print("  ".join(f"{name} {value:.4f}" for name, value in results.items()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
