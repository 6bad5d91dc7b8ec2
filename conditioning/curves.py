"""Strengths that change over the steps, as `common.curves` has them, at the levels of a schedule."""

from collections.abc import Sequence

from common.curves import Curve, parse
from samplers.schedules import progress

__all__ = ["Curve", "at", "parse"]


def at(strength: float | Curve, sigmas: Sequence[float], sigma: float) -> float:
    """A strength at a level of the schedule: for methods around a sampler, whose knob may be a curve."""
    return strength(progress(sigmas, sigma)) if isinstance(strength, Curve) else strength
