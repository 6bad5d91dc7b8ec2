import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.ancestral import Eta, ancestral_split
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


@solver("DPM++ SDE", paper="2211.01095", order=2, nfe=2, stochastic=True, between=True)
def dpmpp_sde(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """DPM-Solver++ for the SDE, of two stages (Lu et al. 2022, arXiv 2211.01095; k-diffusion's "DPM++ SDE").

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step, the second at m = sqrt(s s');
    stochastic. Both stages start at x and are steps of `ancestral`: the first to m, by x0; the second to s', by the
    denoised prediction at m. Their noises are those of one Brownian path: the path to m is a part of the path to s',
    where it counts s'/m sqrt((1 - m^2/s^2) / (1 - s'^2/s^2)) = sqrt(s' / (s + s')). The step to 0 is of first order. In
    k-diffusion the two noises come from a Brownian tree over sigma and are not coupled in this proportion."""
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        remaining, fresh = ancestral_split(s, s_next, eta)
        if s_next == 0:
            x = yield Step(x0, x0, s_next)
            continue
        middle = math.sqrt(s * s_next)
        kept_half, fresh_half = ancestral_split(s, middle, eta)
        before, after = noise(x), noise(x)
        x_middle = x0 + kept_half / s * (x - x0) + fresh_half * before
        x0_middle = yield from D(x_middle, middle, cond)
        path = math.sqrt(s_next / (s + s_next)) * before + math.sqrt(s / (s + s_next)) * after
        x = yield Step(x0_middle + remaining / s * (x - x0_middle) + fresh * path, x0_middle, s_next)
    return x
