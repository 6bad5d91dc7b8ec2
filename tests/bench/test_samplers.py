"""bench.samplers: NFE is counted for real, curves are read backwards rightly, what is kept is not measured again."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import samplers as bench
from bench import samplers_overhead as overhead
from bench import samplers_page as page
from bench.samplers_page import Figures
from samplers import SAMPLERS, SCHEDULES
from samplers.schedules import karras

LEVELS = torch.linspace(0.03, 80, 1000, dtype=torch.float64)


@pytest.fixture
def setting():
    """Schedules alone: no network is asked."""

    def levels(schedule, steps):
        return SCHEDULES[schedule](steps, LEVELS)

    return SimpleNamespace(levels=levels)


@pytest.mark.parametrize("solver", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_pair_makes_more_calls_than_are_allowed(solver, schedule, setting):
    steps = bench.steps_within(setting, SAMPLERS[solver], schedule, 8)
    assert steps >= 1
    assert bench.counted(SAMPLERS[solver], setting.levels(schedule, steps)) <= 8
    more = bench.counted(SAMPLERS[solver], setting.levels(schedule, steps + 1))
    assert more > 8, "one step more would have been allowed"


def test_calls_are_counted_for_real():
    for solver, nfe in (("euler", 5), ("heun", 9), ("dpm_solver_2", 9), ("unipc", 5), ("dpmpp_2s_a", 9)):
        assert bench.counted(SAMPLERS[solver], karras(5, 0.1, 20.0)) == nfe


def test_a_schedule_without_levels_for_so_few_steps_is_left_out():
    def none(schedule, steps):
        raise ValueError("no levels")

    assert bench.steps_within(SimpleNamespace(levels=none), SAMPLERS["euler"], "native", 8) == 0


def test_a_curve_is_read_backwards_on_log_log_paper():
    nfe = (4, 8, 16, 32)
    errors = [3 / n**2 for n in nfe]
    for wanted in (4, 5.5, 8, 20, 32):
        assert bench.nfe_like(3 / wanted**2, nfe, errors) == pytest.approx(wanted)
    assert bench.nfe_like(100.0, nfe, errors) == 4 and bench.nfe_like(1e-9, nfe, errors) == pytest.approx(32)
    bumpy = [errors[0], errors[1], 2 * errors[1], errors[3]]
    assert bench.nfe_like(errors[1] * 0.999, nfe, bumpy) > 8
    assert 16 < bench.nfe_like(math.sqrt(errors[1] * errors[3]), nfe, bumpy) < 32


def figures(rms, exact=50.0):
    return Figures(8, rms, exact, 80.0, 0.1)


def test_the_best_pair_is_one_that_has_a_distance():
    pairs = {("euler", "karras"): figures(0.3), ("lms", "native"): figures(0.1), ("ancestral", "native"): figures(None)}
    assert bench.best(pairs) == ("lms", "native")
    assert bench.best(pairs, within=["karras"]) == ("euler", "karras")
    assert bench.best_of(pairs, "euler") == "karras"


def test_the_table_has_the_best_first_and_bold():
    pairs = {
        ("euler", "karras"): figures(0.3, 40.0),
        ("euler", "gits"): figures(0.2, 70.0),
        ("lms", "karras"): figures(0.1, 60.0),
        ("ancestral", "karras"): figures(None, 10.0),
    }
    lines = page.table(pairs, "rms").splitlines()
    assert lines[0] == "| | Karras | GITS |"
    assert lines[2:] == ["| LMS | **0.100** | - |", "| Euler | 0.300 | 0.200 |"]
    assert page.table(pairs, "exact").splitlines()[2] == "| Euler | 40 | **70** |"
    assert "Euler a" in page.table(pairs, "exact")


def test_both_loops_make_the_same_calls():
    for solver in overhead.PAIRS:
        seconds, nfe = overhead.beside_network(overhead.ours(solver))
        assert nfe == overhead.STEPS == overhead.beside_network(overhead.theirs(solver))[1]
        assert seconds > 0


def test_loops_of_different_numbers_of_calls_are_refused(monkeypatch):
    def twice(solver):
        return lambda network: [network(torch.ones(1)) for _ in range(overhead.STEPS + 1)]

    monkeypatch.setattr(overhead, "theirs", twice)
    with pytest.raises(RuntimeError, match="network evaluations here"):
        overhead.overhead("euler", 1)


def test_what_is_kept_is_not_run_again(tmp_path):
    from backbones.exact import images
    from bench.geometry import Bench
    from bench.table import Report

    report = Report("bench.samplers", "test", None, ["--quick"])
    asked = []

    def denoise(one):
        asked.append(len(one.x))
        return inner.denoise(one)

    inner = images()
    backbone = SimpleNamespace(
        sigmas=inner.sigmas, default_size=64, latent_shape=inner.latent_shape, encode_prompt=inner.encode_prompt,
        denoise=denoise,
    )  # fmt: skip
    captions = [SimpleNamespace(text="a red disc"), SimpleNamespace(text="a blue square")]
    first, again = (bench.Setting(Bench(report, backbone, tmp_path), captions, 4.0, "x") for _ in range(2))
    levels = first.levels("karras", 4)
    end = first.end("one", SAMPLERS["heun"], levels, "steps")
    assert asked == [4] * 7, "guided, two images, seven evaluations"
    assert torch.equal(again.end("one", SAMPLERS["heun"], levels, "steps"), end) and len(asked) == 7
    schedule = first.levels("gits", 5)
    assert len(schedule) == 6 and np.all(np.diff(schedule) < 0)
    before = len(asked)
    assert again.levels("gits", 5) == schedule and len(asked) == before
    learned = first.learned_schedule("euler", 5)
    assert len(learned.sigmas) == 6 and np.all(np.diff(learned.sigmas) < 0) and list(learned.sigmas) != schedule
    before = len(asked)
    assert again.learned_schedule("euler", 5) == learned and len(asked) == before


def test_learned_levels_stand_beside_gits():
    both = (Figures(8, rms, exact, 80.0, 0.1, rms / 2) for rms, exact in ((0.2, 50.0), (0.1234, 75.0)))
    one = page.LearnedScheduleRow("unipc", *both, 25.4, [157.41, 12.345, 0.0], [150.0, 12.0])
    lines = page.learned_table({4.0: [one], 1.0: [one]}).splitlines()
    sides = "0.200, median 0.100 (50 %) | 0.123, median 0.062 (75 %)"
    assert lines[2] == f"| 4 | UniPC | {sides} | 25 NFE | 157 12.3 0; 150 12 |"
    assert lines[3].startswith("| none | UniPC |")


def test_the_app_begins_with_what_the_bench_says() -> None:
    from app.tabs.create import DEFAULTS

    assert bench.CHOSEN == (DEFAULTS.sampler, DEFAULTS.schedule)
