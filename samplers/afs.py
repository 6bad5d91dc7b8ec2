from collections.abc import Sequence
from math import sqrt
from typing import Any

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.schedules import highest

NOISE = 10.0  # from this level on a state is nearly all noise


def afs(sampler: Sampler) -> Sampler:
    """The same sampler, whose first evaluation is answered without the network: the analytical first step.

    At the first level the state is nearly all noise, and of data with mean 0 and variance 1 its direction is nearly eps
    = x / sqrt(1 + s^2) (Dockhorn et al. 2022, arXiv 2210.05475, Section 3; in AMED-Solver one evaluation of five). So a
    run costs one evaluation less. A method that steers the first step by what the network says (guidance, a condition)
    does not act there. A run that starts lower, as an edit does that keeps something of an image, asks as ever.
    """

    def free(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        def analytical(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
            s = highest(sigma)
            if s < max(sigmas[0], NOISE):
                return (yield from D(x, sigma, cond, **kw))
            root = sqrt(1 + s**2)
            return x / (root * (root + s))  # x - s eps, without cancellation

        return (yield from sampler(analytical, x, sigmas, cond, noise))

    return free
