"""The evaluator of surfaces: depth, normals and classes, predicted from an image pixel by pixel.

read(images)                             Surfaces(depth (B, 64, 64), normals (B, 3, 64, 64), classes (B, 64, 64))
python -m world.surfaces --json FILE     its errors on renders that training never saw

Trained on renders only, and never used for guidance: it measures how well images follow maps of depth, of normals and
of classes. Its error on renders is the floor of what it can measure of any image.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from world import eye
from world.eye import SIDE, conv, load_shipped
from world.render import Rendering, render
from world.scene import SHAPES, draw

WEIGHTS = Path(__file__).parent / "surfaces.safetensors"
CLASSES = ("sky", "ground", *SHAPES)
CELLS = 64  # of the maps, for images of 128 x 128 pixels
FARTHEST = 20.0  # metres: what lies beyond is not compared, as is usual; at the horizon a pixel is hundreds of them
NEAREST = 3.0  # metres: depth is predicted as ln(depth / 3 m)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """depth (B, 64, 64): metres along the view, inf in the sky. normals (B, 3, 64, 64): unit vectors in camera axes
    (right, up, towards the camera), 0 in the sky. classes (B, 64, 64) int: 0 sky, 1 ground, 2, ... the shape."""

    depth: Tensor
    normals: Tensor
    classes: Tensor


class SurfaceNetwork(nn.Module):
    """0.6 million weights. (B, 3, 128, 128) in [0, 1] -> ln(depth / 3 m) (B, 64, 64), normals (B, 3, 64, 64), scores
    of the classes (B, 8, 64, 64)."""

    where: Tensor

    def __init__(self, widths: tuple[int, ...] = (32, 48, 80, 128), fused: int = 32):
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), conv(12, widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(conv(a + 2 * (i == 0), b, 2), conv(b, b))
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, fused, 1) for width in widths)
        self.fuse = nn.ModuleList(conv(fused, fused) for _ in widths[1:])
        self.head = nn.Conv2d(fused, 1 + 3 + len(CLASSES), 3, 1, 1)
        at = (torch.arange(CELLS) + 0.5) / CELLS * 2 - 1
        where = torch.stack(torch.meshgrid(-at, at, indexing="ij"))  # the ground's depth is a matter of height
        self.register_buffer("where", where, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scales = [self.stem((x - 0.45) * 4)]
        where = self.where.to(scales[0].dtype).expand(len(x), -1, -1, -1)
        for i, down in enumerate(self.down):
            scales.append(down(torch.cat([scales[-1], where], 1) if i == 0 else scales[-1]))
        y = self.lateral[-1](scales[-1])
        for i in reversed(range(len(self.fuse))):
            y = self.fuse[i](torch.relu(F.interpolate(y, scale_factor=2.0) + self.lateral[i](scales[i])))
        away, normals, classes = self.head(y).float().split((1, 3, len(CLASSES)), 1)
        return away[:, 0], normals, classes


@lru_cache
def network(device: str = "cpu") -> nn.Module:
    """As shipped. Raises FileNotFoundError where there are no weights yet."""
    return load_shipped(SurfaceNetwork(), WEIGHTS, device)


def read(images: Tensor, model: nn.Module | None = None, rows: int = 64) -> Surfaces:
    """Images (B, 3, H, W) in [0, 1], of any size, brought to 128 x 128 -> the surfaces that they show.

    Raises ValueError for another shape.
    """
    model = model or network(str(images.device))
    parts = []
    for x in eye.batches_of_128(images, model, rows):
        with torch.no_grad():
            away, normals, scores = model(x)
        classes = scores.argmax(1)
        sky = classes == 0
        depth = torch.where(sky, torch.inf, NEAREST * away.exp())
        parts.append((depth.cpu(), (F.normalize(normals, dim=1) * ~sky[:, None]).cpu(), classes.cpu()))
    return Surfaces(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def surfaces_of_render(out: Rendering) -> Surfaces:
    """The ground-truth surfaces of a rendering whose side is a multiple of 64, at the cells' centres."""
    step = out.depth.shape[-1] // CELLS
    at = slice(step // 2, None, step)
    return Surfaces(out.depth[:, at, at], out.normals[:, :, at, at], out.classes[:, at, at].long())


# ---- how far two surfaces are apart ------------------------------------------------------------------------------


def depth_errors(predicted: Surfaces, true: Surfaces) -> dict[str, Tensor]:
    """abs_rel: mean of |depth - true| / true; rmse: metres. Over cells whose true depth is below FARTHEST and whose
    predicted class is not sky, (B,); nan of none."""
    compared = predicted.depth.isfinite() & (true.depth < FARTHEST)
    error = torch.where(compared, predicted.depth.clamp(max=FARTHEST) - true.depth, 0.0)
    count = compared.flatten(1).sum(1)
    relative = (error.abs() / torch.where(compared, true.depth, 1.0)).flatten(1).sum(1) / count
    return {"abs_rel": relative, "rmse": (error.square().flatten(1).sum(1) / count).sqrt()}


def normal_angle_error(predicted: Surfaces, true: Surfaces) -> Tensor:
    """Mean angle between the normals in degrees, over cells that are sky in neither, (B,); nan of none."""
    compared = (predicted.normals.norm(dim=1) > 0.5) & (true.normals.norm(dim=1) > 0.5)
    cosine = (predicted.normals * true.normals).sum(1).clamp(-1, 1)
    return (torch.rad2deg(cosine.acos()) * compared).flatten(1).sum(1) / compared.flatten(1).sum(1)


def mean_iou(predicted: Surfaces, true: Surfaces) -> Tensor:
    """Mean over the classes that either shows of intersection by union, (B,) in [0, 1]."""
    overlap = torch.zeros(len(predicted.classes))
    classes_present = torch.zeros(len(predicted.classes))
    for k in range(len(CLASSES)):
        a, b = predicted.classes == k, true.classes == k
        union = (a | b).flatten(1).sum(1)
        overlap += torch.where(union > 0, (a & b).flatten(1).sum(1) / union.clamp(min=1), 0.0)
        classes_present += union > 0
    return overlap / classes_present.clamp(min=1)


# ---- validation --------------------------------------------------------------------------------------------------


def accuracy(images: Tensor, true: Surfaces, model: nn.Module | None = None) -> dict[str, float]:
    """Mean errors on images whose surfaces are known; on_solids: AbsRel of the depth there alone."""
    predicted = read(images, model)
    errors = depth_errors(predicted, true)
    solid = (true.classes > 1) & predicted.depth.isfinite()
    miss = ((predicted.depth - true.depth).abs() / true.depth)[solid]
    return {
        "abs_rel": float(errors["abs_rel"].mean()),
        "abs_rel_on_solids": float(miss.mean()),
        "rmse_m": float(errors["rmse"].mean()),
        "normals_degrees": float(normal_angle_error(predicted, true).mean()),
        "mean_iou": float(mean_iou(predicted, true).mean()),
        "cells_right": float((predicted.classes == true.classes).float().mean()),
    }


def rendered(split: str, first: int, count: int) -> tuple[Tensor, Surfaces]:
    """Images (count, 3, 128, 128) of scenes first, ... of a split, and their true surfaces."""
    images, parts = [], []
    for start in range(first, first + count, 50):
        out = render([draw(split, n) for n in range(start, min(start + 50, first + count))], SIDE)
        images.append(out.rgb)
        parts.append(surfaces_of_render(out))
    maps = [torch.cat([getattr(part, name) for part in parts]) for name in Surfaces.__annotations__]
    return torch.cat(images), Surfaces(*maps)


def main(arguments: Sequence[str] | None = None) -> None:
    """Validates on renders that training never saw, beside the surfaces of other scenes."""
    parser = argparse.ArgumentParser(prog="python -m world.surfaces", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=500, help="of the test split (default: 500)")
    parser.add_argument("--quick", action="store_true", help="100 scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small tensors: more threads only cost
    images, true = rendered("test", 10_000, 100 if args.quick else args.scenes)
    others = Surfaces(*(getattr(true, name).roll(1, 0) for name in Surfaces.__annotations__))
    own, chance = accuracy(images, true), accuracy(images, others)
    print(f"{'of test renders':<24}{'own':>10}{'of others':>12}")
    for name, value in own.items():
        print(f"{name:<24}{value:>10.4f}{chance[name]:>12.4f}")
    if args.json:
        flat = {**own, **{f"{name}_chance": value for name, value in chance.items()}}
        args.json.write_text(json.dumps({k: round(v, 5) for k, v in flat.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
