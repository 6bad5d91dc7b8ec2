from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.registry import Interval, Knob, Prompt, method
from samplers.flow import Cond, Denoiser, Flow, together
from samplers.schedules import highest, interval


@method(
    task="text-to-image",
    paper="2207.12598",
    search=(
        "CFG", "guidance scale", "prompt strength", "negative prompt",
    ),
    rows=2,
    order_in_family=-1,
    intervals=(Interval("start", "end"),),
)
def cfg(
    D: Denoiser,
    null: Prompt,
    scale: Annotated[float, Knob(0, 30, neutral=1, curve=True,
                                 help="How strongly the prompt is followed; 1 is the prompt alone")] = 7.5,
    rescale: Annotated[
        float, Knob(0, 1, help="Takes back the glare of a high scale (Lin et al. 2023); 0 is off, 0.7 in the paper")
    ] = 0.0,
    start: Annotated[float, Knob(0, 1, help="Guided from this fraction of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, help="Guided up to this fraction of the steps")] = 1.0,
    sigmas: Sequence[float] = (),
    backbone: Any = None,
) -> Denoiser:
    """Classifier-free guidance.

    Goes from the denoised prediction for the negative prompt through the one for the prompt, and beyond (Ho & Salimans
    2022, Eq. 6). Both are rows of one network evaluation; where the scale is 1, or the level is outside of the guidance
    interval (Kynkäänniemi et al. 2024, arXiv 2404.07724), the pass for the negative prompt is not made. Each ask goes
    by its own level, the second one of a Heun step by the next.

        x0 = u + scale (c - u)

    null: cond of the negative prompt, of as many rows as the cond of the run.
    sigmas: the schedule of the run, of which `start` and `end` are parts 0..1; not needed for 0 and 1.

    backbone: some networks are guided otherwise by their authors. Where it says that its `guidance_keeps_length`, as
    Qwen-Image's does (Wu et al. 2025, arXiv 2508.02324; diffusers' pipeline), the guided output has the direction of
    the above, and at every token of the image the length of c's. Else, and without a backbone, it is the above.

    The rescaling (Lin et al. 2023, arXiv 2305.08891, Section 3.4) gives each image's guided output the standard
    deviation of the conditional one back, by the part `rescale`. It is done on v, the output of the paper's network,
    which is x / (1 + sigma^2) - x0 up to a factor: unlike eps it tells something at every level, an infinite one too.
    diffusers' `guidance_rescale` does the same for a network that predicts v, and works on eps for one of eps.
    """
    low, high = interval(sigmas, start, end)
    keeps_length = bool(getattr(backbone, "guidance_keeps_length", False))

    def guided(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        if scale == 1 or not cond or not low < highest(sigma) <= high:  # without prompts there is one prediction
            return (yield from D(x, sigma, cond, **kw))
        c, u = yield from together(D(x, sigma, cond, **kw), D(x, sigma, null, **kw))  # (B, C, H, W) each
        x0 = u + scale * (c - u)
        if keeps_length:
            x0 = with_length_of(c, x0, x, sigma, backbone.patch)
        return x0 if rescale == 0 else rescaled(x0, c, x, sigma, rescale)

    return guided


def with_length_of(c: Tensor, x0: Tensor, x: Tensor, sigma: float | Tensor, patch: int) -> Tensor:
    """The guided x0 whose v, the output x / (1 + sigma) - x0 of a flow network up to a factor, has the length that it
    has for c, in each token of patch x patch latents. All (B, C, H, W)."""
    still = x / (1 + torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1))  # where v = 0

    def length(v: Tensor) -> Tensor:
        squares = F.avg_pool2d(v.square().sum(1, keepdim=True), patch, divisor_override=1)
        return F.interpolate(squares, scale_factor=patch, mode="nearest").sqrt()  # (B, 1, H, W)

    return still + length(c - still) / length(x0 - still).clamp(min=1e-12) * (x0 - still)


def rescaled(x0: Tensor, c: Tensor, x: Tensor, sigma: float | Tensor, phi: float) -> Tensor:
    """Lin et al. 2023, Section 3.4, on v: the guided x0 with the deviation of c by the part phi. All (B, C, H, W)."""
    still = x / (1 + torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1) ** 2)  # where v = 0

    def std(v: Tensor) -> Tensor:
        return v.flatten(1).std(1).view(-1, 1, 1, 1)

    return still + (phi * std(c - still) / std(x0 - still) + 1 - phi) * (x0 - still)
