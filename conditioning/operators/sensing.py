import math

import torch
from torch import Tensor

from conditioning.operators.operator import Linear, Shape


class CompressedSensing(Linear):
    """Of every channel, its pixels in random order, the first coefficients of the Walsh-Hadamard transform.

    ratio: the part of the coefficients that is kept. seed: of the order. All kept singular values are 1.
    """

    title = "Compressed sensing (Walsh-Hadamard)"

    def __init__(self, shape: Shape, ratio: float = 0.5, seed: int = 0):
        C, H, W = shape
        N = H * W
        if N & (N - 1):
            raise ValueError(f"compressed sensing of {W} x {H} pixels: the transform needs sizes that are powers of 2")
        if not 0 < ratio <= 1:
            raise ValueError(f"a ratio of {ratio}: give more than 0 and at most 1")
        self.shape, self.count = shape, max(1, round(ratio * N))
        self.y_shape = (C, self.count)
        self.order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        self.back = self.order.argsort()
        self.s = (torch.arange(N) < self.count).double().expand(C, N).reshape(1, -1)

    def V(self, c: Tensor) -> Tensor:
        pixels = _hadamard(c.reshape(len(c), self.shape[0], -1))[..., self.back.to(c.device)]
        return pixels.reshape(len(c), *self.shape)

    def Vt(self, x: Tensor) -> Tensor:
        return _hadamard(x.flatten(2)[..., self.order.to(x.device)]).flatten(1)

    def U(self, c: Tensor) -> Tensor:
        return c.reshape(len(c), self.shape[0], -1)[..., : self.count]

    def Ut(self, y: Tensor) -> Tensor:
        return torch.nn.functional.pad(y, (0, len(self.order) - self.count)).flatten(1)


def _hadamard(x: Tensor) -> Tensor:
    """The orthonormal transform of the last dimension, N = 2^k: its own inverse; k rounds of sums and differences."""
    N = x.shape[-1]
    half = 1
    while half < N:
        a, b = x.reshape(*x.shape[:-1], N // (2 * half), 2, half).unbind(-2)
        x = torch.stack([a + b, a - b], -2).flatten(-3)
        half *= 2
    return x / math.sqrt(N)
