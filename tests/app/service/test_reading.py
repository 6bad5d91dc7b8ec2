"""Recipes and comparisons from JSON: images by path or hash, and everything that is wrong at its field."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from app.comparison.spec import KIND
from app.schema.recipe import RecipeError
from app.service.checking import check
from app.service.reading import images_in, images_sent, read_comparison, read_recipe
from app.storage.image_files import ImageError, content_hash, png_bytes
from app.storage.image_history import History
from common.image_bytes import data_uri

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
OTHER = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
SHA, OTHER_SHA = content_hash(IMAGE), content_hash(OTHER)
ILVR = {"name": "ilvr", "inputs": {"reference": "photos/one.png"}}
DDNM = {
    "name": "ddnm",
    "inputs": {"measured": {"name": "inpainting", "image": "photos/one.png", "parameters": {"mask": "two.png"}}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(png_bytes(IMAGE))
    (tmp_path / "two.png").write_bytes(png_bytes(OTHER))
    return tmp_path


def recipe(*methods, **fields):
    return {"backbone": "exact", "width": 64, "height": 64, "steps": 3, "methods": list(methods), **fields}


def test_a_path_in_a_recipe_is_the_image_beside_its_file(folder):
    asked = read_recipe(json.dumps(recipe(ILVR, DDNM)), images_in(folder))
    ilvr, ddnm = asked.recipe.methods
    assert ilvr.inputs["reference"] == SHA and ddnm.inputs["measured"].image == SHA
    assert ddnm.inputs["measured"].parameters == {"mask": OTHER_SHA}
    assert set(asked.images) == {SHA, OTHER_SHA} and not asked.problems and not asked.missing


def test_a_hash_is_the_input_that_the_history_keeps(folder, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(folder / "outputs"))
    text = json.dumps(recipe({"name": "ilvr", "inputs": {"reference": SHA}}))
    assert [p.field for p in read_recipe(text, images_in(folder)).problems] == ["methods.0.inputs.reference"]
    assert not (folder / "outputs").exists(), "looking makes no folder"
    History().keep_input(IMAGE)
    asked = read_recipe(text, images_in(folder))
    assert not asked.problems and content_hash(asked.images[SHA]) == SHA


def test_images_that_are_sent_are_in_the_message_and_no_file_is_opened(folder):
    find = images_sent(lambda sha: IMAGE if sha == SHA else None)
    assert content_hash(find(data_uri(IMAGE))) == SHA == content_hash(find(SHA))
    whole = data_uri(IMAGE)
    for name in ("two.png", str(folder / "two.png"), "0" * 64, whole[:-40], whole.replace("image/png", "text/html"),
                 "data:image/png;base64,AAAA", "data:image/png;base64,?"):  # fmt: skip
        with pytest.raises(ImageError):
            find(name)


def test_everything_that_is_wrong_is_said_at_its_field(folder):
    wrong = recipe(
        {"name": "ilvr", "inputs": {"reference": "nowhere.png"}, "knobs": {"detail": 999}}, {"name": "magic"},
        width=63, backbone="exact",
    )  # fmt: skip
    fields = [p.field for p in check(read_recipe(json.dumps(wrong), images_in(folder))).problems]
    assert sorted(fields) == ["methods.0.inputs.reference", "methods.0.knobs.detail", "methods.1", "width"]
    unreadable = recipe(ILVR, steps=0, cfg_scale="much", sampler="magic", nonsense=1)
    found = check(read_recipe(json.dumps(unreadable), images_in(folder)))
    assert sorted(p.field for p in found.problems) == ["cfg_scale", "nonsense", "sampler", "steps"]
    assert found.formula == "" and found.nfe is None and found.nfe_reason


@pytest.mark.parametrize("text", ["", "[]", "{", '{"methods": 3}', '{"methods": [3]}', '{"methods": [{"name": []}]}'])
def test_what_is_no_recipe_is_refused_in_words(text, folder):
    found = check(read_recipe(text, images_in(folder)))
    assert found.problems and all(one.message for one in found.problems)


def spec(**more):
    stack = [{"label": "none", "methods": []}, {"label": "ILVR", "methods": [ILVR]}]
    return {"base": recipe(), "axes": [{"name": "method", "values": stack}], **more}


@pytest.mark.parametrize("name", ["ground_truth", "truth"])  # the name of now, and that of version 0.1
def test_a_comparison_names_its_images_by_path_as_well(folder, name):
    scenes = [{"label": "one"}, {"label": "two", "swap": {"photos/one.png": "two.png", "red": "blue"}}]
    axes = [*spec()["axes"], {"name": "scene", "values": scenes}]
    text = json.dumps(spec(axes=axes) | {name: "photos/one.png"})
    comparison, images = read_comparison(text, images_in(folder))
    assert comparison.ground_truth == SHA and set(images) == {SHA, OTHER_SHA}
    assert comparison.axes[1].values[1].swap == {SHA: OTHER_SHA, "red": "blue"}
    assert comparison.axes[0].values[1].methods[0].inputs == {"reference": SHA}


def test_the_task_of_a_comparison_names_its_images_by_path_as_well(folder):
    names = {name: "photos/one.png" for name in ("source", "mask", "depth", "edges", "ground_truth")}
    task = names | {"references": ["two.png"], "observation": {"name": "blur", "image": "two.png"}}
    comparison, images = read_comparison(json.dumps(spec() | {"task": task}), images_in(folder))
    found = comparison.task
    assert {getattr(found, name) for name in names} == {SHA} and set(images) == {SHA, OTHER_SHA}
    assert found.references == (OTHER_SHA,) and found.observation.image == OTHER_SHA
    with pytest.raises(RecipeError) as refused:
        read_comparison(json.dumps(spec() | {"task": {"source": "nowhere.png"}}), images_in(folder))
    assert [problem.field for problem in refused.value.problems] == ["task.source"]


def test_a_comparison_that_the_page_saved_brings_its_images(folder):
    method = {"name": "ilvr", "inputs": {"reference": SHA}}
    axis = {"name": "method", "values": [{"label": "ILVR", "methods": [method]}, {"label": "none", "methods": []}]}
    file = {
        "kind": KIND,
        "comparison": {"base": recipe(), "axes": [axis]},
        "images": {SHA: base64.b64encode(png_bytes(IMAGE)).decode(), "x": "no image"},
    }
    comparison, images = read_comparison(json.dumps(file), images_in(folder))
    assert set(images) == {SHA} and comparison.size == 2


def test_all_that_is_wrong_with_a_comparison_is_said(folder):
    wrong = spec(ground_truth="nowhere.png") | {"base": recipe(steps=0), "nonsense": 1}
    with pytest.raises(RecipeError) as refused:
        read_comparison(json.dumps(wrong), images_in(folder))
    assert {p.field for p in refused.value.problems} == {"base.steps", "nonsense", "ground_truth"}
    for text in ("", "[]", "{}", '{"base": 3, "axes": [[], {"values": 3}]}'):
        with pytest.raises(RecipeError):
            read_comparison(text, images_in(folder))
