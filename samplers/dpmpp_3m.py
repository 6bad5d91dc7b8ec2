import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.ancestral import Eta
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Past, remembered
from samplers.solver import solver


@solver("DPM++ 3M", paper="2211.01095", order=3)
def dpmpp_3m(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    eta: float = 0.0,
    published: bool = False,
) -> Flow:
    """DPM-Solver++(3M), a multistep solver of third order in lambda = -log sigma (Lu et al. 2022, arXiv 2211.01095).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic. d1 and d2 are
    the first two terms, in units of the step, of the parabola x0 + d1 u + d2 u^2 / 2 through the last three denoised
    predictions, and

        x' = exp(-H) x + (1 - exp(-H)) x0 + phi2 d1 - phi3 d2,  phi2 = 1 - (1 - exp(-H)) / H,  phi3 = phi2 / H - 1/2

    is its exact step, with H = h. The official code, k-diffusion and diffusers have d2 half as large (`published`),
    which makes their solver one of second order. The first steps and the one to 0 are of lower order. The official code
    and diffusers take (1 - exp(-h)) / 2 for phi2 at the second step; this one, `published` too, takes phi2, as
    k-diffusion does.

    eta > 0 solves the SDE, with H = (1 + eta) h and fresh noise: k-diffusion's "DPM++ 3M SDE" at 1.
    """
    past: Past = []
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        past = remembered(past, s, x0, 3)
        decay = (s_next / s) ** eta  # exp(-eta h)
        x = x0 + s_next / s * decay * (x - x0)
        if s_next > 0 and len(past) > 1:
            h = math.log(s / s_next)
            H = (1 + eta) * h
            phi2 = 1 + math.expm1(-H) / H
            phi3 = phi2 / H - 0.5
            r = [math.log(b / a) / h for (a, _), (b, _) in pairwise(past)]  # the steps before, in units of this one
            slopes = [(a - b) / width for (_, a), (_, b), width in zip(past, past[1:], r)]
            d1 = slopes[0]
            if len(past) > 2:
                bend = (slopes[0] - slopes[1]) / (r[0] + r[1])  # half the second derivative
                d1 = d1 + r[0] * bend
                x = x - phi3 * (bend if published else 2 * bend)
            x = x + phi2 * d1
        if eta > 0 and s_next > 0:
            x = x + s_next * math.sqrt(1 - decay**2) * noise(x)
        x = yield Step(x, x0, s_next)
    return x


@solver("DPM++ 3M SDE", paper="2211.01095", order=3, stochastic=True)
def dpmpp_3m_sde(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """DPM-Solver++(3M) for the SDE (k-diffusion's "DPM++ 3M SDE", with the whole third-order term).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; stochastic. See `dpmpp_3m`.
    """
    return dpmpp_3m(D, x, sigmas, cond, noise, eta=eta)
