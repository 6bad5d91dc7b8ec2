import math
from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor

from conditioning.curves import at
from conditioning.energies import ENERGIES
from conditioning.gradients import gradient, leaf
from conditioning.registry import Choice, Knob, Map, method
from conditioning.sampling.correction.repaint import travelling
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.schedules import highest, interval


@method(task="anything that can be read off a picture", paper="2303.09833", needs=("gradients",), within=3)
def energy_guidance(
    sampler: Sampler,
    target: Map,
    energy: Annotated[str, Choice(tuple(ENERGIES), help="In what the picture is to be as the target")] = "colours",
    strength: Annotated[
        float, Knob(0, 5, neutral=0, curve=True, help="Of a step, in deviations of the estimate")
    ] = 0.5,
    times: Annotated[int, Knob(1, 10, help="Passes over each guided step; 1 is without time travel")] = 1,
    start: Annotated[float, Knob(0, 1, help="Guided from this part of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, help="Guided up to this part of the steps")] = 0.9,
    backbone: Any = None,
) -> Sampler:
    """Energy guidance.

    The estimate, decoded, is read by something that can be differentiated, compared with a target, and moved down the
    gradient of their difference, through reader, decoder and network. That is FreeDoM (Yu et al. 2023, Algorithm 2) and
    the forward part of universal guidance (Bansal et al. 2023, arXiv 2302.07121), with the time travel of both: a
    guided step is undone by noise and made again, `times` - 1 times, so that the picture can settle.

        x0 = x0 - strength r g / rms(g),    g = grad_x E(decode(x0)),    r = s / sqrt(1 + s^2)
        back up from s' to s:  x + sqrt(s^2 - s'^2) z

    target: a picture (B, 3, H, W) in [0, 1]. The energies are in `conditioning/energies.py`: colours and edges of any
    pictures; depth, shapes and style where the backbone has a reader of its world.

    FreeDoM gives every energy a rate of its own; here, as in its variants for text and for classes, the step has a
    length and the gradient only says where to. r is how uncertain the estimate of latents of unit scale is at most: a
    step of strength 1 goes as far as the estimate may be wrong.
    """
    if strength == 0:
        return sampler
    misfit = ENERGIES[energy](target, backbone)

    def steered(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        low, high = interval(sigmas, start, end)

        def guided(x: Tensor, sigma: float | Tensor, cond: Cond, tape: object | None = None, **kw: Any) -> Flow:
            s = highest(sigma)
            if not low < s <= high:
                return (yield from D(x, sigma, cond, tape=tape, **kw))
            x, tape, outer = leaf(x, tape)
            x0 = yield from D(x, sigma, cond, tape=tape, **kw)
            g = gradient(misfit(backbone.decode(x0)), x, outer)
            rms = g.flatten(1).square().mean(1).sqrt().clamp(min=1e-30).reshape(-1, 1, 1, 1)
            step = at(strength, sigmas, s) * s / math.sqrt(1 + s**2)
            return (x0 if outer else x0.detach()) - step * g / rms

        whole = travelling(sampler, 1, times, start, end) if times > 1 else sampler
        return (yield from whole(guided, x, sigmas, cond, noise))

    return steered
