"""Samplers: one file, one solver. `SAMPLERS[key]` is called as (D, x, sigmas, cond, noise) -> Flow."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from samplers.ancestral import ancestral
from samplers.dpmpp_2m import dpmpp_2m
from samplers.euler import euler
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.heun import heun
from samplers.schedules import SCHEDULES, Schedule


@dataclass(frozen=True)
class Solver:
    """A sampler as the page offers it; call it as the sampler that it is."""

    key: str
    label: str  # the word that users of other tools know
    function: Sampler
    paper: str  # arXiv number
    calls: int = 1  # network calls a step, at most
    stochastic: bool = False  # draws noise on the way

    def __call__(self, D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        return self.function(D, x, sigmas, cond, noise)

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


SAMPLERS: dict[str, Solver] = {
    solver.key: solver
    for solver in (
        Solver("euler", "Euler", euler, paper="2206.00364"),
        Solver("heun", "Heun", heun, paper="2206.00364", calls=2),
        Solver("dpmpp_2m", "DPM++ 2M", dpmpp_2m, paper="2211.01095"),
        Solver("ancestral", "Euler a", ancestral, paper="2010.02502", stochastic=True),
    )
}

__all__ = ["SAMPLERS", "SCHEDULES", "Noise", "Sampler", "Schedule", "Solver"]
