"""Small exact mixtures and runs on them, for the tests."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backbones.exact import Mixture
from samplers.flow import Denoiser, Done, Driver, Flow, FlowFailed, Noise, Sampler, ask
from samplers.schedules import karras

SHAPE = (1, 2, 2)
KINDS = ("euler", "heun", "dpmpp_2m", "ancestral")  # one solver of each kind, for what is asked of every method


def mixture(seed: int = 0, K: int = 3, shape: tuple[int, ...] = SHAPE) -> Mixture:
    """K components with full covariances."""
    stream = torch.Generator().manual_seed(seed)
    D = torch.Size(shape).numel()
    means = 1.5 * torch.randn(K, *shape, generator=stream, dtype=torch.float64)
    root = 0.4 * torch.randn(K, D, D, generator=stream, dtype=torch.float64)
    covariances = root @ root.mT + 0.05 * torch.eye(D, dtype=torch.float64)
    return Mixture(torch.rand(K, generator=stream) + 0.3, means, covariances, [(f"word{k}",) for k in range(K)])


def start(seeds: list[int], sigma: float, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> Tensor:
    """x (B, ...) at a level so high that the data does not show."""
    return sigma * Noise(seeds).child("start")(torch.empty(len(seeds), *shape, dtype=dtype))


def flow(
    sampler: Sampler,
    seeds: list[int],
    D: Denoiser = ask,
    cond: Mapping[str, Any] | None = None,
    steps: int = 8,
    shape: tuple[int, ...] = SHAPE,
    dtype: torch.dtype = torch.float64,
) -> Flow:
    """A run of a few steps from sigma 20."""
    sigmas = karras(steps, 0.05, 20.0)
    return sampler(D, start(seeds, sigmas[0], shape, dtype), sigmas, cond or {}, Noise(seeds))


def finish(driver: Driver) -> dict[Any, Any]:
    """Results of all runs, or the errors that ended them."""
    ends = {}
    while len(driver):
        for key, event in driver.round():
            if isinstance(event, Done):
                ends[key] = event.result
            elif isinstance(event, FlowFailed):
                ends[key] = event.error
    return ends
