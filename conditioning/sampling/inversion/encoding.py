"""What inversions share: their part of the schedule, the direction asked at another level's label, DDIM upwards.

A pass upwards yields a Step at every level it reaches, so that a page can show it, and obeys the replies: the state
goes on from them. Levels climb in such Steps, the Steps of the sampler come after.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, sqrt
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from conditioning.registry import Help, Image, Knob, Prompt, Start
from samplers.flow import Cond, Denoiser, Flow, Step
from samplers.schedules import part_of

SourceImage = Annotated[Image, Help("The image to encode", label="Source image")]
SourcePrompt = Annotated[Prompt, Help("What the image shows now, in words")]
Strength = Annotated[
    float, Knob(0.05, 1, help="How far the image is taken back to noise, from 0 to 1: less keeps more of it")
]
InversionSteps = Annotated[
    int,
    Knob(
        1,
        50,
        label="Inversion steps per sampling step",
        help="Steps of the encoding for each step of the run: more find the image's noise more exactly",
    ),
]
FixedPointIterations = Annotated[
    int,
    Knob(
        0,
        30,
        label="Fixed-point iterations",
        help="How often each step of the encoding is refined, at most; 0: not at all (DDIM)",
    ),
]
BY_STRENGTH = Start("strength")  # as `tail` does
STILL = 1e-8  # mean square by which a state may still move, of VP states


def tail(sigmas: Sequence[float], strength: float) -> Sequence[float]:
    """The last part of a schedule, `strength` of its steps; the last level alone at 0."""
    return sigmas[len(sigmas) - 1 - part_of(len(sigmas) - 1, strength) :]


def direction(D: Denoiser, x: Tensor, at: float, label: float, cond: Cond) -> Flow:
    """eps (B, C, h, w) of a state at level `at`, asked as if it lay at level `label` > 0.

    Papers do so with networks in VP coordinates: the network sees the state there, x / sqrt(1 + at^2), and the other
    level's timestep. In these coordinates that is another x.
    """
    x = x * sqrt((1 + label**2) / (1 + at**2))
    x0 = yield from D(x, label, cond)
    return (x - x0) / label


def ddim_encode(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    lowest: float | None = None,
    between: int = 1,
    again: int = 0,
) -> Flow:
    """DDIM from the last level of a schedule up to its first -> {level: state}, all of sigmas.

    Each step asks by the label of the level that it goes to; with `lowest`, by that of the level that it comes from,
    or `lowest` where it comes from below. between: DDIM steps from one level to the next. again: times that a step is
    made again from where it led to, see `settled`. D: what is asked; inversions give the run's network, unguided.
    """
    states = {sigmas[-1]: x}
    for low, high in pairwise(reversed(sigmas)):
        for s, s_next in pairwise(np.linspace(low, high, between + 1).tolist()):
            eps = yield from direction(D, x, s, s_next if lowest is None else max(s, lowest), cond)
            x, eps = yield from settled(D, x, s, s_next, cond, eps, again)
        x = states[high] = yield Step(x, x - high * eps, high, preparation=True)
    return states


def settled(D: Denoiser, x: Tensor, s: float, s_next: float, cond: Cond, eps: Tensor, again: int) -> Flow:
    """The state that a DDIM step down from s_next takes to x at s, nearly, and its direction.

    Fixed-point iteration y <- x + (s_next - s) eps(y, s_next) from the first step upwards, which is one of it with the
    state below as a guess (Pan et al. 2023, arXiv 2309.04907, Eq. 11). A row is left as it is once it moves less than
    STILL, or further than the time before: there the iteration does not converge.
    """
    y = x + (s_next - s) * eps
    moved = x.new_full((len(x),), inf)
    on = torch.ones_like(moved, dtype=torch.bool)
    for _ in range(again):
        x0 = yield from D(y, s_next, cond)
        fresh = (y - x0) / s_next
        made = x + (s_next - s) * fresh
        by = (made - y).square().flatten(1).mean(1) / (1 + s_next**2)
        on = on & (by < moved)
        moved = torch.where(on, by, moved)
        rows = on.view(-1, 1, 1, 1)
        y, eps = torch.where(rows, made, y), torch.where(rows, fresh, eps)
        on = on & (by > STILL)
        if not on.any():
            break
    return y, eps
