from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.schedules import INFINITE
from samplers.solver import solver


@solver("Heun", paper="2206.00364", order=2, nfe=2)
def heun(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """Heun steps of the probability-flow ODE (Karras et al. 2022, Alg. 1).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step; deterministic, second order.
    With d = (x - x0) / s, and d' at the Euler point x', the paper's x + (s' - s) (d + d') / 2 is
    x' + (s - s') (x0' - x0) / (2 s'), which does not cancel at large s. Where that slope does not exist the step is
    Euler's: at s' = 0, and from an infinite start.
    """
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        x = x0 + s_next / s * (x - x0)
        if s_next > 0 and s < INFINITE:
            x0_next = yield from D(x, s_next, cond)
            x = x + (s - s_next) / (2 * s_next) * (x0_next - x0)
        x = yield Step(x, x0, s_next)
    return x
