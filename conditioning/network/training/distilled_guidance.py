from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Knob, method
from samplers.flow import Cond

KEY = "guidance"  # of cond: (B,), the scale that the network reads


@method(
    task="text-to-image",
    paper="2210.03142",
    search=("distilled CFG", "distilled CFG scale", "guidance scale of LCM", "guidance embedding", "flux guidance"),
    needs=("distilled guidance",),
)
def distilled_guidance(
    backbone: Any,
    scale: Annotated[
        float, Knob(1, 30, label="Distilled CFG Scale", help="How strongly the prompt is followed, at no further cost")
    ] = 3.5,
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:
    """Distilled guidance.

    The network was trained to give in one evaluation what classifier-free guidance takes two for, at the scale that it
    reads (Meng et al. 2023, Section 3.1; latent consistency models, Luo et al. 2023, arXiv 2310.04378, Eq. 14). CFG
    Scale comes on top of it, and is 1 for such networks.

        x0 = D(x, c, scale)

    It returns the further key of an ask. Without this method the network reads diffusers' default: FLUX.1 dev and
    Kontext 3.5, Fill 30, latent consistency models 8.5.
    """
    given = {KEY: torch.tensor([float(scale)])}

    def keys(sigma: float | Tensor, cond: Cond) -> Mapping[str, Tensor]:
        return given

    return keys
