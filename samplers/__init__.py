"""Samplers: one file, one solver. `SAMPLERS[key]` is called as (D, x, sigmas, cond, noise) -> Flow."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from samplers.ancestral import ancestral
from samplers.churn import churn
from samplers.deis import deis
from samplers.dpm_solver_2 import dpm_solver_2, dpm_solver_2_a
from samplers.dpmpp_2m import dpmpp_2m
from samplers.dpmpp_2m_sde import dpmpp_2m_sde
from samplers.dpmpp_2s import dpmpp_2s_a
from samplers.dpmpp_3m import dpmpp_3m, dpmpp_3m_sde
from samplers.dpmpp_sde import dpmpp_sde
from samplers.euler import euler
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.heun import heun
from samplers.ipndm import ipndm
from samplers.lcm import lcm
from samplers.lms import lms
from samplers.restart import restart
from samplers.sa_solver import sa_solver
from samplers.schedules import SCHEDULES, Schedule
from samplers.unipc import unipc


@dataclass(frozen=True)
class Solver:
    """A sampler as the page offers it; call it as the sampler that it is."""

    key: str
    label: str  # the word that users of other tools know
    function: Sampler
    paper: str  # arXiv number
    order: int  # the error falls with the number of steps to this power; of a stochastic one, without its noise
    calls: int = 1  # network calls a step, at most
    stochastic: bool = False  # draws noise on the way
    eta: bool = False  # takes `eta`, how much of it: 1 as in its paper, 0 none
    climbs: bool = False  # goes up again in between, to levels that are not its Steps'
    between: bool = False  # asks the network at levels between those of the schedule, too

    def __call__(self, D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        return self.function(D, x, sigmas, cond, noise)

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


SAMPLERS: dict[str, Solver] = {
    solver.key: solver
    for solver in (
        Solver("euler", "Euler", euler, "2206.00364", order=1),
        Solver("heun", "Heun", heun, "2206.00364", order=2, calls=2),
        Solver("dpmpp_2m", "DPM++ 2M", dpmpp_2m, "2211.01095", order=2),
        Solver("ancestral", "Euler a", ancestral, "2010.02502", order=1, stochastic=True, eta=True),
        Solver("dpmpp_3m", "DPM++ 3M", dpmpp_3m, "2211.01095", order=3),
        Solver("unipc", "UniPC", unipc, "2302.04867", order=4),
        Solver("deis", "DEIS", deis, "2204.13902", order=3),
        Solver("ipndm", "iPNDM", ipndm, "2202.09778", order=2),
        Solver("lms", "LMS", lms, "2204.13902", order=4),
        Solver("dpm_solver_2", "DPM2", dpm_solver_2, "2206.00927", order=2, calls=2, between=True),
        Solver("dpmpp_2m_sde", "DPM++ 2M SDE", dpmpp_2m_sde, "2211.01095", order=2, stochastic=True, eta=True),
        Solver("dpmpp_3m_sde", "DPM++ 3M SDE", dpmpp_3m_sde, "2211.01095", order=3, stochastic=True, eta=True),
        Solver(
            "dpmpp_sde", "DPM++ SDE", dpmpp_sde, "2211.01095", order=2, calls=2, stochastic=True, eta=True, between=True
        ),
        Solver(
            "dpmpp_2s_a",
            "DPM++ 2S a",
            dpmpp_2s_a,
            "2211.01095",
            order=2,
            calls=2,
            stochastic=True,
            eta=True,
            between=True,
        ),
        Solver(
            "dpm_solver_2_a",
            "DPM2 a",
            dpm_solver_2_a,
            "2206.00927",
            order=2,
            calls=2,
            stochastic=True,
            eta=True,
            between=True,
        ),
        Solver("sa_solver", "SA-Solver", sa_solver, "2309.05019", order=3, stochastic=True),
        Solver(
            "churn", "Heun, churned", churn, "2206.00364", order=2, calls=2, stochastic=True, climbs=True, between=True
        ),
        Solver(
            "restart", "Restart", restart, "2306.14878", order=2, calls=2, stochastic=True, climbs=True, between=True
        ),
        Solver("lcm", "LCM", lcm, "2310.04378", order=0, stochastic=True),
    )
}

__all__ = ["SAMPLERS", "SCHEDULES", "Noise", "Sampler", "Schedule", "Solver"]
