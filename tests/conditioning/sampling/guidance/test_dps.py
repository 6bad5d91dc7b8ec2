"""DPS: its kick is the paper's step, and it goes down the distance to the measurement."""

import math

import pytest
import torch
from torch.nn import functional as F

from conditioning.compose import compose
from conditioning.operators import JPEG, BlockAverage, Grey, Inpainting, Measurement, measure
from conditioning.sampling.guidance.dps import dps
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, run
from samplers.schedules import karras
from tests.support.oracle import mixture, start

SHAPE = (3, 4, 4)
ORACLE = mixture(seed=3, shape=SHAPE)
MEASURED = measure(BlockAverage(SHAPE, 2), ORACLE.samples(2, seed=5))
euler = SAMPLERS["euler"]


def one_step(s, s_next, sampler=euler, measured=MEASURED, answer=None, **knobs):
    x = start([1, 2], s, SHAPE)
    flow = dps(sampler, measured, **knobs)(ask, x, [s, s_next], {}, Noise([1, 2]))
    return x, next(e for _, e in drive([flow], answer or ORACLE.denoise) if isinstance(e, Step))


def distance(x, s):
    """||y - A x0(x)|| of every row."""
    miss = MEASURED.y - MEASURED.operator.A(ORACLE.D(x, s))
    return miss.flatten(1).norm(dim=1)


