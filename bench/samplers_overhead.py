"""What a step costs beside the network: our loop against diffusers' schedulers, in the same rounds of one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bench.table import Report
from samplers import SAMPLERS
from samplers.flow import Ask, Noise, ask, run
from samplers.schedules import karras

STEPS = 40
SHAPE = (1, 4, 32, 32)  # latents of Still Life
#: ours -> theirs, with what makes it the same solver
PAIRS = {
    "euler": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True, "final_sigmas_type": "zero"}),
    "unipc": ("UniPCMultistepScheduler", {"use_karras_sigmas": True, "final_sigmas_type": "zero"}),
}


class Network:
    """The smallest of networks, x -> x / 2, that counts its evaluations and the time that they take."""

    def __init__(self) -> None:
        self.nfe, self.seconds = 0, 0.0

    def __call__(self, x: Tensor) -> Tensor:
        began = time.perf_counter()
        out = x * 0.5
        self.seconds += time.perf_counter() - began
        self.nfe += 1
        return out


def ours(solver: str) -> Callable[[Network], Any]:
    sigmas = karras(STEPS, 0.03, 14.0)
    x = sigmas[0] * torch.ones(SHAPE)

    def loop(network: Network) -> Tensor:
        def answer(one: Ask) -> Tensor:
            return network(one.x)

        return run(SAMPLERS[solver](ask, x, sigmas, {}, Noise([0])), answer)

    return loop


def theirs(solver: str) -> Callable[[Network], Any]:
    import diffusers

    name, settings = PAIRS[solver]
    x = 14.0 * torch.ones(SHAPE)

    def loop(network: Network) -> Tensor:
        scheduler = getattr(diffusers, name)(**settings)
        scheduler.set_timesteps(STEPS)
        state = x
        for t in scheduler.timesteps:
            state = scheduler.step(network(scheduler.scale_model_input(state, t)), t, state).prev_sample
        return state

    return loop


def beside_network(loop: Callable[[Network], Any]) -> tuple[float, int]:
    """Seconds of a run outside of its network evaluations, and how many evaluations it made."""
    network = Network()
    began = time.perf_counter()
    loop(network)
    return time.perf_counter() - began - network.seconds, network.nfe


def overhead(solver: str, rounds: int) -> tuple[float, float, float]:
    """Ratio of ours to theirs, the median over the rounds; and microseconds a step of both."""
    loops = (ours(solver), theirs(solver))
    for loop in loops:
        loop(Network())  # what is made once
    times = [[beside_network(loop) for loop in loops] for _ in range(rounds)]
    for (_, a), (_, b) in times:
        if a != b:
            raise RuntimeError(f"{solver}: {a} network evaluations here and {b} in diffusers, so times do not compare")
    ratio = statistics.median(a / b for (a, _), (b, _) in times)
    each = [1e6 * statistics.median(one[i][0] for one in times) / STEPS for i in range(2)]
    return ratio, each[0], each[1]


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tell(report: Report, rounds: int) -> None:
    ratios = []
    with one_thread(), torch.no_grad():
        for solver in PAIRS:
            ratio, own, other = overhead(solver, rounds)
            label = f"{SAMPLERS[solver].label}: a step beside the network"
            report.figure(f"overhead_{solver}", ratio, label, "of diffusers'", us=own, diffusers_us=other)
            ratios.append(ratio)
    report.figure("overhead_over_diffusers", max(ratios), "the worst of them", "times", "at most 1.0")
