"""LD3: levels learnt for one solver, so that few steps end where many do (Tong et al. 2024, arXiv 2405.15506).

GITS' levels suit any solver, since they price Euler's jumps. These are tried with the solver itself: they are for it,
for one number of steps and one guidance, and nearer. The authors go down the gradient through all network calls; but
there are as few unknowns as steps, so here whole runs suffice, without gradients, on any backbone.

    sigmas = run(ld3(D, x, karras(60, *ends), cond, noise, unipc, [native(8, levels), ...]), backbone.denoise)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from samplers.dpmpp_2m import dpmpp_2m
from samplers.messages import Cond, Denoiser, Flow, Sampler
from samplers.noise import Noise
from samplers.schedules import INFINITE

TRIALS, PUPILS = 50, 24  # whole runs; pictures from which on what is learnt holds for others
NUDGE, FARTHEST, APART = 0.05, 0.5, 0.05  # in log sigma: for a difference, at most at once, between two levels
SOFTER, HARDER, STIFFEST = 4.0, 4.0, 1e3  # damping after a trial that was nearer, or was not; where to give up


def ld3(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    sampler: Sampler,
    begin: Sequence[Sequence[float]],
    trials: int = TRIALS,
    teacher: Sampler = dpmpp_2m,
) -> Flow:
    """Levels for this solver: list of steps + 1 falling floats, the last 0.0; never worse here than any of `begin`.

    x (B, C, H, W) at sigmas[0], the warm-up pictures, PUPILS or more. sigmas: the teacher's levels, which end at 0;
    what is learnt lies within theirs and those of `begin`. sampler: deterministic. begin: schedules of the wanted
    number of steps, each tried once; from the best it goes on. D may be guided. The flow yields the teacher's Steps,
    then those of every trial, so it shows progress and can be cancelled; it ends before `trials` where nothing is
    nearer any more.

    Minimised is the mean over the pictures of log |student's end - teacher's end|, so that one picture whose paths
    fork does not outweigh all others (the authors let the student's start move a little instead), over log sigma of all
    levels but the last, the first too: by Levenberg and Marquardt's damped Gauss-Newton steps, with differences for
    the derivatives and, from trial to trial, Broyden's update of them.

    Raises ValueError where `begin` is empty, or its schedules differ in length, do not fall or do not end at 0.
    """
    starts = [list(map(float, levels)) for levels in begin]
    if not starts or len({len(levels) for levels in starts}) != 1 or not all(map(falls, starts)):
        raise ValueError(f"{len(starts)} schedules to begin with: give one or more of equal length that fall to 0")
    goal = yield from teacher(D, x, sigmas, cond, noise)
    unit = x / math.sqrt(1 + sigmas[0] ** 2)

    def trial(levels: Sequence[float]) -> Flow:
        """(B, D) float64: where the solver ends less where the teacher does."""
        end = yield from sampler(D, unit * math.sqrt(1 + levels[0] ** 2), levels, cond, noise)
        return (end - goal).flatten(1).double().cpu()

    best, off, left = starts[0], torch.tensor([[math.inf]]), trials
    for levels in starts:
        one = yield from trial(levels)
        left -= 1
        if loss(one) < loss(off):
            best, off = levels, one
    fixed = best[: best[0] >= INFINITE]  # such a start is told from all others by being just that

    def levels_of(logs: Tensor) -> list[float]:
        return [*fixed, *logs.exp().tolist(), 0.0]

    at = torch.tensor(best[len(fixed) : -1], dtype=torch.float64).log()
    lowest, highest = (math.log(of([*sigmas[:-1], *best[:-1]])) for of in (min, max))
    slopes, damping, fresh = None, 0.1, False
    while left > (len(at) if slopes is None else 0) and damping < STIFFEST and len(at):
        if slopes is None:
            slopes = torch.empty(*off.shape, len(at), dtype=torch.float64)
            for n in range(len(at)):
                nudged = at.clone()
                nudged[n] -= NUDGE  # down: the highest level may be as high as it can be
                slopes[..., n] = (off - (yield from trial(levels_of(nudged)))) / NUDGE
            left, fresh = left - len(at), True
        moved = (at + damped(slopes, off, damping)).clamp(lowest, highest)
        if (moved.diff() > -APART).any():
            damping *= HARDER
            continue
        one = yield from trial(levels_of(moved))
        left -= 1
        step = moved - at
        slopes = slopes + (one - off - slopes @ step)[..., None] * step / (step @ step)
        if loss(one) < loss(off):
            best, at, off, damping, fresh = levels_of(moved), moved, one, damping / SOFTER, False
        else:
            damping *= HARDER
            if not fresh:
                slopes = None  # the slopes were of somewhere else
    return best


def loss(off: Tensor) -> float:
    """The mean over the pictures of the log of the root mean square; NaN counts as infinite. off: (B, D)."""
    return float(off.square().mean(1).log().mean().nan_to_num(math.inf, math.inf)) / 2


def damped(slopes: Tensor, off: Tensor, damping: float) -> Tensor:
    """Marquardt's step for `loss`, (N,), no number in it beyond FARTHEST. slopes (B, D, N), off (B, D).

    A level that changes nothing, as an infinite first one, stays where it is.
    """
    tiny = torch.finfo(off.dtype).tiny
    weight = 1 / off.square().sum(1).clamp_min(tiny)
    square = torch.einsum("b,bdm,bdn->mn", weight, slopes, slopes)
    slope = torch.einsum("b,bdn,bd->n", weight, slopes, off)
    scale = square.diag().clamp_min(1e-9 * square.diag().max()).clamp_min(tiny)
    return -torch.linalg.solve(square + damping * scale.diag(), slope).clamp(-FARTHEST, FARTHEST)


def falls(levels: Sequence[float]) -> bool:
    """Whether these are levels that fall to 0."""
    return len(levels) > 1 and levels[-1] == 0 and all(a > b for a, b in pairwise(levels))
