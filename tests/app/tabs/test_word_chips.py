"""What the line under the prompt says of a network, and that its words are words of that network."""

import re

from app.service.models import Model
from app.tabs import word_chips
from world.captions import PLAIN_VOCABULARY


def test_every_word_that_can_be_pressed_is_one_that_the_model_has_read():
    for id in ("still-life", "still-life-pixels"):
        said = word_chips.line(Model(id))
        words = re.findall('data-word="(.+?)"', said)
        assert len(words) > 20 and "solids on a ground" in said
        assert {part for word in words for part in word.split()} <= PLAIN_VOCABULARY


def test_other_networks_promise_nothing_of_this_world():
    assert word_chips.line(Model("exact")) == ""
    said = word_chips.line(Model("someone/else"))
    assert "any words" in said and "data-word" not in said
