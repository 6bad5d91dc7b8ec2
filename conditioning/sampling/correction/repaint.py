from collections.abc import Sequence
from itertools import count
from typing import Annotated

from torch import Tensor

from conditioning.registry import Help, Image, Knob, Mask, method
from conditioning.sampling.masks import kept_outside
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step, renoising


@method(
    task="inpainting",
    paper="2201.09865",
    search=(
        "inpaint", "mask", "outpaint", "fill a hole", "paint into a mask", "remove an object", "uncrop",
    ),
    nfe=None,
    rows=None,
)
def repaint(
    sampler: Sampler,
    known: Annotated[Image, Help("The image outside the mask", label="Image")],
    mask: Annotated[Mask, Help("Paint what is to be made anew")],
    jump: Annotated[
        int,
        Knob(
            1,
            100,
            ignored_when=("times", 1),
            counts_steps=True,
            label="Jump length",
            help="How many steps it goes back up to more noise, to make them again",
        ),
    ] = 10,
    times: Annotated[
        int, Knob(1, 20, label="Resamplings",
                  help="How often each stretch of steps is made: more joins new and old better, 1 never goes back")
    ] = 10,
) -> Sampler:
    """RePaint.

    After every step what lies outside the mask becomes the known image, noised to the level; and the schedule goes back
    up by `jump` steps, `times` - 1 times at every jump-th level, so that the new part grows into the known one (Lugmayr
    et al. 2022, Algorithm 1). The paper's setting is 250 ancestral steps: 2410 network evaluations.

        x = m x + (1 - m) (known + sigma z)
        up from a to b:  x + sqrt(b^2 - a^2) z

    known: the image, latents (B, C, h, w). mask: (B, 1, h, w), True (or 1) where it is to be new.

    As diffusers' RePaintScheduler, which says why line 5 of the algorithm is not to be taken literally, it blends after
    the step, at the level reached: in law the paper's blend before the next evaluation, and the last one is without
    noise. Of a latent network the known part is what the autoencoder gives back.

    The authors do otherwise: they clip x0 to [-1, 1]; here it is left as the network gives it.
    """

    def repainted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("repaint")

        def blend(step: Step) -> Tensor:
            at_level = known.to(step.x) + step.sigma * fresh(step.x)
            return kept_outside(mask, step.x, at_level, step.sigma)

        return (yield from on_step(travelling(sampler, jump, times)(D, x, sigmas, cond, noise), blend))

    return repainted


def travelling(sampler: Sampler, jump: int, times: int, start: float = 0.0, end: float = 1.0) -> Sampler:
    """The same sampler on the schedule with `jumps`. Every descent draws numbers of its own."""

    def travelled(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        descents = count()

        def descent(D: Denoiser, x: Tensor, part: Sequence[float], cond: Cond, noise: Noise) -> Flow:
            i = next(descents)
            return sampler(D, x, part, cond, noise.child(f"descent {i}") if i else noise)

        return (yield from renoising(descent)(D, x, jumps(sigmas, jump, times, start, end), cond, noise))

    return travelled


def jumps(sigmas: Sequence[float], jump: int, times: int, start: float = 0.0, end: float = 1.0) -> list[float]:
    """The schedule that goes `jump` steps back up, `times` - 1 times, at every jump-th level counted from its end.

    Only where the last step that is repeated begins between the parts `start` and `end` of the steps, as for a method
    that acts on the steps of this interval.
    """
    T = len(sigmas) - 1
    first, last = round(start * T, 9), round(end * T, 9)
    left = {t: times - 1 for t in range(0, T - jump, jump) if first <= T - 2 - t < last}
    levels, t = [], T - 1  # t: of the paper, T - 1 at the first level and -1 at 0
    while t >= 0:
        levels.append(sigmas[T - 1 - t])
        if left.get(t, 0) > 0:
            left[t] -= 1
            t += jump  # in one jump, in law the paper's `jump` small ones
        else:
            t -= 1
    return [*levels, sigmas[T]]