@pytest.mark.parametrize("s, s_next", [(8.0, 3.0), (0.5, 0.2), (0.3, 0.0)])
def test_the_kick_is_the_gradient_by_finite_differences(s, s_next):
    """Row by row: the official code takes one norm of the whole batch."""
    x, step = one_step(s, s_next, zeta=0.7)
    plain = ORACLE.D(x, s) + s_next / s * (x - ORACLE.D(x, s))
    slope, h = torch.zeros_like(x), 1e-5 * s
    for i in range(x[0].numel()):
        e = torch.zeros(x[0].numel(), dtype=x.dtype)
        e[i] = h
        e = e.view(1, *SHAPE)
        slope.view(2, -1)[:, i] = (distance(x + e, s) - distance(x - e, s)) / (2 * h)
    factor = math.sqrt((1 + s_next**2) * (1 + s**2))
    assert (0.7 * factor * slope).abs().max() > 1e-3  # there is something to see
    torch.testing.assert_close(plain - step.x, 0.7 * factor * slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("s, s_next", [(8.0, 3.0), (0.5, 0.2)])
def test_it_is_the_papers_step_in_variance_preserving_coordinates(s, s_next):
    """Algorithm 1 as written there, for a network that sees x / sqrt(1 + s^2)."""
    x, step = one_step(s, s_next, zeta=0.4)
    ab, ab_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
    xt = (x * ab**0.5).requires_grad_()
    eps = (xt / ab**0.5 - ORACLE.D(xt / ab**0.5, s)) / s
    x0 = (xt - (1 - ab) ** 0.5 * eps) / ab**0.5
    norm = (MEASURED.y - MEASURED.operator.A(x0)).flatten(1).norm(dim=1).sum()
    (g,) = torch.autograd.grad(norm, xt)
    moved = ab_next**0.5 * x0 + (1 - ab_next) ** 0.5 * eps - 0.4 * g
    torch.testing.assert_close(step.x, (moved / ab_next**0.5).detach())


@pytest.mark.parametrize("operator", [BlockAverage(SHAPE, 2), Grey(SHAPE), Inpainting(SHAPE, torch.eye(4) > 0)])
def test_the_result_is_nearer_to_what_was_measured(operator):
    x = ORACLE.samples(4, seed=8)
    measured = measure(operator, x)
    sigmas, begin = karras(60, 0.02, 20.0), start([1, 2, 3, 4], 20.0, SHAPE)
    ends = [
        run(sampler(ask, begin, sigmas, {}, Noise([1, 2, 3, 4])), ORACLE.denoise)
        for sampler in (euler, dps(euler, measured, zeta=0.3))
    ]
    plain, guided = ((operator.A(end) - measured.y).flatten(1).norm(dim=1) for end in ends)
    assert (guided < 0.35 * plain).all()


def test_a_measurement_that_agrees_moves_nothing():
    x = start([1, 2], 2.0, SHAPE)
    right = Measurement(MEASURED.operator, MEASURED.operator.A(ORACLE.D(x, 2.0)))
    flow = dps(euler, right)(ask, x, [2.0, 1.0], {}, Noise([1, 2]))
    (step,) = [e for _, e in drive([flow], ORACLE.denoise) if isinstance(e, Step)]
    x0 = ORACLE.D(x, 2.0)
    torch.testing.assert_close(step.x, x0 + 0.5 * (x - x0))


def test_a_solver_that_asks_twice_is_differentiated_once():
    taped = []

    def noting(one):
        taped.append(one.tape is not None)
        return ORACLE.denoise(one)

    sigmas = karras(4, 0.1, 20.0)
    run(dps(SAMPLERS["heun"], MEASURED)(ask, start([1, 2], 20.0, SHAPE), sigmas, {}, Noise([1, 2])), noting)
    assert taped == [True, False, True, False, True, False, True]


def test_jpeg_has_a_gradient():
    shape = (3, 8, 8)
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    measured = measure(JPEG(shape, 30), x)
    x0 = 0.5 * x

    def answer(one):
        return one.x * 0 + x0 + 1e-3 * one.x

    flow = dps(euler, measured, zeta=1.0)(ask, 0 * x, [1.0, 0.0], {}, Noise([1]))
    (step,) = [e for _, e in drive([flow], answer) if isinstance(e, Step)]
    assert (step.x - x0).abs().max() > 0


def test_zeta_follows_a_curve_over_the_steps():
    sigmas, x = karras(4, 0.1, 20.0), start([1, 2], 20.0, SHAPE)

    def steps(zeta):
        D, sampler, _ = compose([("dps", {"measured": MEASURED, "zeta": zeta})], euler, sigmas=sigmas)
        events = [e for _, e in drive([sampler(D, x, sigmas, {}, Noise([1, 2]))], ORACLE.denoise)]
        return [e.x for e in events if isinstance(e, Step)]

    curved, half, none = steps("0:0.5, 0.5:0.5, 0.5:0"), steps(0.5), steps(0.0)
    assert torch.equal(curved[1], half[1]) and not torch.equal(curved[2], half[2]) and not torch.equal(half[0], none[0])
    x0 = ORACLE.D(curved[1], sigmas[2])
    torch.testing.assert_close(curved[2], x0 + sigmas[3] / sigmas[2] * (curved[1] - x0))


class Latent:
    """A state of half the size behind a curved decoder."""

    id, offers = "latent", frozenset({"gradients"})

    def decode(self, z):
        return (torch.tanh(F.interpolate(z, scale_factor=2)) + 1) / 2


def test_on_latents_the_gradient_runs_through_the_decoder():
    backbone, image = Latent(), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    measured = measure(BlockAverage((3, 8, 8), 4), image)
    x, step = one_step(1.0, 0.5, measured=measured, backbone=backbone, zeta=1.0)
    z = x.clone().requires_grad_()
    seen = torch.tanh(F.interpolate(ORACLE.D(z, 1.0), scale_factor=2))
    miss = (measured.y - measured.operator.A(seen)).flatten(1).norm(dim=1).sum()
    (g,) = torch.autograd.grad(miss, z)
    plain = 0.5 * (x + ORACLE.D(x, 1.0))
    torch.testing.assert_close(plain - step.x, math.sqrt(1.25 * 2) * g)


def test_without_gradients_it_says_so():
    def detached(one):
        return ORACLE.denoise(one).detach()

    with pytest.raises(ValueError, match="gives no gradients"):
        run(dps(euler, MEASURED)(ask, start([1, 2], 2.0, SHAPE), [2.0, 1.0], {}, Noise([1, 2])), detached)
