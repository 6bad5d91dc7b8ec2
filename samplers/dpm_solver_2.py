import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.ancestral import Eta, ancestral_split
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.schedules import INFINITE
from samplers.solver import solver


@solver("DPM2", paper="2206.00927", order=2, nfe=2, between=True)
def dpm_solver_2(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: float = 0.0) -> Flow:
    """DPM-Solver-2: the midpoint rule in log sigma (Lu et al. 2022, arXiv 2206.00927, Alg. 1; k-diffusion's DPM2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step, the second at sqrt(s s');
    deterministic, second order. By the direction d_m at the middle, x + (s' - s) d_m is the Euler point plus
    (s - s') (x0_m - x0) / s_m, which does not cancel at large s. At s' = 0 and from an infinite start, where there is
    no middle, the step is Euler's.

    eta > 0 goes down further and adds fresh noise back up to s', by the split of `ancestral`: k-diffusion's "DPM2 a".
    """
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        down, fresh = ancestral_split(s, s_next, eta)
        end = x0 + down / s * (x - x0)
        if s_next > 0 and s < INFINITE:
            middle = math.sqrt(s * down)
            x0_middle = yield from D(x0 + middle / s * (x - x0), middle, cond)
            end = end + (s - down) / middle * (x0_middle - x0)
        if fresh > 0:
            end = end + fresh * noise(x)
        x = yield Step(end, x0, s_next)
    return x


@solver("DPM2 a", paper="2206.00927", order=2, nfe=2, stochastic=True, between=True)
def dpm_solver_2_a(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """DPM-Solver-2 with fresh noise at every step (k-diffusion's "DPM2 a").

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step; stochastic. See
    `dpm_solver_2`."""
    return dpm_solver_2(D, x, sigmas, cond, noise, eta=eta)
