"""What the small networks beside a backbone are made of."""

import torch
from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A convolution of 3 x 3, normalised over the batch, with its activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False), nn.BatchNorm2d(out_channels), nn.SiLU()
    )


def where(h: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 2, h, w): v up and u to the right, in [-1, 1]."""
    at = [(torch.arange(n, device=h.device) + 0.5) / n * 2 - 1 for n in h.shape[2:]]
    return torch.stack(torch.meshgrid(-at[0], at[1], indexing="ij")).to(h.dtype).expand(len(h), -1, -1, -1)
