"""Every sampler on a network that predicts the velocity of a flow, as FLUX, Stable Diffusion 3 and Qwen-Image do, held
against the closed form: the oracle read as such a network, at its own x and t, from t = 1 itself."""

import pytest
import torch

from backbones.coordinates import Coordinates
from backbones.exact import Mixture
from samplers import SAMPLERS
from samplers.flow import Noise, ask, run
from samplers.schedules import INFINITE, flow_shift
from tests.support.oracle import SHAPE, mixture

FLOW = Coordinates(torch.arange(1, 1001, dtype=torch.float64) / 1000, "flow_prediction")
MIXED = mixture()
GAUSSIAN = mixture(K=1)
ROWS = 8


def velocity(oracle: Mixture, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """E[eps - x0 | x_t] at x_t = (1 - t) x0 + t eps, (B, ...), t (B,) in (0, 1]: at t = 1 it is x_1 - E[x0]."""
    t = t.double().reshape(-1, 1, 1, 1)
    sigma = (t / (1 - t)).clamp(max=INFINITE)
    x0 = oracle.D(x * (1 + sigma), sigma.flatten())
    return torch.where(t < 1, (x - x0) / t, x - x0)


def as_flow(oracle: Mixture):
    """What a flow network would answer, through the coordinates of one."""

    def answer(one):
        seen, t = FLOW.enter(one.x, one.sigma)
        return FLOW.leave(one.x, one.sigma, velocity(oracle, seen.double(), t / 1000).to(one.x))

    return answer


def sigmas(steps: int) -> list[float]:
    """The schedule of Stable Diffusion 3: the first level stands for infinity."""
    return flow_shift(steps, 1e-3, INFINITE)


def ended(name: str, oracle: Mixture, steps: int, rows: int = ROWS) -> torch.Tensor:
    seeds = list(range(rows))
    noise = Noise(seeds).child("start")(torch.empty(rows, *SHAPE, dtype=torch.float64))
    levels = sigmas(steps)
    return run(SAMPLERS[name](ask, noise * (1 + levels[0]), levels, {}, Noise(seeds)), as_flow(oracle), max_rows=rows)


def carried(rows: int = ROWS) -> torch.Tensor:
    """Where the flow carries the same noise, in closed form: along each axis of the covariance the deviation from the
    mean is shortened from the noise's to the data's."""
    noise = Noise(range(rows)).child("start")(torch.empty(rows, *SHAPE, dtype=torch.float64)).flatten(1)
    mean, covariance = GAUSSIAN.moments()
    lengths, axes = torch.linalg.eigh(covariance)
    return (mean + noise @ axes * lengths.sqrt() @ axes.T).reshape(rows, *SHAPE)


@pytest.mark.parametrize("name", [name for name, one in SAMPLERS.items() if not one.stochastic])
def test_a_solver_of_the_flow_ends_where_the_closed_form_does(name):
    """And the nearer the more steps it takes."""
    errors = [float((ended(name, GAUSSIAN, steps) - carried()).abs().max()) for steps in (20, 80)]
    assert errors[1] < 0.06 and errors[1] < errors[0] / 2, errors


@pytest.mark.parametrize("name", [name for name, one in SAMPLERS.items() if name != "lcm"])
def test_samples_have_the_moments_of_the_data(name):
    n = 600
    got = ended(name, MIXED, 40, n).flatten(1)
    mean, covariance = MIXED.moments()
    assert ((got.mean(0) - mean) / covariance.diagonal().sqrt() * n**0.5).abs().max() < 4
    assert (got.T.cov() - covariance).norm() / covariance.norm() < 0.2


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_coordinates_change_nothing(name):
    """The same prediction, whichever network makes it: as on the oracle in its own coordinates."""
    levels, seeds = sigmas(6), list(range(ROWS))
    x = Noise(seeds).child("start")(torch.empty(ROWS, *SHAPE, dtype=torch.float64)) * (1 + levels[0])
    ends = [run(SAMPLERS[name](ask, x, levels, {}, Noise(seeds)), answer, max_rows=ROWS)
            for answer in (as_flow(MIXED), MIXED.denoise)]  # fmt: skip
    assert (ends[0] - ends[1]).abs().max() < 2e-3
