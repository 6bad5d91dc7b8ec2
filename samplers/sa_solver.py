from collections.abc import Sequence
from itertools import pairwise
from math import log, sqrt
from typing import Annotated

from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Past, PredictorOrder, moved, over_lambda, remembered
from samplers.schedules import INFINITE
from samplers.solver import solver


@solver("SA-Solver", paper="2309.05019", order=3, stochastic=True)
def sa_solver(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    tau: Annotated[
        float,
        Knob(0, 2, help="New random noise on the way: 0 none (the ODE), 1 as much as was taken away (the reverse SDE)"),
    ] = 1.0,
    order: PredictorOrder = 3,
    corrector_order: Annotated[
        int,
        Knob(
            0,
            4,
            help="After a step the network's answer there mends it, with so many of the latest predictions; 0: never",
        ),
    ] = 3,
    widened: bool = False,
) -> Flow:
    """SA-Solver: stochastic Adams, predictor and corrector of many steps (Xue et al. 2023, arXiv 2309.05019, Alg. 1).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; stochastic. The SDE of noise
    tau (0 is the ODE, 1 the reverse diffusion) has the exact step, in lambda = -log sigma,

        x' = (s'/s)^(1 + tau^2) x + integral of x0's polynomial + s' sqrt(1 - (s'/s)^(2 tau^2)) z

    with the polynomial through the last `order` denoised predictions in the predictor, and in the corrector through
    `corrector_order` of them with the one at the predicted point, under the same z: the state moves by the difference
    of the two integrals. The predictor's order falls to the number of steps left before 0, so that the last one gives
    x0.

    The official code takes tau 1 for 0.2 <= t <= 0.8 alone and 0 elsewhere, and orders 3 and 4, or 2 and 2 under strong
    guidance; here tau is 1 everywhere and the orders are 3 and 3.

    widened: where a polynomial has two points, its slope counts as if x0 stayed behind it to the end, (1 + tau^2) h^2
    / 2. So do the official code and diffusers, for few steps; the difference is of third order in h.
    """
    rate = 1 + tau**2
    past: Past = []
    predicted: Tensor | float = 0.0
    for i, (s, s_next) in enumerate(pairwise(sigmas)):
        x0 = yield from D(x, s, cond)  # (B, C, H, W), at the predicted point
        if corrector_order and past and past[0][0] < INFINITE:
            points = [(s, x0), *past][:corrector_order]
            x = x + adams_step(points, past[0], s, rate, widened) - predicted
        past = remembered(past, s, x0, max(order, corrector_order))
        p = min(order, len(sigmas) - 1 - i) if sigmas[-1] == 0 else order
        predicted = adams_step(past[:p], past[0], s_next, rate, widened)
        remaining = (s_next / s) ** rate
        x = x0 + remaining * (x - x0) + predicted
        if tau > 0 and s_next > 0:
            x = x + s_next * sqrt(1 - (s_next / s) ** (2 * tau**2)) * noise(x)
        x = yield Step(x, x0, s_next)
    return x


def adams_step(points: Past, base: tuple[float, Tensor], s_next: float, rate: float, widened: bool) -> Tensor | float:
    """What the polynomial through these denoised predictions adds to the step of first order from the level of
    `base`."""
    s, x0 = base
    if len(points) == 1 and points[0] is base:
        return 0.0
    if widened and len(points) == 2:
        h = log(s / s_next)
        weights = [rate * h**2 / 2 / log(s / level) if level != s else 0.0 for level, _ in points]
    else:
        weights = over_lambda(points, s, s_next, rate)
    return moved(points, weights, x0)
