"""Which models stay in memory: those that fit. The least recently used make room, those in use never."""

import gc
import threading
import time
import weakref

import pytest
import torch
from torch import nn

from app.schema.recipe import Recipe
from app.service import memory as policy
from app.service.models import Model
from app.service.runs import Engines
from app.service.state import AppState, waiting
from backbones import memory
from backbones.memory import GIGABYTE, free
from samplers.flow import Step, tap
from tests.support import tiny


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    return {name: tiny.save(home / name) for name in ("a", "b", "c")}


@pytest.fixture
def room(monkeypatch, tmp_path):
    """Memory for so many of the models: room(n); what is taken is counted by the models that are alive."""
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "out"))
    monkeypatch.setattr(policy, "TINY", 0)
    monkeypatch.setattr(policy, "LOOK", 0.01)

    def limit(n, engines):
        def left(device):
            taken = [one.needs.total for one in engines() if one.backbone is not None]
            return int((n + 0.5) * 260_000_000) - sum(taken)

        monkeypatch.setattr(memory, "free", left)

    return limit


@pytest.fixture
def models(folders, room):
    """name -> a model; there is memory for two."""
    shared = policy.ModelMemory()
    made = {name: Model(str(folder), shared) for name, folder in folders.items()}
    room(2, lambda: shared._engines)
    yield made
    for engine in shared._engines:
        engine.close()


def loaded(models):
    return [name for name, model in models.items() if model.backbone is not None]


def run(model, **fields):
    usual = {"backbone": model.id, "width": 32, "height": 32, "steps": 1, "prompt": "a red cube"}
    recipe = Recipe.make(**{**usual, **fields})
    return model.engine(60).submit(recipe)


def test_what_fits_stays_and_the_least_recently_used_goes_first(models):
    for name in "ab":
        assert models[name].ready(60)
    assert loaded(models) == ["a", "b"]
    first = run(models["a"]).result()
    assert models["c"].ready(60)
    assert loaded(models) == ["a", "c"], "b was not used since"
    assert models["b"].state() == ("unloaded", "Unloaded to make room for c; it is loaded again when it is used")
    assert models["b"].engine(0) is not None and loaded(models) == ["a", "c"], "asking for its engine loads nothing"
    assert models["b"].ready(60) and loaded(models) == ["b", "c"]
    again = run(models["a"]).result()  # a run loads it, too
    assert loaded(models) == ["a", "b"]
    assert again.images[0].tobytes() == first.images[0].tobytes()
    models["c"].start()  # so does the page, where it is chosen
    assert models["c"].state()[0] == "loading" and models["c"].ready(60) and models["c"].state() == ("ready", "Ready")


def test_memory_is_flat_over_ten_switches(models, room):
    """Ten times another model, one at a time: threads end, backbones die, and no tensor is left over."""
    room(1, lambda: models["a"].memory._engines)
    counts, dead = [], []
    for switch in range(10):
        model = models["ab"[switch % 2]]
        run(model, seed=switch).result()
        assert loaded(models) == [model.id]
        dead.append(weakref.ref(model.backbone))
        gc.collect()
        weights = sum(isinstance(one, nn.Parameter) for one in gc.get_objects())
        tensors = sum(isinstance(one, torch.Tensor) for one in gc.get_objects())
        threads = sum(one.name.startswith("engine ") for one in threading.enumerate())
        counts.append((weights, threads))
        assert tensors < 2 * weights
    assert [one() is None for one in dead] == [True] * 9 + [False]
    assert len(set(counts[2:])) == 1 and counts[-1][1] == 1, counts
    for model in models.values():
        if model._engine is not None:
            model._engine.close()
    gc.collect()
    assert dead[-1]() is None, "a closed engine keeps nothing either"


def test_one_in_use_is_never_unloaded_and_is_waited_for(models, room):
    room(1, lambda: models["a"].memory._engines)
    assert models["a"].ready(60)
    go_on, begun = threading.Event(), threading.Event()

    def held(plan, backbone):
        def wait(message, reply):
            if isinstance(message, Step):
                begun.set()
                go_on.wait(30)

        return tap(plan.flow, wait)

    recipe = Recipe.make(backbone="a", width=32, height=32, steps=2, prompt="a red cube")
    slow = models["a"].engine(0).submit(recipe, watch=held)
    assert begun.wait(30)
    words = []
    follow = threading.Thread(target=lambda: words.extend(waiting(models["b"], patience=0.5)))
    follow.start()
    time.sleep(1.0)
    assert follow.is_alive(), "who waits for its turn is patient"
    assert models["b"].waits_for_room and loaded(models) == ["a"] and not models["a"].engine(0).unload("no")
    go_on.set()
    assert slow.result().images
    follow.join(60)
    assert any(one.startswith("Waiting for memory that a has in use") for one in words)
    assert models["b"].ready(60) and loaded(models) == ["b"]


def test_a_model_for_which_there_is_no_room_at_all_is_loaded_all_the_same(models, room, caplog):
    room(0, lambda: models["a"].memory._engines)
    assert run(models["a"]).result().images
    assert "a takes 0.3 GB, and less is free" in caplog.text


def test_the_page_and_the_command_line_share_memory_alike(folders, room, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_BACKBONE", str(folders["a"]))
    state = AppState(str(folders["b"]))
    assert len({id(model.memory) for model in state.models.values()}) == 1
    engines = Engines()
    try:
        room(1, lambda: engines._memory._engines)
        assert engines(str(folders["a"])).backbone is not None
        assert engines(str(folders["b"])).backbone is not None
        assert engines._engines[str(folders["a"])].backbone is None
        assert engines(str(folders["a"])).backbone is not None
    finally:
        engines.close()


def test_what_is_free_is_what_machine_container_and_limit_leave(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "_mapped", lambda: GIGABYTE)
    machine = memory.psutil.virtual_memory().available - GIGABYTE
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert free(cpu) == pytest.approx(machine, abs=GIGABYTE)
    for name, text in {"memory.max": "3000000000\n", "memory.current": "2500000000\n",
                       "memory.stat": "anon 5\nactive_file 500000000\ninactive_file 700000000\n"}.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    assert free(cpu) == 3_000_000_000 - 2_500_000_000 + 1_200_000_000 - GIGABYTE
    (tmp_path / "memory.max").write_text("max\n")
    assert free(cpu) == pytest.approx(machine, abs=GIGABYTE)
    own = memory.psutil.Process().memory_info().rss
    monkeypatch.setenv("NINE_WAYS_MEMORY", "0.5")
    assert free(cpu) == pytest.approx(GIGABYTE // 2 - own, abs=GIGABYTE // 10)
    for wrong in ("much", "0", "-3", "nan"):
        monkeypatch.setenv("NINE_WAYS_MEMORY", wrong)
        with pytest.raises(ValueError, match=f"NINE_WAYS_MEMORY={wrong}: give gigabytes"):
            free(cpu)
