import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


@solver("DPM++ 2M", paper="2211.01095", order=2)
def dpmpp_2m(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """DPM-Solver++(2M), a multistep solver in lambda = -log sigma (Lu et al. 2022, arXiv 2211.01095, Alg. 2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic, second order.
    The first step and the one to sigma 0 are of first order.
    """
    x0_last, h_last = None, 0.0
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        h = math.log(s / s_next) if s_next > 0 else math.inf
        x0_bar = x0 if x0_last is None or s_next == 0 else x0 + h / (2 * h_last) * (x0 - x0_last)
        x0_last, h_last = x0, h
        x = yield Step(x0_bar + s_next / s * (x - x0_bar), x0, s_next)  # exp(-h) = s_next / s
    return x
