"""What is good to know is said at the cards: where is measured, what a mask keeps, how many steps are made, which words
the prompt lacks."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import backbones
from app.engine.familiarity import missed
from app.forms.examples import of_scene
from app.forms.prompt_words import missing
from app.forms.stack import Card, Stack
from app.schema.method_inputs import Use
from app.schema.recipe import Problem
from app.service.models import Model
from app.tabs import methods
from backbones.embedded import EMBEDDED
from conditioning.sampling.attention.maps import places
from tests.support.networks import embedded

EXACT = SimpleNamespace(backbone=backbones.load("exact"), name="Exact")
NET = SimpleNamespace(backbone=SimpleNamespace(offers=frozenset()), name="Net", id="net")  # one on latents


def cards(*each):
    return Stack(cards=tuple(Card.model_validate(one) for one in each))


def test_a_measurement_says_where_it_is_taken():
    text = cards({"name": "ddnm", "inputs": {"measured": {"name": "jpeg"}}})
    (note,) = methods.notes(text, EXACT, 10).values()
    assert "exactly" in note and "Net" not in note
    assert "as well as the VAE allows: Net" in methods.notes(text, NET, 10)["methods.0.inputs.measured"]


def test_a_mask_says_what_becomes_of_the_image_outside():
    text = cards({"name": "repaint"}, {"name": "ilvr"}, {"name": "sdedit"})
    found = methods.notes(text, NET, 0)
    assert found.keys() == {"methods.0.inputs.mask", "methods.2.inputs.mask"}
    assert all("Outside of the mask Net gives the image back as its VAE does" in words for words in found.values())
    assert not methods.notes(text, EXACT, 0), "the oracle's state is the pixels"


@pytest.mark.parametrize(
    ("name", "knob", "value", "made"),
    [("sdedit", "strength", 0.05, 1), ("sdedit", "strength", 0.25, 3), ("blended_latent", "skip", 0.25, 8)],
)
def test_a_method_that_begins_later_says_how_many_steps_it_makes(name, knob, value, made):
    found = methods.notes(cards({"name": name, "knobs": {knob: value}}), EXACT, 10)
    assert found == {f"methods.0.knobs.{knob}": f"Makes {made} of the 10 steps."}
    assert not methods.notes(cards({"name": name, "knobs": {knob: "much"}}), EXACT, 10)


def test_a_map_says_whether_it_is_read_as_it_is():
    given = {"depth": "a" * 64, "edges": "b" * 64}
    found = methods.notes(cards({"name": "controlnet", "inputs": given}), NET, 0)
    assert found.keys() == {"methods.0.inputs.depth", "methods.0.inputs.edges"}
    assert all("as it is" in words for words in found.values())
    found = methods.notes(cards({"name": "controlnet", "inputs": given, "knobs": {"edges_by": "canny"}}), NET, 0)
    assert found["methods.0.inputs.edges"] == "Found in the image by canny."
    assert "as it is" in found["methods.0.inputs.depth"]
    assert not methods.notes(cards({"name": "controlnet"}), NET, 0)


BOX = {"left": 0, "top": 0, "right": 1, "bottom": 1}


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"name": "layout_guidance", "inputs": {"boxes": [{**BOX, "text": "a green cone"}]}}, "“green”, “cone”"),
        ({"name": "layout_guidance", "inputs": {"boxes": [{**BOX, "text": "the Red  sphere"}]}}, ""),
        ({"name": "layout_guidance", "inputs": {"boxes": [{**BOX, "text": "sphere red"}]}}, "“sphere red”"),
        ({"name": "layout_guidance", "inputs": {"boxes": [{**BOX, "text": ""}]}}, ""),
        ({"name": "multidiffusion", "inputs": {"regions": [{**BOX, "text": "a green cone"}]}}, ""),
        ({"name": "attend_and_excite", "inputs": {"words": "sphere, cone"}}, "“cone”"),
        ({"name": "prompt_to_prompt", "inputs": {"source_prompt": "a cone", "weights": "red:2, cone:0.5"}}, "“cone”"),
        ({"name": "prompt_to_prompt", "inputs": {"source_prompt": "a cone", "only": "cone"}}, ""),
        ({"name": "classifier_guidance", "inputs": {"asked": "cone"}}, ""),
    ],
)
def test_words_that_a_method_looks_for_and_the_prompt_lacks_are_said(card, words):
    found = methods.missing_words(cards(card), "a red sphere on grass")
    assert [words in said for said in found.values()] == ([True] if words else [])


def test_what_is_said_to_lack_is_what_the_run_stops_at():
    """The same rule, by the network's own words."""
    words = [("a", [0]), ("red", [1]), ("sphere", [2, 3]), (",", [4]), ("on", [5]), ("grass", [6])]
    network = SimpleNamespace(words=lambda row: words)
    for text in ("red sphere", "A red", "the sphere", "sphere red", "cone", "sphere, on grass", "an", "red grass"):
        use = Use(name="layout_guidance", inputs={"boxes": ({**BOX, "text": text},)})
        try:
            places([text], {"tokens": torch.zeros(1, 7)}, network)
            stops = False
        except ValueError:
            stops = True
        assert bool(missing(use, "a red sphere, on grass")) is stops, text


