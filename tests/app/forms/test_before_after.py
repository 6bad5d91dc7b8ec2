"""What an image is compared with on its stage: all that its methods were given, each as the run got it."""

import numpy as np
import pytest
from PIL import Image

from app.engine.method_checks import tensor
from app.forms.before_after import image_before, offered, source_recipe
from app.schema.recipe import Recipe
from app.storage.image_files import content_hash
from common.image_bytes import to_pixels
from conditioning.operators.annotators import canny
from conditioning.registry import METHODS
from tests.support.full_methods import full

WIDE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 96, 3), dtype=np.uint8)).resize((192, 80))
SHA = content_hash(WIDE)
IMAGES = {SHA: WIDE}


def recipe(*methods, **more):
    return Recipe.make(**{"width": 64, "height": 64, "methods": methods, **more})


def given(name, **more):
    return {**full(name), "inputs": {one: SHA for one in METHODS[name].inputs} | more}


@pytest.mark.parametrize("name, words", [
    ("sdedit", ["source"]), ("repaint", ["source"]), ("ddim_inversion", ["source"]), ("ddnm", ["observation"]),
    ("controlnet", ["depth map", "edge map", "other map"]), ("ilvr", ["reference"]), ("energy_guidance", ["target"]),
    ("layout_guidance", []), ("composable", []), ("prompt_to_prompt", ["source image"]), ("masactrl", ["source image"]),
])  # fmt: skip
def test_what_is_offered(name, words):
    found = offered(recipe(full(name)))
    assert [one.words for one in found] == words and all(one.key.startswith("0.") for one in found)


def test_each_image_is_offered_once():
    both = recipe({"name": "sdedit", "inputs": {"source": SHA}}, {"name": "repaint", "inputs": {"known": SHA}})
    assert [one.key for one in offered(both)] == ["0.source"]


def test_a_source_is_shown_as_the_run_gets_it():
    asked = recipe({"name": "sdedit", "inputs": {"source": SHA}}, width=64, height=128)
    shown = image_before(asked, "0.source", IMAGES)
    assert shown.size == (64, 128)
    run = to_pixels(tensor(WIDE, (64, 128)))[0].astype(int)
    assert abs(np.asarray(shown, int) - run).mean() < 8  # main fits it by another filter


def test_an_observation_is_what_was_measured_and_a_map_what_was_made_of_the_image():
    small = {"image": SHA, "name": "super_resolution", "parameters": {"factor": 8}}
    shown = np.asarray(image_before(recipe({"name": "ddnm", "inputs": {"measured": small}}), "0.measured", IMAGES))
    assert shown.shape == (64, 64, 3) and (shown[:8, :8] == shown[0, 0]).all() and shown.std() > 1
    by = {"name": "controlnet", "inputs": {"edges": SHA}, "knobs": {"edges_by": "canny"}}
    edges = np.asarray(image_before(recipe(by), "0.edges", IMAGES))
    assert np.array_equal(edges, to_pixels(canny(tensor(WIDE, (64, 64))))[0])
    style = {"name": "energy_guidance", "inputs": {"target": SHA}, "knobs": {"energy": "colours"}}
    assert np.asarray(image_before(recipe(style), "0.target", IMAGES)).std() > 20


@pytest.mark.parametrize("key", ["1.source", "0.mask", "nothing", "0.strength"])
def test_what_is_not_there_is_not_shown(key):
    with pytest.raises(KeyError):
        image_before(recipe({"name": "sdedit", "inputs": {"source": SHA, "mask": SHA}}), key, IMAGES)


def test_what_is_gone_is_not_shown():
    lost = {"image": SHA, "name": "inpainting", "parameters": {"mask": "f" * 64}}
    for use in ({"name": "sdedit", "inputs": {"source": "f" * 64}}, {"name": "ddnm", "inputs": {"measured": lost}}):
        with pytest.raises(KeyError):
            image_before(recipe(use), offered(recipe(use))[0].key, IMAGES)


def test_a_source_that_a_method_makes_itself_is_its_prompt_from_the_same_noise():
    """In that run it goes as it goes alone: tests/conditioning/sampling/attention/test_source_beside.py."""
    edits = {"name": "prompt_to_prompt", "inputs": {"source_prompt": "a red cube"}}
    asked = recipe(edits, {"name": "perturbed_attention"}, prompt="a blue cube", seed=7, steps=9, cfg_scale=3)
    assert source_recipe(asked, "0.source_prompt") == asked.but(prompt="a red cube", methods=asked.methods[1:])
    with pytest.raises(KeyError):
        image_before(asked, "0.source_prompt", {})
    for key in ("1.source_prompt", "0.only", "2.source_prompt", "x", "0"):
        assert source_recipe(asked, key) is None
    inverted = recipe({"name": "ddim_inversion", "inputs": {"source": SHA, "source_prompt": "a red cube"}}, edits)
    assert [one.key for one in offered(inverted)] == ["0.source"] and source_recipe(inverted, "1.source_prompt") is None
