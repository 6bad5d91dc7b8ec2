"""The levels that a flow network is made to be sampled at, which for large ones depend on the size of the image: more
tokens hide more of an image under the same noise (Esser et al. 2024, "Stable Diffusion 3", arXiv 2403.03206, Section
5.3.2). As diffusers' FlowMatchEulerDiscreteScheduler has them, by the settings of a checkpoint's scheduler_config.json.

A time t runs from 0, the image, to 1, noise alone; its level is sigma = t / (1 - t).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samplers.schedules import INFINITE

Settings = Mapping[str, Any]  # of a scheduler_config.json
SPACE = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}  # diffusers'


def shift_by_size(settings: Settings, tokens: int) -> float:
    """The shift of an image of so many tokens: mu, a line through two points of the settings, becomes e^mu, or stays as
    it is where the settings say "linear"."""
    low, high, least, most = (float(settings.get(name) or usual) for name, usual in SPACE.items())
    return shift_of(settings, least + (most - least) * (tokens - low) / (high - low))


def shift_of(settings: Settings, mu: float) -> float:
    """mu -> the factor of the levels."""
    return mu if settings.get("time_shift_type") == "linear" else math.exp(mu)


def shifted(times: Sequence[float] | np.ndarray, shift: float) -> np.ndarray:
    """Times in (0, 1] -> times whose levels are `shift` times as high (Eq. 23)."""
    t = np.asarray(times, dtype=np.float64)
    return shift * t / (1 + (shift - 1) * t)


def stretched(times: np.ndarray, last: float) -> np.ndarray:
    """Falling times from 1, stretched so that they end at `last`."""
    return 1 - (1 - times) * (1 - last) / (1 - times[-1])


def levels(times: Sequence[float] | np.ndarray) -> list[float]:
    """Times -> levels, the infinite one of t = 1 as `INFINITE`."""
    t = np.asarray(times, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.minimum(t / (1 - t), INFINITE).tolist()


def schedule(steps: int, settings: Settings, shift: float) -> list[float]:
    """steps + 1 falling levels, the last 0.0: even in time before the shift, from 1 to 1 / steps."""
    times = shifted(np.linspace(1.0, 1 / steps, steps), shift)
    if terminal := settings.get("shift_terminal"):
        times = stretched(times, float(terminal)) if steps > 1 else times
    return [*levels(times), 0.0]
