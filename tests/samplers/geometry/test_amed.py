from functools import cache
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from samplers.flow import Driver, Noise, Step, ask, drive, run
from samplers.geometry.amed import Predictor, amed, finer, load, save, train
from samplers.heun import heun
from samplers.schedules import INFINITE, karras
from tests.support.oracle import finish, mixture, start

oracle = mixture()
SIGMAS = karras(5, 0.1, 40.0)  # 4 steps of two calls, one of one
WARM, HELD_OUT = list(range(48)), list(range(1000, 1048))


@cache
def taught():
    return run(train(ask, start(WARM, 40.0), SIGMAS, {}, Noise(WARM), rows=16, epochs=8), oracle.denoise)


def error(sampler):
    """Mean distance from the true states at the last level above 0, over starts that were not trained on."""
    x, noise = start(HELD_OUT, 40.0), Noise(HELD_OUT)
    true = run(heun(ask, x, karras(200, SIGMAS[-2], 40.0)[:-1], {}, noise), oracle.denoise)
    got = run(sampler(ask, x, SIGMAS[:-1], {}, noise), oracle.denoise)
    return float((got - true).flatten(1).norm(dim=1).mean())


def dpm_solver_2(D, x, sigmas, cond, noise):
    """The midpoint rule in log sigma, written as its paper has it."""
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)
        if s_next == 0:
            return (yield Step(x0, x0, 0.0))
        m = (s * s_next) ** 0.5
        x_m = x + (m - s) * (x - x0) / s
        x0_m = yield from D(x_m, m, cond)
        x = yield Step(x + (s_next - s) * (x_m - x0_m) / m, x0, s_next)
    return x


def test_untrained_it_is_dpm_solver_2():
    x = start(HELD_OUT, 40.0)
    a, b = (run(s(ask, x, SIGMAS, {}, Noise(HELD_OUT)), oracle.denoise) for s in (amed(Predictor()), dpm_solver_2))
    torch.testing.assert_close(a, b)


def test_trained_for_seconds_it_beats_the_others_of_as_many_calls():
    assert error(amed(taught())) < 0.6 * min(error(dpm_solver_2), error(heun))


def test_it_calls_twice_a_step_and_once_to_zero():
    driver = Driver(oracle.denoise)
    driver.add("run", amed(taught())(ask, start([1, 2], 40.0), SIGMAS, {}, Noise([1, 2])))
    finish(driver)
    assert driver.nfe == 2 * 4 + 1


def test_its_numbers_stay_in_their_ranges():
    predictor = taught()
    for s, s_next in pairwise(SIGMAS[:-1]):
        r, c, a = predictor(100 * torch.randn(64, 3, 5, 5), s, s_next)  # far from what it has seen
        assert ((r >= 0) & (r <= 1)).all() and (c - 1).abs().max() <= 0.01 + 1e-6 and (a - 1).abs().max() <= 0.2 + 1e-6


def test_an_infinite_start_needs_no_more_than_float32():
    ends = []
    for top, dtype in ((1e9, torch.float64), (INFINITE, torch.float32)):
        x = start([1, 2], top, dtype=dtype)
        ends.append(run(amed(taught())(ask, x, [top, *SIGMAS], {}, Noise([1, 2])), oracle.denoise).double())
    torch.testing.assert_close(*ends, atol=2e-3, rtol=2e-3)


def test_training_shows_progress_repeats_itself_and_can_be_cancelled():
    x = start(WARM[:4], 40.0)

    def flow():
        return train(ask, x, SIGMAS, {}, Noise(WARM[:4]), rows=2, epochs=2, inserted=1)

    steps = [event for _, event in drive([flow()], oracle.denoise) if isinstance(event, Step)]
    assert len(steps) == 2 * 5 + 2 * 2 * 4 and not any(step.x.requires_grad for step in steps)
    a, b = run(flow(), oracle.denoise), run(flow(), oracle.denoise)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    driver, cancelled = Driver(oracle.denoise), flow()
    driver.add("run", cancelled)
    for _ in range(25):
        driver.round()
    driver.cancel("run")
    assert cancelled.gi_frame is None


def test_the_teachers_levels_hold_the_students():
    assert finer(SIGMAS, 3)[::4] == SIGMAS and len(finer(SIGMAS, 3)) == 5 * 4 + 1
    assert all(a > b for a, b in pairwise(finer(SIGMAS, 3)))


def test_it_is_written_and_read_back(tmp_path):
    save(tmp_path / "new" / "amed.safetensors", taught())
    back = load(tmp_path / "new" / "amed.safetensors")
    assert error(amed(back)) == error(amed(taught()))
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no AMED predictor"):
        load(tmp_path / "other.safetensors")


def test_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="two steps"):
        run(train(ask, start([1], 40.0), [40.0, 0.0], {}, Noise([1])), oracle.denoise)
