import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.ancestral import Eta, ancestral_split
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


def dpmpp_2s(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: float = 0.0) -> Flow:
    """DPM-Solver++(2S): a step by the prediction at its middle in log sigma (Lu et al. 2022, arXiv 2211.01095, Alg. 1).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step, the second at sqrt(s s');
    deterministic, second order. The step to 0 is of first order. eta > 0 goes down further and adds fresh noise back up
    to s', by the split of `ancestral`.
    """
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        down, fresh = ancestral_split(s, s_next, eta)
        if s_next > 0:
            middle = math.sqrt(s * down)
            x0_middle = yield from D(x0 + middle / s * (x - x0), middle, cond)
        else:
            x0_middle = x0
        x = x0_middle + down / s * (x - x0_middle)
        if fresh > 0:
            x = x + fresh * noise(x)
        x = yield Step(x, x0_middle, s_next)
    return x


@solver("DPM++ 2S a", paper="2211.01095", order=2, nfe=2, stochastic=True, between=True)
def dpmpp_2s_a(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """DPM-Solver++(2S) with fresh noise at every step (k-diffusion's "DPM++ 2S a").

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step; stochastic. See `dpmpp_2s`.
    """
    return dpmpp_2s(D, x, sigmas, cond, noise, eta=eta)
