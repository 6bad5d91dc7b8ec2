import math
from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from conditioning.registry import Help, Image, Knob, Mask, Start, method
from conditioning.sampling.masks import kept_outside
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step

START = Start("skip", skipped=True)


@method(
    task="inpainting",
    paper="2206.02779",
    search=(
        "inpaint", "mask", "outpaint", "fill a hole", "paint into a mask", "remove an object",
        "generative fill", "replace an object", "denoising strength",
    ),
    traits=("finds_start",),
    starts_at=START,
    nfe=None,
    rows=None,
    order_in_family=1,  # the outermost, so that the start is found once, and not at every descent of time travel
)
def blended_latent(
    sampler: Sampler,
    known: Annotated[Image, Help("The image outside the mask", label="Image")],
    mask: Annotated[Mask, Help("Paint where the prompt goes")],
    skip: Annotated[
        float, Knob(0, 0.9, label="Skipped steps",
            help="The run begins this far down its steps, from the noised image: more keeps more of what was there")
    ] = 0.25,
) -> Sampler:
    """Blended latent diffusion.

    The prompt is painted into the mask: the run starts from noise some way down the schedule, and after every step what
    lies outside the mask becomes the known image, noised to the level (Avrahami et al. 2023, Algorithm 1).

        z = m z + (1 - m) (known + sigma e)

    known: the image, latents (B, C, h, w). mask: (B, 1, h, w), True (or 1) where the prompt goes.

    The start is the noise of the run, scaled to the later level. The official code blends at the level before the step,
    which leaves noise in the background; here the last blend is the known latent itself. What the paper does about the
    autoencoder's loss, its decoder tuned for each image, is left out: the known part is what it gives back.
    """

    def blended(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("blended_latent")
        first = START.left_out(len(sigmas) - 1, {"skip": skip})

        def blend(step: Step) -> Tensor:
            return kept_outside(mask, step.x, known.to(step.x) + step.sigma * fresh(step.x), step.sigma)

        if first > 0:
            x = x * math.sqrt((1 + sigmas[first] ** 2) / (1 + sigmas[0] ** 2))
        return (yield from on_step(sampler(D, x, sigmas[first:], cond, noise), blend))

    return blended
