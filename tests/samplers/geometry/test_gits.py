from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import pytest
import torch

from conditioning.sampling.guidance.cfg import cfg
from samplers.afs import afs
from samplers.euler import euler
from samplers.flow import Driver, Noise, Step, ask, drive, run
from samplers.geometry.gits import COSTS, PIXELS, Key, Prices, cheapest, costs, gits, load, priced, save
from samplers.geometry.trajectory import recorded
from samplers.heun import heun
from samplers.schedules import exponential, karras
from tests.support.oracle import mixture, start

SHAPE = (1, 4, 4)
oracle = mixture(shape=SHAPE)
FINE = karras(60, 0.05, 40.0)
WARM, HELD_OUT = list(range(16)), list(range(1000, 1016))


@cache
def end(seeds, *sigmas, sampler=euler):
    x = start(list(seeds), sigmas[0], SHAPE)
    return run(sampler(ask, x, sigmas, {}, Noise(seeds)), oracle.denoise)


def error(sigmas, sampler=euler):
    """Mean distance from the true ends, over starts that were not in the warm-up."""
    true = end(tuple(HELD_OUT), *karras(100, 0.002, 40.0), sampler=heun)
    return float((end(tuple(HELD_OUT), *sigmas, sampler=sampler) - true).flatten(1).norm(dim=1).mean())


@cache
def taught():
    x = start(WARM, FINE[0], SHAPE)
    return run(recorded(heun(ask, x, FINE, {}, Noise(WARM)), x, FINE[0]), oracle.denoise)


def found(jumps, cost="dev", is_afs=False):
    return [FINE[node] for node in cheapest(costs(taught(), cost, is_afs), jumps, PIXELS)]


@pytest.mark.parametrize("gamma", [0.9, 1.0, 1.15])
@pytest.mark.parametrize("jumps", [1, 2, 3, 5])
def test_the_chain_is_the_best_of_all(jumps, gamma):
    """Against every chain there is, with prices of any sign."""
    table = torch.randn(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(jumps))
    table[torch.ones(9, 9).tril().bool()] = torch.inf

    def total(nodes):
        return sum(gamma**k * float(table[i, j]) for k, (i, j) in enumerate(pairwise(nodes)))

    every = [(0, *middle, 8) for middle in combinations(range(1, 8), jumps - 1)]
    assert total(cheapest(table, jumps, gamma)) == pytest.approx(min(map(total, every)))


def test_a_jump_is_priced_by_what_it_misses():
    sigmas = karras(8, 0.05, 40.0)
    x = start([1, 2], 40.0, SHAPE)
    path = run(recorded(heun(ask, x, sigmas, {}, Noise([1, 2])), x, 40.0), oracle.denoise)
    table = costs(path, "l2")
    s = path.sigmas
    for i, j in [(0, 3), (2, 8), (7, 8)]:
        landed = path.x0[i] + s[j] / s[i] * (path.x[i] - path.x0[i])
        assert float(table[i, j]) == pytest.approx(float((landed - path.x[j]).flatten(1).norm(dim=1).mean()))
    assert table.isinf().sum() == 9 * 10 // 2


@pytest.mark.parametrize("cost", COSTS)
def test_a_jump_along_the_teachers_own_step_misses_nothing(cost):
    x = start([1, 2], 40.0, SHAPE)
    path = run(recorded(euler(ask, x, FINE[:20], {}, Noise([1, 2])), x, 40.0), oracle.denoise)
    assert costs(path, cost).diagonal(1).abs().max() < 1e-9


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("steps", [5, 6])
def test_it_beats_the_usual_schedules(steps, cost):
    sigmas = found(steps, cost)
    uniform = [FINE[0] * (1 - n / steps) for n in range(steps + 1)]
    for usual in (uniform, karras(steps, 0.05, 40.0), exponential(steps, 0.05, 40.0)):
        assert error(sigmas) < 0.95 * error(usual)


def test_a_free_start_is_worth_its_level():
    assert error(found(6, is_afs=True), afs(euler)) < error(found(5))


