"""The optimal denoiser against the oracle, and against what can be said by hand."""

from itertools import pairwise

import pytest
import torch

from backbones.exact import Mixture
from samplers import SAMPLERS
from samplers.euler import euler
from samplers.flow import Driver, Noise, ask, run, together
from samplers.geometry.optimal import Optimal, score_deviation
from samplers.geometry.trajectory import recorded
from samplers.schedules import karras
from tests.support.oracle import finish, start

SHAPE = (2, 3, 3)
DATA = torch.randn(40, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SEEDS = list(range(8))
SIGMAS = karras(30, 0.01, 40.0)


def nobody(one):
    raise AssertionError("the optimal denoiser asks nobody")


@pytest.mark.parametrize("sigma", [30.0, 2.0, 0.5, torch.tensor([3.0, 1.0, 0.4, 0.2])])
def test_it_is_the_mixture_of_points(sigma):
    """A Gaussian mixture at the data, with covariances that vanish."""
    points = Mixture(torch.ones(40), DATA, torch.full((40,), 1e-14, dtype=torch.float64))
    x = start([1, 2, 3, 4], 2.0, SHAPE)
    torch.testing.assert_close(Optimal(DATA)(x, sigma), points.D(x, sigma))
    torch.testing.assert_close(Optimal(DATA).log_density(x, sigma), points.log_density(x, sigma))
    score = Optimal(DATA).shift(x, sigma) / torch.as_tensor(sigma).double().reshape(-1, 1, 1, 1) ** 2
    torch.testing.assert_close(score, points.score(x, sigma))


@pytest.mark.parametrize("sigma", [20.0, 0.7, 0.05])
def test_blocks_change_nothing(sigma):
    x = start([1, 2, 3], sigma, SHAPE)
    whole = Optimal(DATA)
    for parts in (Optimal(DATA, block=7), Optimal([DATA[:1], DATA[1:33], DATA[33:]])):
        torch.testing.assert_close(parts(x, sigma), whole(x, sigma))
        torch.testing.assert_close(parts.log_density(x, sigma), whole.log_density(x, sigma))
        for a, b in zip(parts.nearest(x, 4), whole.nearest(x, 4)):
            assert torch.equal(a, b)


def test_its_limits_are_the_mean_and_the_nearest_image():
    x = start([1, 2], 1.0, SHAPE)
    torch.testing.assert_close(Optimal(DATA)(x, 1e6)[0], DATA.mean(0), atol=1e-5, rtol=0)
    _, which = Optimal(DATA).nearest(x, 1)
    assert torch.equal(Optimal(DATA)(x, 1e-3), DATA[which[:, 0]])


def test_float32_far_out_is_as_good_as_float64():
    x = start([1, 2], 1e4, SHAPE)
    torch.testing.assert_close(Optimal(DATA.float())(x.float(), 1e4), Optimal(DATA)(x, 1e4).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs_on_it_and_asks_nobody(name):
    x = start(SEEDS, SIGMAS[0], SHAPE)
    alone = run(SAMPLERS[name](Optimal(DATA).D, x, SIGMAS, {}, Noise(SEEDS)), nobody)
    answered = run(SAMPLERS[name](ask, x, SIGMAS, {}, Noise(SEEDS)), Optimal(DATA).denoise)
    assert torch.equal(alone, answered)
    assert Optimal(DATA).nearest(alone, 1)[0].max() < 0.2  # it has memorised its data


def test_its_runs_can_be_cancelled_and_go_together_with_asks():
    x, driver = start(SEEDS, SIGMAS[0], SHAPE), Driver(nobody)
    driver.add("run", euler(Optimal(DATA).D, x, SIGMAS, {}, Noise(SEEDS)))
    for _ in range(3):
        driver.round()
    assert len(driver) == 1
    driver.cancel("run")
    assert not finish(driver)
    best = Optimal(DATA)
    a, b = run(together(best.D(x, 1.0, {}), ask(x, 1.0, {})), best.denoise)
    assert torch.equal(a, b)


def test_an_euler_step_is_an_annealed_mean_shift():
    x, best = start(SEEDS, SIGMAS[0], SHAPE), Optimal(DATA)
    got = run(recorded(euler(best.D, x, SIGMAS, {}, Noise(SEEDS)), x, SIGMAS[0]), nobody)
    for s, s_next in pairwise(SIGMAS):
        x = x + (1 - s_next / s) * best.shift(x, s)
    torch.testing.assert_close(got.x[-1], x)


def test_the_likelihood_does_not_fall_along_the_optimal_path():
    """Neither by an Euler step nor by the jump to the denoising trajectory, at the bandwidth that they start from."""
    x, best = start(SEEDS, SIGMAS[0], SHAPE), Optimal(DATA)
    got = run(recorded(euler(best.D, x, SIGMAS, {}, Noise(SEEDS)), x, SIGMAS[0]), nobody)
    for n, s in enumerate(SIGMAS[:-1]):
        before = best.log_density(got.x[n], s)
        slack = 1e-9 * before.abs()
        assert (best.log_density(got.x[n + 1], s) >= before - slack).all()
        assert (best.log_density(got.x0[n], s) >= best.log_density(got.x[n + 1], s) - slack).all()
        if s_next := SIGMAS[n + 1]:
            assert (best.log_density(got.x[n + 1], s_next) > before).all()


def test_an_estimate_nearer_to_the_optimum_than_x_raises_the_likelihood():
    """The proposition: |r - r*| <= |r* - x| is enough, for the jump and for the step."""
    best, s = Optimal(DATA), 1.5
    x = start(SEEDS, s, SHAPE)
    off = start([seed + 100 for seed in SEEDS], 1.0, SHAPE)
    away = best.shift(x, s).flatten(1).norm(dim=1) / off.flatten(1).norm(dim=1)
    r = best(x, s) + 0.99 * away[:, None, None, None] * off
    for factor in (1.0, 0.3):
        assert (best.log_density(x + factor * (r - x), s) > best.log_density(x, s)).all()


def test_score_deviation_of_the_optimum_itself_is_nothing():
    x, best = start(SEEDS, SIGMAS[0], SHAPE), Optimal(DATA)
    got = run(score_deviation(ask, x, SIGMAS, {}, Noise(SEEDS), best), best.denoise)
    assert got.on_model.max() == got.on_optimal.max() == got.apart.max() == 0


def test_score_deviation_of_a_smoother_model():
    """Components of width 0.5 in place of points: nothing far out, and on the optimal path nothing at its end."""
    x, best = start(SEEDS, SIGMAS[0], SHAPE), Optimal(DATA)
    wide = Mixture(torch.ones(40), DATA, torch.full((40,), 0.25))
    got = run(score_deviation(ask, x, SIGMAS, {}, Noise(SEEDS), best), wide.denoise)
    assert got.on_model.shape == got.on_optimal.shape == (30, 8) and got.apart.shape == (31, 8)
    assert torch.equal(got.on_model[0], got.on_optimal[0]) and got.apart[0].max() == 0
    assert got.on_model[0].max() < 0.1 * got.on_model.mean(1).max()
    assert got.on_optimal[-1].mean() < 0.1 < got.on_model[-1].mean()


def test_nearest_images_and_copies():
    x = torch.stack([DATA[3], DATA[17] + 0.01, DATA[5] * 0])
    distances, numbers = Optimal(DATA, block=9).nearest(x, 5)
    by_hand = (x[:, None] - DATA).flatten(2).norm(dim=2)
    torch.testing.assert_close(distances, by_hand.sort(1)[0][:, :5])
    assert numbers[:2, 0].tolist() == [3, 17]
    ratio = Optimal(DATA).copied(x)
    assert ratio[0] == 0 and ratio[1] < 0.05 and ratio[2] > 0.8
    assert Optimal(DATA[:2]).nearest(x, 5)[0].shape == (3, 2)


def test_what_cannot_be_answered_is_refused():
    x = torch.zeros(1, *SHAPE)
    with pytest.raises(ValueError, match="above 0"):
        Optimal(DATA)(x, 0.0)
    with pytest.raises(ValueError, match="iterator"):
        Optimal(iter([DATA]))
    with pytest.raises(ValueError, match="empty"):
        Optimal(DATA[:0])(x, 1.0)
    with pytest.raises(ValueError, match="same size"):
        Optimal(DATA)(torch.zeros(1, 1, 2, 2), 1.0)
