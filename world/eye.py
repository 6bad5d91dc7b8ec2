"""The evaluator's network: fully convolutional, one map of 32 x 32 cells for an image of 128 x 128 pixels.

A heatmap whose peaks are the centres of the solids; at every cell the attributes of the solid there, its box, the way
to its centre, and its distance; from the pooled features ground and sky.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from world.scene import COLOURS, FIRST_COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES

SIDE, CELLS = 128, 32  # pixels of the image, cells of the map
NAMES = {"shape": SHAPES, "colour": tuple(COLOURS), "size": tuple(SIZES), "material": MATERIALS}
NEAREST = 3.0  # metres: distances are predicted as ln(distance / 3 m)


def heads(colours: int) -> dict[str, int]:
    """The maps of a network that knows the first so many colours of the world, and their channels."""
    known = {name: len(values) for name, values in NAMES.items()} | {"colour": colours}
    return {"heat": 1, **known, "box": 4, "way": 2, "distance": 1}


def conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


Outputs = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]  # maps, ground, sky, features


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = conv(width, width), nn.Sequential(*conv(width, width)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class EyeNetwork(nn.Module):
    """1.1 million weights, 0.16 G multiplications an image.

    (B, 3, 128, 128) in [0, 1] -> maps of `heads`, each (B, K, 32, 32); ground (B, 5) and sky (B, 4) scores; features
    (B, 288). colours: it knows the first so many of the world's.
    """

    where: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self, widths: tuple[int, int, int] = (48, 96, 192), fused: int = 48, colours: int = len(FIRST_COLOURS)
    ):
        super().__init__()
        self.parts = heads(colours)
        fine, middle, coarse = widths
        self.fine = nn.Sequential(nn.PixelUnshuffle(4), conv(48, fine))
        self.middle = nn.Sequential(conv(fine + 2, middle, 2), Residual(middle))
        self.coarse = nn.Sequential(conv(middle, coarse, 2), Residual(coarse))
        self.lateral = nn.ModuleList(nn.Conv2d(width, fused, 1) for width in widths)
        self.fuse = nn.ModuleList([conv(fused, fused), conv(fused, fused)])
        self.heads = nn.Conv2d(fused, sum(self.parts.values()), 1)
        self.place = nn.Linear(middle + coarse, len(GROUNDS) + len(SKIES))
        assert self.heads.bias is not None
        with torch.no_grad():
            self.heads.bias[0] = -3.0  # few cells are centres
        at = (torch.arange(CELLS) + 0.5) / CELLS * 2 - 1
        where = torch.stack(torch.meshgrid(-at, at, indexing="ij"))  # (2, 32, 32): v, u; a size in metres depends on it
        self.register_buffer("where", where, persistent=False)
        self.register_buffer("mean", torch.zeros(2 * (fine + middle)))  # of the features over training renders
        self.register_buffer("spread", torch.ones(2 * (fine + middle)))

    def forward(self, x: Tensor) -> Outputs:
        fine = self.fine((x - 0.45) * 4)
        where = self.where.to(fine.dtype).expand(len(x), -1, -1, -1)
        middle = self.middle(torch.cat([fine, where], 1))
        coarse = self.coarse(middle)
        y = self.fuse[0](torch.relu(self.lateral[1](middle) + F.interpolate(self.lateral[2](coarse), scale_factor=2.0)))
        y = self.fuse[1](torch.relu(self.lateral[0](fine) + F.interpolate(y, scale_factor=2.0)))
        maps = dict(zip(self.parts, self.heads(y).float().split(tuple(self.parts.values()), 1), strict=True))
        pooled = torch.cat([middle.float().mean((2, 3)), coarse.float().mean((2, 3))], 1)
        ground, sky = self.place(pooled).float().split((len(GROUNDS), len(SKIES)), 1)
        # Of the two finer maps mean and deviation over the image: these see blur, noise and blobs best.
        parts = [part(m.float(), (2, 3)) for m in (fine, middle) for part in (torch.mean, torch.std)]
        return maps, ground, sky, (torch.cat(parts, 1) - self.mean) / self.spread


def number_of_colours(weights: Path) -> int:
    """How many colours a network of these weights knows; those of the first networks where there are no weights."""
    from safetensors import safe_open

    if not weights.exists():
        return len(FIRST_COLOURS)
    with safe_open(weights, "pt") as file:
        channels = file.get_slice("heads.weight").get_shape()[0]
    return channels - sum(heads(0).values())


def load_shipped(model: nn.Module, weights: Path, device: str) -> nn.Module:
    """An evaluator with the weights that are shipped, frozen. Raises FileNotFoundError where there are none yet."""
    from safetensors.torch import load_file

    if not weights.exists():
        name = weights.stem
        raise FileNotFoundError(f"No weights at {weights}: train them (`python -m training {name}`), then ship them.")
    counters = {name: w for name, w in model.state_dict().items() if not w.is_floating_point()}  # counters, not shipped
    model.load_state_dict({name: w.float() for name, w in load_file(weights).items()} | counters)
    return model.to(torch.device(device)).to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def batches_of_128(images: Tensor, model: nn.Module, rows: int = 64) -> Iterator[Tensor]:
    """Images (B, 3, H, W) in [0, 1] of any size, `rows` at a time as the input of an evaluator: 128 x 128, on its
    device.

    Raises ValueError for another shape.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images are (B, 3, H, W) in [0, 1], and these {tuple(images.shape)}.")
    device = next(model.parameters()).device
    for part in images.split(rows):
        x = part.detach().to(device, torch.float32).clamp(0, 1)
        if x.shape[2:] != (SIDE, SIDE):
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        yield x.contiguous(memory_format=torch.channels_last)
