"""What becomes of an image outside of a mask, hard or feathered."""

import torch
from torch import Tensor


def kept_outside(mask: Tensor, made: Tensor, kept: Tensor, sigma: float) -> Tensor:
    """`made` where the mask is 1, `kept` where it is 0. made, kept: states (B, C, h, w) at level sigma; mask:
    (B, 1, h, w), bool or in [0, 1].

    Where the mask lies between, at a feathered edge, the state is the made one while there is noise: the mean of two
    noisy states has less noise than their level. At the end, sigma = 0, it is the mean of the two images by the mask,
    as A1111 lays what was made over the source by its blurred mask.
    """
    mask = mask.to(made.device)
    hard = torch.where(mask > 0, made, kept)
    if sigma > 0 or mask.dtype == torch.bool:
        return hard
    return torch.where(mask < 1, torch.lerp(kept, made, mask.to(made)), hard)
