"""Energy guidance: the step has its length and its way, time travel its calls, and the picture comes nearer."""

import math

import pytest
import torch

from backbones import load
from conditioning.energies import ENERGIES
from conditioning.operators import BlockAverage, measure
from conditioning.sampling.correction.repaint import jumps
from conditioning.sampling.guidance.classifier_guidance import classifier_guidance
from conditioning.sampling.guidance.dps import dps
from conditioning.sampling.guidance.energy_guidance import energy_guidance
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, Step, ask, drive, run
from samplers.schedules import karras
from tests.oracle import finish, start

ORACLE = load("exact")
SHAPE = ORACLE.shape
TARGET = ORACLE.decode(ORACLE.samples(40, seed=3)[[7, 11]])
SIGMAS = karras(10, 0.05, 15.0)
COND = ORACLE.encode_prompt(["", ""])
euler = SAMPLERS["euler"]


def guided(sigmas=SIGMAS, sampler=euler, D=ask, seeds=(1, 2), **knobs):
    steered = energy_guidance(sampler, TARGET, backbone=ORACLE, **knobs)
    return steered(D, start(list(seeds), sigmas[0], SHAPE), sigmas, COND, Noise(seeds))


@pytest.mark.parametrize("name", ["colours", "edges"])
@pytest.mark.parametrize("s", [6.0, 1.0, 0.2])
def test_the_step_is_as_long_as_it_says_and_goes_downhill(name, s):
    (step,) = [
        e for _, e in drive([guided([s, 0.1], energy=name, strength=0.3)], ORACLE.denoise) if isinstance(e, Step)
    ]
    x = start([1, 2], s, SHAPE).requires_grad_()
    x0 = ORACLE.D(x, s, COND)
    moved = step.x0 - x0.detach()
    rms = moved.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full((2,), 0.3 * s / math.sqrt(1 + s**2), dtype=torch.float64))
    (g,) = torch.autograd.grad(ENERGIES[name](TARGET)(ORACLE.decode(x0)).sum(), x)
    cosine = torch.nn.functional.cosine_similarity(-g.flatten(1), moved.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(2, dtype=torch.float64))


def test_travel_goes_back_only_inside_of_the_interval():
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 2) == [4, 3, 4, 3, 2, 3, 2, 1, 2, 1, 0]
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 2, 0.5, 1.0) == [4, 3, 2, 3, 2, 1, 2, 1, 0]
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 1, 0.0, 1.0) == [4, 3, 2, 1, 0]
    driver = Driver(ORACLE.denoise)
    driver.add(0, guided(times=3, start=0.3, end=0.6))
    finish(driver)
    assert driver.calls == 10 + 2 * sum(0.3 <= i / 10 <= 0.6 for i in range(1, 10))


def test_outside_of_the_interval_it_asks_without_gradients():
    taped = []

    def noting(one):
        taped.append(one.tape is not None)
        return ORACLE.denoise(one)

    run(guided(start=0.3, end=0.6), noting)
    assert taped == [3 <= i < 6 for i in range(10)]


@pytest.mark.parametrize("name", ["colours", "edges"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_picture_comes_nearer_to_the_target(name, times):
    energy = ENERGIES[name](TARGET)
    plain = run(euler(ask, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2])), ORACLE.denoise)
    got = run(guided(energy=name, times=times), ORACLE.denoise)
    assert (energy(ORACLE.decode(got)) < 0.6 * energy(ORACLE.decode(plain))).all()


def test_gradient_methods_stack_and_each_has_its_step():
    """DPS asks through energy guidance: its gradient runs through the network, and the energy's step is added."""
    measured = measure(BlockAverage(SHAPE, 2), ORACLE.samples(2, seed=4))
    x, s = start([1, 2], 3.0, SHAPE), 3.0

    def step(sampler, D=ask):
        return next(e for _, e in drive([sampler(D, x, [s, 1.0], COND, Noise([1, 2]))], ORACLE.denoise))

    def kick(sampler, D=ask):
        return step(sampler, D).x - step(euler, D).x

    both = step(energy_guidance(dps(euler, measured), TARGET, backbone=ORACLE))
    pull = step(energy_guidance(euler, TARGET, backbone=ORACLE)).x0 - ORACLE.D(x, s, COND)
    assert (both.x0 - ORACLE.D(x, s, COND) - pull).abs().max() < 1e-12 < pull.abs().max()
    away = (both.x - both.x0 - (x - both.x0) / s).abs().max()  # what is left is DPS's own
    assert away > 1e-3
    D = classifier_guidance(ask, "red", scale=1.0, backbone=ORACLE)
    assert kick(dps(euler, measured), D).abs().max() > 0


def test_a_curve_is_followed_by_level():
    from conditioning.compose import compose

    def ends(strength):
        stack = [("energy_guidance", {"target": TARGET, "strength": strength})]
        D, sampler, _ = compose(stack, euler, sigmas=SIGMAS, backbone=ORACLE)
        run_ = sampler(D, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2]))
        return [e.x for _, e in drive([run_], ORACLE.denoise) if isinstance(e, Step)]

    curved, constant = ends("0:0.5, 0.5:0.5, 0.5:0"), ends(0.5)
    same = [torch.equal(a, b) for a, b in zip(curved, constant, strict=True)]
    assert same == [True] * 5 + [False] * 5
