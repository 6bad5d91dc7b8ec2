"""The multistep and the stochastic samplers are diffusers' schedulers, to 1e-4 in float32. See test_agreement.py."""

import sys
import types
from functools import partial
from itertools import pairwise
from math import log, sqrt

import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    IPNDMScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)

from samplers.ancestral import ancestral, ancestral_split
from samplers.churn import churned
from samplers.deis import deis
from samplers.dpm_solver_2 import dpm_solver_2
from samplers.dpmpp_2m_sde import dpmpp_2m_sde
from samplers.dpmpp_2s import dpmpp_2s
from samplers.dpmpp_3m import dpmpp_3m
from samplers.dpmpp_sde import dpmpp_sde
from samplers.euler import euler
from samplers.flow import Noise
from samplers.heun import heun
from samplers.ipndm import ipndm
from samplers.lcm import lcm
from samplers.lms import lms
from samplers.sa_solver import sa_solver
from samplers.schedules import native
from samplers.unipc import unipc
from tests.support.diffusers_schedulers import SD, SEED, SHAPE, levels, oracle, ours, same, theirs

VP = {**SD, "timestep_spacing": "trailing"}
SPACINGS = pytest.mark.parametrize("spacing", [{}, {"use_karras_sigmas": True}], ids=["trailing", "karras"])


def generator(name: str | None = None) -> torch.Generator:
    """The stream of the run's noise, or of a child of it."""
    noise = Noise([SEED])
    return torch.Generator().manual_seed((noise.child(name) if name else noise).seeds[0])


def multistep(**changes):
    """DPMSolverMultistep without its rule for runs of less than 15 steps, which is not of the paper's algorithm."""
    return DPMSolverMultistepScheduler(
        **{**VP, "final_sigmas_type": "zero", "lower_order_final": False, "solver_type": "heun", **changes}
    )


def schedule(scheduler, steps: int) -> list[float]:
    scheduler.set_timesteps(steps)
    return scheduler.sigmas.double().tolist()


@SPACINGS
@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_3m_is_dpm_solver_multistep(spacing, steps):
    """With half the term of third order, as it has it; "heun" is its second step then."""
    scheduler = multistep(algorithm_type="dpmsolver++", solver_order=3, **spacing)
    sigmas = schedule(scheduler, steps)
    same(ours(partial(dpmpp_3m, published=True), sigmas), theirs(scheduler, sigmas, vp=True))


@SPACINGS
@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_2m_sde_is_dpm_solver_multistep(spacing, steps):
    scheduler = multistep(algorithm_type="sde-dpmsolver++", solver_order=2, solver_type="midpoint", **spacing)
    sigmas = schedule(scheduler, steps)
    same(ours(dpmpp_2m_sde, sigmas), theirs(scheduler, sigmas, vp=True, generator=generator()))


@SPACINGS
def test_dpmpp_3m_sde_is_dpm_solver_multistep(spacing):
    """But for a sign: its term of third order has - 1/2 where the integral, and k-diffusion, have + 1/2."""
    scheduler = multistep(algorithm_type="sde-dpmsolver++", solver_order=3, **spacing)
    sigmas = schedule(scheduler, 20)
    x = sigmas[0] * Noise([SEED]).child("start")(torch.empty(SHAPE))
    stream, states = generator(), []
    for i, (t, (s, s_next)) in enumerate(zip(scheduler.timesteps, pairwise(sigmas))):
        vp, vp_next = (1 / sqrt(1 + level**2) for level in (s, s_next))
        z = scheduler.step((x - oracle.D(x, s)) / s, t, vp * x, generator=stream).prev_sample
        if 2 <= i and s_next > 0:
            m0, m1, m2 = reversed(scheduler.model_outputs)
            h, h0, h1 = (log(sigmas[j] / sigmas[j + 1]) for j in (i, i - 1, i - 2))
            z = z + vp_next * h**2 * ((m0 - m1) / h0 - (m1 - m2) / h1) / (h0 + h1)
        x = z / vp_next
        states.append(x)
    same(ours(partial(dpmpp_3m, eta=1.0, published=True), sigmas), states)


