"""What wraps a sampler: the jump to the denoised prediction, the analytical first step, churn and restarts."""

from functools import partial
from math import sqrt

import pytest
import torch

from samplers import SAMPLERS
from samplers.afs import afs
from samplers.churn import churned
from samplers.early_stop import stopping_at
from samplers.flow import Noise, Step, ask, drive, run
from samplers.restart import restarted
from samplers.schedules import INFINITE, karras
from tests.support.oracle import flow, mixture, start

oracle = mixture()
SIGMAS = karras(8, 0.05, 20.0)  # those of tests.support.oracle.flow
euler = SAMPLERS["euler"]


def counting(asked):
    def answer(one):
        asked.append(float(one.sigma[0]))
        return oracle.denoise(one)

    return answer


def steps_of(made):
    return [event for _, event in drive([made], oracle.denoise) if isinstance(event, Step)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_stopping_gives_the_estimate_at_the_state_there(name):
    """At a level of the schedule, and between two."""
    for sigma in (SIGMAS[3], 1.0):
        levels = [*(s for s in SIGMAS if s > sigma), sigma]
        x = run(SAMPLERS[name](ask, start([1, 2], 20.0), levels, {}, Noise([1, 2])), oracle.denoise)
        *_, last = steps_of(flow(stopping_at(SAMPLERS[name], sigma), [1, 2]))
        assert torch.equal(last.x, oracle.D(x, sigma)) and last.sigma == 0.0


def test_stopping_is_an_euler_step_to_0_and_saves_the_calls_below():
    asked = []
    got = run(flow(stopping_at(euler, SIGMAS[5]), [1]), counting(asked))
    assert torch.equal(got, run(euler(ask, start([1], 20.0), [*SIGMAS[:6], 0.0], {}, Noise([1])), oracle.denoise))
    assert asked == SIGMAS[:6]


def test_stopping_at_the_ends():
    assert stopping_at(euler, 0.0) is euler
    for sigma in (20.0, 99.0):
        x = start([1], 20.0)
        assert torch.equal(run(flow(stopping_at(euler, sigma), [1]), oracle.denoise), oracle.D(x, 20.0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_afs_saves_the_first_call(name):
    asked, saved = [], []
    run(flow(SAMPLERS[name], [1]), counting(asked))
    run(flow(afs(SAMPLERS[name]), [1]), counting(saved))
    assert saved == asked[1:]


def test_afs_steps_along_the_noise():
    first = steps_of(flow(afs(euler), [1]))[0]
    x = start([1], 20.0)
    eps = x / sqrt(1 + 20.0**2)
    torch.testing.assert_close(first.x, x + (SIGMAS[1] - 20.0) * eps, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(first.x0, x - 20.0 * eps, atol=1e-12, rtol=0)


@pytest.mark.parametrize("top", [80.0, INFINITE])
def test_afs_changes_little(top):
    """Data here have a mean of up to 2; at the first step that is a twentieth of the noise."""
    x, sigmas = start([1, 2], top, dtype=torch.float32), [top, *karras(20, 0.02, 40.0)]
    ends = [run(sampler(ask, x, sigmas, {}, Noise([1, 2])), oracle.denoise) for sampler in (euler, afs(euler))]
    assert 0 < (ends[0] - ends[1]).abs().max() < 0.1


def test_afs_asks_where_the_start_is_no_noise():
    """An edit starts from an image that is half there: its direction is not that of the state."""
    asked = []
    x, low = start([1], 3.0), karras(4, 0.05, 3.0)
    run(afs(euler)(ask, x, low, {}, Noise([1])), counting(asked))
    assert asked == pytest.approx(low[:-1])


def test_churn_renoises_where_it_is_told_to():
    asked = []
    run(flow(churned(euler, amount=2.0, low=0.5, high=5.0), [1]), counting(asked))
    want = [s * 1.25 if 0.5 <= s <= 5.0 else s for s in SIGMAS[:-1]]
    assert asked == pytest.approx(want)
    asked.clear()
    run(flow(churned(euler), [1]), counting(asked))
    assert max(asked) == SIGMAS[0], "above the start no network was trained"
    assert asked[1:-1] == pytest.approx([min(s * sqrt(2), SIGMAS[0]) for s in SIGMAS[1:-2]])


def test_restarts_go_again_through_the_stretch():
    seen = [step.sigma for step in steps_of(flow(restarted(euler, low=0.3, high=5.0, times=2), [1]))]
    inside = [s for s in SIGMAS if 0.3 <= s <= 5.0]
    first = SIGMAS.index(inside[-1])
    assert seen == [*SIGMAS[1 : first + 1], *inside[1:], *inside[1:], *SIGMAS[first + 1 :]]


def test_restarts_without_a_stretch_are_the_sampler():
    assert torch.equal(*(run(flow(one, [1]), oracle.denoise) for one in (euler, restarted(euler, low=19.0, high=21.0))))


@pytest.mark.parametrize("make", [churned, partial(restarted, high=5.0)], ids=["churn", "restart"])
def test_renoises_draw_as_a_sampler_does(make):
    """From the run's own stream: a second call goes on in it, and another seed is another image."""
    noise = Noise([1])
    a, b = (run(make(euler)(ask, start([1], 20.0), SIGMAS, {}, noise), oracle.denoise) for _ in range(2))
    c = run(make(euler)(ask, start([1], 20.0), SIGMAS, {}, Noise([1])), oracle.denoise)
    assert torch.equal(a, c) and not torch.equal(a, b)
