import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Box, Boxes, Help, Interval, Knob, method
from samplers.flow import Cond, Denoiser, Flow, role_of, together, with_role
from samplers.schedules import highest, interval

SIDE = 128  # pixels of a plain background
Colours = dict[int, Tensor]  # seed -> a plain colour's mean latent, (1, C, 1, 1)


@method(
    task="layout",
    paper="2302.08113",
    search=(
        "regional prompt", "regions", "regional prompter", "latent couple", "areas", "place by boxes",
        "bounding box", "layout",
    ),
    needs=("prompts",),
    traits=("prompt_omits_boxes",),
    intervals=(Interval(end="bootstrap", disables_method=False),),
    rows=None,
)
def multidiffusion(
    D: Denoiser,
    regions: Annotated[Boxes, Help("Boxes, each with a prompt of its own")],
    bootstrap: Annotated[
        float,
        Knob(0, 1, label="Bootstrapping until", help="Regions see a plain background up to this fraction of the steps"),
    ] = 0.7,
    sigmas: Sequence[float] = (),
    backbone: Any = None,
) -> Denoiser:
    """MultiDiffusion regions.

    Every region has its own prompt and the rest the prompt of the run: each is denoised as an image of its own, and of
    each the region's part is taken (Bar-Tal et al. 2023, Section 4.2).

        x0 = sum_k M_k D(x_k, prompt_k) / sum_k M_k

    regions: boxes with their texts. The prompt of the run paints the rest and should not name them: they would come out
    there as well. Layout guidance looks for the words of its boxes in that prompt, so the two are not stacked. sigmas:
    the schedule of the run, of which `bootstrap` is a part. backbone: encodes the texts and the plain background.

    At first a region is denoised before a plain background of some colour, so that its object comes to lie inside: x_k
    is x inside the region and that background, noised, outside. The paper does so for 20 of 50 steps, 0.4; Still Life
    still moves solids out of their boxes then. The colours and the noise are the same for every image. Inside a region
    x_k is x, so averaging denoised predictions is averaging states. Under guidance the denoised prediction for the
    negative prompt is made of the same x_k.

    The authors do otherwise: they noise the plain background with the run's own start; here each region has a noise of
    its own, the same for every image and step.
    """
    low = interval(sigmas, 0.0, bootstrap)[0] if bootstrap > 0 else math.inf
    texts: dict[str, Cond] = {}
    colours: Colours = {}

    def prompted(box: Box, cond: Cond, rows: int) -> Cond:
        if box.text not in texts:
            texts[box.text] = backbone.encode_prompt([box.text])
        own = {key: value.expand(rows, *value.shape[1:]) for key, value in texts[box.text].items()}
        return with_role({**cond, **own}, "other")

    def blended(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        apart, negative = highest(sigma) > low, role_of(cond) == "negative"
        if not regions or (negative and not apart):
            return (yield from D(x, sigma, cond, **kw))
        masks = torch.stack([inside(box, x) for box in regions])  # (K, h, w)
        flows = [D(x, sigma, cond, **kw)]
        for k, box in enumerate(regions):
            x_k = torch.where(masks[k] > 0, x, background(k, x, sigma, backbone, colours)) if apart else x
            flows.append(D(x_k, sigma, cond if negative else prompted(box, cond, len(x)), **kw))
        rest, *own = yield from together(*flows)  # (B, C, h, w) each
        around = (1 - masks.sum(0)).clamp(min=0)
        total = around * rest
        for mask, x0 in zip(masks, own):
            total = total + mask * x0
        return total / (around + masks.sum(0))

    return blended


def inside(box: Box, x: Tensor) -> Tensor:
    """(h, w), 1 in the cells that the box touches, and 0."""
    h, w = x.shape[2:]
    top, left = min(math.floor(box.top * h + 1e-6), h - 1), min(math.floor(box.left * w + 1e-6), w - 1)
    mask = x.new_zeros(h, w)
    mask[
        top : max(math.ceil(box.bottom * h - 1e-6), top + 1), left : max(math.ceil(box.right * w - 1e-6), left + 1)
    ] = 1
    return mask


def background(k: int, x: Tensor, sigma: float | Tensor, backbone: Any, colours: Colours) -> Tensor:
    """A plain colour at level sigma, (B, C, h, w): that of region k changes with the level, its noise does not.

    colours: those that were encoded before. Only their mean is needed, so a small image is encoded.
    """
    seed = 1000 * k + round(10 * highest(sigma))
    if seed not in colours:
        side = min(backbone.default_size, SIDE)
        colour = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(seed)).expand(1, 3, side, side)
        colours[seed] = backbone.encode_image(colour).mean((2, 3), keepdim=True)
    flat = colours[seed].to(x)
    z = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(k))
    return (flat + torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1) * z.to(x)).expand_as(x)
