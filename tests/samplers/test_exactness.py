"""The samplers against the oracle, of which the truth is known."""

from functools import cache, partial

import numpy as np
import pytest
import torch

from samplers import SAMPLERS
from samplers.deis import deis
from samplers.dpmpp_2m import dpmpp_2m
from samplers.dpmpp_2m_sde import dpmpp_2m_sde
from samplers.dpmpp_2s import dpmpp_2s
from samplers.dpmpp_3m import dpmpp_3m
from samplers.euler import euler
from samplers.flow import Noise, ask, renoising, run
from samplers.ipndm import ipndm
from samplers.lcm import lcm
from samplers.lms import lms
from samplers.sa_solver import sa_solver
from samplers.schedules import INFINITE, exponential, karras
from samplers.unipc import unipc
from tests.support.oracle import KINDS, mixture, start

oracle = mixture()


@cache
def end(solver, spacing, steps):
    """8 rows from sigma 80 to sigma 0.3."""
    seeds = list(range(8))
    sigmas = spacing(steps + 1, 0.3, 80.0)[:-1]
    return run(solver(ask, start(seeds, 80.0), sigmas, {}, Noise(seeds)), oracle.denoise)


def slope(solver, spacing):
    """The power of the number of steps with which the error at sigma 0.3 falls."""
    steps = np.array([40, 80, 160])
    errors = [float((end(solver, spacing, int(n)) - end(lms, karras, 800)).norm()) for n in steps]
    return np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]


DETERMINISTIC = [name for name, solver in SAMPLERS.items() if not solver.stochastic]


@pytest.mark.parametrize("name, spacing", [*((name, karras) for name in DETERMINISTIC), ("dpmpp_2m", exponential)])
def test_order_of_convergence(name, spacing):
    """What is declared, near enough: the first steps of a multistep solver are of lower order."""
    got, order = slope(SAMPLERS[name].function, spacing), SAMPLERS[name].order
    assert abs(got - order) < (0.3 if order < 3 else 0.45), f"slope {got:.3f}"


UNIPC_2, SA_ODE, PUBLISHED = partial(unipc, order=2), partial(sa_solver, tau=0.0), partial(dpmpp_3m, published=True)
DEIS_RHO, LMS_2 = partial(deis, variable="log rho"), partial(lms, order=2)


@pytest.mark.parametrize(
    "solver, order",
    [(UNIPC_2, 3), (SA_ODE, 3), (PUBLISHED, 2.3), (DEIS_RHO, 3), (LMS_2, 2), (dpmpp_2s, 2)],
    ids=["UniPC-2", "SA-Solver as ODE", "DPM++ 3M as published", "DEIS in log rho", "LMS of 2", "DPM++ 2S"],
)
def test_order_of_convergence_of_variants(solver, order):
    """UniPC-p is of order p + 1; the published DPM++ 3M falls to order 2, with 160 steps it has not yet."""
    assert abs(slope(solver, karras) - order) < (0.2 if order < 3 else 0.4)


def test_solvers_that_are_one():
    """SA-Solver's predictor is DPM++ 3M with its whole third term, UniP-2 is DPM++ 2M, of order 1 all are Euler."""
    for a, b in [
        (partial(unipc, corrector=False, order=2), dpmpp_2m),
        (partial(sa_solver, tau=0.0, corrector_order=0), dpmpp_3m),
        (partial(dpmpp_2m_sde, eta=0.0), dpmpp_2m),
        (partial(deis, order=1), euler),
        (partial(ipndm, order=1), euler),
    ]:
        torch.testing.assert_close(end(a, karras, 12), end(b, karras, 12), atol=1e-9, rtol=1e-9)


MOMENTS = {"euler": 150, "ancestral": 80}  # steps; others converge sooner


@pytest.mark.parametrize(
    "name, top", [*((name, 80.0) for name in SAMPLERS if name != "lcm"), *((name, INFINITE) for name in KINDS)]
)
def test_samples_have_the_moments_of_the_data(name, top):
    """In float32, from 80 and from infinity."""
    n = 1200
    sigmas = karras(MOMENTS.get(name, 40 if SAMPLERS[name].nfe == 1 else 24), 0.01, 80.0)
    if top == INFINITE:
        sigmas = [INFINITE, *sigmas]
    assert moments_agree(SAMPLERS[name], oracle.denoise, sigmas, n)


def moments_agree(sampler, answer, sigmas, n):
    x = start(list(range(n)), sigmas[0], dtype=torch.float32)
    got = run(sampler(ask, x, sigmas, {}, Noise(range(n))), answer, max_rows=n).double().flatten(1)
    mean, covariance = oracle.moments()
    near = ((got.mean(0) - mean) / covariance.diagonal().sqrt() * n**0.5).abs().max() < 4
    return bool(near and (got.T.cov() - covariance).norm() / covariance.norm() < 0.1)


def test_lcm_samples_the_data_of_a_network_that_gives_the_end():
    """Such a one is the ODE itself, from the state to the data; the mean of all ends is too smooth."""

    def consistent(one):
        sigmas = karras(15, 0.01, float(one.sigma[0]))
        return run(dpmpp_2m(ask, one.x, sigmas, {}, Noise([0] * len(one.x))), oracle.denoise, max_rows=len(one.x))

    assert moments_agree(lcm, consistent, karras(4, 0.5, 80.0), 1200)
    assert not moments_agree(lcm, oracle.denoise, karras(4, 0.5, 80.0), 1200)


def test_a_ddim_encode_keeps_the_moments():
    """Down to 0.5, up to 4, down again: stochastic, and still the data."""
    n = 1200
    sigmas = [s for s in karras(40, 0.01, 80.0) if s > 0.5] + karras(40, 0.01, 4.0)
    x = start(list(range(n)), sigmas[0], dtype=torch.float32)
    flow = renoising(SAMPLERS["dpmpp_2m"])(ask, x, sigmas, {}, Noise(range(n)))
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
    again = sum(0.1 <= s <= 2.0 for s in sigmas) - 1 if name == "restart" else 0
    assert len(asked) == steps + again + (solver.nfe - 1) * (steps + again - 1)  # the step to 0 is a single call
    assert 0 < min(asked) and max(asked) == sigmas[0]
    if solver.nfe == 1:
        assert set(asked) == set(sigmas[:-1])
    elif not solver.renoises:
        assert set(asked) > set(sigmas[:-1]) or name == "heun"


def test_a_single_step_and_a_single_level_do_nothing_odd():
    x = start([1, 2], 5.0)
    for solver in SAMPLERS.values():
        assert run(solver(ask, x, [5.0, 1.0], {}, Noise([1, 2])), oracle.denoise).isfinite().all()
        assert torch.equal(run(solver(ask, x, [5.0], {}, Noise([1, 2])), oracle.denoise), x)


def test_a_solver_is_called_by_its_key():
    """Its function's name is what `compose` says of a run, and its docstring says what a page needs."""
    for key, solver in SAMPLERS.items():
        assert solver.key == solver.function.__name__ == key and solver.label and solver.summary.endswith("."), key
