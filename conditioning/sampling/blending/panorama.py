from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Knob, Misfit, method
from samplers.flow import Cond, Denoiser, Flow, together


def misfits(knobs: Mapping[str, Any], latent: tuple[int, int], backbone: Any) -> Iterator[Misfit]:
    """Windows that the network cannot take, that leave gaps, or of which one covers the whole image."""
    h, w = window_of(knobs["window"], latent, backbone)
    multiple = backbone.latent_shape(backbone.size_multiple, backbone.size_multiple)[1]
    if (h < latent[0] and h % multiple) or (w < latent[1] and w % multiple):
        window = knobs["window"]
        near = [n for n in (window // multiple * multiple, (window // multiple + 1) * multiple) if n > 0]
        yield Misfit("window", f"{window} is no multiple of {multiple} latents. Give {' or '.join(map(str, near))}")
    elif (h, w) == latent:
        size = " x ".join(str(side * backbone.size_multiple // multiple) for side in (w, h))
        yield Misfit("window", f"one window covers the image of {size} pixels, so it does nothing", refused=False)
    else:
        most = min(side for side, whole in zip((h, w), latent) if side < whole)
        if knobs["stride"] > most:
            gaps = f"{knobs['stride']} leaves gaps between windows of {most} latents. Give at most {most}"
            yield Misfit("stride", gaps)


@method(
    task="panorama",
    paper="2302.08113",
    search=(
        "panorama", "wide image", "large image", "tiled diffusion", "tiles", "high resolution", "hires",
        "upscale beyond the trained size",
    ),
    traits=("cuts_windows",),
    misfits=misfits,
    rows=None,
    order_in_family=-1,
)
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
    the image, and a window is never larger than the image. The paper's stride is 8 of a window of 64. Raises ValueError
    for a stride that leaves gaps.

    The paper has w = 1: where a window ends, the mean jumps by its share. Weights that fall towards the edges, as in
    Mixture of Diffusers (Jiménez 2023, arXiv 2302.02412, there a Gaussian, here a tent), let it end unseen.
    """

    def spread(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        h, w = window_of(window, (x.shape[2], x.shape[3]), backbone)
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


def window_of(window: int, latent: tuple[int, int], backbone: Any) -> tuple[int, int]:
    """Height and width of a window, at most those of the latents (h, w); 0 is the size the network is made for."""
    sides = (window, window) if window else backbone.latent_shape(backbone.default_size, backbone.default_size)[1:]
    return min(sides[0], latent[0]), min(sides[1], latent[1])


def tent(length: int, like: Tensor) -> Tensor:
    """(length,) weights that rise from the first to the middle and fall to the last, above 0 and at most 1."""
    at = torch.arange(length, dtype=like.dtype, device=like.device) + 0.5
    return torch.minimum(at, length - at) / (length / 2)


def places(length: int, window: int, stride: int) -> list[int]:
    """Where the windows start: every `stride`, and a last one that ends at the edge. [0] where one covers all. Raises
    ValueError where some of `length` would lie in no window."""
    last = length - window
    if last > 0 and stride > window:
        raise ValueError(f"a stride of {stride} leaves gaps between windows of {window}: give at most {window}")
    return [0] if last <= 0 else [*range(0, last, stride), last]


def crop(cond: Cond, x: Tensor, rows: slice, columns: slice) -> Mapping[str, Any]:
    """The cond of a window: maps (B, C, H, W) are cut as x is, at their own scale, the rest stays."""

    def cut(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim != 4:
            return value
        down, across = value.shape[2] // x.shape[2], value.shape[3] // x.shape[3]
        return value[:, :, rows.start * down : rows.stop * down, columns.start * across : columns.stop * across]

    return {name: cut(value) for name, value in cond.items()}
