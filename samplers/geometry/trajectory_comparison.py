"""Two runs step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samplers.geometry.shape import chord, flat
from samplers.geometry.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class TrajectoryComparison:
    """Of two runs a and b on the same N + 1 levels, of B images.

    x_apart (N + 1, B), x0_apart (N, B): the distance of their states and of their denoised predictions, in units of the
    state. percent (N + 1, B): x_apart in per cent of the chord of a. onset (B,): the level at which they begin to
    differ."""

    sigmas: Tensor
    x_apart: Tensor
    x0_apart: Tensor
    percent: Tensor
    onset: Tensor


def compare(a: Trajectory, b: Trajectory, part: float = 0.1) -> TrajectoryComparison:
    """How far run b leaves run a: of a guided run, say, from the unguided one of the same start.

    part: see `onset`. Raises ValueError where the runs are on different levels, or of different images.
    """
    if a.x.shape != b.x.shape or not torch.allclose(a.sigmas, b.sigmas, rtol=1e-6):
        raise ValueError(
            f"runs of {tuple(a.x.shape)} and {tuple(b.x.shape)}, from {float(a.sigmas[0]):g} and "
            f"{float(b.sigmas[0]):g}: step by step only runs of one schedule and one shape are compared"
        )
    x_apart = apart(a.x, b.x)
    return TrajectoryComparison(a.sigmas, x_apart, apart(a.x0, b.x0), 100 * x_apart / chord(a.x), onset(a, b, part))


def apart(a: Tensor, b: Tensor) -> Tensor:
    """|a_n - b_n| of two paths (N, B, ...): (N, B)."""
    return (flat(a) - flat(b)).norm(dim=-1)


def onset(a: Trajectory, b: Trajectory, part: float = 0.1) -> Tensor:
    """Where what tells the runs apart, a condition or its guidance, starts to act: (B,) levels.

    That is the first sigma at which their denoised predictions x0 differ by more than `part` of what the last ones
    differ by; nan where the last ones are equal. Denoised predictions and not states, since a difference shows in those
    a step before, and at the size that it will have in the image."""
    gap = apart(a.x0, b.x0)  # (N, B)
    acts = (gap > part * gap[-1]) & (gap[-1] > 0)
    return torch.where(acts.any(0), a.sigmas[acts.int().argmax(0)], math.nan)  # argmax: the first of them
