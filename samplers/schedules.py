"""Noise levels of a run: `steps + 1` floats that go down to exactly 0.0.

`native` picks from the levels that a network was trained at, the others are curves between its ends. All are VE
levels sigma; a VP network's are sqrt((1 - alpha_bar) / alpha_bar), a flow network's t / (1 - t).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

INFINITE = 1e6  # stands for an infinite start (flow t = 1, zero terminal SNR): finite, so that float32 carries it


def native(steps: int, sigmas_train: Tensor, spacing: str = "trailing", offset: int = 1) -> list[float]:
    """Levels that the network was trained at (Lin et al. 2023, arXiv 2305.08891, Table 2).

    sigmas_train: (T,) ascending. spacing: "trailing" starts at the last level, whatever the number of steps;
    "leading" is SD1.5's own (offset levels up from the first; 1 as its `steps_offset`); "linspace" is even in time
    between first and last, interpolated; "sgm" the same with a step more, which ends at the first and is left out;
    "beta" is dense at both ends, as the quantiles of Beta(0.6, 0.6) are (Lee et al. 2024, arXiv 2407.12173). Raises
    ValueError for another spacing, and where steps is not in 1..T.
    """
    levels = sigmas_train.double().cpu().numpy()
    T = len(levels)
    if not 1 <= steps <= T:
        raise ValueError(f"{steps} steps: give 1 to {T}, as many as the network has training levels")
    if spacing == "trailing":
        t = np.round(T - np.arange(steps) * (T / steps)) - 1
    elif spacing == "leading":
        stride = T // steps
        t = np.arange(steps)[::-1] * stride + min(offset, T - 1 - stride * (steps - 1))
    elif spacing == "linspace":
        t = np.linspace(T - 1, 0, steps)
    elif spacing == "sgm":
        t = (T - 1) * (1 - np.arange(steps) / steps)
    elif spacing == "beta":
        i = np.arange(steps)
        t = np.round((T - 1) * beta_quantiles(1 - i / steps))
        t = np.maximum(np.minimum.accumulate(t + i), steps - 1) - i  # each level once, and enough of them left
    else:
        raise ValueError(f"spacing {spacing!r}: give trailing, leading, linspace, sgm or beta")
    return [*np.interp(t, np.arange(T), levels).tolist(), 0.0]


def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """Even in sigma^(1/rho) (Karras et al. 2022, arXiv 2206.00364, Eq. 5)."""
    return _between(steps, sigma_min, sigma_max, lambda s: s ** (1 / rho), lambda u: u**rho)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Even in log sigma, a constant ratio from level to level; so also even in log SNR, as DPM-Solver has it."""
    return _between(steps, sigma_min, sigma_max, np.log, np.exp)


