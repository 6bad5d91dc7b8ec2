from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Knob, method
from samplers.flow import Cond, Denoiser, Flow, together


@method(task="panorama", paper="2302.08113", traits=("cuts_windows",), rows=None, order_in_family=-1)
def panorama(
    D: Denoiser,
    window: Annotated[
        int,
        Knob(0, 256, label="Window size", help="Side of a window in latents; 0 is the size the network is made for"),
    ] = 0,
    stride: Annotated[int, Knob(1, 256, label="Window stride", help="From window to window, in latents")] = 8,
    feather: Annotated[
        float,
        Knob(
            0, 1, label="Window feathering", help="How much less a window counts towards its edges; 0: as in the paper"
        ),
    ] = 1.0,
    backbone: Any = None,
) -> Denoiser:
    """MultiDiffusion panorama.

    An image larger than the network was made for is denoised in overlapping windows of its size, and where they
    overlap their denoised predictions are averaged (Bar-Tal et al. 2023, Section 4.1).

        x0 = sum_j P_j^T (w D(P_j x)) / sum_j P_j^T w

    backbone: tells the size of a window where `window` is 0.

    The paper averages the states after a step, which is the same here: what a solver does after the denoised prediction
    is linear, and noise is drawn for the whole image. A last window ends at the edge where the stride does not divide
    the image. The paper's stride is 8 of a window of 64.

    The paper has w = 1: where a window ends, the mean jumps by its share. Weights that fall towards the edges, as in
    Mixture of Diffusers (Jiménez 2023, arXiv 2302.02412, there a Gaussian, here a tent), let it end unseen.
    """

    def spread(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        h, w = (window, window) if window else backbone.latent_shape(backbone.default_size, backbone.default_size)[1:]
        down, across = places(x.shape[2], h, stride), places(x.shape[3], w, stride)
        if len(down) == len(across) == 1:
            return (yield from D(x, sigma, cond, **kw))
        parts = [(slice(top, top + h), slice(left, left + w)) for top in down for left in across]
        predictions = yield from together(
            *(D(x[:, :, rows, columns], sigma, crop(cond, x, rows, columns), **kw) for rows, columns in parts)
        )
        weights = 1 - feather + feather * tent(h, x)[:, None] * tent(w, x)  # (h, w)
        total, count = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        for x0, (rows, columns) in zip(predictions, parts):
            total[:, :, rows, columns] += weights * x0
            count[:, :, rows, columns] += weights
        return total / count

    return spread


def tent(length: int, like: Tensor) -> Tensor:
    """(length,) weights that rise from the first to the middle and fall to the last, above 0 and at most 1."""
    at = torch.arange(length, dtype=like.dtype, device=like.device) + 0.5
    return torch.minimum(at, length - at) / (length / 2)


def places(length: int, window: int, stride: int) -> list[int]:
    """Where the windows start: every `stride`, and a last one that ends at the edge. [0] where one covers all."""
    last = length - window
    return [0] if last <= 0 else [*range(0, last, stride), last]


def crop(cond: Cond, x: Tensor, rows: slice, columns: slice) -> Mapping[str, Any]:
    """The cond of a window: maps (B, C, H, W) are cut as x is, at their own scale, the rest stays."""

    def cut(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim != 4:
            return value
        down, across = value.shape[2] // x.shape[2], value.shape[3] // x.shape[3]
        return value[:, :, rows.start * down : rows.stop * down, columns.start * across : columns.stop * across]

    return {name: cut(value) for name, value in cond.items()}