def test_the_flow_is_the_teachers_run_and_the_best_chain():
    sigmas = run(gits(ask, start(WARM, FINE[0], SHAPE), FINE, {}, Noise(WARM), 5, teacher=heun), oracle.denoise)
    assert sigmas == found(5) and len(sigmas) == 6 and sigmas[0] == FINE[0] and sigmas[-1] == 0
    few = [9.0, 4.0, 1.0, 0.0]
    assert run(gits(ask, start([1], 9.0, SHAPE), few, {}, Noise([1]), 3), oracle.denoise) == few


def test_guidance_has_a_schedule_of_its_own():
    seeds, sigmas = WARM[:4], karras(30, 0.05, 40.0)
    null, cond = (oracle.encode_prompt([text] * 4) for text in ("", "word1"))
    x = start(seeds, 40.0, SHAPE)
    plain, guided = (run(gits(D, x, sigmas, cond, Noise(seeds), 5), oracle.denoise) for D in (ask, cfg(ask, null, 5.0)))
    assert len(guided) == 6 and guided != plain


def test_it_shows_progress_and_can_be_cancelled():
    flow = gits(ask, start([1], FINE[0], SHAPE), FINE, {}, Noise([1]), 5)
    steps = [event for _, event in drive([flow], oracle.denoise) if isinstance(event, Step)]
    assert [step.sigma for step in steps] == FINE[1:]
    driver, flow = Driver(oracle.denoise), gits(ask, start([1], FINE[0], SHAPE), FINE, {}, Noise([1]), 5)
    driver.add("run", flow)
    driver.round()
    driver.cancel("run")
    assert flow.gi_frame is None


def test_one_search_serves_all_numbers_of_steps():
    def priced_again(**how):
        return run(gits(ask, start(WARM[:2], FINE[0], SHAPE), FINE, {}, Noise(WARM[:2]), **how), oracle.denoise)

    flow = priced(ask, start(WARM[:2], FINE[0], SHAPE), FINE, {}, Noise(WARM[:2]))
    prices = run(flow, oracle.denoise)
    for steps in (3, 8):
        assert prices.schedule(steps, 1.05) == priced_again(steps=steps, gamma=1.05)
    assert prices.schedule(6, 1.05, afs=True) == priced_again(steps=5, gamma=1.05, afs=True)


def test_prices_are_kept_and_found_again(tmp_path):
    key = Key("abc", ("a red cube",), 4.0)
    table = torch.rand(4, 4, dtype=torch.float64)
    prices = Prices((9.0, 2.5, 0.3, 0.0), table, table + 1)
    assert load(tmp_path / "none", key) is None
    file = save(tmp_path / "new", key, prices)
    again = load(tmp_path / "new", key)
    assert again.sigmas == prices.sigmas
    assert torch.equal(again.table, prices.table) and torch.equal(again.free, prices.free)
    for change in ({"revision": "abd"}, {"prompts": ("a cube",)}, {"scale": 5.0}, {"teacher": "heun 60"}):
        assert load(tmp_path / "new", replace(key, **change)) is None
    file.write_bytes(file.read_bytes()[:20])
    assert load(tmp_path / "new", key) is None
    save(tmp_path / "new", key, Prices((0.3, 2.5, 9.0, 0.0), table, table.clone()))
    assert load(tmp_path / "new", key) is None, "levels that do not fall are no schedule"


def test_what_cannot_be_is_refused():
    for given in ({"steps": 0}, {"steps": 61}, {"steps": 60, "afs": True}, {"steps": 5, "cost": "l3"}):
        with pytest.raises(ValueError, match="give"):
            run(gits(ask, start([1], FINE[0], SHAPE), FINE, {}, Noise([1]), **given), oracle.denoise)
    with pytest.raises(ValueError, match="give 1 to"):
        cheapest(torch.zeros(3, 3), 3)
    path = taught()
    with pytest.raises(ValueError, match="goes down"):
        costs(replace(path, sigmas=path.sigmas.flip(0)))
