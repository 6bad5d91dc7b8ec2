"""A network that answers with NaN, or not at all, in a crowd of eight clients."""

from collections.abc import Callable

import pytest

from app.engine.engine import Engine
from app.engine.events import Cancelled, Failed, Finished, Progress
from app.engine.planner import in_words
from app.storage.image_history import History
from tests.support.doubles import Double, all_at_once, nan_for, recipe


@pytest.mark.parametrize("batch_across_runs", [True, False])
def test_eight_clients_and_every_kind_of_trouble(
    engines: Callable[..., Engine], tmp_path, batch_across_runs: bool
) -> None:
    """Five good runs, one that breaks, one that is refused, one that is cancelled: the five get their images."""
    alone, history = engines(), History(tmp_path)
    good = {i: recipe(seed=i, steps=10, prompt=["a red disc", "a blue square"][i % 2]) for i in (0, 1, 3, 4, 6)}
    expected = {i: alone.submit(one).result().images[0].tobytes() for i, one in good.items()}
    engine = engines(Double(before=nan_for(128), delay=0.003), batch_across_runs=batch_across_runs)

    def client(i: int) -> object:
        if i in good:
            finished = engine.submit(good[i]).result()
            history.add(finished.images[0], finished.recipes[0])
            return finished
        if i == 2:
            return list(engine.submit(recipe(width=128, height=128)))[-1]
        if i == 5:
            return list(engine.submit(recipe(width=100)))[-1]
        run = engine.submit(recipe(steps=150))
        for event in run:
            if isinstance(event, Progress):
                run.cancel()
        return event

    ends = all_at_once(8, client)
    for i in good:
        assert isinstance(ends[i], Finished) and ends[i].images[0].tobytes() == expected[i]
    assert isinstance(ends[2], Failed) and "NaN or infinity" in ends[2].reason and "Other runs go on" in ends[2].reason
    assert isinstance(ends[5], Failed) and ends[5].field == "width"
    assert isinstance(ends[7], Cancelled)
    assert {entry.recipe.seed for entry in history.search()} == set(good)
    assert engine.note is None  # the engine itself never fell


def test_nan_from_the_decoder(engines: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines(Double())
    decode = engine.backbone.inner.decode
    monkeypatch.setattr(engine.backbone.inner, "decode", lambda x: decode(x) * float("nan"))
    failed = list(engine.submit(recipe()))[-1]
    assert isinstance(failed, Failed) and "decoder" in failed.reason
    monkeypatch.undo()
    assert engine.submit(recipe()).result()


@pytest.mark.parametrize("engine, blamed", [
    ("torch float32", False), ("torch bfloat16", False), ("openvino f32", False), ("torch float16", True),
])  # fmt: skip
def test_half_precision_is_blamed_only_where_the_network_runs_in_it(engine: str, blamed: bool) -> None:
    words, _ = in_words(FloatingPointError("the network answered with NaN"), recipe(), 3, engine)
    assert (("float16" in words) == blamed and "NINE_WAYS_ENGINE=torch-bf16" in words) or not blamed


def test_nan_late_in_a_strongly_guided_run(engines: Callable[..., Engine]) -> None:
    double = Double()
    double.before = lambda ask: ask.x * float("nan") if len(double.asks) % 7 == 0 else None
    failed = list(engines(double).submit(recipe(cfg_scale=25, steps=20)))[-1]
    assert isinstance(failed, Failed) and failed.field == "cfg_scale" and "lower CFG Scale than 25" in failed.reason