def test_ancestral_is_sde_dpm_solver_of_first_order():
    scheduler = multistep(algorithm_type="sde-dpmsolver++", solver_order=1)
    sigmas = schedule(scheduler, 20)
    same(ours(ancestral, sigmas), theirs(scheduler, sigmas, vp=True, generator=generator()))


@SPACINGS
@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_is_unipc_multistep(order, steps, spacing):
    scheduler = UniPCMultistepScheduler(**VP, **spacing, solver_order=order, solver_type="bh2")
    sigmas = schedule(scheduler, steps)
    same(ours(partial(unipc, order=order), sigmas), theirs(scheduler, sigmas, vp=True))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_in_log_rho_is_deis_multistep(order):
    """Its runs end above 0; tAB, the paper's best and ours, it does not have."""
    scheduler = DEISMultistepScheduler(**VP, solver_order=order, lower_order_final=False)
    sigmas = schedule(scheduler, 20)[:-1]  # its last two levels are one
    scheduler.timesteps = scheduler.timesteps[:-1]
    same(ours(partial(deis, order=order, variable="log rho"), sigmas), theirs(scheduler, sigmas, vp=True))


@SPACINGS
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_is_lms_discrete(order, spacing):
    scheduler = LMSDiscreteScheduler(**VP, **spacing)
    sigmas = schedule(scheduler, 20)
    same(ours(partial(lms, order=order), sigmas), theirs(scheduler, sigmas, vp=False, order=order))


def test_ipndm_is_ipndm():
    """It has levels of its own, tan(pi t / 2), and wants the network's v; the first level, infinite, is left out."""
    scheduler = IPNDMScheduler()
    scheduler.set_timesteps(21)
    scheduler.set_begin_index(1)
    sigmas = (scheduler.betas / scheduler.alphas).double().tolist()[1:]
    x = sigmas[0] * Noise([SEED]).child("start")(torch.empty(SHAPE))
    z, states = x * scheduler.alphas[1], []
    for i, t in enumerate(scheduler.timesteps[1:]):
        a, b = scheduler.alphas[i + 1], scheduler.betas[i + 1]
        x0 = oracle.D(z / a, sigmas[i])
        z = scheduler.step(a * (z - a * x0) / b - b * x0, t, z).prev_sample
        states.append(z / scheduler.alphas[i + 2])
    same(ours(ipndm, sigmas), states)


def two_calls(scheduler, sigmas, middles, **extra) -> list[torch.Tensor]:
    """The x of every step of a scheduler that takes it in two, with the second denoised prediction at a middle
    level."""
    x = sigmas[0] * Noise([SEED]).child("start")(torch.empty(SHAPE))
    scheduler.is_scale_input_called, states = True, []
    asked = [s for pair in zip(sigmas, [*middles, 0.0]) for s in pair]
    for t, s in zip(scheduler.timesteps, asked):
        x = scheduler.step((x - oracle.D(x, s)) / s, t, x, **extra).prev_sample
        if scheduler.state_in_first_order:
            states.append(x)
    return states if len(states) == len(sigmas) - 1 else [*states, x]  # the step to 0 has no second half


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpm_solver_2_is_kdpm2_discrete(eta):
    """And with fresh noise KDPM2AncestralDiscrete, whose middles lie on the way further down."""
    scheduler = (KDPM2AncestralDiscreteScheduler if eta else KDPM2DiscreteScheduler)(**VP)
    scheduler.set_timesteps(20)
    sigmas = native(20, levels(scheduler))
    middles = [sqrt(a * ancestral_split(a, b, eta)[0]) for a, b in pairwise(sigmas)]
    extra = {"generator": generator()} if eta else {}
    same(ours(partial(dpm_solver_2, eta=eta), sigmas), two_calls(scheduler, sigmas, middles, **extra))