def test_all_that_is_said_of_one_field_is_shown():
    notes = [Problem("prompt", "One."), Problem("steps", "Two."), Problem("prompt", "Three.")]
    sent = json.loads(methods.said([], Stack(), NET, "token", notes))
    assert sent["unused"] == {"prompt": "One. Three.", "steps": "Two."}


def test_fields_that_are_wrong_are_named_so_that_what_is_said_at_the_others_can_go():
    problems = [Problem("cfg_start", "Late."), Problem("methods.0.knobs.weight", "Too much."), Problem("cfg_start", "")]
    sent = json.loads(methods.said(problems, Stack(), NET, "token"))
    assert sent["wrong"] == ["cfg_start"] and sent["problems"] == {"methods.0.knobs.weight": "Too much."}


class Blurry:
    """An autoencoder that keeps what is larger than eight pixels."""

    offers, default_size = frozenset(), 128
    encode_image = staticmethod(lambda pixels: F.avg_pool2d(pixels, 8))
    decode = staticmethod(lambda latents: F.interpolate(latents, scale_factor=8))


def patches(size):
    """(size x size) random colours, each a square of one image."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).resize((256, 128), Image.Resampling.NEAREST)


def test_an_image_that_is_not_of_the_networks_world_is_said_at_its_field(monkeypatch):
    model = SimpleNamespace(id="a", name="Net", backbone=Blurry(), declared=Model("still-life").declared)
    images = {"plain": Image.new("RGB", (50, 80), "red"), "fine": patches(128)}
    monkeypatch.setattr(methods, "_MISSED", {})
    inputs = [{"name": "sdedit", "inputs": {"source": sha}} for sha in images]
    measured = {"name": "ddnm", "inputs": {"measured": {"name": "jpeg", "image": "fine"}}}
    found = methods.far_images(cards(*inputs, measured), model, images.get)
    assert found.keys() == {"methods.1.inputs.source", "methods.2.inputs.measured"}
    assert "Far from what Net was trained on" in found["methods.1.inputs.source"]
    assert found == methods.far_images(cards(*inputs, measured), model, None), "looked at once"
    assert not methods.far_images(cards(*inputs), Model("still-life"), images.get), "not before it has loaded"
    model.declared = Model("some/checkpoint").declared
    assert not methods.far_images(cards(*inputs), model, images.get), "nor of a network of any images"


@pytest.mark.slow
def test_still_life_gives_renders_back_and_not_what_it_has_never_seen():
    net, far = embedded("still-life"), EMBEDDED["still-life"].far
    assert max(missed(net, of_scene(n, 128).known.image) for n in range(4)) < far
    assert min(missed(net, patches(size)) for size in (16, 64, 128)) > far


def test_all_notes_at_a_field_are_said_and_its_label_once():
    fields = ("prompt", "methods.0.inputs.also")
    unused = [Problem(field, f"Words: {words}.") for words in ("one", "two: three") for field in fields]
    model = SimpleNamespace(backbone=None, name="Net", id="net")
    said = json.loads(methods.said((), Stack(), model, "", unused))
    assert said["unused"] == {"prompt": "Words: one. two: three."}
    assert said["notes"] == {"methods.0.inputs.also": "Words: one. two: three."}


def test_a_card_that_asks_for_lora_files_lists_those_that_are_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path))
    (tmp_path / "ink.safetensors").write_bytes(bytes(36_400_000))
    stack = cards({"name": "lora"})
    sent = json.loads(methods.said([], stack, NET, "token"))
    assert sent["loras"][0] == {"name": "ink", "size": "36 MB"} and sent["loras"][1]["name"] == "night"
    assert sent["takes_loras"] and json.loads(methods.said([], Stack(), NET, "token"))["loras"] is None
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    assert not json.loads(methods.said([], stack, NET, "token"))["takes_loras"]
