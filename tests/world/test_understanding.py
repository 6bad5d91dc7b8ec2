"""What a network has no words for is named, with the nearest that it has."""

import numpy as np
import pytest

from world.captions import PLAIN_VOCABULARY, describe
from world.scene import draw, random_scene
from world.understanding import ALIKE_BY_WORD, nearest, unknown_words
from world.vocabulary import VOCABULARY


def test_captions_are_understood() -> None:
    rng = np.random.default_rng(0)
    for n in range(200):
        assert unknown_words(describe(random_scene(rng, 1 + n % 4), rng, "any").text, VOCABULARY) == ()
        assert unknown_words(describe(draw("test", n), rng).text, PLAIN_VOCABULARY) == ()


def test_unknown_words_are_named_once_and_in_order() -> None:
    text = "a teapot and a red teapot on 7 dragons"
    assert unknown_words(text, VOCABULARY) == (("teapot", ""), ("7", ""), ("dragons", ""))


@pytest.mark.parametrize(
    ("word", "plain", "all_words"),
    [
        ("boxes", "cube", "boxes"),
        ("balls", "ball", "balls"),
        ("huge", "large", "huge"),
        ("near", "next to", "near"),
        ("beach", "sand", "beach"),
        ("turquoise", "cyan", "cyan"),
        ("spheer", "sphere", "sphere"),
        ("silver", "white", "grey"),
        ("seven", "", "four"),
        ("two", "", "two"),
        ("teapot", "", ""),
    ],
)
def test_the_nearest_depends_on_what_a_network_knows(word: str, plain: str, all_words: str) -> None:
    assert (nearest(word, PLAIN_VOCABULARY), nearest(word, VOCABULARY) if word not in VOCABULARY else word) == (
        plain,
        all_words,
    )


def test_what_is_alike_can_be_said() -> None:
    for word in ALIKE_BY_WORD:
        near = nearest(word, VOCABULARY)
        assert near and set(near.split()) <= VOCABULARY, word
