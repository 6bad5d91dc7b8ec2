"""What is tuned on the network before an image: once, kept, shared between runs, reported, cancelled, refused."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app.engine.engine import Engine
from app.engine.events import Cancelled, Failed, Finished, Preparing, Progress
from app.engine.planner import Encoder, plan, problems
from app.engine.tuned_schedules import AmedSolver, GitsSchedule, Ld3Schedule, TunedSchedules
from app.engine.tuned_schedules.gits import TRAJECTORIES
from app.schema.recipe import RecipeError
from backbones.exact import images
from samplers import SAMPLERS
from samplers.flow import Noise, ask, drive, run
from samplers.geometry.gits import TEACHER_STEPS as TEACHER
from samplers.geometry.gits import chosen_gamma
from samplers.protocol import Ask, Step
from samplers.schedules import karras
from tests.support.doubles import Double, recipe

Start = Callable[..., Engine]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NINE_WAYS_CACHE", str(tmp_path))
    return tmp_path / "found"


def searches(events: list[Any]) -> list[Preparing]:
    return [event for event in events if isinstance(event, Preparing)]


def taught(engine: Engine, asked: Any, words: str) -> None:
    """A run before which something is taught, and which then makes its image."""
    events = list(engine.submit(asked))
    reported = searches(events)
    assert reported and words in reported[0].words and reported[-1].step <= reported[-1].steps
    assert isinstance(events[-1], Finished) and events[-1].nfe == {"amed": 7}.get(asked.sampler, asked.steps)


def test_gits_is_found_once_for_all_numbers_of_steps(engines: Start, cache: Path) -> None:
    engine = engines()
    first = list(engine.submit(recipe(schedule="gits", steps=5)))
    reported = searches(first)
    assert reported and "GITS" in reported[0].words and all(0 <= one.step <= one.steps == TEACHER for one in reported)
    assert isinstance(first[-1], Finished) and first[-1].nfe == 5, "the search is not the image's cost"
    other = list(engine.submit(recipe(schedule="gits", steps=8, seed=3)))
    assert isinstance(other[-1], Finished) and not searches(other)
    assert len(list(cache.iterdir())) == 1
    again = list(engines().submit(recipe(schedule="gits", steps=5)))  # another start of the app
    assert not searches(again) and again[-1].images[0].tobytes() == first[-1].images[0].tobytes()
    guided = list(engine.submit(recipe(schedule="gits", steps=5, cfg_scale=7.0)))
    assert searches(guided), "guidance bends the path: another schedule"


def test_the_levels_are_gits_own() -> None:
    backbone = images()
    tuned = TunedSchedules(backbone)
    asked = recipe(schedule="gits", steps=6)
    with pytest.raises(RecipeError, match="has not been found yet"):
        tuned.levels(asked)
    search = tuned.search(asked)
    assert search is not None and search.steps == TEACHER
    rows: list[int] = []

    def answer(ask: Ask) -> Any:
        rows.append(len(ask.x))
        return backbone.denoise(ask)

    prices = run(search.flow, answer)
    assert set(rows) == {2 * TRAJECTORIES}, "guided, and all images at once"
    search.keep(prices)
    levels = tuned.levels(asked)
    assert tuned.search(asked) is None
    assert len(levels) == 7 and levels[-1] == 0 and levels == sorted(levels, reverse=True)
    assert levels == prices.schedule(6, chosen_gamma(6, asked.cfg_scale))
    free = tuned.levels(asked.but(afs=True))
    assert len(free) == 7 and free == prices.schedule(6, chosen_gamma(6, asked.cfg_scale), afs=True)


def test_amed_is_taught_and_comes_closer_than_what_it_starts_from(engines: Start, cache: Path) -> None:
    """Untaught it is DPM-Solver-2; the oracle's own end of the path is the judge."""
    asked = recipe(sampler="amed", schedule="karras", steps=4)
    taught(engines(), asked, "AMED")
    assert [file.name.split("-")[0] for file in cache.iterdir()] == ["amed"]
    backbone = images()
    tuned, encode = TunedSchedules.of(backbone), Encoder(backbone)

    def ended(seed: int, **fields: Any) -> Any:
        made = plan(asked.but(seed=seed, **fields), backbone, encode, {}, tuned)
        return run(made.flow, backbone.denoise)

    gaps = {"amed": 0.0, "dpm_solver_2": 0.0}
    for seed in range(20, 28):
        true = ended(seed, sampler="heun", steps=80)
        for name in gaps:
            gaps[name] += float((ended(seed, sampler=name) - true).square().mean().sqrt())
    assert gaps["amed"] < gaps["dpm_solver_2"]


