"""The samplers are diffusers' schedulers: same network, same noise, same images to 1e-4 in float32."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from samplers.ancestral import ancestral
from samplers.dpmpp_2m import dpmpp_2m
from samplers.euler import euler
from samplers.flow import Noise
from samplers.heun import heun
from samplers.schedules import INFINITE, karras, native
from tests.support.diffusers_schedulers import SD, SEED, SHAPE, levels, oracle, ours, same, theirs


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("steps", [5, 20])
def test_euler_is_euler_discrete(spacing, steps):
    scheduler = EulerDiscreteScheduler(**SD, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    sigmas = native(steps, levels(scheduler), spacing)
    same(ours(euler, sigmas), theirs(scheduler, sigmas, vp=False))


def test_euler_with_karras_is_euler_discrete():
    scheduler = EulerDiscreteScheduler(**SD, use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    sigmas = karras(20, float(levels(scheduler)[0]), float(levels(scheduler)[-1]))
    same(ours(euler, sigmas), theirs(scheduler, sigmas, vp=False))


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_heun_is_heun_discrete(spacing):
    scheduler = HeunDiscreteScheduler(**SD, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(20)
    sigmas = native(20, levels(scheduler), spacing)
    asked = [sigmas[0], *[s for s in sigmas[1:-1] for _ in range(2)], 0.0]  # theirs takes a step in two
    states = theirs(scheduler, asked, vp=False)
    same(ours(heun, sigmas), [*states[1:-1:2], states[-1]])


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_2m_is_dpm_solver_multistep(spacing, steps):
    scheduler = DPMSolverMultistepScheduler(
        **SD,
        timestep_spacing=spacing,
        steps_offset=1,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(steps)
    sigmas = [*scheduler.sigmas.double().tolist()]  # its spacing differs from the others' by half a level
    same(ours(dpmpp_2m, sigmas), theirs(scheduler, sigmas, vp=True))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ancestral_is_ddim(eta):
    scheduler = DDIMScheduler(**SD, timestep_spacing="leading", steps_offset=1, clip_sample=False)
    scheduler.set_timesteps(20)
    sigmas = native(20, levels(scheduler), "leading")
    generator = torch.Generator().manual_seed(SEED)

    def with_eta(D, x, sigmas, cond, noise):
        return ancestral(D, x, sigmas, cond, noise, eta=eta)

    a, b = ours(with_eta, sigmas), theirs(scheduler, sigmas, vp=True, eta=eta, generator=generator)
    same(a, b)


def test_ancestral_is_ddpm():
    scheduler = DDPMScheduler(**SD, timestep_spacing="leading", clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(50)
    sigmas = native(50, levels(scheduler), "leading", offset=0)
    generator = torch.Generator().manual_seed(SEED)
    same(ours(ancestral, sigmas), theirs(scheduler, sigmas, vp=True, generator=generator))


def test_ancestral_is_euler_a():
    scheduler = EulerAncestralDiscreteScheduler(**SD, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    sigmas = native(20, levels(scheduler))
    same(
        ours(ancestral, sigmas),
        theirs(scheduler, sigmas, vp=False, generator=torch.Generator().manual_seed(SEED)),
    )


def test_ancestral_without_fresh_noise_is_euler_bit_for_bit():
    sigmas = karras(20, 0.03, 14.0)
    a = ours(lambda *args: ancestral(*args, eta=0.0), sigmas)
    assert all(torch.equal(x, y) for x, y in zip(a, ours(euler, sigmas)))


@pytest.mark.parametrize("steps", [4, 20])
def test_euler_from_infinity_is_the_flow_scheduler_from_t_1(steps):
    """A start at 1e6 in float32 agrees with the native one to 1e-5, in its coordinates, and stays there."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    t = scheduler.sigmas.double()  # (steps + 1,) from 1 to 0
    z = eps = Noise([SEED]).child("start")(torch.empty(SHAPE)).double()
    states = []
    for i in range(steps):
        s = float(t[i] / (1 - t[i])) if t[i] < 1 else 1e12
        x0 = oracle.D(z / (1 - t[i]) if t[i] < 1 else 1e12 * eps, s)
        z = scheduler.step((z - x0) / t[i], scheduler.timesteps[i], z).prev_sample.double()
        states.append(z / (1 - t[i + 1]))
    sigmas = [INFINITE, *(t[1:] / (1 - t[1:])).tolist()]
    got = ours(euler, sigmas)
    assert all(x.dtype == torch.float32 for x in got)
    torch.testing.assert_close(got[0].double() * (1 - t[1]), states[0] * (1 - t[1]), atol=1e-5, rtol=0)
    same(got, states)
