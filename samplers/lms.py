from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Order, Past, moved, over_sigma, remembered
from samplers.solver import solver


@solver("LMS", paper="2204.13902", order=4)
def lms(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    order: Order = 4,
) -> Flow:
    """Linear multistep: Adams-Bashforth in sigma, for steps of any size (k-diffusion's LMS; Zhang & Chen 2023, rho-AB).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic. The polynomial
    through the last `order` directions eps = (x - x0) / s is integrated over sigma exactly (arXiv 2204.13902, Eq. 15
    for the VE process). The first steps have as many as there are, and the one to 0 is of full order. What is called
    iPNDM_v, iPNDM for steps of unequal size, is this solver where its coefficients are exact."""
    past: Past = []
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        eps = (x - x0) / s
        past = remembered(past, s, eps, order)
        weights = over_sigma(past, s, s_next, lambda sigma: sigma)
        x = yield Step(x0 + s_next / s * (x - x0) + moved(past, weights, eps), x0, s_next)
    return x
