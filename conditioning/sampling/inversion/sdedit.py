from collections.abc import Callable, Sequence
from math import sqrt
from typing import Annotated

from torch import Tensor

from conditioning.registry import Help, Image, Knob, Mask, method
from conditioning.sampling.inversion.encoding import BY_STRENGTH, tail
from conditioning.sampling.masks import kept_outside
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step


@method(
    task="editing",
    paper="2108.01073",
    search=(
        "img2img", "image to image", "denoising strength", "strength", "variation", "sketch", "rough sketch",
        "colour sketch", "edit my image", "redo an image", "refine", "hires fix", "stroke painting",
    ),
    traits=("finds_start",),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def sdedit(
    sampler: Sampler,
    source: Annotated[Image, Help("The image to start from", label="Image")],
    mask: Annotated[Mask, Help("Paint what may change; without a mask everything may")] | None = None,
    strength: Annotated[
        float, Knob(0, 1, label="Denoising strength", help="0 gives the image back, 1 starts from noise")
    ] = 0.6,
    repeats: Annotated[int, Knob(1, 5, label="Repeats K", help="Passes, each from the result of the one before")] = 1,
) -> Sampler:
    """SDEdit (image to image).

    The image is noised to a level inside the schedule, and the run goes down from there: what is smaller than the
    noise is made anew, what is larger stays. A stroke painting becomes a photograph, a rough edit a clean one (Meng et
    al. 2022, Algorithm 1 to 3).

        x = source + sigma e,  then sampled from sigma to 0

    source: the image, latents (B, C, h, w). mask: (B, 1, h, w), True (or 1) where it may change; left out, everywhere.

    strength: the part of the steps that is taken, of all there are. e is the noise that the run would have started
    from, so that at strength 1 the image is that of the seed up to source / sigma. With a mask the rest is the
    source, noised to the level by the same e throughout a pass, as in the official code, which puts in the level before
    the step and takes 3 passes.
    """

    def edited(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh, image = noise.child("sdedit"), source.to(x)
        e = x / sqrt(1 + sigmas[0] ** 2)
        part = tail(sigmas, strength)
        if len(part) == 1:
            return (yield Step(image, image, part[0]))
        for i in range(repeats):
            e = fresh(x) if i else e
            flow = sampler(D, image + part[0] * e, part, cond, noise)
            image = yield from flow if mask is None else on_step(flow, keeping(source, mask, e))
        return image

    return edited


def keeping(source: Tensor, mask: Tensor, e: Tensor) -> Callable[[Step], Tensor]:
    """Outside of the mask a step's x becomes the source, noised by e."""
    return lambda step: kept_outside(mask, step.x, source.to(e) + step.sigma * e, step.sigma)
