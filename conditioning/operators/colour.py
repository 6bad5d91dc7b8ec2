from collections.abc import Sequence

import torch
from torch import Tensor

from conditioning.operators.operator import Shape, Weighted


class Grey(Weighted):
    """Every pixel's channels become one grey value.

    weights: of the channels. DDRM and DDNM take a third of each; eyes would have (0.299, 0.587, 0.114).
    """

    title = "Colourisation"

    def __init__(self, shape: Shape, weights: Sequence[float] | None = None):
        C, H, W = shape
        weights = [1 / C] * C if weights is None else list(weights)
        if len(weights) != C or not any(weights):
            raise ValueError(f"weights {weights} for {C} channels: give one for each, and not all 0")
        self.y_shape = (1, H, W)
        super().__init__(shape, torch.tensor(weights, dtype=torch.float64), (H, W))

    def split(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1)  # (B, H, W, C)

    def join(self, c: Tensor) -> Tensor:
        return c.movedim(-1, 1)
