from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import Annotated

from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.multistep import Past, moved, over_lambda, remembered
from samplers.schedules import INFINITE
from samplers.solver import solver


@solver("UniPC", paper="2302.04867", order=4)
def unipc(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    order: Annotated[
        int,
        Knob(1, 4, help="How many of the latest predictions a step is made of: 3 in A1111, 2 for strong guidance"),
    ] = 3,
    corrector: Annotated[
        bool, Knob(0, 1, help="After a step the network's answer there mends it, at no further cost (UniC)")
    ] = True,
) -> Flow:
    """UniPC: a multistep predictor, corrected by the prediction that the next step asks for anyway (Zhao et al. 2023).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; deterministic. UniP-p (arXiv
    2302.04867, Alg. 2) takes the polynomial in lambda = -log sigma through the last p = `order` denoised predictions,
    UniC-p (Alg. 1) the one through these and the denoised prediction at the point that was predicted, and moves the
    state by the difference: order p + 1. It is the form of the denoised prediction, with B(h) = exp(h) - 1, "bh2". B(h)
    cancels but where the paper takes 1/2 for a weight: in UniP-2, which is DPM-Solver++(2M), and in UniC-1. The order
    falls to the number of steps left before 0, so that the last one gives x0."""
    past: Past = []
    p = 0
    predicted: Tensor | float = 0.0
    for i, (s, s_next) in enumerate(pairwise(sigmas)):
        x0 = yield from D(x, s, cond)  # (B, C, H, W), at the predicted point
        if corrector and past and past[0][0] < INFINITE:
            x = x + correction(past[:p], s, x0) - predicted
        past = remembered(past, s, x0, order)
        p = min(len(past), len(sigmas) - 1 - i) if sigmas[-1] == 0 else len(past)
        predicted = prediction(past[:p], s_next)
        x = yield Step(x0 + s_next / s * (x - x0) + predicted, x0, s_next)
    return x


def prediction(past: Past, s_next: float) -> Tensor | float:
    """What UniP-p adds to the step of first order from past[0] to s_next, p = len(past)."""
    if len(past) == 1:
        return 0.0
    s, x0 = past[0]
    if len(past) == 2:
        before, x0_before = past[1]
        return half(s, s_next) * log(s / s_next) / log(before / s) * (x0 - x0_before)
    return moved(past, over_lambda(past, s, s_next), x0)


def correction(past: Past, s_next: float, x0_next: Tensor) -> Tensor | float:
    """What UniC-p adds to it, by the denoised prediction at the predicted point."""
    s, x0 = past[0]
    if len(past) == 1:
        return half(s, s_next) * (x0_next - x0)
    points = [*past, (s_next, x0_next)]
    return moved(points, over_lambda(points, s, s_next), x0)


def half(s: float, s_next: float) -> float:
    """B(h) / 2, in these coordinates."""
    return (1 - s_next / s) / 2
