"""A page that opens goes on with what its browser kept; Back, Forward and links lead to what they name."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from app.comparison.spec import Axis, Change, Comparison
from app.forms import address
from app.schema.recipe import Recipe
from app.tabs import create
from backbones.unet import OFFERS
from tests.support.page import opened_page

NOW = SimpleNamespace(session_hash="now")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opened_page(tmp_path_factory.mktemp("outputs"))


def news(opened, back):
    """What the page's script gets."""
    return json.loads(back[opened.create.kept])


def fields(opened, back):
    """What it is to put into the controls."""
    return news(opened, back)["fields"]


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
    put = fields(opened, back)
    assert put["prompt"] == "typed, not generated" and put["steps"] == 33
    assert put["sampler"] == "ancestral" and put["seed"] == "7"
    eta = next(field for field in opened.create.knobs.controls if field.endswith("eta"))
    assert put[eta]["value"] == 0.25 and put[eta]["visible"]
    sent = news(opened, back)
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
    assert opened.create.stage not in back and "prompt" not in fields(opened, back)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "gone in this version"}, {"schedule": None}, {"backbone": "elsewhere"}, {"methods": "{"},
        {"steps": None}, {"prompt": {"not": "text"}}, {"unheard": 1},
    ],
)  # fmt: skip
def test_settings_that_can_no_longer_be_are_left_as_the_page_has_them(opened, settings):
    put = fields(opened, arrive(opened, settings={**settings, "negative": "blurry"}))
    assert put["negative"] == "blurry"
    assert not any(name in put for name in settings)


def test_an_address_names_a_recipe_its_image_a_tab(opened):
    recipe = Recipe.make(prompt="a cone", seed=4, backbone="exact")
    images = arrive(opened, images=kept(opened, recipe))[opened.create.visit]
    back = opened.go(images, [], NOW, SimpleNamespace(_data={"address": address.of_recipe(recipe)}))
    assert fields(opened, back)["prompt"] == "a cone" and news(opened, back)["tab"] == "create"
    assert "a cone" in back[opened.create.stage]
    away = opened.go(images, [], NOW, SimpleNamespace(_data={"address": "#taxonomy"}))
    assert news(opened, away) == {"fields": {}, "tab": "taxonomy"}
    wrong = opened.go(images, [], NOW, SimpleNamespace(_data={"address": "#create?prompt=a&steps=999"}))
    assert "999" in wrong[opened.create.restored] and not fields(opened, wrong)


def test_in_private_a_comparison_opens_by_its_signature_only(opened, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    base = Recipe.make(prompt="a cone", backbone="exact", width=64, height=64)
    axis = Axis(name="steps", values=(Change(label="1", recipe={"steps": 1}), Change(label="2", recipe={"steps": 2})))
    id = opened.compare.store.add(Comparison(title="steps", base=base, axes=(axis,)))
    ((_, signature),) = opened.state.visits.with_signatures("comparison", [id])
    asked = [address.of_comparison(id, sign) for sign in ("", "wrong", signature)]
    found = [opened.go([], [], NOW, SimpleNamespace(_data={"address": text})) for text in asked]
    assert [opened.compare.news in back for back in found] == [False, False, True]
    assert found[2][opened.compare.visit] == [id] and news(opened, found[2])["tab"] == "compare"
    back = arrive(opened, comparisons=[[id, signature]])
    assert back[opened.compare.visit] == [id]
    linked = news(opened, arrive(opened, address=asked[2]))
    assert linked["all"] and linked["comparisons"] == [[id, signature]] and linked["address"] == asked[2]


def test_settings_are_undone_and_reset(opened, monkeypatch):
    def put(data, added=()):
        return opened.put(list(added), NOW, SimpleNamespace(_data=data))

    back = put({"settings": {"steps": 44, "prompt": "before"}})
    assert fields(opened, back) == {"steps": 44, "prompt": "before"}
    assert "undone" in back[opened.create.restored]
    assert put(None).keys() == {opened.create.restored, opened.create.kept}
    column = Recipe.make(prompt="a cone", backbone="exact").to_json()
    back = put({"settings": {"columns": [column]}}, added=[column, column])
    assert back[opened.compare.own.added] == [column] and "1 column is added to Compare" in back[opened.create.restored]
    back = opened.create.reset("exact")
    controls = opened.create.control
    assert back[controls["steps"]] == create.DEFAULTS.steps and back[controls["seed"]] == "-1"
    assert back[controls["width"]] == back[controls["height"]] == opened.state.model("exact").default_size()
    assert not any(controls[name] in back for name in ("prompt", "negative", "methods", "backbone"))
    model = opened.state.model("exact")
    monkeypatch.setattr(type(model), "backbone", SimpleNamespace(id="sdxl-turbo", offers=OFFERS, default_size=512))
    back = opened.create.reset("exact")
    assert [back[controls[name]] for name in ("steps", "cfg_scale", "width")] == [4, 1.0, 512]
    assert "was made for" in back[opened.create.restored]


def test_columns_axes_and_rows_of_compare_come_back(opened):
    own, token = opened.compare.own, opened.state.visit_token("now")
    first, second = (Recipe.make(prompt=words, backbone="exact").to_json() for words in ("a cone", "a cube"))
    there = opened.state.take(Image.new("RGB", (16, 16), "red"), token)
    kept = {"columns": [first, "no recipe", second, 7], "shelf": {"red": there, "gone": "0" * 64}}
    kept |= {"rows": "image", "rows_values": "red", "columns_chosen": ["stack"], "along": "seed", "attend": True}
    for linked in (False, True):  # a link names settings of Create alone
        back = arrive(opened, visit_token=token, linked=linked, settings={**kept, "prompt": "typed"})
        assert back[own.added] == news(opened, back)["columns"] == [first, second]
        assert "a cone" in back[own.list] and "a cube" in back[own.list]
        assert back[own.shelf] == {"red": there}
        put = fields(opened, back)
        assert ("prompt" in put) is not linked
        assert {name: put.get(name) for name in kept if name in put} == {
            "rows": "image", "rows_values": "red", "columns_chosen": ["stack"], "along": "seed", "attend": True
        }  # fmt: skip
    assert fields(opened, arrive(opened, settings={"columns_chosen": ["gone"]}))["columns_chosen"] == []


def test_what_was_followed_is_shown_again_where_the_address_or_the_visit_names_it(opened):
    """From disk: the app may have been started anew since then."""
    paths, id, other = opened.paths, "0123456789ab", "0123456789ac"
    drawn = {"id": id, "runs": []}
    opened.state.trajectories.keep(id, drawn, {})
    ((_, signature),) = opened.state.visits.with_signatures("trajectory", [id])
    back = arrive(opened, address=address.of_trajectory(id, signature))
    assert json.loads(back[paths.news]) == drawn and news(opened, back)["tab"] == "trajectory"
    assert "no longer here" in arrive(opened, address=address.of_trajectory(id, "wrong"))[paths.note]
    assert "no longer here" in arrive(opened, address=address.of_trajectory(other, signature))[paths.note]
    back = arrive(opened, trajectories=[[id, signature], [id, "wrong"], [other, "x"]])
    assert news(opened, back)["trajectories"] == [[id, signature]] and paths.news not in back
    shown = paths.first(back[paths.waiting])  # as soon as the tab is opened
    assert json.loads(shown[paths.news]) == drawn and shown[paths.waiting] == ""
    assert paths.news not in paths.first("")
