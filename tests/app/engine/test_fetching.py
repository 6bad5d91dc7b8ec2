"""What the engine fetches from the Hub, and what is said meanwhile: from a Hub on this machine, at its own pace."""

import json
import shutil
import threading
from collections.abc import Callable

import pytest
import torch

from app.engine import downloads
from app.engine.engine import Engine, Run
from app.engine.events import Cancelled, Failed, Finished, Preparing
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.models import Model
from app.service.state import AppState
from app.storage.image_files import content_hash
from backbones import controlnets
from tests.support import tiny
from tests.support.full_methods import IMAGE
from tests.support.hub import Hub, serving


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("hub") / "name")


@pytest.fixture
def on_the_hub(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    with serving(monkeypatch, tmp_path / "cache") as made:
        made.repositories["owner/name"] = checkpoint
        yield made


def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def test_a_model_says_how_far_its_download_is(engines: Callable[..., Engine], on_the_hub: Hub) -> None:
    on_the_hub.hold.clear()
    model = Model("owner/name@v2")
    model._engine = engine = engines("owner/name@v2", wait=False)
    model._there.set()
    model._thread = threading.current_thread()
    until(lambda: "Fetching" in engine.status)
    kind, words = model.state()
    assert kind == "loading" and words.startswith("Fetching from the Hugging Face Hub: ") and " of 4." in words
    on_the_hub.hold.set()
    assert engine.wait(30), engine.trouble
    assert engine.name == model.id == "owner/name@v2" and model.state() == ("ready", "Ready")
    made = engine.submit(Recipe.make(backbone="owner/name@v2", width=32, height=32, steps=1)).result()
    assert read(made.images[0].info["parameters"]).recipe.backbone == "owner/name@v2"


def test_a_run_may_be_asked_for_while_its_model_is_fetched(on_the_hub: Hub, tmp_path, monkeypatch) -> None:
    """What is half in the cache is no fault of the recipe: it is checked once the model is here."""
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "out"))
    on_the_hub.hold.clear()
    state = AppState("owner/name")
    model = state.model()
    fields = {"backbone": "owner/name", "width": 32, "height": 32, "steps": 1}
    good, wrong = (state.request(Recipe.make(**fields | more)) for more in ({}, {"width": 33}))
    until(lambda: model.engine() is not None and "Fetching" in model.status)
    assert state.runs.problems(good) == state.runs.problems(wrong) == []
    said = state.runs.check(good)
    assert said.nfe is None and said.nfe_reason and not said.problems
    on_the_hub.hold.set()
    assert model.ready(30), model.trouble
    assert state.runs.submit(good).result().images
    assert [one.field for one in state.runs.problems(wrong)] == ["width"]
    model.engine().close()


# ---- ControlNets -----------------------------------------------------------------------------------------------------

MAP = content_hash(IMAGE)
FIELDS = {"backbone": "model", "width": 32, "height": 32, "steps": 2, "prompt": "a red cube"}


@pytest.fixture(scope="module")
def controlnet(checkpoint, tmp_path_factory):
    """A folder with a ControlNet for the model, larger than a megabyte."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16))
    for values in made.parameters():
        torch.nn.init.normal_(values, std=0.05)
    folder = tmp_path_factory.mktemp("hub") / "depth"
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def engine(engines: Callable[..., Engine], checkpoint, on_the_hub: Hub, monkeypatch) -> Engine:
    """Of a model whose family has a ControlNet on the Hub."""
    monkeypatch.setitem(controlnets.FAMILIES, (32, (32, 64)), ("a small family", {"depth": "owner/depth"}))
    return engines(str(checkpoint), name="model")


def controlled(engine: Engine, **fields: object) -> Run:
    method = {"name": "controlnet", "inputs": {"depth": MAP}}
    return engine.submit(Recipe.make(**FIELDS | fields, methods=[method]), {MAP: IMAGE})


def test_a_controlnet_is_fetched_while_other_runs_go_on(
    engine: Engine, on_the_hub: Hub, controlnet, monkeypatch
) -> None:
    monkeypatch.setattr(downloads, "MEGABYTE", 1000)
    on_the_hub.repositories["owner/depth"] = controlnet
    on_the_hub.hold.clear()
    waiting = controlled(engine)
    events = iter(waiting)
    size = sum(one.stat().st_size for one in controlnet.iterdir()) // 1000
    until(lambda: isinstance(event := next(events), Preparing) and event.steps == size)
    beside = [engine.submit(Recipe.make(**FIELDS, seed=seed)).result() for seed in (1, 2)]
    assert all(one.images for one in beside) and not waiting.done
    also = controlled(engine, seed=3)  # waits for the same
    on_the_hub.hold.set()
    ends = [list(events)[-1], list(also)[-1]]
    assert all(isinstance(one, Finished) for one in ends)
    assert len([one for one in on_the_hub.asked if one.endswith(".safetensors")]) == 1
    engine.backbone.controlnets["depth"] = str(controlnet)
    engine.forget()
    assert controlled(engine).result().images[0].tobytes() == ends[0].images[0].tobytes()
    assert controlled(engine).result().images[0].tobytes() != beside[0].images[0].tobytes()


@pytest.mark.parametrize("what, words", [
    ({"cross_attention_dim": 768}, "has cross_attention_dim 768 and this network 32"),
    ({"_class_name": "FluxControlNetModel"}, "is a FluxControlNetModel by its config.json or its tensors: what fits"),
    (None, "owner/depth is gated: accept its conditions"),
])  # fmt: skip
def test_a_controlnet_that_cannot_be_fails_its_run_before_any_weights(
    engine: Engine, on_the_hub: Hub, controlnet, tmp_path, what, words
) -> None:
    folder = shutil.copytree(controlnet, tmp_path / "depth")
    if what is not None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | what))
    on_the_hub.repositories["owner/depth"] = folder if what is not None else "GatedRepo"
    failed = list(controlled(engine))[-1]
    assert isinstance(failed, Failed) and failed.field == "methods" and words in failed.reason
    assert failed.reason.startswith("The ControlNet owner/depth could not be fetched: ")
    assert not [one for one in on_the_hub.asked if one.endswith(".safetensors")]
    assert engine.submit(Recipe.make(**FIELDS)).result().images


def test_a_run_that_is_cancelled_waits_for_nothing(engine: Engine, on_the_hub: Hub, controlnet) -> None:
    on_the_hub.repositories["owner/depth"] = controlnet
    on_the_hub.hold.clear()
    run = controlled(engine)
    events = iter(run)
    until(lambda: isinstance(next(events), Preparing))
    run.cancel()
    assert isinstance(list(events)[-1], Cancelled)
    on_the_hub.hold.set()
    assert controlled(engine).result().images
