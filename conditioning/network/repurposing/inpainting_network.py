from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conditioning.registry import Help, Map, Mask, method
from samplers.flow import Cond

KEY = "c_concat"  # of cond: (B, 1 + C, h, w), what is laid beside the noisy latents


@method(
    task="inpainting",
    paper="2112.10752",
    search=("inpaint", "inpainting model", "mask", "outpaint", "fill a hole", "paint into a mask", "remove an object"),
    needs=("inpainting network",),
    traits=("reads_whole_map",),
)
def inpainting_network(
    backbone: Any,
    image: Annotated[Map, Help("The image outside the mask", label="Image")],
    mask: Annotated[Mask, Help("Paint what is to be made anew")],
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:
    """Inpainting network.

    A network that was trained on for this task reads, beside the noisy latents, the mask and the latents of the image
    with gray under the mask (Rombach et al. 2022, Section 4.5): it sees what it has to join on to, at every step, and
    makes the whole image.

        x0 = D(x, m, E((1 - m) image))

    image: (B, 3, H, W) in [0, 1]. mask: (B, 1, h, w), True (or 1) where it is to be new; a feathered one is read as
    painted from 0.5 on, as the networks were trained on hard masks. It returns the further key of an ask.

    The authors do otherwise: a latent of the mask is the nearest of its pixels; here it counts as painted where any of
    its pixels is, and all of them are gray then.
    """
    image, painted = image[:1], (mask[:1].float() >= 0.5).to(image)
    covered = F.interpolate(painted, image.shape[-2:], mode="nearest")
    latents = backbone.encode_image(image * (1 - covered) + 0.5 * covered)
    given = torch.cat([painted.to(latents), latents], 1)

    def keys(sigma: float | Tensor, cond: Cond) -> dict[str, Tensor]:
        return {KEY: given}

    return keys
