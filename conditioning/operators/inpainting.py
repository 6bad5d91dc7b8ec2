import torch
from torch import Tensor

from conditioning.operators.operator import Linear, Shape


class Inpainting(Linear):
    """What was painted over is lost: A is a diagonal of ones and zeros, and y is 0 in the hole.

    mask: (H, W), or (B or 1, 1, H, W), True where it was painted.
    """

    title = "Inpainting"

    def __init__(self, shape: Shape, mask: Tensor):
        mask = torch.as_tensor(mask)
        if tuple(mask.shape[-2:]) != shape[1:] or mask.ndim not in (2, 4) or (mask.ndim == 4 and mask.shape[1] != 1):
            raise ValueError(
                f"a mask of shape {tuple(mask.shape)} for images {shape}: give (H, W) or (B, 1, H, W) of their size"
            )
        painted = mask.reshape(-1, 1, *shape[1:]) > 0.5
        self.shape = self.y_shape = shape
        self.s = (~painted).double().expand(-1, *shape).flatten(1)  # (B or 1, D)

    def V(self, c: Tensor) -> Tensor:
        return c.reshape(len(c), *self.shape)

    def Vt(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def U(self, c: Tensor) -> Tensor:
        return self.clean(c.reshape(len(c), *self.shape))

    def Ut(self, y: Tensor) -> Tensor:
        return self.clean(y).flatten(1)

    def clean(self, y: Tensor) -> Tensor:
        return torch.where(self.s.to(y.device).reshape(-1, *self.shape) > 0, y, 0.0)