def test_ld3_is_learnt_once_and_comes_closer_than_any_schedule(engines: Start, cache: Path) -> None:
    asked = recipe(sampler="dpmpp_2m", schedule="ld3", steps=5)
    taught(engines(), asked, "LD3 for 5 steps of DPM++ 2M")
    assert [file.name.split("-")[0] for file in cache.iterdir()] == ["ld3"]
    again = list(engines().submit(asked.but(seed=4)))  # another start of the app
    assert not searches(again) and isinstance(again[-1], Finished)
    (cache / next(cache.iterdir()).name).write_text("[3, 2")
    assert searches(list(engines().submit(asked))), "what is broken is learned again"
    backbone = images()
    tuned, encode = TunedSchedules.of(backbone), Encoder(backbone)
    for other in (asked.but(steps=6), asked.but(sampler="euler"), asked.but(cfg_scale=2), asked.but(afs=True)):
        assert tuned.search(other) is not None, "for one solver, number of steps and guidance"

    def ended(seed: int, **fields: Any) -> Any:
        made = plan(asked.but(seed=seed, **fields), backbone, encode, {}, tuned)
        return run(made.flow, backbone.denoise)

    asks: list[float] = []

    def answer(ask: Ask) -> Any:
        asks.append(float(torch.as_tensor(ask.sigma).max()))
        return backbone.denoise(ask)

    run(plan(asked, backbone, encode, {}, tuned).flow, answer)
    assert asks != pytest.approx(tuned.levels(asked)[:-1], rel=1e-3), "the network gets other noise levels"

    def gap(schedule: str) -> float:
        return sum(
            float((ended(seed, schedule=schedule) - ended(seed, schedule="karras", sampler="heun", steps=80)).norm())
            for seed in range(40, 56)
        )

    assert gap("ld3") < min(gap("native"), gap("karras"), gap("exponential"), gap("flow_shift"))


def test_the_steps_of_a_search_are_as_many_as_it_says() -> None:
    backbone = images()
    tuned = TunedSchedules(backbone)
    for asked in (recipe(schedule="gits"), recipe(sampler="amed", schedule="karras", steps=3)):
        search = tuned.search(asked)
        assert search is not None
        reported = [event for _, event in drive([search.flow], backbone.denoise) if isinstance(event, Step)]
        assert len(reported) == search.steps
    search = tuned.search(recipe(schedule="ld3", steps=3))
    assert search is not None
    reported = [event for _, event in drive([search.flow], backbone.denoise) if isinstance(event, Step)]
    assert TEACHER < len(reported) <= search.steps, "or fewer, where nothing is nearer any more"


