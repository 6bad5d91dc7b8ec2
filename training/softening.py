"""Images as a small diffusion model makes them, out of renders: what the networks that read images are trained on.

`soften` keeps what an image shows. `warped` and `mixed` make lumps: solids that are no shape any more, or two at once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """What a small diffusion model does to an image: blur, lost detail, noise, blotches, another brightness."""
    b, size, device = len(x), x.shape[-1], x.device
    kind, amount = rng.random(), float(rng.uniform(0.2, 1))
    if kind < 0.3:
        x = torch.lerp(x, F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), amount)
    elif kind < 0.6:
        small = F.avg_pool2d(x, 2)
        x = torch.lerp(x, F.interpolate(small, size=size, mode="bilinear", align_corners=False), amount)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device)

    gain = 1 + 0.02 * normal(b, 1, 1, 1) + 0.008 * normal(b, 3, 1, 1)
    offset = 0.008 * normal(b, 3, 1, 1)
    if rng.random() < 0.5:
        blotches = F.interpolate(normal(b, 3, 16, 16), size=size, mode="bilinear", align_corners=False)
        offset = offset + 0.02 * rng.random() * blotches
    if rng.random() < 0.5:
        offset = offset + 0.03 * rng.random() * normal(b, 3, size, size)
    return (x * gain + offset).clamp(0, 1)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], side: int, cells: int) -> Tensor:
    """(*shape, side, side): normal noise on cells x cells points, bicubic between them, of deviation about 1."""
    coarse = torch.from_numpy(rng.standard_normal((*shape, cells, cells), dtype=np.float32))
    fine = F.interpolate(coarse, size=side, mode="bicubic", align_corners=False)
    return fine / fine.flatten(2).std(-1)[..., None, None].clamp(min=1e-3)


def warped(x: Tensor, solid: Tensor, rng: np.random.Generator, pixels: float) -> Tensor:
    """Images (B, 3, H, H), the points in and about solids moved along a smooth random field by about `pixels` (root
    mean square); solid (B, h, w): where solids are. The rest stays: a bent ground would give lumps away."""
    b, side = len(x), x.shape[-1]
    field = smooth_noise(rng, (b, 2), side, int(rng.integers(side // 12, side // 6))).to(x.device)
    near = F.interpolate(F.max_pool2d(solid[:, None].float(), 3, 1, 1), size=side, mode="bilinear", align_corners=False)
    moves = (field * near).permute(0, 2, 3, 1) * (pixels / math.sqrt(2) * 2 / side)
    at = (torch.arange(side, device=x.device) + 0.5) / side * 2 - 1
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    points = torch.stack([columns, rows], -1) + moves
    return F.grid_sample(x, points, mode="bilinear", padding_mode="border", align_corners=False)


def mixed(x: Tensor, other: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images between two, (B, 3, H, H), and how much of the second is in each pixel, (B, 1, H, H) in [0, 1]."""
    b, side = len(x), x.shape[-1]
    centre = torch.from_numpy(rng.uniform(-2.5, 2.5, (b, 1, 1, 1)).astype(np.float32))
    share = (centre + 1.5 * smooth_noise(rng, (b, 1), side, side // 16)).sigmoid().to(x.device)
    return torch.lerp(x, other, share), share
