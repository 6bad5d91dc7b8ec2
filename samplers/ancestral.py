import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver

#: How much of the noise is fresh: the Eta of A1111 and diffusers.
Eta = Annotated[
    float,
    Knob(
        0, 1, help="New random noise at every step: 0 none, so that only the start is drawn; 1 as much as in the paper"
    ),
]


def ancestral_split(s: float, s_next: float, eta: float) -> tuple[float, float]:
    """Level s_next as (what is kept of the old noise, fresh noise), whose squares sum to s_next^2.

    eta = 1 is the posterior of DDPM, eta = 0 keeps all (Song et al. 2021, arXiv 2010.02502, Eq. 16, in VE).
    """
    fresh = eta * s_next * math.sqrt(max(1 - (s_next / s) ** 2, 0))
    return math.sqrt(s_next**2 - fresh**2), fresh


@solver("Euler a", paper="2010.02502", order=1, stochastic=True)
def ancestral(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, eta: Eta = 1.0) -> Flow:
    """DDIM-eta: from DDIM (eta = 0) to ancestral sampling, DDPM (eta = 1) (Song et al. 2021, Eq. 12 and 16).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; stochastic. In VE coordinates
    eta = 1 is also the "Euler a" of k-diffusion.
    """
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        remaining, fresh = ancestral_split(s, s_next, eta)
        x = x0 + remaining / s * (x - x0)
        if fresh > 0:
            x = x + fresh * noise(x)
        x = yield Step(x, x0, s_next)
    return x
