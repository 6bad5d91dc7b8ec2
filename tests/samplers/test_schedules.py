import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

from samplers.schedules import (
    INFINITE,
    SCHEDULES,
    beta_quantiles,
    exponential,
    flow_shift,
    interval,
    karras,
    kl_optimal,
    level,
    linear_quadratic,
    native,
    progress,
)

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
alpha_bar = DDIMScheduler(**SD).alphas_cumprod.double()
TRAIN = ((1 - alpha_bar) / alpha_bar).sqrt()  # (1000,) ascending


@pytest.mark.parametrize("key", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 20, 999])
def test_every_schedule_falls_to_zero(key, steps):
    sigmas = SCHEDULES[key](steps, TRAIN)
    assert len(sigmas) == steps + 1 and sigmas[-1] == 0.0 and all(isinstance(s, float) for s in sigmas)
    assert all(a > b for a, b in pairwise(sigmas))
    assert sigmas[0] <= float(TRAIN[-1])


@pytest.mark.parametrize("key", SCHEDULES)
def test_an_infinite_start_stays_one(key):
    """Leading never starts at the last level; the others begin at the stand-in, which float32 carries."""
    train = torch.cat([TRAIN[:-1], torch.tensor([INFINITE])])
    first = SCHEDULES[key](10, train)[0]
    assert first == INFINITE if key != "leading" else first < 20
    assert torch.tensor(first, dtype=torch.float32).square().isfinite()


@pytest.mark.parametrize("steps", [2, 7, 20, 50, 333])  # theirs of one step starts at the wrong end for linspace
@pytest.mark.parametrize("spacing, offset", [("trailing", 0), ("leading", 1), ("leading", 0), ("linspace", 0)])
def test_native_levels_are_those_of_diffusers(spacing, offset, steps):
    scheduler = EulerDiscreteScheduler(**SD, timestep_spacing=spacing, steps_offset=offset)
    scheduler.set_timesteps(steps)
    np.testing.assert_allclose(native(steps, TRAIN, spacing, offset), scheduler.sigmas, rtol=2e-5)


@pytest.mark.parametrize("kind, ours", [("use_karras_sigmas", karras), ("use_exponential_sigmas", exponential)])
def test_curves_are_those_of_diffusers(kind, ours):
    scheduler = EulerDiscreteScheduler(**SD, **{kind: True}, timestep_spacing="linspace")
    scheduler.set_timesteps(20)
    np.testing.assert_allclose(ours(20, float(TRAIN[0]), float(TRAIN[-1])), scheduler.sigmas, rtol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [4, 20])
def test_flow_shift_is_what_flow_pipelines_give_their_scheduler(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    sigmas = np.array(flow_shift(steps, 0.001, INFINITE, shift))
    np.testing.assert_allclose(sigmas / (1 + sigmas), scheduler.sigmas, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 7, 30])
def test_linear_quadratic_is_mochis(steps):
    sigmas = np.array(linear_quadratic(steps, 0.001, INFINITE))
    np.testing.assert_allclose(sigmas[:-1] / (1 + sigmas[:-1]), linear_quadratic_schedule(steps, 0.025), atol=1e-5)


def test_beta_quantiles_are_those_of_the_distribution():
    p = np.linspace(0, 1, 41)
    stats = pytest.importorskip("scipy.stats")
    np.testing.assert_allclose(beta_quantiles(p), stats.beta.ppf(p, 0.6, 0.6), atol=1e-6)
    np.testing.assert_allclose(beta_quantiles(p) + beta_quantiles(1 - p), 1, atol=1e-12)


@pytest.mark.parametrize("steps", [3, 10, 20, 50])
def test_beta_levels_are_trained_ones_near_the_quantiles(steps):
    """Where two quantiles round to one level, the next lower is taken."""
    sigmas = native(steps, TRAIN, "beta")
    t = np.searchsorted(TRAIN.numpy(), sigmas[:-1])
    np.testing.assert_array_equal(TRAIN[t], sigmas[:-1])
    assert np.abs(t - 999 * beta_quantiles(1 - np.arange(steps) / steps)).max() < (1 if steps <= 20 else 2)


