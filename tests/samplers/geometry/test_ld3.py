"""LD3 on the mixture: what is learned on some starts is nearer on others, never worse, and within the teacher's
ends."""

import math
from functools import cache
from itertools import pairwise

import pytest
import torch

from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS
from samplers.flow import Done, Driver, Noise, Step, ask, drive, run
from samplers.geometry.ld3 import LearnedSchedule, damped, ld3, loss
from samplers.heun import heun
from samplers.schedules import INFINITE, exponential, karras, native
from tests.support.oracle import mixture, start

SHAPE = (1, 4, 4)
oracle = mixture(shape=SHAPE)
FINE = karras(60, 0.05, 40.0)
WARM, HELD_OUT = tuple(range(16)), tuple(range(1000, 1032))
STEPS = 6
BEGIN = [karras(STEPS, 0.05, 40.0), exponential(STEPS, 0.05, 40.0)]


def learning(sampler, trials=60, begin=BEGIN, D=ask):
    return ld3(D, start(list(WARM), FINE[0], SHAPE), FINE, {}, Noise(WARM), sampler, begin, trials)


@cache
def learned(name, trials=60):
    return run(learning(SAMPLERS[name].function, trials), oracle.denoise)


def plain(levels):
    """A schedule, whose labels are its own noise levels."""
    return LearnedSchedule(tuple(levels), tuple(levels[:-1]))


def distance(sampler, learned, seeds=HELD_OUT, D=ask):
    """The mean of log rms to where many levels lead with a finer solver."""

    def end(solver, one):
        x = start(list(seeds), one.sigmas[0], SHAPE)
        return run(solver(one.with_labels(D), x, one.sigmas, {}, Noise(seeds)), oracle.denoise)

    return loss((end(sampler, learned) - end(heun, plain(karras(200, 0.05, 40.0)))).flatten(1))


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "unipc", "deis", "heun"])
def test_what_is_learnt_is_much_nearer_on_other_starts(name):
    sampler = SAMPLERS[name].function
    best = min(distance(sampler, plain(levels)) for levels in BEGIN)
    assert distance(sampler, learned(name)) < best - math.log(1.3)


@pytest.mark.parametrize("name", ["euler", "unipc"])
@pytest.mark.parametrize("trials", [2, 9, 20, 60])
def test_more_trials_are_never_worse_on_the_warm_up(name, trials):
    sampler = SAMPLERS[name].function
    x = start(list(WARM), FINE[0], SHAPE)
    goal = run(SAMPLERS["dpmpp_2m"](ask, x, FINE, {}, Noise(WARM)), oracle.denoise)

    def off(one):
        begin = x * math.sqrt((1 + one.sigmas[0] ** 2) / (1 + FINE[0] ** 2))
        end = run(sampler(one.with_labels(ask), begin, one.sigmas, {}, Noise(WARM)), oracle.denoise)
        return loss((end - goal).flatten(1))

    assert off(learned(name, trials)) <= min(off(plain(levels)) for levels in BEGIN) + 1e-9
    if trials > 2:
        assert off(learned(name, trials)) <= off(learned(name, 2)) + 1e-9


def test_the_levels_fall_within_the_teachers_and_end_at_0():
    for name in ("euler", "unipc"):
        levels, labels = learned(name).sigmas, learned(name).labels
        assert len(levels) == STEPS + 1 == len(labels) + 1 and levels[-1] == 0
        assert all(a > b for a, b in pairwise(levels))
        for labelled in (levels[:-1], labels):
            assert max(labelled) <= FINE[0] * (1 + 1e-9) and min(labelled) >= FINE[-2] * (1 - 1e-9)
        assert labels != levels[:-1] and all(
            abs(math.log(a / b)) < 0.3 for a, b in zip(labels, levels[:-1], strict=True)
        )


def test_it_tells_its_steps_and_no_more_than_was_said():
    seen = [event for _, event in drive([learning(SAMPLERS["euler"].function, 20)], oracle.denoise)]
    steps = sum(isinstance(event, Step) for event in seen)
    assert isinstance(seen[-1], Done)
    assert 60 + 2 * STEPS < steps <= 60 + 20 * STEPS


