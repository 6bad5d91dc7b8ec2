"""The engine on the oracle: events, cancelling, batches across runs, and nobody hurt by his neighbour."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.engine.engine import Busy, Engine, RunError
from app.engine.events import Cancelled, Event, EventQueue, Failed, Finished, Made, Progress, Queued
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.schema.this_machine import here
from samplers.protocol import Ask
from tests.support.doubles import Double, all_at_once, nan_for, recipe, size_of

Start = Callable[..., Engine]


def pixels(finished: Finished) -> list[bytes]:
    return [image.tobytes() for image in finished.images]


def until(condition: Callable[[], Any], seconds: float = 5) -> bool:
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        time.sleep(0.005)
    return True


def idle(engine: Engine) -> bool:
    assert engine._worker is not None
    return not engine._worker.active and not engine._worker._drivers and not engine._waiting


def test_a_run_tells_how_it_goes(engines: Start) -> None:
    engine = engines(Double(delay=0.01))
    events: list[Event] = list(engine.submit(recipe(steps=6)))
    assert isinstance(events[0], Queued) and isinstance(events[-1], Finished) and isinstance(events[-2], Made)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == sorted({event.step for event in steps})
    assert steps[-1].steps == 6 and steps[-1].step >= 4  # the last news gives way to the end
    assert all(a.sigma > b.sigma and a.fraction < b.fraction for a, b in pairwise(steps))
    assert steps[0].preview is not None and steps[0].preview.dtype == np.uint8 and steps[0].preview.shape == (8, 8, 3)
    assert steps[1].seconds_left is not None and 0 < steps[1].seconds_left < 5
    end = events[-1]
    assert (end.nfe, end.rows, end.formula) == (6, 12, "euler over cfg(ask)")
    assert end.images[0].size == (64, 64) and end.images[0].mode == "RGB" and 0.06 <= end.seconds < 5


def test_the_path_of_a_checkpoint_is_neither_in_its_images_nor_in_their_recipes(engines: Start) -> None:
    place = "/home/someone/models/disc-painter"
    finished = engines(Double(), name=place).submit(recipe(backbone=place)).result()
    text = finished.images[0].info["parameters"]
    assert "someone" not in text and "someone" not in finished.recipes[0].to_json()
    read_back = read(text)
    assert read_back.exact and read_back.recipe == finished.recipes[0]
    assert finished.recipes[0].backbone == "disc-painter" and finished.recipes[0].revision


@pytest.mark.parametrize("quick, asked", [(True, [2]), (False, [])])
def test_no_step_is_made_ahead_where_it_would_take_tens_of_seconds(
    engines: Start, quick: bool, asked: list[int]
) -> None:
    double = Double()
    double.quick = quick
    assert engines(double).wait(60) and double.asks == asked


def test_an_inversion_is_seen_going_up_before_it_comes_down(engines: Start) -> None:
    uses = [{"name": "ddim_inversion", "inputs": {"source": "ab" * 32, "source_prompt": "a blue disc"}}]
    image = Image.new("RGB", (64, 64), "blue")
    run = engines(Double(delay=0.01)).submit(recipe(steps=6, methods=uses), {"ab" * 32: image})
    seen = [event for event in run if isinstance(event, Progress)]
    top = max(range(len(seen)), key=lambda i: seen[i].sigma)
    assert 2 <= top < len(seen) - 2 and seen[top].step == 0 and all(event.fraction <= 1 for event in seen)
    assert all(a.sigma < b.sigma and a.step > b.step and a.nfe < b.nfe for a, b in pairwise(seen[: top + 1]))
    down = pairwise(seen[top:])  # after the last step there is no further call
    assert all(a.sigma > b.sigma and a.step < b.step and a.nfe <= b.nfe for a, b in down)


def test_the_image_carries_the_recipe_that_makes_it_again(engines: Start) -> None:
    engine = engines()
    first = engine.submit(recipe(seed=5, count=3, sampler="ancestral")).result()
    reading = read(first.images[1].info["parameters"])
    assert reading.exact and reading.recipe == first.recipes[1]
    assert reading.recipe.seed == 6 and reading.recipe.count == 1
    assert reading.recipe.revision == engine.backbone.revision and reading.recipe.versions["device"] == "cpu"
    assert here(engine).backbones == {"exact": engine.backbone.revision}
    again = engine.submit(reading.recipe).result()
    assert pixels(again) == pixels(first)[1:2]
    assert len(set(pixels(first))) == 3


@pytest.mark.parametrize("batch_across_runs", [True, False])
def test_in_company_as_alone(engines: Start, batch_across_runs: bool) -> None:
    recipes = [
        recipe(seed=i, steps=4 + i, sampler=["euler", "heun", "ancestral"][i % 3], count=1 + i % 2) for i in range(8)
    ]
    alone = engines()
    expected = [pixels(alone.submit(one).result()) for one in recipes]
    engine = engines(Double(delay=0.002), batch_across_runs=batch_across_runs)
    results = all_at_once(8, lambda i: engine.submit(recipes[i]).result())
    assert [pixels(result) for result in results] == expected
    most = max(engine.backbone.asks)
    assert most > 2 if batch_across_runs else most == 2


def test_cancel_takes_effect_within_a_step_and_frees_everything(engines: Start) -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def watch(ask: Ask) -> None:
        kept.append(weakref.ref(ask.x))

    double = Double(before=watch, delay=0.05)
    engine = engines(double)
    run = engine.submit(recipe(steps=100))
    seen: list[Event] = []
    asked = 0
    for event in run:
        seen.append(event)
        if isinstance(event, Progress) and event.step >= 3 and not asked:  # a slow reader is not shown every step
            asked = len(double.asks)
            run.cancel()
    assert isinstance(seen[-1], Cancelled) and run.done
    assert len(double.asks) <= asked + 2 and idle(engine)
    assert until(lambda: gc.collect() >= 0 and not any(ref() is not None for ref in kept))
    assert isinstance(engine.submit(recipe()).result(), Finished)


def test_a_reader_who_leaves_cancels(engines: Start) -> None:
    double = Double(delay=0.02)
    engine = engines(double)
    for event in engine.submit(recipe(steps=100)):
        if isinstance(event, Progress):
            break  # closes the generator, as Gradio does
    assert until(lambda: idle(engine))
    with engine.submit(recipe(steps=100)):
        assert until(lambda: not idle(engine))
    assert until(lambda: idle(engine))
    engine.submit(recipe(steps=100))  # nobody holds the run
    gc.collect()
    assert until(lambda: idle(engine)) and len(double.asks) < 100


def test_cancelling_while_it_waits(engines: Start) -> None:
    engine = engines(Double(delay=0.02), max_under_way=1)
    busy, waits = engine.submit(recipe(steps=50)), engine.submit(recipe())
    waits.cancel()
    waits.cancel()
    assert isinstance(list(waits)[-1], Cancelled) and not busy.done
    with pytest.raises(RunError, match="cancelled"):
        waits.result()
    busy.cancel()


@pytest.mark.parametrize("batch_across_runs", [True, False])
@pytest.mark.parametrize("trouble", ["raises", "nan"])
def test_a_failing_run_hurts_nobody(engines: Start, batch_across_runs: bool, trouble: str) -> None:
    def before(ask: Ask) -> torch.Tensor | None:
        if size_of(ask) == 128 and trouble == "raises":
            raise ValueError("the moon is full")
        return nan_for(128)(ask) if trouble == "nan" else None

    good = recipe(count=2, steps=12)
    expected = pixels(engines().submit(good).result())
    engine = engines(Double(before=before, delay=0.002), batch_across_runs=batch_across_runs)
    runs = [good, recipe(width=128, height=128), good]
    results = all_at_once(3, lambda i: list(engine.submit(runs[i]))[-1])
    assert isinstance(results[1], Failed) and "step 1 of 8" in results[1].reason
    assert ("the moon is full" if trouble == "raises" else "NaN") in results[1].reason
    assert [pixels(results[i]) for i in (0, 2)] == [expected, expected] and idle(engine)


def test_an_image_that_breaks_ends_its_own_run_once(engines: Start) -> None:
    engine = engines(Double(before=nan_for(128)), batch_across_runs=True)
    events = list(engine.submit(recipe(width=128, height=128, count=4)))
    assert [isinstance(event, Failed) for event in events].count(True) == 1 and idle(engine)


def test_what_the_backbone_cannot_do_is_said_at_the_field(engines: Start) -> None:
    engine = engines()
    for wrong, field, said in [
        (recipe(width=60), "width", "60 is not a multiple of 8 pixels. Give 56 or 64."),
        (recipe(backbone="still-life"), "backbone", "Choose 'exact'"),
        (recipe(methods=[{"name": "telepathy"}]), "methods.0", "no method telepathy"),
        (recipe(methods=[{"name": "ilvr"}]), "methods.0.inputs.reference", "pload an image"),
    ]:
        (failed,) = [event for event in engine.submit(wrong) if isinstance(event, Failed)]
        assert failed.field == field and said in failed.reason
    assert [p.field for p in engine.check(recipe(width=60, height=20))] == ["width", "height"]
    with pytest.raises(RunError) as caught:
        engine.submit(recipe(height=20)).result()
    assert caught.value.field == "height"


def test_guidance_costs_what_it_says(engines: Start) -> None:
    double = Double()
    engine = engines(double)
    assert engine.submit(recipe(cfg_scale=1)).result().rows == 8
    assert engine.submit(recipe(cfg_start=0.25, cfg_end=0.75)).result().rows == 12
    assert engine.submit(recipe(sampler="heun", cfg_scale=1)).result().nfe == 15


def test_a_prompt_is_encoded_once(engines: Start) -> None:
    double = Double()
    engine = engines(double)
    for seed in range(3):
        engine.submit(recipe(seed=seed, count=2)).result()
    assert sorted(double.texts) == ["", "a red disc"]


def test_the_queue_is_bounded_and_says_who_is_before(engines: Start) -> None:
    engine = engines(Double(delay=0.01), max_waiting=2, max_under_way=1)
    first = engine.submit(recipe(steps=20))
    assert until(lambda: not engine._waiting)
    second, third = engine.submit(recipe(seed=2)), engine.submit(recipe(seed=3))
    with pytest.raises(Busy, match="2 runs are waiting already, and at most 2 may"):
        engine.submit(recipe())
    positions = [event.position for event in third if isinstance(event, Queued)]
    assert positions == [1, 0]
    assert all(run.result() for run in (first, second))
    engine.close()
    with pytest.raises(Busy, match="closed"):
        engine.submit(recipe())


def test_a_large_run_does_not_hold_up_the_others(engines: Start) -> None:
    engine = engines(Double(delay=0.002), max_under_way=1)
    large = engine.submit(recipe(count=30))
    assert until(lambda: not engine._waiting)
    before = len(large._job.images)
    assert engine.submit(recipe()).result() and not large.done
    assert len(large._job.images) - before <= 4
    large.cancel()


def test_a_slow_reader_holds_up_nobody_and_piles_up_nothing(engines: Start) -> None:
    double = Double(delay=0.001)
    engine = engines(double)
    run = engine.submit(recipe(steps=150))
    events = iter(run)
    while not isinstance(next(events), Progress):
        pass
    looks = double.previews
    assert until(lambda: run.done, 60)  # nobody reads, and it comes to its end
    assert double.previews - looks <= 2
    assert [type(event) for event in events] == [Made, Finished]


def test_the_newest_progress_keeps_the_look_that_nobody_saw() -> None:
    box = EventQueue()
    look = np.zeros((2, 2, 3), np.uint8)
    box.put(Progress(1, 9, 5.0, (look, None), 1.0, 1))
    assert not box.wants_preview
    box.put(Progress(2, 9, 4.0, (None, None), 1.0, 2))
    event = box.take()
    assert isinstance(event, Progress) and event.step == 2 and event.previews[0] is look and event.preview is not None
    assert event.preview.shape == (2, 4, 3) and box.wants_preview and box.take(0.01) is None


def test_memory_that_does_not_suffice_halves_the_calls(engines: Start) -> None:
    def tight(ask: Ask) -> None:
        if len(ask.x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    double = Double(before=tight)
    engine = engines(double, batch_across_runs=True)
    good = recipe(count=4)
    assert pixels(engine.submit(good).result()) == pixels(engines().submit(good).result())
    refused = [rows for rows in double.asks if rows > 3]
    assert refused and refused == sorted(refused, reverse=True) and len(refused) <= 3
    assert engine._worker is not None and engine._worker.max_rows <= 3


def test_memory_that_never_suffices_fails_that_run_with_words(engines: Start) -> None:
    def tight(ask: Ask) -> None:
        if size_of(ask) > 64:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    engine = engines(Double(before=tight))
    ends = all_at_once(2, lambda i: list(engine.submit(recipe(width=64 + 64 * i)))[-1])
    assert isinstance(ends[0], Finished)
    assert ends[1].field == "width" and "does not suffice for 128 x 64 pixels" in ends[1].reason


def test_an_engine_that_falls_gets_up_and_says_so(engines: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines()
    assert engine._worker is not None
    real = engine._worker.round
    monkeypatch.setattr(engine._worker, "round", lambda: (_ for _ in ()).throw(SystemExit("pulled the plug")))
    failed = list(engine.submit(recipe()))[-1]
    assert isinstance(failed, Failed) and "started again" in failed.reason
    assert engine.note is not None and "pulled the plug" in engine.note
    monkeypatch.setattr(engine._worker, "round", real)
    assert engine.submit(recipe()).result()


def test_an_engine_whose_thread_is_gone_is_revived(engines: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "_main", lambda self: None)
    engine = engines(wait=False)
    dead = engine._thread
    assert dead is not None
    dead.join(5)
    monkeypatch.undo()
    assert engine.submit(recipe()).result() and engine._thread is not dead
    assert engine.note is not None and "its thread was gone" in engine.note


def test_a_model_that_cannot_be_loaded(engines: Start) -> None:
    there = threading.Event()

    def load() -> Any:
        if not there.is_set():
            raise OSError("no weights in the folder")
        return Double()

    engine = engines(load, wait=False)
    failed = list(engine.submit(recipe()))[-1]
    assert isinstance(failed, Failed) and failed.field == "backbone" and "no weights in the folder" in failed.reason
    assert engine.trouble is not None and "no weights" in engine.trouble and "could not be loaded" in engine.status
    assert engine.backbone is None and not engine.wait(0)
    there.set()
    assert engine.submit(recipe()).result() and (engine.status, engine.trouble) == ("Ready", None)


def test_runs_wait_while_the_model_is_loaded(engines: Start) -> None:
    gate = threading.Event()

    def load() -> Any:
        gate.wait(10)
        return Double()

    engine = engines(load, wait=False)
    run = engine.submit(recipe())
    assert engine.check(recipe(width=60)) == [] and here(engine).backbones == {}
    gate.set()
    assert run.result() and engine.spent.nfe == 8  # warming up is not counted


def test_closing_ends_every_run(engines: Start) -> None:
    engine = engines(Double(delay=0.02), max_under_way=1)
    runs = [engine.submit(recipe(steps=100)) for _ in range(3)]
    until(lambda: len(engine._waiting) == 2)
    engine.close()
    assert all(isinstance(list(run)[-1], Cancelled) for run in runs)



def test_a_run_batched_with_others_counts_its_own_seconds(engines):
    engine = engines(batch_across_runs=False)
    began = time.perf_counter()
    runs = [engine.submit(Recipe(backbone="exact", width=32, height=32, steps=40, seed=n)) for n in (1, 2, 3)]
    ends = [run.result() for run in runs]
    wall = time.perf_counter() - began
    assert all(0 < end.own_seconds <= end.seconds for end in ends)
    assert sum(end.own_seconds for end in ends) <= wall
    assert sum(end.shared for end in ends) >= 2  # the first may be over before the second comes
    assert not engine.submit(runs[0].recipe).result().shared
