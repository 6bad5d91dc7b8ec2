"""Rows of one network evaluation: fewer where memory ran out, and more again later."""

from collections.abc import Callable

import pytest
import torch

from app.engine.engine import Engine
from app.engine.events import Finished
from app.engine.rows_a_call import LONGEST, PATIENCE, RowsACall
from samplers.protocol import Ask
from tests.support.doubles import Double, all_at_once, recipe

Start = Callable[..., Engine]


def pixels(finished: Finished) -> list[bytes]:
    return [image.tobytes() for image in finished.images]

def test_calls_have_as_many_rows_as_before_some_time_after_memory_ran_out(engines: Start) -> None:
    """Memory that others had is free again: what halved the calls once does not do so for ever."""
    scarce = True

    def tight(ask: Ask) -> None:
        if scarce and len(ask.x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    double = Double(before=tight)
    engine = engines(double, batch_across_runs=True, max_rows=8)
    assert engine._worker is not None
    engine.submit(recipe(count=4)).result()
    assert engine._worker.max_rows < 4
    scarce = False
    double.asks.clear()
    for seed in range(10):
        engine.submit(recipe(count=4, steps=20, seed=seed)).result()
        if engine._worker.max_rows == 8:
            break
    assert engine._worker.max_rows == 8
    engine.submit(recipe(count=4, seed=99)).result()
    assert double.asks[0] < 4 and double.asks[-1] == 8


def test_rows_are_tried_again_ever_later_and_never_more_than_at_first() -> None:
    rows = RowsACall(8)

    def until_raised() -> int:
        now, count = rows.now, 0
        while rows.now == now:
            rows.answered()
            count += 1
        return count

    for fail in (8, 4, 2):  # one evaluation, in ever smaller parts
        rows.failed(fail)
    assert rows.now == 1
    assert [until_raised() for _ in range(3)] == [PATIENCE] * 3 and rows.now == 8
    waits = []
    for _ in range(8):  # 8 rows never fit
        rows.failed(8)
        waits.append(until_raised())
    assert waits[0] == 2 * PATIENCE and waits == sorted(waits) and waits[-1] == waits[-2] == LONGEST
    for _ in range(LONGEST):
        rows.answered()
    assert rows.now == 8
    rows.failed(8)
    assert until_raised() == PATIENCE, "what fitted for long is tried soon again"
    rows.failed(1)
    assert rows.now == 1, "no evaluation has less than a row"


def test_memory_that_does_not_suffice_for_a_preview_ends_no_run(
    engines: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = Double()
    engine = engines(double)
    note = engine.note

    def tight(x0: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    expected = engine.submit(recipe()).result()
    engine.forget()
    monkeypatch.setattr(double, "preview", tight)
    ends = all_at_once(2, lambda i: list(engine.submit(recipe()))[-1])
    assert all(isinstance(end, Finished) and pixels(end) == pixels(expected) for end in ends)
    assert engine.note == note
