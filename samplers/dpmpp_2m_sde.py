import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.ancestral import Eta
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


@solver("DPM++ 2M SDE", paper="2211.01095", order=2, stochastic=True)
def dpmpp_2m_sde(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """SDE-DPM-Solver++(2M), a multistep solver of the diffusion SDE (Lu et al. 2022, arXiv 2211.01095, Section 5).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; stochastic. The denoised
    prediction is extrapolated to the middle of the step as in `dpmpp_2m`, which eta = 0 is; eta = 1 has the step of
    `ancestral` around it, exp(-h) x + (1 - exp(-2 h)) x0 in variance-preserving coordinates. The first step and the one
    to sigma 0 are of first order."""
    x0_last, h_last = None, 0.0
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        h = math.log(s / s_next) if s_next > 0 else math.inf
        x0_bar = x0 if x0_last is None or s_next == 0 else x0 + h / (2 * h_last) * (x0 - x0_last)
        x0_last, h_last = x0, h
        decay = (s_next / s) ** eta  # exp(-eta h)
        x = x0_bar + s_next / s * decay * (x - x0_bar)
        if eta > 0 and s_next > 0:
            x = x + s_next * math.sqrt(1 - decay**2) * noise(x)
        x = yield Step(x, x0, s_next)
    return x
