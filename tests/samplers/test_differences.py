"""Each second-order solver of samplers/ is Euler and a finite difference of the denoised predictions, to the last
digits."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from samplers import SAMPLERS
from samplers.deis import deis
from samplers.differences import DIFFERENCES, Path, step
from samplers.flow import Noise, Step, ask
from samplers.ipndm import ipndm
from samplers.lms import lms
from samplers.schedules import karras
from tests.support.oracle import mixture, start

oracle = mixture()
OF_TWO = {"ipndm": partial(ipndm, order=2), "deis": partial(deis, order=2), "lms": partial(lms, order=2)}
SIGMAS = karras(9, 0.05, 20.0)[:-1]


def steps_of(key):
    """For every step the state before, the denoised predictions that were asked for, and the state after."""
    x = start([1, 2, 3], SIGMAS[0])
    flow = OF_TWO.get(key, SAMPLERS[key])(ask, x, SIGMAS, {}, Noise([1, 2, 3]))
    steps, asked, reply = [], [], None
    while len(steps) < len(SIGMAS) - 1:
        message = flow.send(reply)
        if isinstance(message, Step):
            steps.append((x, asked, message.x))
            x, asked, reply = message.x, [], message.x
        else:
            reply = [oracle.denoise(one) for one in message]
            asked += reply
    return steps


@pytest.mark.parametrize("key", DIFFERENCES)
def test_a_step_is_eulers_and_a_difference_of_estimates(key):
    """At every step, the first of a multistep solver being Euler's."""
    before, bends = {}, 0.0
    for (s, s_next), (x, asked, after) in zip(pairwise(SIGMAS), steps_of(key)):
        path = Path(s, s_next, *asked, **before)
        looks_back = SAMPLERS[key].nfe == 1 and key != "euler"
        delta = 0.0 if looks_back and not before else DIFFERENCES[key](path)
        torch.testing.assert_close(step(x, path, delta), after, atol=1e-10, rtol=0)
        bent = after - step(x, path, 0.0)
        before, bends = {"s_last": s, "x0_last": asked[0], "bent": bent}, bends + float(bent.norm())
    assert (bends > 0.1) == (key != "euler")


@pytest.mark.parametrize("key", [key for key in DIFFERENCES if key != "euler"])
def test_the_differences_are_of_one_derivative(key):
    """On a short step all are d x0 / d sigma along the trajectory, up to what is of the size of the step."""
    x, s, h = start([1, 2, 3], 2.0), 2.0, -0.002
    fine = [x]
    for a, b in ((s, s + h), (s + h, s + 2 * h)):
        x0 = oracle.D(fine[-1], a)
        fine.append(x0 + b / a * (fine[-1] - x0))
    first, x0 = (oracle.D(one, s + i * h) for i, one in enumerate(fine[:2]))
    here, there = s + h, s + 2 * h
    middle = (here * there) ** 0.5
    at = {"heun": (there, fine[2]), "dpm_solver_2": (middle, x0 + middle / here * (fine[1] - x0))}.get(key)
    path = Path(here, there, x0, oracle.D(at[1], at[0]) if at else None, s_last=s, x0_last=first)
    torch.testing.assert_close(
        DIFFERENCES[key](path), (oracle.D(fine[2], there) - first) / (2 * h), atol=0.005, rtol=0.01
    )


def test_what_is_missing_is_said():
    path = Path(2.0, 1.0, torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="give x0_ahead"):
        DIFFERENCES["heun"](path)
    with pytest.raises(ValueError, match="give s_last and x0_last"):
        DIFFERENCES["dpmpp_2m"](path)
