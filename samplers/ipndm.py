from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Order, Past, moved, remembered
from samplers.solver import solver

COEFFICIENTS = {  # Adams-Bashforth for equal steps, by the number of directions there are
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


@solver("iPNDM", paper="2202.09778", order=2)
def ipndm(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    order: Order = 4,
) -> Flow:
    """iPNDM: Adams-Bashforth with the coefficients of equal steps (Liu et al. 2022, arXiv 2202.09778, Eq. 9 and 12).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic. The coefficients
    are the classic ones whatever the steps, so that it is of second order on a smooth schedule, and exact to `order` on
    equal steps alone; in few steps its error is among the smallest. Of up to `order` directions, 1 to 4; the improved
    form (Zhang & Chen 2023) starts with as many as there are, without PNDM's Runge-Kutta. Where the coefficients follow
    the steps it is `lms`."""
    past: Past = []
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        eps = (x - x0) / s
        past = remembered(past, s, eps, order)
        weights = [(s_next - s) * c for c in COEFFICIENTS[len(past)]]
        x = yield Step(x0 + s_next / s * (x - x0) + moved(past, weights, eps), x0, s_next)
    return x
