"""Distances of images, edge maps, depth maps and boxes: those of `bench.methods` and of the page alike.

Images are (B, 3, H, W) in [0, 1]; a distance is one number for each of them, (B,), unless it says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Box = tuple[float, float, float, float]  # left, top, right, bottom
PSNR_MAX = 100.0  # dB: of equal images


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, of the pixels `where` (B or 1, 1, H, W) is True; nan where there are none.

    At most PSNR_MAX, which a difference below half a step of 8 bits does not reach by far.
    """
    squared = (a.double() - b.double()) ** 2
    if where is None:
        error = squared.flatten(1).mean(1)
    else:
        weight = where.to(squared).expand_as(squared)
        error = (squared * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return (-10 * error.clamp(min=10 ** (-PSNR_MAX / 10)).log10()).float()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), by channel: Gaussian window of 11 pixels, deviation 1.5, whole windows.

    What scikit-image gives for gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.
    """
    at = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(at**2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]  # (1, 1, 11, 11)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], window.to(x))  # (B C, 1, H - 10, W - 10)

    x, y = a.double(), b.double()
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    map_ = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return map_.reshape(len(a), -1).mean(1).float()


def edge_error(y: Tensor, x: Tensor, threshold: float = 0.1) -> float:
    """RMS difference of images y from x over the edges of x: pixels that differ from a neighbour by more than the
    threshold in a channel. nan where x has no such pixels."""
    edge = torch.zeros_like(x[:, 0], dtype=torch.bool)
    for axis in (2, 3):
        length = x.shape[axis] - 1
        jumps = x.diff(dim=axis).abs().amax(1) > threshold
        edge.narrow(axis - 1, 0, length).logical_or_(jumps)
        edge.narrow(axis - 1, 1, length).logical_or_(jumps)
    return (y - x).square().mean(1)[edge].mean().sqrt().item()


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / both if both > 0 else 0.0


def edges_f1(detected: Tensor, ground_truth: Tensor, within: int = 1) -> Tensor:
    """F1 score of two edge maps (B, H, W) bool: the harmonic mean of the share of each that lies near the other.

    within: pixels that an edge may be off, in each direction. 1 where both are empty, 0 where one is.
    """

    def wide(edges: Tensor) -> Tensor:
        return F.max_pool2d(edges[:, None].float(), 2 * within + 1, 1, within)[:, 0]

    def share(of: Tensor, near: Tensor) -> Tensor:
        return (of * wide(near)).flatten(1).sum(1) / of.float().flatten(1).sum(1).clamp(min=1)

    precision, recall = share(detected, ground_truth), share(ground_truth, detected)
    both_empty = ~(detected.flatten(1).any(1) | ground_truth.flatten(1).any(1))
    return torch.where(both_empty, 1.0, 2 * precision * recall / (precision + recall).clamp(min=1e-12))


def depth_error(near: Tensor, ground_truth: Tensor) -> Tensor:
    """Mean absolute difference of two nearness maps (B, 1, H, W), in their units."""
    return (near.float() - ground_truth.float()).abs().flatten(1).mean(1)


def seams(images: Tensor, columns: Sequence[int], every: int = 1) -> Tensor:
    """How much steeper images are across seams than elsewhere: 1 where a seam is invisible; 0 / 0 counts as that.

    columns: a seam lies between columns c - 1 and c of pixels. Steepness is the mean absolute difference of neighbours
    along a row; elsewhere: all other columns that are multiples of `every`, which is the side of a latent for decoded
    images, since borders of latents may show a little everywhere.
    """
    width = images.shape[-1]
    if not columns or not all(0 < c < width for c in columns):
        raise ValueError(f"seams at {list(columns)} of images {width} wide: give some of 1 to {width - 1}")
    steep = images.float().diff(dim=-1).abs().mean((1, 2))  # (B, W - 1): entry c - 1 is across column c
    across = torch.zeros(width - 1, dtype=torch.bool)
    across[[c - 1 for c in columns]] = True
    beside = ~across & (torch.arange(1, width) % every == 0)
    at, off = steep[:, across].mean(1), steep[:, beside].mean(1)
    return torch.where((at == 0) & (off == 0), 1.0, at / off.clamp(min=1e-12))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (of the values, unbiased; 0 of one) of those that are numbers; nan of none."""
    finite = [float(v) for v in values if not math.isnan(v)]
    if not finite:
        return math.nan, math.nan
    mean = sum(finite) / len(finite)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in finite) / (len(finite) - 1)) if len(finite) > 1 else 0.0
