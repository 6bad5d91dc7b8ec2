from collections.abc import Sequence
from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from conditioning.registry import Help, Image, Interval, Knob, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step
from samplers.schedules import interval


@method(
    task="reference",
    paper="2108.02938",
    search=(
        "reference image", "blurred reference", "low frequencies", "variation",
        "colours of an image", "style",
    ),
    intervals=(Interval(end="end", at_next_level=True),),
)
def ilvr(
    sampler: Sampler,
    reference: Annotated[Image, Help("The image whose coarse colours and shapes are kept")],
    detail: Annotated[
        int,
        Knob(
            1,
            64,
            label="Low-pass resolution",
            help="How finely the reference is kept: cells along the shorter side (the paper: size / N)",
        ),
    ] = 8,
    end: Annotated[float, Knob(0, 1, neutral=0, label="Until", help="Up to this fraction of the steps")] = 0.8,
    made_sigmas: Sequence[float] = (),
) -> Sampler:
    """ILVR.

    After every step the low frequencies of the state become those of the reference, noised to the level, so that the
    image agrees with it in layout and colour and is free in the rest (Choi et al. 2021, Algorithm 1).

        x = x + phi(reference + sigma z) - phi(x)

    reference: the image, latents (B, C, h, w). phi makes small and large again, by the cubic kernel.
    made_sigmas: the schedule of the run, of which `end` is a part.

    The paper's factor N = 32 at 256 pixels leaves 8 x 8 cells. On a latent network phi acts on latents.

    The authors do otherwise: they noise the reference to the level before the step, here it is the level that the step
    reaches; they correct all steps but the last, here `end` is 0.8; at the edges their filter mirrors the image, here
    the filter is renormalised.
    """

    def corrected(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("ilvr")
        low, _ = interval(made_sigmas or sigmas, 0.0, end)  # a jump of RePaint hands on a part of the schedule alone

        def fix(step: Step) -> Tensor:
            if step.sigma < low or end == 0:
                return step.x
            return step.x + phi(reference.to(step.x) + step.sigma * fresh(step.x) - step.x, detail)

        return (yield from on_step(sampler(D, x, sigmas, cond, noise), fix))

    return corrected


def phi(x: Tensor, detail: int) -> Tensor:
    """The low frequencies of x (B, C, h, w): `detail` cells along the shorter side. Linear."""
    h, w = x.shape[2:]
    part = min(1.0, detail / min(h, w))
    size = (max(1, round(h * part)), max(1, round(w * part)))
    cells = F.interpolate(x, size=size, mode="bicubic", antialias=True)
    return F.interpolate(cells, size=(h, w), mode="bicubic", antialias=True)
