from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Past, moved, over_sigma, remembered
from samplers.solver import solver

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the linear VP process, to whose time the polynomial belongs


def vp_time(sigma: Any) -> Any:
    """This level's time in the linear VP process: log(1 + sigma^2) = (BETA_MAX - BETA_MIN) t^2 / 2 + BETA_MIN t."""
    slope = BETA_MAX - BETA_MIN
    return (np.sqrt(BETA_MIN**2 + 2 * slope * np.log1p(sigma**2)) - BETA_MIN) / slope


VARIABLES: dict[str, Callable[[Any], Any]] = {"t": vp_time, "log rho": np.log}


@solver("DEIS", paper="2204.13902", order=3)
def deis(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    order: Annotated[
        int,
        Knob(
            1, 4, help="How many of the latest predictions each step is made of; 3 and 4 are the paper's (tAB2, tAB3)"
        ),
    ] = 3,
    variable: str = "t",
) -> Flow:
    """DEIS, tAB2: Adams-Bashforth with a polynomial in time (Zhang & Chen 2023, arXiv 2204.13902, Eq. 15, Alg. 1).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic, third order. The
    polynomial through the last `order` directions eps is one in the time of the linear VP process, and integrated over
    sigma; the paper counts its degree, one less than `order`: tAB2 here, and tAB3, order 4, in the official code.
    variable "log rho" takes log sigma instead, as diffusers does; it has no step to 0 above first order. With sigma as
    the variable it would be `lms`.
    """
    place = VARIABLES[variable]
    past: Past = []
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        eps = (x - x0) / s
        past = remembered(past, s, eps, order if s_next > 0 or variable == "t" else 1)
        weights = over_sigma(past, s, s_next, place)
        x = yield Step(x0 + s_next / s * (x - x0) + moved(past, weights, eps), x0, s_next)
    return x