def test_dpmpp_2s_is_dpm_solver_singlestep():
    """On its levels, of which every other one is a middle."""
    scheduler = DPMSolverSinglestepScheduler(
        **SD, solver_order=2, algorithm_type="dpmsolver++", final_sigmas_type="zero", use_exponential_sigmas=True
    )
    sigmas = schedule(scheduler, 20)
    a = ours(dpmpp_2s, [*sigmas[0:20:2]])
    same(a, theirs(scheduler, sigmas, vp=True)[1:18:2])


@pytest.mark.parametrize("order, corrector", [(1, 1), (2, 2), (3, 3), (3, 4), (2, 1)])
@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
def test_sa_solver_is_sa_solver(tau, order, corrector):
    """With the widened slope, as it has it. Its runs end above 0."""
    scheduler = SASolverScheduler(
        **VP,
        predictor_order=order,
        corrector_order=corrector,
        tau_func=lambda t: torch.tensor(tau),
        lower_order_final=False,
    )
    sigmas = schedule(scheduler, 20)[:-1]  # its last two levels are one
    scheduler.timesteps = scheduler.timesteps[:-1]
    own = partial(sa_solver, tau=tau, order=order, corrector_order=corrector, widened=True)
    same(ours(own, sigmas), theirs(scheduler, sigmas, vp=True, generator=generator()))


def test_lcm_is_lcm():
    """Up to its skip of the state, which is 1e-5 at most; its levels are the network's."""
    scheduler = LCMScheduler(**SD, clip_sample=False)
    scheduler.set_timesteps(8)
    sigmas = [*levels(scheduler)[scheduler.timesteps].tolist(), 0.0]
    same(ours(lcm, sigmas), theirs(scheduler, sigmas, vp=True, generator=generator()))


def test_churned_euler_is_euler_discrete_asked_at_the_right_level():
    """It is given the denoised prediction at the climbed state and level, where it would ask before the climb."""
    scheduler = EulerDiscreteScheduler(**VP)
    sigmas = schedule(scheduler, 20)
    amount, low, high = 6.0, 0.1, 10.0
    x = sigmas[0] * Noise([SEED]).child("start")(torch.empty(SHAPE))
    scheduler.is_scale_input_called, states = True, []
    peek, stream = generator(), generator()
    for s, t in zip(sigmas, scheduler.timesteps):
        top = s * (1 + min(amount / (len(sigmas) - 1), sqrt(2) - 1)) if low <= s <= high else s
        at = x + sqrt(top**2 - s**2) * torch.randn(SHAPE, generator=peek) if top > s else x
        eps = (at - oracle.D(at, top)) / top
        x = scheduler.step(eps, t, x, amount, low, high, generator=stream).prev_sample
        states.append(x)
    same(ours(churned(euler, amount, low, high), sigmas), states)


def test_churn_that_is_none_is_the_sampler_itself():
    sigmas = native(10, levels(EulerDiscreteScheduler(**VP)))
    assert all(torch.equal(a, b) for a, b in zip(ours(churned(heun, amount=0.0), sigmas), ours(heun, sigmas)))


def test_dpmpp_sde_is_dpm_solver_sde(monkeypatch):
    """Its noise comes from a Brownian tree of another package; here it is given ours, of the path of each step."""
    monkeypatch.setitem(sys.modules, "torchsde", types.ModuleType("torchsde"))
    from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler

    scheduler = DPMSolverSDEScheduler(**VP)
    scheduler.set_timesteps(20)
    sigmas = native(20, levels(scheduler))
    draws, path = Noise([SEED]), {}

    def noise_sampler(s, s_next):
        s, s_next = float(s), float(s_next)
        if "before" not in path:  # to the middle
            path["before"] = draws(torch.empty(SHAPE))
            return path["before"]
        share = s_next / (s + s_next)
        return sqrt(share) * path.pop("before") + sqrt(1 - share) * draws(torch.empty(SHAPE))

    scheduler.noise_sampler = noise_sampler
    middles = [sqrt(a * b) for a, b in pairwise(sigmas)]
    same(ours(dpmpp_sde, sigmas), two_calls(scheduler, sigmas, middles))
