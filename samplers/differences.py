"""The finite differences of the denoising trajectory by which second-order solvers differ, and by nothing else.

Along a solution the direction eps = (x - x0) / sigma turns by d eps / d sigma = -(1 / sigma) d x0 / d sigma. So a step
of second order from s to s' is the Euler step and a difference quotient of the denoised predictions (Chen et al. 2023,
"A Geometric Perspective on Diffusion Models", arXiv 2305.19947):

    x_s' = euler - h^2 / (2 s) Delta,    h = s' - s < 0,    Delta ~ d x0 / d sigma

`step` is that formula, and DIFFERENCES[key](path) the Delta of the solver of that key, of the order-2 form of it where
it has several. The solvers of this folder go by them to the last digits, which their test shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any

from torch import Tensor

from samplers.deis import vp_time
from samplers.multistep import over_sigma


@dataclass(frozen=True)
class Path:
    """What a step from s to s_next > 0 may look at: levels, and denoised predictions (B, C, H, W)."""

    s: float
    s_next: float
    x0: Tensor  # at s
    x0_ahead: Tensor | None = None  # at the Euler point: at s_next for Heun, at sqrt(s s_next) for DPM-Solver-2
    s_last: float = inf  # the level before
    x0_last: Tensor | None = None  # there
    bent: Tensor | float = 0.0  # what the last step added to Euler's; a difference of directions is one of x0 less this

    @property
    def h(self) -> float:
        return self.s_next - self.s

    def ahead(self) -> Tensor:
        """The change of the denoised prediction towards the point that was looked at ahead."""
        if self.x0_ahead is None:
            raise ValueError("a solver of two evaluations a step looks ahead: give x0_ahead")
        return self.x0_ahead - self.x0

    def back(self) -> Tensor:
        """Its change over the last step."""
        if self.x0_last is None:
            raise ValueError("a multistep solver looks back: give s_last and x0_last, or take Euler's first step")
        return self.x0 - self.x0_last


def step(x: Tensor, path: Path, delta: Tensor | float) -> Tensor:
    """The state at s_next from x (B, C, H, W) at s, by a difference quotient of the denoised predictions."""
    return path.x0 + path.s_next / path.s * (x - path.x0) - path.h**2 / (2 * path.s) * delta


def euler(path: Path) -> float:
    """Nothing: the denoised prediction stays."""
    return 0.0


def heun(path: Path) -> Tensor:
    """Forward, to the Euler point at s', and weighted by s / s'."""
    return path.s / path.s_next * path.ahead() / path.h


def dpm_solver_2(path: Path) -> Tensor:
    """Forward, to the Euler point at m = sqrt(s s'), over half a step, and weighted by s / m."""
    return path.s / sqrt(path.s * path.s_next) * path.ahead() / (path.h / 2)


def pndm_2(path: Path) -> Tensor:
    """Backward, as if the last step had been of this one's size: PNDM and iPNDM of two directions."""
    return (path.back() - path.bent) / path.h


def deis_tab1(path: Path) -> Tensor:
    """Backward, over a width that is twice the mean of the way back in the variable of time: DEIS of two directions."""
    return (path.back() - path.bent) / _width(path, vp_time)


def lms_2(path: Path) -> Tensor:
    """Backward, over the last step itself: Adams-Bashforth in sigma, DEIS rho-AB1."""
    return (path.back() - path.bent) / (path.s - path.s_last)


def dpmpp_2m(path: Path) -> Tensor:
    """Backward, over the last step in units of this one in log sigma: DPM-Solver++(2M), exactly so after any step."""
    return path.back() / (path.h * log(path.s_last / path.s) / log(path.s / path.s_next))


def _width(path: Path, variable: Callable[[Any], Any]) -> float:
    """h^2 / 2 over the integral of the way back in a variable, in parts of the last step: the last step for sigma."""
    _, back = over_sigma([(path.s, path.x0), (path.s_last, path.x0)], path.s, path.s_next, variable)
    return -(path.h**2) / (2 * back)


DIFFERENCES: dict[str, Callable[[Path], Tensor | float]] = {
    "euler": euler,
    "heun": heun,
    "dpm_solver_2": dpm_solver_2,
    "ipndm": pndm_2,
    "deis": deis_tab1,
    "lms": lms_2,
    "dpmpp_2m": dpmpp_2m,
}
