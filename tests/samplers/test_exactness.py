"""The samplers against the oracle, of which the truth is known."""

from functools import cache

import numpy as np
import pytest
import torch

from samplers import SAMPLERS
from samplers.flow import Noise, ask, climbing, run
from samplers.schedules import INFINITE, exponential, karras
from tests.oracle import mixture, start

oracle = mixture()


@cache
def end(name, spacing, steps):
    """16 rows from sigma 20 to sigma 0.3."""
    seeds = list(range(16))
    sigmas = spacing(steps + 1, 0.3, 20.0)[:-1]
    return run(SAMPLERS[name](ask, start(seeds, 20.0), sigmas, {}, Noise(seeds)), oracle.denoise)


@pytest.mark.parametrize(
    "name, order, spacing",
    [("euler", 1, karras), ("heun", 2, karras), ("dpmpp_2m", 2, karras), ("dpmpp_2m", 2, exponential)],
)
def test_order_of_convergence(name, order, spacing):
    """The error at sigma 0.3 falls with the number of steps to the power of the order."""
    steps = np.array([40, 80, 160])
    errors = [float((end(name, spacing, int(n)) - end("heun", karras, 1500)).norm()) for n in steps]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.15, f"slope {slope:.3f} from errors {errors}"


@pytest.mark.parametrize("name, steps", [("euler", 150), ("heun", 40), ("dpmpp_2m", 60), ("ancestral", 100)])
@pytest.mark.parametrize("top", [80.0, INFINITE])
def test_samples_have_the_moments_of_the_data(name, steps, top):
    """In float32, from 80 and from infinity."""
    n = 1200
    sigmas = karras(steps, 0.01, 80.0)
    if top == INFINITE:
        sigmas = [INFINITE, *sigmas]
    noise = Noise(range(n))
    x = start(list(range(n)), sigmas[0], dtype=torch.float32)
    got = run(SAMPLERS[name](ask, x, sigmas, {}, noise), oracle.denoise, max_rows=n).double().flatten(1)
    mean, covariance = oracle.moments()
    error = covariance.diagonal().sqrt() / n**0.5
    assert ((got.mean(0) - mean) / error).abs().max() < 4
    assert (got.T.cov() - covariance).norm() / covariance.norm() < 0.1


def test_a_climb_keeps_the_moments():
    """Down to 0.5, up to 4, down again: stochastic, and still the data."""
    n = 1200
    sigmas = [s for s in karras(40, 0.01, 80.0) if s > 0.5] + karras(40, 0.01, 4.0)
    x = start(list(range(n)), sigmas[0], dtype=torch.float32)
    flow = climbing(SAMPLERS["dpmpp_2m"])(ask, x, sigmas, {}, Noise(range(n)))
    got = run(flow, oracle.denoise, max_rows=n).double().flatten(1)
    mean, covariance = oracle.moments()
    assert ((got.mean(0) - mean) / covariance.diagonal().sqrt() * n**0.5).abs().max() < 4
    assert (got.T.cov() - covariance).norm() / covariance.norm() < 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_to_zero_is_the_denoised_estimate(name):
    x = start([1, 2], 5.0)
    assert torch.equal(run(SAMPLERS[name](ask, x, [5.0, 0.0], {}, Noise([1, 2])), oracle.denoise), oracle.D(x, 5.0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_infinite_start_needs_no_more_than_float32(name):
    """float32 carries it: the run from 1e6 is the one from 1e9 in float64."""
    ends = []
    for top, dtype in ((1e9, torch.float64), (INFINITE, torch.float32)):
        x, sigmas = start([1, 2], top, dtype=dtype), [top, *karras(10, 0.05, 20.0)]
        ends.append(run(SAMPLERS[name](ask, x, sigmas, {}, Noise([1, 2])), oracle.denoise).double())
    torch.testing.assert_close(*ends, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", SAMPLERS)
def test_network_calls_are_as_declared(name):
    steps, asked = 7, []

    def counting(one):
        asked.append(float(one.sigma[0]))
        return oracle.denoise(one)

    solver = SAMPLERS[name]
    sigmas = karras(steps, 0.05, 20.0)
    run(solver(ask, start([1], 20.0), sigmas, {}, Noise([1])), counting)
    assert len(asked) == steps + (solver.calls - 1) * (steps - 1)  # the step to 0 is always a single call
    assert set(asked) == set(sigmas[:-1])
