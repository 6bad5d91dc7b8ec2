from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, renoising
from samplers.heun import heun
from samplers.solver import solver


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
        return (yield from renoising(sampler, stream=None)(D, x, levels, cond, noise))

    return with_restarts


@solver("Restart", paper="2306.14878", order=2, nfe=2, stochastic=True, renoises=True, between=True)
def restart(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    restarts: Annotated[int, Knob(0, 10, help="Number of restarts between the two noise levels")] = 1,
    t_min: Annotated[
        float, Knob(0, 10, ignored_when=("restarts", 0), help="Noise level at which a restart begins")
    ] = 0.1,
    t_max: Annotated[
        float, Knob(0, 100, ignored_when=("restarts", 0), help="Noise level up to which noise is added back")
    ] = 2.0,
) -> Flow:
    """Heun steps, made again between the levels t_max and t_min, with fresh noise between (Xu et al. 2023, Alg. 2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step, and those of every further
    descent on top: a third more at 20 steps, with the defaults; stochastic. restarts, t_min and t_max are the paper's
    K, t_min and t_max of one interval; for some networks it has several intervals."""
    return restarted(heun, t_min, t_max, restarts)(D, x, sigmas, cond, noise)
