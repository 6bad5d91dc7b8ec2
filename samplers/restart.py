from collections.abc import Sequence

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, climbing
from samplers.heun import heun


def restarted(sampler: Sampler, low: float = 0.1, high: float = 2.0, times: int = 1) -> Sampler:
    """The same sampler, that goes up and down again between two levels (Xu et al. 2023, arXiv 2306.14878, Alg. 2).

    low, high: the paper's t_min and t_max; the stretch is from the highest level of the schedule not above `high` to
    the lowest not below `low`, and has that part of the schedule again, `times` times. A descent forgets the errors of
    the one before, by the noise between them, and makes its own, which are an ODE's and small. Where the schedule
    has fewer than two such levels it is the sampler itself.
    """

    def with_restarts(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        inside = [i for i, s in enumerate(sigmas) if low <= s <= high]
        levels = list(sigmas)
        if len(inside) > 1:
            start, end = inside[0], inside[-1] + 1
            levels[end:end] = list(sigmas[start:end]) * times
        return (yield from climbing(sampler, stream=None)(D, x, levels, cond, noise))

    return with_restarts


def restart(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """Heun steps, gone twice between the levels 2 and 0.1, with fresh noise between (Xu et al. 2023, Alg. 2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network calls a step, and those of the second descent on
    top: a third more at 20 steps; stochastic.
    """
    return restarted(heun)(D, x, sigmas, cond, noise)
