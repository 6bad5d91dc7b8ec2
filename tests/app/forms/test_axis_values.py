"""Values of an axis as people write them: ranges, names, junk."""

import pytest

from app.forms.axis_values import AXES, axis_of, values_of
from app.schema.recipe import SAMPLERS, SCHEDULES, RecipeError


def values(kind, text, prompt=""):
    return [one.recipe["prompt" if kind == "prompt_sr" else kind] for one in axis_of(kind, text, prompt).values]


@pytest.mark.parametrize("kind, text, expected", [
    ("seed", "1-5", [1, 2, 3, 4, 5]), ("seed", "5 - 3", [5, 4, 3]), ("steps", "10-30 (+10)", [10, 20, 30]),
    ("steps", "10-40 [4]", [10, 20, 30, 40]), ("cfg_rescale", "0:1:0.25", [0, 0.25, 0.5, 0.75, 1]),
    ("cfg_scale", "0.1:0.4:0.1", [0.1, 0.2, 0.3, 0.4]), ("cfg_scale", "1, 2-4, 7.5", [1, 2, 3, 4, 7.5]),
    ("cfg_scale", "7-1 (-3)", [7, 4, 1]), ("stop_sigma", "1e-3, 2", [0.001, 2]),
    ("variation_seed", "7-9", [7, 8, 9]), ("variation_strength", "0:0.4:0.2", [0, 0.2, 0.4]),
    ("prompt", "a 1-5 b | c", ["a 1-5 b", "c"]),
    ("prompt", "a [red|blue] cube | a {big|{tiny|old}} cone|x", ["a [red|blue] cube", "a {big|{tiny|old}} cone", "x"]),
    ("prompt", "[ | a] | b", ["[ | a]", "b"]), ("prompt", "[a | b", ["[a", "b"]),
])  # fmt: skip
def test_ranges(kind, text, expected):
    found = values(kind, text)
    assert found == expected and (kind not in ("seed", "steps") or all(isinstance(one, int) for one in found))


def test_knobs_take_ranges_and_the_words_of_a_choice():
    assert [one.knobs for one in axis_of("sdedit.strength", "0.2:0.6:0.2").values] == [
        {"sdedit.strength": 0.2}, {"sdedit.strength": 0.4}, {"sdedit.strength": 0.6}]  # fmt: skip
    assert "replace" in values_of("prompt_to_prompt.mode") and values_of("sdedit.strength") == []


@pytest.mark.parametrize("kind, text, words", [
    ("steps", "1-1000", "1000 values. Give at most 100"), ("steps", "1:5:0", "no steps of 0"),
    ("steps", "1-5 (-1)", "no steps of -1"), ("steps", "1-5 [1]", "Give 2 to 100 values"),
    ("steps", "abc", "Sampling steps"), ("steps", "2, 0", "0 is out of range"), ("cfg_scale", "1, x", "CFG Scale"),
    ("seed", "-3", "Seed"), ("sampler", "Euler, Oiler", "Oiler"), ("schedule", "karas", "karas"),
    ("prompt_sr", "cat, dog", "the prompt does not say “cat”"),
])  # fmt: skip
def test_junk_is_refused_in_words(kind, text, words):
    with pytest.raises(RecipeError) as refused:
        axis_of(kind, text, "a red cube")
    assert words in str(refused.value)


def test_prompt_search_and_replace_is_that_of_a1111():
    assert values("prompt_sr", "red, blue, large green", "a red cube") == ["a red cube", "a blue cube",
                                                                           "a large green cube"]  # fmt: skip


def test_weights_of_words_are_values_as_they_are_written():
    weighed = ["a (cube:0.5), [x]", "a ((cube:1.5))"]
    assert values("prompt", " | ".join(weighed)) == weighed
    expected = ["a red cube", "a (red:1.3) cube", "a [red] cube"]
    assert values("prompt_sr", "red, (red:1.3), [red]", "a red cube") == expected


@pytest.mark.parametrize("kind, names", [("sampler", SAMPLERS), ("schedule", SCHEDULES)])
def test_each_name_that_can_be_picked_is_read_back(kind, names):
    offered = values_of(kind)
    assert offered == list(names.values()) and values(kind, ", ".join(offered)) == list(names)
    assert kind in AXES
