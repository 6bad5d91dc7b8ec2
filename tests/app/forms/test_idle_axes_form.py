"""Axes of a comparison along which nothing would change: refused before the run, or said."""

import pytest
from PIL import Image

from app.forms import comparison_form
from app.forms.presets import READY
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_files import content_hash
from app.storage.image_history import History

BASE = Recipe(backbone="exact", width=16, height=16, steps=2, cfg_scale=1.0)
DEGRADED = Image.new("RGB", (64, 64), "teal")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    made = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
    assert made.model().engine(60).wait(60)
    yield made
    made.model().engine(0).close()


def over(state, base, *axes):
    """A comparison of one column, the stack of the recipe, over these axes."""
    return comparison_form.own(state, base, ["stack"], list(axes), None, added=[])[0]


def restored(**knobs):
    measured = {"name": "super_resolution", "image": content_hash(DEGRADED), "parameters": {"factor": 2}}
    return Use(name="ddnm", inputs={"measured": measured}, knobs=knobs)


@pytest.mark.parametrize(
    "base, kind, text, words",
    [
        ({"methods": (restored(),)}, "sampler", "euler, heun, unipc", "DDNM makes the steps itself"),
        ({"methods": (restored(),)}, "stop_sigma", "0, 1", "DDNM makes the steps itself"),
        ({"methods": (restored(times=1),)}, "ddnm.jump", "1, 2, 3", "while “times” is 1"),
        ({}, "eta", "0, 0.5, 1", "Euler takes none"),
        ({}, "negative", "red | blue", "CFG Scale of 1"),
    ],
)
def test_an_axis_over_something_unused_is_refused_before_the_run(state, base, kind, text, words):
    state.take(DEGRADED)
    with pytest.raises(RecipeError, match="images would be the same") as error:
        comparison_form.checked(state, over(state, BASE.but(**base), (kind, text)))
    assert words in str(error.value)


def test_an_axis_that_acts_in_some_columns_is_said_and_not_refused(state):
    made = over(state, BASE, ("sampler", "euler, ancestral"), ("eta", "0, 0.5, 1"))
    words = comparison_form.checked(state, made)
    assert words.startswith("Eta: all images are the same for Euler. Euler takes none")


@pytest.mark.parametrize("kind, text", [("seed", "1, 2"), ("sampler", "euler, heun"), ("cfg_scale", "1, 4")])
def test_an_axis_that_acts_is_not_refused(state, kind, text):
    made = over(state, BASE, (kind, text))
    assert comparison_form.checked(state, made) == ""


def test_no_ready_made_comparison_has_an_idle_axis(state):
    for key in READY:
        assert comparison_form.checked(state, comparison_form.ready(state, key)) == "", key