def test_sgm_uniform_is_even_in_time_and_leaves_the_end_to_0():
    sigmas = native(10, TRAIN, "sgm")
    np.testing.assert_allclose(sigmas[:-1], np.interp(np.linspace(999, 0, 11)[:-1], np.arange(1000), TRAIN), rtol=1e-12)


def test_a_flow_network_is_served_by_its_levels():
    """sigma = t / (1 - t), whose first level is infinite."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    t = scheduler.sigmas.flip(0).double()  # (1000,) ascending, the last is 1
    train = (t / (1 - t)).clamp(max=INFINITE)
    sigmas = native(4, train)
    assert sigmas[0] == INFINITE
    np.testing.assert_allclose([s / (1 + s) for s in sigmas[1:-1]], t[[749, 499, 249]], rtol=1e-9)


def test_karras_is_equation_5():
    sigmas = karras(18, 0.002, 80.0)
    assert sigmas[0] == 80.0 and math.isclose(sigmas[-2], 0.002)
    fifth = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert math.isclose(sigmas[5], fifth)


def test_the_others_are_even_in_what_they_say():
    np.testing.assert_allclose(np.diff(np.log(exponential(9, 0.01, 10)[:-1]), n=2), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(np.arctan(kl_optimal(9, 0.01, 10)[:-1]), n=2), 0, atol=1e-12)


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_native_refuses_steps_it_has_no_levels_for(steps):
    with pytest.raises(ValueError, match=f"{steps} steps: give 1 to 1000"):
        native(steps, TRAIN)


def test_refusals():
    with pytest.raises(ValueError, match="spacing 'even': give trailing, leading, linspace, sgm or beta"):
        native(10, TRAIN, "even")
    with pytest.raises(ValueError, match="0 steps: give 1 or more"):
        karras(0, 0.1, 10)
    for ends in ((0.0, 10.0), (10.0, 1.0), (0.1, math.inf), (1.0, 1.0)):
        with pytest.raises(ValueError, match="give 0 < sigma_min < sigma_max, both finite"):
            exponential(5, *ends)


@pytest.mark.parametrize("steps", [1, 4, 20, 30])
def test_level_and_progress_are_each_others_inverse(steps):
    sigmas = karras(steps, 0.03, 14.0)
    for i, s in enumerate(sigmas):
        assert level(sigmas, i / steps) == s and math.isclose(progress(sigmas, s), i / steps)
    for p in np.linspace(0, 1, 37):
        assert math.isclose(progress(sigmas, level(sigmas, p)), p, abs_tol=1e-9)
    assert progress(sigmas, 99.0) == 0.0 and progress(sigmas, torch.tensor([99.0, 0.0])) == 0.0


@pytest.mark.parametrize("steps", [5, 10, 20, 30, 50])
@pytest.mark.parametrize("start, end", [(0.0, 1.0), (0.2, 0.8), (0.3, 0.3), (0.1, 0.7), (0.6, 1.0), (0.0, 0.4)])
def test_an_interval_holds_the_steps_of_its_parts(steps, start, end):
    sigmas = karras(steps, 0.03, 14.0)
    low, high = interval(sigmas, start, end)
    inside = [i for i, s in enumerate(sigmas[:-1]) if low < s <= high]
    assert inside == [i for i in range(steps) if start <= round(i / steps, 9) < end]


def test_an_interval_of_all_needs_no_schedule():
    assert interval((), 0, 1) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="give its sigmas"):
        interval((), 0.2, 1)
    with pytest.raises(ValueError, match=r"start 14.6 and end 0.0: give parts of the steps"):
        interval((), 14.6, 0.0)


def test_labels_are_the_words_people_know():
    assert {s.label for s in SCHEDULES.values()} >= {"Automatic", "Karras", "Exponential"}
    assert all(s.summary for s in SCHEDULES.values())
