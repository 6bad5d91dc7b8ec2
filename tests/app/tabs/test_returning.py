"""A page that opens goes on with what its browser kept; Back, Forward and links lead to what they name."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from app.comparison.spec import Axis, Change, Comparison
from app.forms import address
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import compare, create
from app.tabs.returning import Returning

NOW = SimpleNamespace(session_hash="now")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    state = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
    with gr.Blocks(), gr.Tabs() as tabs:
        with gr.Tab("Create"):
            making = create.tab(state)
        with gr.Tab("Compare") as own:
            cells = compare.tab(state, making, tabs, own)
        return Returning(state, making, cells, tabs)


def kept(opened, *recipes):
    """Images of an earlier page of this visit, as its browser has their ids."""
    entries = [opened.state.history.add(Image.new("RGB", (16, 16)), recipe) for recipe in recipes]
    return [list(pair) for pair in opened.state.visits.with_signatures("image", [str(entry.id) for entry in entries])]


def arrive(opened, **given):
    return opened.arrive(NOW, SimpleNamespace(_data=given))


def test_a_reload_brings_back_images_settings_and_the_visit(opened):
    token = opened.state.visit_token("before")
    images = kept(opened, Recipe.make(seed=1, prompt="a cone"), Recipe.make(seed=2, prompt="a cube"))
    settings = {"prompt": "typed, not generated", "steps": 33, "sampler": "ancestral", "knob_eta": 0.5, "seed": "7"}
    settings |= {field: 0.25 for field in opened.create.knobs.controls if field.endswith("eta")}
    back = arrive(opened, visit_token=token, tab="1", images=images, comparisons=[], settings=settings)
    assert opened.state.visit_token("now") == token
    assert [shown.recipe.seed for shown in back[opened.create.visit]] == [1, 2]
    assert "a cone" in back[opened.create.stage] and back[opened.create.film].count("<img") == 2
    controls = opened.create.control
    assert back[controls["prompt"]] == "typed, not generated" and back[controls["steps"]] == 33
    assert back[controls["sampler"]] == "ancestral" and back[controls["seed"]] == "7"
    eta = next(control for field, control in opened.create.knobs.controls.items() if field.endswith("eta"))
    assert back[eta]["value"] == 0.25
    sent = json.loads(back[opened.create.kept])
    assert sent["visit_token"] == token and [list(pair) for pair in sent["images"]] == images and sent["all"]


def test_ids_of_others_and_what_is_gone_do_not_come_back(opened):
    (mine,) = kept(opened, Recipe.make(seed=1))
    (gone,) = kept(opened, Recipe.make(seed=2))
    opened.state.history.delete(int(gone[0]))
    ((theirs, _),) = kept(opened, Recipe.make(seed=3))
    back = arrive(opened, images=[[theirs, mine[1]], gone, mine, ["x", "y"]], comparisons=[["nothing", "x"]])
    assert [shown.recipe.seed for shown in back[opened.create.visit]] == [1]
    assert back[opened.compare.visit] == []


@pytest.mark.parametrize("given", [{}, {"images": "x", "comparisons": 5, "settings": [], "address": 7, "tab": None}])
def test_what_a_browser_cannot_have_kept_is_a_first_visit(opened, given):
    back = arrive(opened, **given)
    assert back[opened.create.visit] == []
    assert opened.create.stage not in back and opened.create.control["prompt"] not in back


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "gone in this version"}, {"schedule": None}, {"backbone": "elsewhere"}, {"methods": "{"},
        {"steps": None}, {"prompt": {"not": "text"}}, {"unheard": 1},
    ],
)  # fmt: skip
def test_settings_that_can_no_longer_be_are_left_as_the_page_has_them(opened, settings):
    back = arrive(opened, settings={**settings, "negative": "blurry"})
    controls = opened.create.control
    assert back[controls["negative"]] == "blurry"
    assert not any(controls[name] in back for name in settings if name in controls)


def test_an_address_names_a_recipe_its_image_a_tab(opened):
    recipe = Recipe.make(prompt="a cone", seed=4, backbone="exact")
    images = arrive(opened, images=kept(opened, recipe))[opened.create.visit]
    back = opened.go(images, [], NOW, SimpleNamespace(_data={"address": address.of_recipe(recipe)}))
    assert back[opened.create.control["prompt"]] == "a cone" and back[opened.tabs].selected == "create"
    assert "a cone" in back[opened.create.stage]
    away = opened.go(images, [], NOW, SimpleNamespace(_data={"address": "#taxonomy"}))
    assert away[opened.tabs].selected == "taxonomy"
    wrong = opened.go(images, [], NOW, SimpleNamespace(_data={"address": "#create?prompt=a&steps=999"}))
    assert "999" in wrong[opened.create.restored] and opened.create.control["prompt"] not in wrong


def test_in_private_a_comparison_opens_by_its_signature_only(opened, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    base = Recipe.make(prompt="a cone", backbone="exact", width=64, height=64)
    axis = Axis(name="steps", values=(Change(label="1", recipe={"steps": 1}), Change(label="2", recipe={"steps": 2})))
    id = opened.compare.store.add(Comparison(title="steps", base=base, axes=(axis,)))
    ((_, signature),) = opened.state.visits.with_signatures("comparison", [id])
    asked = [address.of_comparison(id, sign) for sign in ("", "wrong", signature)]
    found = [opened.go([], [], NOW, SimpleNamespace(_data={"address": text})) for text in asked]
    assert [opened.compare.news in back for back in found] == [False, False, True]
    assert found[2][opened.compare.visit] == [id] and found[2][opened.tabs].selected == "compare"
    back = arrive(opened, comparisons=[[id, signature]])
    assert back[opened.compare.visit] == [id]


def test_settings_are_undone_and_reset(opened):
    put = opened.put(SimpleNamespace(_data={"settings": {"steps": 44, "prompt": "before"}}))
    controls = opened.create.control
    assert put[controls["steps"]] == 44 and put[controls["prompt"]] == "before"
    assert "undone" in put[opened.create.restored]
    assert list(opened.put(SimpleNamespace(_data=None))) == [opened.create.restored]
    back = opened.create.reset("exact")
    assert back[controls["steps"]] == create.DEFAULTS.steps and back[controls["seed"]] == "-1"
    assert back[controls["width"]] == back[controls["height"]] == opened.state.model("exact").default_size()
    assert not any(controls[name] in back for name in ("prompt", "negative", "methods", "backbone"))
