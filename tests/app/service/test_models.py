"""The networks of a process: the words that they know, and what is said where one cannot be loaded."""

from types import SimpleNamespace

from app.schema.recipe import Recipe
from app.schema.this_machine import Here, differences
from app.service import models
from app.service.models import Model, vocabulary
from app.service.state import AppState


def test_examples_and_surprises_are_words_of_the_world():
    from app.catalog.prompts import EXAMPLES, surprise
    from world.captions import PLAIN_VOCABULARY
    from world.understanding import unknown_words

    for text in (*EXAMPLES, surprise()):
        assert not unknown_words(text, PLAIN_VOCABULARY), text


def test_the_nearest_words_are_those_that_the_network_knows():
    from world.captions import PLAIN_VOCABULARY
    from world.vocabulary import VOCABULARY

    def model(id, words):
        made = Model(id)
        unknown = lambda text: [w for w in text.split() if w not in words]  # noqa: E731
        backbone = SimpleNamespace(unknown_words=unknown, encode_prompt=lambda texts: {"text": texts})
        made._engine = SimpleNamespace(backbone=backbone)
        assert vocabulary(backbone) == (words if "cube" in words else frozenset())
        return made

    text = "a huge crimson zebra"
    shipped = model("still-life", PLAIN_VOCABULARY)
    assert shipped.unknown(text) == [("huge", "large"), ("crimson", "red"), ("zebra", "")]
    assert model("folder/of/the/next", VOCABULARY).unknown(text) == [("crimson", "red"), ("zebra", "")]
    assert model("another", {"a"}).unknown("a zebra") == [("zebra", "")]


def test_a_folder_is_called_by_its_name_and_found_by_its_weights(tmp_path, monkeypatch):
    """Images that another machine made of the same weights find them here, whatever their folder is called."""
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "out"))
    monkeypatch.setenv("NINE_WAYS_BACKBONE", "https://huggingface.co/owner/name")
    state = AppState(str(tmp_path / "models" / "sd15"))
    assert list(state.models)[:2] == ["sd15", "owner/name"] and state.model().place == str(tmp_path / "models" / "sd15")
    assert not any(str(tmp_path) in text for choice in state.choices for text in choice)
    state.models["sd15"]._engine = SimpleNamespace(backbone=SimpleNamespace(revision="0123abcd"), trouble=None)
    made = [Recipe.make(backbone=name, revision=revision) for name, revision in (
        ("sd15", ""), ("stable-diffusion-v1-5", "0123abcd"), ("stable-diffusion-v1-5", "other"), ("another", "")
    )]  # fmt: skip
    assert [state.same(one) for one in made] == ["sd15", "sd15", None, None]
    here = Here({"sd15": "0123abcd", "exact": ""}, versions={})
    assert [bool(differences(one, here)) for one in made] == [False, False, True, True]


def test_a_network_that_cannot_be_loaded_is_said_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "out"))
    state = AppState(str(tmp_path / "no-such-folder"))
    engine = state.model().engine(60)
    assert engine is not None
    assert not engine.wait(600)  # which comes back as soon as it is known
    kind, words = state.model().state()
    assert kind == "failed"
    assert "could not be loaded" in words
    engine.close()


def test_a_space_with_a_gpu_begins_with_a_checkpoint_for_any_words(tmp_path, monkeypatch):
    for name in ("NINE_WAYS_BACKBONE", "SYSTEM", "SPACES_ZERO_GPU"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "gpu").touch()
    monkeypatch.setattr(models, "GPU", tmp_path / "gpu")
    assert models.present()[0] == "still-life", "not on a machine of one's own"
    monkeypatch.setenv("SYSTEM", "spaces")
    assert models.present()[:2] == [models.ON_A_GPU, "still-life"]
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert models.present()[0] == "still-life"
    monkeypatch.delenv("SPACES_ZERO_GPU")
    monkeypatch.setattr(models, "GPU", tmp_path / "none")
    assert models.present()[0] == "still-life"
    monkeypatch.setenv("NINE_WAYS_BACKBONE", "exact")
    monkeypatch.setattr(models, "GPU", tmp_path / "gpu")
    assert models.present()[0] == "exact"
