"""What a text encoder has no place for is said at the field of the text, before the run."""

import pytest

from app.engine.unread_text import unread
from app.service.checking import known_backbone
from tests.support.doubles import recipe

#: 64 words of its world, of which Still Life reads the first 54; a solid stands at the end.
ROUND = "a large red sphere to the left of a small blue cube on grass at sunset"
LONG = f"{ROUND} and {ROUND} and {ROUND} and a shiny yellow torus on snow by day in front of a green cone"
LIFE = known_backbone("still-life")


def test_the_end_of_a_long_prompt_is_named_from_the_begin_of_a_word():
    (one,) = unread(recipe(prompt=LONG, backbone="still-life"), LIFE)
    assert one.field == "prompt" and "from “" in one.message and "54 tokens" in one.message
    begin = one.message.partition("“")[2].partition("”")[0].rstrip("…")
    assert begin and begin in LONG and LONG[LONG.index(begin) - 1] == " "
    assert len(LONG[: LONG.index(begin)].split()) == 54, "each word of this world is one token"


def test_what_is_read_whole_is_not_spoken_of():
    assert not unread(recipe(prompt=" ".join(LONG.split()[:54]), backbone="still-life"), LIFE)
    assert not unread(recipe(prompt="", backbone="still-life"), LIFE)
    assert not unread(recipe(prompt=LONG), known_backbone("exact")), "the oracle reads texts of any length"
    assert not unread(recipe(prompt=LONG), known_backbone("still-life-pixels")), "it reads none"
    assert not unread(recipe(prompt=LONG), None), "nothing is known of it"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"negative": LONG, "cfg_scale": 3.0}, "negative"),
        ({"methods": [{"name": "composable", "inputs": {"also": LONG}}]}, "methods.0.inputs.also"),
        (
            {"methods": [{"name": "ddim_inversion", "inputs": {"source_prompt": LONG}}]},
            "methods.0.inputs.source_prompt",
        ),
        (
            {"methods": [{"name": "multidiffusion", "inputs": {"regions": [
                {"left": 0, "top": 0, "right": 0.5, "bottom": 1, "text": "a cube"},
                {"left": 0, "top": 0, "right": 0.5, "bottom": 1, "text": LONG},
            ]}}]},
            "methods.0.inputs.regions",
        ),
    ],
)  # fmt: skip
def test_every_text_that_is_read_is_looked_at(settings, field):
    assert [one.field for one in unread(recipe(backbone="still-life", **settings), LIFE)] == [field]


def test_a_negative_prompt_that_is_not_used_is_not_spoken_of():
    assert not unread(recipe(backbone="still-life", negative=LONG, cfg_scale=1.0), LIFE)