def kl_optimal(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Even in arctan sigma (Sabour et al. 2024, "Align Your Steps", arXiv 2404.14507, Theorem 3.1)."""
    return _between(steps, sigma_min, sigma_max, np.arctan, np.tan)


def flow_shift(steps: int, sigma_min: float, sigma_max: float, shift: float = 3.0) -> list[float]:
    """Even in the time of a flow, shifted towards noise (Esser et al. 2024, "Stable Diffusion 3", 2403.03206, Eq. 23).

    t' = shift t / (1 + (shift - 1) t), and as sigma = t / (1 - t) that is sigma' = shift sigma. From sigma_max down to
    0 in steps of one size; sigma_min does not matter.
    """
    return _of_time(steps, sigma_min, sigma_max, 1 - np.arange(steps) / steps, shift)


def linear_quadratic(steps: int, sigma_min: float, sigma_max: float, threshold: float = 0.025) -> list[float]:
    """Half of the steps small and even in the time of a flow, up to `threshold`, then quadratic (Polyak et al. 2024).

    From "Movie Gen" (arXiv 2410.13720), with the parabola of Mochi: value and slope go on where it begins, and it ends
    at 0. From sigma_max; sigma_min does not matter.
    """
    i, small = np.arange(steps), max(steps // 2, 1)
    large = max(steps - small, 1)
    bend = (1 - threshold - threshold * large / small) / large**2
    return _of_time(steps, sigma_min, sigma_max, 1 - threshold / small * i - bend * np.clip(i - small, 0, None) ** 2)


def _of_time(steps: int, sigma_min: float, sigma_max: float, t: np.ndarray, shift: float = 1.0) -> list[float]:
    """Levels at these parts (steps,) of the flow's time to sigma_max / shift, 1 at the start, multiplied by shift."""
    _check(steps, sigma_min, sigma_max)
    t = t * sigma_max / (shift + sigma_max)
    return [sigma_max, *(shift * t / (1 - t))[1:].tolist(), 0.0]


def beta_quantiles(p: np.ndarray, a: float = 0.6) -> np.ndarray:
    """Where Beta(a, a) has these parts of its mass below, to 1e-7, in 0..1."""
    w = np.linspace(-60, 60, 24001)  # u = 1 / (1 + exp(-w)): the density has poles at both ends of u, and none of w
    mass = np.cumsum((np.exp(w) / (1 + np.exp(w)) ** 2) ** a)
    middle = (mass - np.diff(mass, prepend=0.0) / 2) / mass[-1]
    return 1 / (1 + np.exp(-np.interp(p, middle, w, left=-np.inf, right=np.inf)))


def _between(
    steps: int, sigma_min: float, sigma_max: float, there: Callable[[Any], Any], back: Callable[[Any], Any]
) -> list[float]:
    _check(steps, sigma_min, sigma_max)
    levels = back(np.linspace(there(sigma_max), there(sigma_min), steps))  # (steps,)
    levels[0] = sigma_max  # exactly, not up to a rounding
    return [*levels.tolist(), 0.0]


def _check(steps: int, sigma_min: float, sigma_max: float) -> None:
    if steps < 1:
        raise ValueError(f"{steps} steps: give 1 or more")
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise ValueError(
            f"sigma from {sigma_min} to {sigma_max}: give 0 < sigma_min < sigma_max, both finite ({INFINITE:g} stands "
            "for infinity)"
        )


def part_of(steps: int, fraction: float) -> int:
    """How many of the steps a fraction in 0..1 is: halves count up, and above 0 it is one step at least."""
    return max(math.floor(round(fraction * steps, 9) + 0.5), int(fraction > 0))


def level(sigmas: Sequence[float], progress: float) -> float:
    """The sigma at a progress of 0..1 through a falling schedule: sigmas[i] at i / steps, linear in between."""
    steps = len(sigmas) - 1
    place = round(min(max(progress, 0.0), 1.0) * steps, 9)  # 0.3 of 20 steps is step 6, not 6.000000000000001
    return float(np.interp(place, np.arange(steps + 1), sigmas))


def progress(sigmas: Sequence[float], sigma: float | Tensor) -> float:
    """How far through a falling schedule a level is, 0..1: the inverse of `level`, 0 above its start."""
    steps, sigma = len(sigmas) - 1, highest(sigma)
    i = bisect_left(sigmas, -sigma, key=lambda s: -s)  # the first level that is not above sigma
    if i == 0 or i > steps:
        return 0.0 if i == 0 else 1.0
    return (i - (sigma - sigmas[i]) / (sigmas[i - 1] - sigmas[i])) / steps


def interval(sigmas: Sequence[float], start: float, end: float) -> tuple[float, float]:
    """(low, high) such that low < sigma <= high holds from the part `start` of the steps up to the part `end`.

    Open where the part is 0 or 1, so that the whole run needs no schedule. Raises ValueError where one is needed and
    missing, and for parts that are not in 0..1.
    """
    if not (0 <= start <= 1 and 0 <= end <= 1):
        raise ValueError(f"start {start} and end {end}: give parts of the steps, from 0 to 1")
    if not sigmas and (start > 0 or end < 1):
        raise ValueError(f"a start of {start} and an end of {end} are parts of a schedule: give its sigmas")
    return (level(sigmas, end) if end < 1 else -math.inf), (level(sigmas, start) if start > 0 else math.inf)


def highest(sigma: float | Tensor) -> float:
    """A level as a number: the highest of (B,) levels."""
    return float(sigma.detach().max()) if isinstance(sigma, Tensor) else float(sigma)


@dataclass(frozen=True)
class Schedule:
    """A schedule as the page offers it. Call it with the number of steps and a network's training levels."""

    key: str
    label: str  # the word that users of other tools know
    function: Callable[..., list[float]]  # (steps, sigma_min, sigma_max)

    def __call__(self, steps: int, sigmas_train: Tensor, **knobs: Any) -> list[float]:
        """steps, (T,) ascending training levels -> steps + 1 falling levels, the last 0.0."""
        return self.function(steps, float(sigmas_train[0]), float(sigmas_train[-1]), **knobs)

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Native(Schedule):
    """A schedule that needs all training levels and not only their ends."""

    spacing: str = "trailing"

    def __call__(self, steps: int, sigmas_train: Tensor, **knobs: Any) -> list[float]:
        return native(steps, sigmas_train, **{"spacing": self.spacing, **knobs})


SCHEDULES: dict[str, Schedule] = {
    schedule.key: schedule
    for schedule in (
        Native("native", "Automatic", native),
        Schedule("karras", "Karras", karras),
        Schedule("exponential", "Exponential", exponential),
        Schedule("kl_optimal", "KL Optimal", kl_optimal),
        Native("linspace", "Uniform", native, spacing="linspace"),
        Native("leading", "DDIM", native, spacing="leading"),
        Native("sgm_uniform", "SGM Uniform", native, spacing="sgm"),
        Native("beta", "Beta", native, spacing="beta"),
        Schedule("linear_quadratic", "Linear-quadratic", linear_quadratic),
        Schedule("flow_shift", "Flow, shift 3", flow_shift),
    )
}
