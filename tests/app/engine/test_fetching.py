"""What the engine fetches from the Hub, and what is said meanwhile: from a Hub on this machine, at its own pace."""

import threading
from collections.abc import Callable

import pytest

from app.engine.engine import Engine
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.models import Model
from tests.support import tiny
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
