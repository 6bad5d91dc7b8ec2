"""The drawer "Make your own" of Compare, and the sizes of Create, without a browser."""

import json
from types import SimpleNamespace

import pytest

from app.catalog import catalogue
from app.forms.axis_values import BY_BARS, axis_of, values_of
from app.schema.recipe import SAMPLERS, SCHEDULES, Recipe
from app.tabs.own_comparison import MOST_ADDED
from tests.support.page import opened_page

NOW = SimpleNamespace(session_hash="now")
COLUMNS = [Recipe.make(prompt=words, backbone="exact").to_json() for words in ("a cone", "a cube", "a torus")]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opened_page(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def own(opened):
    return opened.compare.own


def pressed(what, place):
    """A button of an added column."""
    return SimpleNamespace(_data={"column": what, "place": str(place)})


def controls(opened, **changed):
    """What stands in the controls of Create, in their order."""
    there = dict(zip(opened.create.fields, (one.value for one in opened.create.controls), strict=True))
    return list((there | {"backbone": "exact"} | changed).values())


def test_a_column_is_duplicated_beside_itself_and_taken_out(opened, own):
    back = own.act(NOW, COLUMNS[:2], None, pressed("copy", 0))
    assert back[own.added] == [COLUMNS[0], COLUMNS[0], COLUMNS[1]]
    assert json.loads(back[opened.create.kept]) == {"columns": back[own.added]}, "the browser keeps them"
    assert own.act(NOW, COLUMNS, None, pressed("remove", 1))[own.added] == [COLUMNS[0], COLUMNS[2]]
    assert own.act(NOW, COLUMNS, None, pressed("remove", 7))[own.added] == COLUMNS, "it went meanwhile"


def test_an_edited_column_goes_back_to_its_place(opened, own):
    back = own.act(NOW, COLUMNS, None, pressed("edit", 1))
    assert back[own.added] == COLUMNS and back[own.editing] == 1
    assert back[own.tabs].selected == "create" and back[opened.create.control["prompt"]] == "a cube"
    again = own.add(NOW, COLUMNS, 1, *controls(opened, prompt="a green cube"))
    prompts = [Recipe.from_json(one).prompt for one in again[own.added]]
    assert prompts == ["a cone", "a green cube", "a torus"] and again[own.editing] is None
    assert "Column 2 is changed." in again[opened.create.restored]


def test_a_column_more_than_there_may_be_is_said_and_one_can_still_be_edited(opened, own):
    full = [COLUMNS[0]] * MOST_ADDED
    back = own.add(NOW, full, None, *controls(opened))
    assert f"There are {MOST_ADDED} columns already" in back[opened.create.restored] and own.added not in back
    assert len(own.add(NOW, full[1:], None, *controls(opened))[own.added]) == MOST_ADDED
    assert len(own.add(NOW, full, 3, *controls(opened))[own.added]) == MOST_ADDED


CHOICES = [
    (f"{name}.{knob['name']}", knob["options"])
    for name, one in catalogue()["methods"].items() for knob in one["knobs"] if knob["type"] == "choice"
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "names"), [("sampler", list(SAMPLERS.values())), ("schedule", list(SCHEDULES.values())), CHOICES[0]]
)
def test_the_names_that_the_values_of_an_axis_may_have_are_there_to_be_picked(own, kind, names):
    picker, field = own.pickable(kind)
    assert picker.visible and [one for _, one in picker.choices] == names and picker.value == []
    assert "comma" in field.label
    assert len(axis_of(kind, ", ".join(names[:2])).values) == 2, "as the picker writes them"


@pytest.mark.parametrize("kind", ["steps", "prompt", None])
def test_where_any_value_may_stand_nothing_is_to_be_picked(own, kind):
    picker, field = own.pickable(kind)
    assert not values_of(str(kind)) and not picker.visible and picker.choices == []
    assert ("|" in field.placeholder) == (kind in BY_BARS)


@pytest.mark.parametrize(
    ("aspect", "size"), [("swap", (96, 128)), ("1:1", (64, 64)), ("2:1", (96, 48)), ("4000:4000", (64, 64))]
)
def test_a_size_is_swapped_or_takes_an_aspect_or_that_of_an_image(opened, aspect, size):
    """As many pixels as the model was trained on, in whole cells of it."""
    given = opened.create.shaped(128, 96, "exact", SimpleNamespace(_data={"aspect": aspect}))
    assert given == size
