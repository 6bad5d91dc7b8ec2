"""The two paths of a run: the sampling trajectory (its states) and the denoising trajectory (its predictions of x0).

trajectory = run(recorded(sampler(D, x, sigmas, cond, noise), x, sigmas[0]), backbone.denoise)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.files import atomic_write
from samplers.flow import Ask, Flow, Step, tap


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run of N steps of B images, on the CPU (Chen et al. 2023, arXiv 2305.19947).

    sigmas: (N + 1,) float64, the levels of the states, as a rule falling to 0.
    x: (N + 1, B, C, H, W), the states, the start first: the sampling trajectory.
    x0: (N, B, C, H, W), x0[n] the denoised prediction from which the step to x[n + 1] was made: the denoising
        trajectory. It is the one at x[n], but for solvers that step from a prediction elsewhere (DPM++ 2S and SDE,
        churn): what asks about the field wants Euler, Heun or a multistep solver.
    """

    sigmas: Tensor
    x: Tensor
    x0: Tensor

    def __post_init__(self) -> None:
        N = len(self.x0)
        if N < 1 or self.sigmas.shape != (N + 1,) or self.x.shape != (N + 1, *self.x0.shape[1:]):
            raise ValueError(
                f"levels {tuple(self.sigmas.shape)}, states {tuple(self.x.shape)} and denoised predictions "
                f"{tuple(self.x0.shape)}: give N + 1, N + 1 and N of them, N at least 1"
            )

    def __len__(self) -> int:
        """N, the number of steps."""
        return len(self.x0)

    @property
    def eps(self) -> Tensor:
        """(N, B, C, H, W): the field (x - x0) / sigma = dx / dsigma at every state but the last."""
        s = self.sigmas[:-1].to(self.x0).reshape(-1, *[1] * (self.x0.ndim - 1))
        return (self.x[:-1] - self.x0) / s

    def rows(self, index: slice | Tensor | list[int]) -> Trajectory:
        """The run of some of the images."""
        return Trajectory(self.sigmas, self.x[:, index], self.x0[:, index])

    def save(self, path: str | Path) -> None:
        """Writes sigmas, x and x0 as an npz archive, whole or not at all."""
        with atomic_write(path) as file:
            np.savez(file, sigmas=_array(self.sigmas), x=_array(self.x), x0=_array(self.x0))

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        """What `save` wrote. Raises ValueError where the archive is of something else, OSError where none is there."""
        with np.load(path, allow_pickle=False) as archive:
            missing = {"sigmas", "x", "x0"} - set(archive.files)
            if missing:
                raise ValueError(f"{path} is no trajectory: {', '.join(sorted(missing))} missing")
            return cls(*(torch.from_numpy(archive[name]) for name in ("sigmas", "x", "x0")))


def trajectory(x: Tensor, sigma: float, steps: Iterable[Step]) -> Trajectory:
    """Of a start x (B, C, H, W) at level sigma, and the Steps of its run, as whoever drives it hears them.

    Raises ValueError where there are no steps, or where they are of another shape than the start.
    """
    steps_taken = list(steps)
    if not steps_taken:
        raise ValueError("a trajectory needs at least one step, and the run took none")
    return Trajectory(
        torch.tensor([sigma, *(step.sigma for step in steps_taken)], dtype=torch.float64),
        torch.stack([_kept(x), *(_kept(step.x) for step in steps_taken)]),
        torch.stack([_kept(step.x0) for step in steps_taken]),
    )


def recorded(flow: Flow, x: Tensor, sigma: float) -> Flow:
    """The same run from x (B, C, H, W) at level sigma; it returns its Trajectory in place of its last x.

    What is kept of a Step is the x that the run goes on with, so a correction from outside is in the record. A
    schedule that climbs is recorded too, but the noise of a climb is no Step: x[n] is the state before that noise.
    """
    steps: list[Step] = []

    def keep(message: list[Ask] | Step, reply: Any) -> None:
        if isinstance(message, Step):
            steps.append(Step(_kept(reply), _kept(message.x0), message.sigma))

    yield from tap(flow, keep)
    return trajectory(x, sigma, steps)


def _kept(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()
