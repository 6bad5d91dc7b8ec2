from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor

from conditioning.registry import Choice, method
from conditioning.sampling.inversion.encoding import (
    BY_STRENGTH,
    FixedPointIterations,
    InversionSteps,
    SourceImage,
    SourcePrompt,
    Strength,
    ddim_encode,
    tail,
)
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler


@method(
    task="editing",
    paper="2010.02502",
    search=(
        "inversion", "invert and edit", "real image editing", "edit a photo", "edit my image",
        "noise of an image",
    ),
    traits=("finds_start", "encodes_start", "retraces_path"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def ddim_inversion(
    sampler: Sampler,
    source: SourceImage,
    source_prompt: SourcePrompt,
    network: Denoiser,
    backbone: Any,
    strength: Strength = 1.0,
    labels: Annotated[
        str,
        Choice(
            ("next", "same"),
            label="Noise level of the prediction",
            help="Noise level that the network is asked at: the one the step goes to, or the one it is at",
        ),
    ] = "next",
    between: InversionSteps = 1,
    again: FixedPointIterations = 0,
) -> Sampler:
    """DDIM inversion.

    DDIM steps under the source prompt, taken backwards from the image, end at the noise that it comes from; from there
    the run goes down under its own prompt (Song et al. 2021, Section 4.3). With guidance scale 1 and labels "same" this
    is DDIB, dual diffusion implicit bridges (Su et al. 2023, arXiv 2203.08382).

        x = x + (s' - s) eps(x, label),  s < s'
        label: s' ("next") or s ("same")

    source: the image, latents (B, C, h, w). source_prompt: a prompt that describes it. network: what the encoding
    asks, with the run's adapters and without its guidance. backbone: tells the lowest level that has a label.

    Labels: "next" is what null-text inversion, prompt-to-prompt and diffusers do, a step of fixed-point iteration
    towards the exact inverse of DDIM; "same" is what guided-diffusion and DDIB do. The encoding is not guided: guidance
    magnifies its errors. It is of first order, and under guidance the way down is another one, so the source does not
    come back exactly: see null_text, edict and edit_friendly_ddpm for that.
    """

    def inverted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        part = tail(sigmas, strength)
        lowest = float(backbone.sigmas[0]) if labels == "same" else None
        states = yield from ddim_encode(network, source.to(x), part, source_prompt, lowest, between, again)
        return (yield from sampler(D, states[part[0]], part, cond, noise))

    return inverted
