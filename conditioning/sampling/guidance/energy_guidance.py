import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from torch import Tensor

from conditioning.curves import at
from conditioning.energies import ENERGIES, OF_WORDS
from conditioning.gradients import gradient, leaf
from conditioning.registry import Choice, Help, Interval, Knob, Map, Words, method
from conditioning.sampling.correction.repaint import travelling
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.schedules import highest, interval

STEP = 0.1  # the first step of the backward part, in deviations of the denoised prediction; they shrink to 0
TARGETS = {name: "words" if name in OF_WORDS else "target" for name in ENERGIES}


@method(
    task="anything that can be read off an image",
    paper="2303.09833",
    search=(
        "colours", "palette", "style", "style transfer", "colour match", "depth", "edges", "shapes", "FreeDoM",
        "universal guidance", "CLIP guidance", "reference image",
    ),
    needs=("gradients",),
    intervals=(Interval("start", "end"),),
    no_effect_at={"strength": 0, "backward": 0},
    order_in_family=3,
)
def energy_guidance(
    sampler: Sampler,
    target: Annotated[Map, Help("The image, or the map for an energy of that name, to come near to")] | None = None,
    words: Annotated[Words, Help('For the energy "text": what the image is to show')] = "",
    energy: Annotated[
        str, Choice(tuple(ENERGIES), help="Which property of the image is to match the target", inputs=TARGETS)
    ] = "colours",
    strength: Annotated[
        float,
        Knob(
            0,
            5,
            curve=True,
            label="Guidance strength",
            help="How far a step is pulled towards the target, in standard deviations of the predicted image",
        ),
    ] = 0.5,
    backward: Annotated[
        int,
        Knob(
            0,
            200,
            label="Backward guidance steps",
            help="Further steps towards the target on the predicted image alone, without the network; 0 is none",
        ),
    ] = 0,
    times: Annotated[
        int, Knob(1, 10, label="Time travel repeats", help="How often each guided step is made; 1 never goes back")
    ] = 1,
    start: Annotated[float, Knob(0, 1, label="Guidance start", help="Guided from this fraction of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, label="Guidance end", help="Guided up to this fraction of the steps")] = 0.9,
    made_sigmas: Sequence[float] = (),
    backbone: Any = None,
) -> Sampler:
    """Energy guidance.

    The denoised prediction, decoded, is compared with a target by a differentiable energy and moved down its gradient,
    through perception model, decoder and network. That is FreeDoM (Yu et al. 2023, Algorithm 2) and universal guidance
    (Bansal et al. 2023, arXiv 2302.07121, Algorithm 1), with the time travel of both: a guided step is undone by noise
    and made again, `times` - 1 times, so that the image can settle.

        x0 = x0 - strength r g / rms(g),    g = grad_x E(decode(x0)),    r = s / sqrt(1 + s^2)
        x0 = x0 + D,    D = argmin E(decode(x0 + D)) by `backward` steps
        back up from s' to s:  x + sqrt(s^2 - s'^2) z

    target: an image (B, 3, H, W) in [0, 1]; for the energies that are called so, a map as annotators make it. words:
    for the energy "text". made_sigmas: the schedule of the run, of which `start` and `end` are parts. The energies are
    in `conditioning/energies.py`: colours and edges of any images; depth, shapes, style and text where the backbone
    has a perception model of its world.

    FreeDoM gives every energy a rate of its own; here, as in its variants for text and for classes, the step has a
    length and the gradient only says where to. r is how uncertain the denoised prediction of latents of unit scale is
    at most: a step of strength 1 goes as far as the denoised prediction may be wrong. The backward part of universal
    guidance asks no network: the denoised prediction is to agree, whatever the network thinks of it. Its steps have
    lengths too, which shrink."""
    condition = words if energy in OF_WORDS else target
    if condition is None or (isinstance(condition, str) and not condition.strip()):
        raise ValueError(f"the energy {energy} compares with {TARGETS[energy]}, and there is none: give it, or choose "
                         f"one of {', '.join(n for n, of in TARGETS.items() if of != TARGETS[energy])}")  # fmt: skip
    if strength == 0 and backward == 0:
        return sampler
    misfit = ENERGIES[energy](condition, backbone)

    def off(x0: Tensor) -> Tensor:
        return misfit(backbone.decode(x0))

    def steered(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        levels = made_sigmas or sigmas  # a jump of RePaint hands on a part of the schedule alone
        low, high = interval(levels, start, end)

        def guided(x: Tensor, sigma: float | Tensor, cond: Cond, tape: object | None = None, **kw: Any) -> Flow:
            s = highest(sigma)
            if not low < s <= high:
                return (yield from D(x, sigma, cond, tape=tape, **kw))
            r, push = s / math.sqrt(1 + s**2), at(strength, levels, s)
            if push:
                x, tape, outer = leaf(x, tape)
                x0 = yield from D(x, sigma, cond, tape=tape, **kw)
                g = gradient(off(x0), x, outer)
                x0 = (x0 if outer else x0.detach()) - push * r * unit(g)
            else:
                x0 = yield from D(x, sigma, cond, tape=tape, **kw)
            return x0 + agreeing(x0, off, backward, STEP * r) if backward else x0

        whole = travelling(sampler, 1, times, start, end) if times > 1 else sampler
        return (yield from whole(guided, x, sigmas, cond, noise))

    return steered


def agreeing(x0: Tensor, off: Callable[[Tensor], Tensor], steps: int, first: float) -> Tensor:
    """D (B, C, h, w), at which off(x0 + D) (B,) is low: that many steps downhill, their rms from `first` down to 0."""
    moved = x0.detach()
    for k in range(steps):
        moved, _, _ = leaf(moved, None)
        moved = moved.detach() - first * (1 - k / steps) * unit(gradient(off(moved), moved))
    return moved - x0.detach()


def unit(g: Tensor) -> Tensor:
    """Each row by its rms."""
    return g / g.flatten(1).square().mean(1).sqrt().clamp(min=1e-30).reshape(-1, 1, 1, 1)
