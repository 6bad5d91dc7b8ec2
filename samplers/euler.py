from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


@solver("Euler", paper="2206.00364", order=1)
def euler(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """Euler steps of the probability-flow ODE (Karras et al. 2022, Alg. 2 without churn), in these coordinates DDIM.

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic.
    """
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        x = yield Step(x0 + s_next / s * (x - x0), x0, s_next)
    return x