def test_runs_that_need_the_same_search_share_it(engines: Start) -> None:
    engine = engines(Double(delay=0.002))
    runs = [engine.submit(recipe(schedule="gits", steps=4, seed=seed)) for seed in (1, 2, 3)]
    heard: list[list[Any]] = [[] for _ in runs]
    threads = [
        threading.Thread(target=lambda one=one, to=to: to.extend(one))  # type: ignore[misc]
        for one, to in zip(runs, heard, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(isinstance(events[-1], Finished) and searches(events) for events in heard)
    assert engine.spent.nfe == TEACHER + 3 * 4


def test_a_search_that_is_cancelled_goes_on_for_whoever_waits_for_it(engines: Start) -> None:
    engine = engines(Double(delay=0.01))
    first, second = (engine.submit(recipe(schedule="gits", steps=4, seed=seed)) for seed in (1, 2))
    for event in first:
        if isinstance(event, Preparing) and event.step > 3:
            break  # leaves the loop: cancelled
    end = list(second)[-1]
    assert isinstance(end, Finished)
    assert engine.spent.nfe <= TEACHER + 4 + 2, "not begun anew"
    last = engine.submit(recipe(schedule="gits", steps=4, cfg_scale=9.0))
    for event in last:
        if isinstance(event, Preparing):
            last.cancel()
            break
    deadline = time.perf_counter() + 5
    assert engine._worker is not None
    while (engine._worker.active or not last.done) and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert isinstance(last._job.events.end, Cancelled)
    assert not len(engine._worker.searches) and not engine._worker.active


def test_others_paint_while_something_is_found(engines: Start) -> None:
    engine = engines(Double(delay=0.01))
    slow = engine.submit(recipe(schedule="gits", steps=4))
    quick = engine.submit(recipe(steps=3)).result()
    assert quick.nfe == 3 and not slow.done
    assert slow.result().nfe == 4


def test_a_search_that_fails_says_so_and_hurts_nobody(engines: Start) -> None:
    class Broken(Double):
        def denoise(self, ask: Ask) -> Any:
            if len(ask.x) > 2:
                raise RuntimeError("the network is out of order")
            return super().denoise(ask)

    engine = engines(Broken())
    end = list(engine.submit(recipe(schedule="gits")))[-1]
    assert isinstance(end, Failed) and "out of order" in end.reason
    assert engine.submit(recipe(steps=3)).result().nfe == 3


def test_what_cannot_be_found_is_refused_at_its_field() -> None:
    backbone = images()

    def fields(**given: Any) -> list[str]:
        return [problem.field for problem in problems(recipe(**given), backbone, "exact")]

    assert fields(schedule="gits", steps=GitsSchedule.longest + 1) == ["steps"]
    assert fields(sampler="amed", steps=AmedSolver.longest + 1) == ["steps"] == fields(sampler="amed", steps=1)
    assert fields(schedule="gits", steps=5) == [] == fields(sampler="amed", steps=5)
    assert fields(schedule="ld3", steps=Ld3Schedule.longest + 1) == ["steps"]
    assert (
        fields(schedule="ld3", sampler="ancestral", steps=5)
        == ["schedule"]
        == fields(schedule="ld3", sampler="amed", steps=5)
    )
    assert fields(schedule="ld3", sampler="unipc", steps=5) == []
    blind = images()
    blind.offers = frozenset()
    assert [problem.field for problem in problems(recipe(sampler="amed"), blind, "exact")] == ["sampler"]


def test_the_first_step_is_free_and_a_run_stops_at_a_level(engines: Start) -> None:
    engine = engines(Double(delay=0.005))  # slow enough to be seen on its way
    whole = engine.submit(recipe(steps=6)).result()
    free = engine.submit(recipe(steps=6, afs=True)).result()
    assert (whole.nfe, free.nfe) == (6, 5) and free.formula == "afs(euler) over cfg(ask)"
    early = engine.submit(recipe(steps=6, stop_sigma=1.0))
    events = list(early)
    assert isinstance(events[-1], Finished) and events[-1].formula == "stopping_at(euler, 1) over cfg(ask)"
    assert any(isinstance(event, Progress) for event in events)
    assert events[-1].images[0].tobytes() != whole.images[0].tobytes()
    both = engine.submit(recipe(steps=6, afs=True, stop_sigma=1.0)).result()
    assert both.nfe == events[-1].nfe - 1


@pytest.mark.parametrize("sampler", [key for key, solver in SAMPLERS.items() if "eta" in solver.knobs])
def test_without_eta_no_noise_is_drawn(sampler: str) -> None:
    backbone = images()
    levels, x = karras(6, 0.1, 50.0), 50 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    tuned = TunedSchedules(backbone)

    def ended(seed: int, eta: float) -> Any:
        solver = tuned.sampler(recipe(sampler=sampler, sampler_knobs={"eta": eta}))
        return run(solver(ask, x, levels, backbone.encode_prompt(["red disc"]), Noise([seed])), backbone.denoise)

    assert torch.equal(ended(1, 0.0), ended(2, 0.0))
    assert not torch.equal(ended(1, 1.0), ended(2, 1.0))
    assert not torch.equal(ended(1, 1.0), ended(1, 0.5))


def test_the_search_is_not_the_time_of_the_run(engines: Start) -> None:
    engine = engines(Double(delay=0.02))
    events = list(engine.submit(recipe(schedule="gits", steps=4)))
    assert isinstance(events[-1], Finished) and events[-1].seconds < 0.02 * TEACHER
