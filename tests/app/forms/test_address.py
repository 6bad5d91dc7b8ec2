"""What stands behind the # of the page's address."""

import pytest

from app.forms import address
from app.schema.recipe import Recipe, RecipeError

REGION = {"box": [0.1, 0.2, 0.5, 0.6], "words": "a red cube"}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe.make(prompt="a cube & a ball, 50 % #1?\n“ß”", negative="é=+", seed=2**63, steps=7, cfg_scale=2.5),
        Recipe.make(prompt="a ((red)) \\(cube:1.3) [on] <lora:x:0.8> grass", negative="(a|b:0.5)"),
        Recipe.make(sampler="ancestral", sampler_knobs={"eta": 0.25}, schedule="karras", afs=True, stop_sigma=0.3),
        Recipe.make(seed=2, variation_seed=2**63, variation_strength=0.25),
        Recipe.make(count=4, width=256, height=64, cfg_start=0.1, cfg_end=0.9, backbone="exact", sampler="heun"),
        Recipe.make(methods=[{"name": "multidiffusion", "knobs": {"stride": 8}, "inputs": {}}]),
    ],
)
def test_a_recipe_comes_back_from_its_address(recipe):
    text = address.of_recipe(recipe)
    assert text.isascii() and " " not in text and text.startswith("#create?prompt=")
    assert address.read(text).recipe == recipe


def test_what_is_at_its_default_is_not_in_the_address():
    written = address.of_recipe(Recipe.make(prompt="a cone", seed=7))
    assert written == "#create?prompt=a%20cone&backbone=still-life&seed=7"


def test_of_the_machine_that_made_an_image_the_address_says_nothing():
    made = Recipe.make(prompt="a cone", revision="abc", versions={"torch": "2"}, unused=("afs",))
    assert address.read(address.of_recipe(made)).recipe == Recipe.make(prompt="a cone")
    assert address.read("#create?prompt=a&revision=x&versions=%7B%7D").recipe == Recipe.make(prompt="a")


def test_what_a_person_writes_by_hand_is_read_too():
    assert address.read("#create?prompt=a+red+cube&steps=12&cfg_scale=3").recipe == Recipe.make(
        prompt="a red cube", steps=12, cfg_scale=3
    )


@pytest.mark.parametrize("text", ["", "#", None, "#nonsense", "#create", "?", "#create?", 5, "#history?prompt=x"])
def test_without_settings_there_is_no_recipe(text):
    assert address.read(text).recipe is None


@pytest.mark.parametrize(
    "text, field",
    [
        ("steps=999", "steps"), ("steps=many", "steps"), ("sampler=none", "sampler"), ("colour=red", "colour"),
        ("methods=%7B", "methods"), ("afs=perhaps", "afs"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_at_its_field(text, field):
    with pytest.raises(RecipeError) as refused:
        address.read(f"#create?prompt=a&{text}").recipe  # noqa: B018
    assert [problem.field for problem in refused.value.problems] == [field]


def test_tabs_and_comparisons():
    assert [address.read(f"#{tab}").tab for tab in address.TABS] == list(address.TABS)
    assert address.read(address.of_comparison("20260101-a")).comparison == ("20260101-a", "")
    assert address.read(address.of_comparison("20260101-a", "sig")).comparison == ("20260101-a", "sig")
    assert address.read("#create?id=x").comparison == ("", "")
