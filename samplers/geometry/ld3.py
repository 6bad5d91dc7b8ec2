"""LD3: levels learned for one solver, so that few steps end where many do (Tong et al. 2024, arXiv 2405.15506).

GITS' levels suit any solver, since they price Euler's jumps. These are tried with the solver itself: they are for it,
for one number of steps and one guidance, and nearer. As in the paper, the level that the network is conditioned on at a
step is learned beside the level that the step is made from. The authors go down the gradient through all network
evaluations; but there are so few unknowns that here whole runs suffice, without gradients, on any backbone.

    begin = schedules(8, backbone.sigmas)
    learned = run(ld3(D, x, karras(60, *ends), cond, noise, unipc, begin), backbone.denoise)
    x = run(unipc(learned.with_labels(D), x, learned.sigmas, cond, noise), backbone.denoise)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.files import write_text
from samplers.dpmpp_2m import dpmpp_2m
from samplers.noise import Noise
from samplers.protocol import Cond, Denoiser, Flow, Sampler
from samplers.schedules import INFINITE, SCHEDULES

TRIALS, PUPILS = 70, 24  # whole runs; images from which on what is learned holds for others
# in log sigma: of a difference; of a step at most; between two levels at least; between a level and its label at most
NUDGE, FARTHEST, APART, OTHER = 0.04, 0.5, 0.05, 0.25
SOFTER, HARDER, STIFFEST = 4.0, 4.0, 1e3  # damping after a trial that was nearer, or was not; where to give up


@dataclass(frozen=True)
class LearnedSchedule:
    """sigmas: the levels, N + 1 falling floats, the last 0.0. labels: the N levels that the network is conditioned
    on there."""

    sigmas: tuple[float, ...]
    labels: tuple[float, ...]

    def with_labels(self, D: Denoiser) -> Denoiser:
        """D asked by the labels; between the levels, as a solver's second evaluation is, by the nearest two.

        D answers x0, so the label counts in the direction that a solver takes, too: with a network of eps it is
        (x - x0) / sigma = (label / sigma) eps(x, label). The official code, whose solvers for such networks take eps,
        has eps(x, label) there.
        """
        falling = np.log(self.sigmas[:-1])
        apart = np.log(self.labels) - falling

        def labelled(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
            level = np.asarray(sigma.detach().cpu() if isinstance(sigma, Tensor) else sigma, dtype=float)
            factor = np.exp(np.interp(np.log(level), falling[::-1], apart[::-1]))
            label = sigma * sigma.new_tensor(factor) if isinstance(sigma, Tensor) else float(level * factor)
            return (yield from D(x, label, cond, **kw))

        return labelled


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
    """Learned levels and labels for this solver; never worse on these images than any schedule of `begin`.

    x (B, C, H, W) at sigmas[0], the warm-up images, PUPILS or more. sigmas: the teacher's levels, which end at 0;
    what is learned lies within theirs and those of `begin`. sampler: deterministic. begin: schedules of the wanted
    number of steps, each tried once; from the best it goes on. D may be guided. The flow yields the teacher's Steps,
    then those of every trial, so it shows progress and can be cancelled; it ends before `trials` where nothing is
    nearer any more.

    Minimised is the mean over the images of log |student's end - teacher's end|, so that one image whose paths
    fork does not outweigh all others (the authors let the student's start move a little instead), over the logs of all
    levels, the first too, and of the labels: by Levenberg and Marquardt's damped Gauss-Newton steps, with differences
    for the derivatives and, from trial to trial, Broyden's update of them. An infinite first level stays.

    Raises ValueError where `begin` is empty, or its schedules differ in length, do not fall or do not end at 0.
    """
    starts = [list(map(float, levels)) for levels in begin]
    if not starts or len({len(levels) for levels in starts}) != 1 or not all(map(falls, starts)):
        raise ValueError(f"{len(starts)} schedules to begin with: give one or more of equal length that fall to 0")
    goal = yield from teacher(D, x, sigmas, cond, noise)
    unit = x / math.sqrt(1 + sigmas[0] ** 2)

    def trial(one: LearnedSchedule) -> Flow:
        """(B, D) float64: where the solver ends less where the teacher does."""
        end = yield from sampler(one.with_labels(D), unit * math.sqrt(1 + one.sigmas[0] ** 2), one.sigmas, cond, noise)
        return (end - goal).flatten(1).double().cpu()

    best, off = LearnedSchedule((), ()), torch.tensor([[math.inf]])
    for levels in starts:
        one = LearnedSchedule(tuple(levels), tuple(levels[:-1]))
        ended = yield from trial(one)
        if not best.sigmas or loss(ended) < loss(off):
            best, off = one, ended
    left = trials - len(starts)
    room = Room(best, float(sigmas[-2]), float(sigmas[0]))
    at = room.begin
    slopes, damping, fresh = None, 0.1, False
    while left > (len(at) if slopes is None else 0) and damping < STIFFEST and len(at):
        if slopes is None:
            slopes = torch.empty(*off.shape, len(at), dtype=torch.float64)
            for n in range(len(at)):
                nudged = at.clone()
                nudged[n] -= NUDGE  # down: the highest level may be as high as it can be
                slopes[..., n] = (off - (yield from trial(room.schedule(nudged)))) / NUDGE
            left, fresh = left - len(at), True
        moved = room.within(at + damped(slopes, off, damping))
        if moved is None:
            damping *= HARDER
            continue
        ended = yield from trial(room.schedule(moved))
        left -= 1
        step = moved - at
        slopes = slopes + (ended - off - slopes @ step)[..., None] * step / (step @ step).clamp_min(1e-12)
        if loss(ended) < loss(off):
            at, off, best, damping, fresh = moved, ended, room.schedule(moved), damping / SOFTER, False
        else:
            damping *= HARDER
            if not fresh:
                slopes = None  # the slopes were of somewhere else
    return best


class Room:
    """The unknowns as one vector, log levels and then log(label / level), and where they may be."""

    def __init__(self, start: LearnedSchedule, lowest: float, highest: float):
        self.fixed = start.sigmas[: start.sigmas[0] >= INFINITE]  # such a start is known by being just that
        levels = torch.tensor(start.sigmas[len(self.fixed) : -1], dtype=torch.float64)
        self.begin = torch.cat([levels.log(), torch.zeros_like(levels)])
        ends = [lowest, highest, *levels.tolist()]
        self.low, self.high = math.log(min(ends)), math.log(max(ends))

    def schedule(self, at: Tensor) -> LearnedSchedule:
        logs, apart = at.chunk(2)
        levels, labels = logs.exp().tolist(), (logs + apart).clamp(self.low, self.high).exp().tolist()
        return LearnedSchedule((*self.fixed, *levels, 0.0), (*self.fixed, *labels))

    def within(self, at: Tensor) -> Tensor | None:
        """The same within the bounds; None where levels would come too near to each other."""
        logs, apart = at.chunk(2)
        logs, apart = logs.clamp(self.low, self.high), apart.clamp(-OTHER, OTHER)
        return None if (logs.diff() > -APART).any() else torch.cat([logs, apart])


def loss(off: Tensor) -> float:
    """The mean over the images of the log of the root mean square; NaN counts as infinite. off: (B, D)."""
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


def write(file: Path, schedule: LearnedSchedule) -> None:
    """Keeps it as JSON, whole or not at all; the folder is made where it is missing."""
    write_text(file, json.dumps(asdict(schedule)))


def read(file: Path, steps: int) -> LearnedSchedule | None:
    """What `write` stored, of so many steps; None where there is none, or what is there cannot be read."""
    try:
        stored = json.loads(file.read_text())
        sigmas, labels = (tuple(map(float, stored[name])) for name in ("sigmas", "labels"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = falls(sigmas) and len(sigmas) == steps + 1 == len(labels) + 1 and min(labels) > 0
    return LearnedSchedule(sigmas, labels) if sound else None


def schedules(steps: int, sigmas_train: Tensor) -> list[list[float]]:
    """To begin with: all of SCHEDULES that have so many steps for a network of these levels (T,), and fall."""
    usable = []
    for schedule in SCHEDULES.values():
        try:
            levels = schedule(steps, sigmas_train)
        except ValueError:
            continue
        usable += [levels] if falls(levels) else []
    return usable


def falls(levels: Sequence[float]) -> bool:
    """Whether these are levels that fall to 0."""
    return len(levels) > 1 and levels[-1] == 0 and all(a > b for a, b in pairwise(levels))
