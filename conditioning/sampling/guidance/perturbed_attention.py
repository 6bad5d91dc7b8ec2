from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Choice, Knob, method
from samplers.flow import Cond, Denoiser, Flow, together


@method(
    task="text-to-image",
    paper="2403.17377",
    search=(
        "PAG", "better quality", "sharper", "structure", "without a prompt", "SAG", "self-attention guidance",
    ),
    needs=("attention.self",),
    nfe=2,
    rows=2,
)
def perturbed_attention(
    D: Denoiser,
    network: Denoiser,
    scale: Annotated[
        float, Knob(0, 20, neutral=0, curve=True, label="PAG scale",
                    help="How strongly the image is driven away from a prediction without structure")
    ] = 1.0,
    layers: Annotated[
        str, Choice(("mid", "down", "up"), label="PAG layers", help="Part of the network that is perturbed")
    ] = "up",
) -> Denoiser:
    """Perturbed-attention guidance.

    Guides away from what the network predicts when its self-attention maps are the identity, so that every position
    attends to itself alone: such predictions have lost their structure. It works without a prompt, too (Ahn et al.
    2024, Eq. 14).

        x0 = x0 + scale (c - p)     p: c with the maps of self-attention replaced by the identity

    network: asked for p, and for c where D is more than the network.

    c: the denoised prediction for the prompt of the run. Under classifier-free guidance this is added to the guided
    denoised prediction, which is then one row of the network more than c and p: c itself, asked beside it.

    Where image and words are attended to at once (transformers), the image's other tokens are left out of it, and
    words stay, as in diffusers.

    The paper perturbs the mid block of Stable Diffusion, at a scale of 3. The defaults are for Still Life, whose mid
    block says next to nothing of structure: perturbed at 3, it moves an image by 0.2 of 255, the blocks on the way down
    by 9, those on the way up by 32. Of these a scale of 1, which moves it by 9, is enough to close torn outlines."""

    def guided(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        if scale == 0:
            return (yield from D(x, sigma, cond, **kw))
        tape = kw.get("tape")
        flows = [D(x, sigma, cond, **kw), network(x, sigma, cond, edit=Identity(layers), tape=tape)]
        if D is not network:
            flows.append(network(x, sigma, cond, tape=tape))
        x0, p, *own = yield from together(*flows)  # (B, C, H, W) each
        return x0 + scale * ((own[0] if own else x0) - p)

    return guided


@dataclass(frozen=True)
class Identity:
    """An edit: in self-attention of one part of the network every token attends to itself alone."""

    part: str

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind != "self" or site.place != self.part:
            return plain(q, k, v)
        if not site.joint:
            return v
        alone = torch.eye(q.shape[2], dtype=torch.bool, device=q.device)  # words take part as before
        return plain(q, k, v, alone)