def test_under_guidance_it_is_for_that_guidance():
    D = cfg(ask, {}, 3.0)  # the oracle knows no words: the same denoised prediction twice, yet two rows an ask
    found = run(learning(SAMPLERS["euler"].function, 40, D=D), oracle.denoise)
    euler = SAMPLERS["euler"].function
    assert distance(euler, found, D=D) < distance(euler, plain(BEGIN[0]), D=D)


def test_a_start_that_breaks_is_not_taken():
    def breaking(D, x, sigmas, cond, noise):
        x = yield from SAMPLERS["euler"].function(D, x, sigmas, cond, noise)
        return x * math.nan if sigmas[1] == pytest.approx(BEGIN[0][1]) else x

    assert run(learning(breaking, 2), oracle.denoise) == plain(BEGIN[1])


def test_an_infinite_start_stays_infinite():
    fine = native(40, torch.tensor([*torch.linspace(0.05, 40, 100).tolist(), INFINITE], dtype=torch.float64))
    begin = [[INFINITE, *BEGIN[0]]]
    flow = ld3(ask, start(list(WARM), fine[0], SHAPE), fine, {}, Noise(WARM), SAMPLERS["dpmpp_2m"], begin, 30)
    found = run(flow, oracle.denoise)
    assert found.sigmas[0] == found.labels[0] == INFINITE and found != plain(begin[0])


def test_between_the_levels_the_labels_are_between():
    asked = []

    def D(x, sigma, cond):
        asked.append(sigma)
        return x
        yield

    one = LearnedSchedule((8.0, 2.0, 1.0, 0.0), (4.0, 2.0, 1.5))
    for sigma in (8.0, 4.0, 2.0, 1.0, 0.1, torch.tensor([8.0, 2.0])):
        run(one.with_labels(D)(torch.zeros(2, 1), sigma, {}), oracle.denoise)
    assert asked[:5] == pytest.approx([4.0, 4.0 * math.sqrt(0.5), 2.0, 1.5, 0.15])
    torch.testing.assert_close(asked[5], torch.tensor([4.0, 2.0]))


def test_it_can_be_cancelled():
    driver = Driver(oracle.denoise)
    driver.add("search", learning(SAMPLERS["euler"].function))
    for _ in range(70):
        driver.round()
    driver.cancel("search")
    assert not len(driver)


@pytest.mark.parametrize("begin", [[], [BEGIN[0], BEGIN[0][1:]], [[1.0, 2.0, 0.0]], [[2.0, 1.0]], [[0.0]]])
def test_what_it_cannot_begin_with_is_said(begin):
    with pytest.raises(ValueError, match="give one or more of equal length that fall to 0"):
        run(learning(SAMPLERS["euler"].function, begin=begin), oracle.denoise)


def test_the_step_of_a_straight_problem_leads_to_its_end():
    """One image whose end is a linear function of the logs: hardly damped, the step is Newton's own."""
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(1, 9, 3, dtype=torch.float64, generator=generator)
    wanted = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    off = -(slopes @ wanted)
    torch.testing.assert_close(damped(slopes, off, 1e-9), wanted)
    assert damped(slopes, 100 * off, 1e-9).abs().max() == 0.5, "no farther at once than slopes may be believed"


def test_a_level_that_changes_nothing_stays():
    slopes = torch.randn(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slopes[..., 1] = 0
    step = damped(slopes, slopes.sum(2), 0.1)
    assert step[1] == 0 and step[0] < 0 and step[2] < 0


def test_the_loss_weighs_images_alike():
    off = torch.tensor([[0.1, 0.1], [10.0, 10.0]])
    assert loss(off) == pytest.approx((math.log(0.1) + math.log(10)) / 2)
    assert loss(off * math.nan) == math.inf


def test_levels_of_a_network_can_begin_it():
    sigmas = torch.linspace(0.05, 40, 100, dtype=torch.float64)
    assert len(run(learning(SAMPLERS["euler"].function, 3, [native(4, sigmas)]), oracle.denoise).sigmas) == 5
