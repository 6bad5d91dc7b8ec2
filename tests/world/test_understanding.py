"""What a network has no words for is named, with the nearest that it has."""

import numpy as np
import pytest

from world.captions import PLAIN_VOCABULARY, describe
from world.lexicon import ITEMS
from world.scene import draw, random_scene
from world.understanding import ALIKE_BY_WORD, nearest, unknown_words
from world.vocabulary import VOCABULARY

ITEMS_OF_ONE_WORD = {words[0] for words in ITEMS if len(words) == 1}


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


COMMON = (
    "cat dog house car tree boat ship woman man girl boy child person face eye hand castle city town robot "
    "dragon horse flower rose mountain river lake sea ocean forest bird fish lion tiger bear wolf fox mouse cow "
    "pig sheep chicken apple banana bread cake pizza coffee tea cup glass bottle plate knife chair sofa bed lamp "
    "book clock phone computer keyboard camera train bus bike road bridge church door window wall roof king "
    "queen knight soldier wizard angel portrait landscape painting drawing anime cartoon logo sign text letter "
    "hat shirt dress shoe coat bell bull food moon sun star cloud fire water space planet rocket guitar piano "
    "violin shell bone core hole pole tool"
).split()
SLIPS = {
    "shpere": "sphere", "sphre": "sphere", "spere": "sphere", "cueb": "cube", "cubbe": "cube", "cub": "cube",
    "rde": "red", "bleu": "blue", "bule": "blue", "gren": "green", "greeen": "green", "yelow": "yellow",
    "yellwo": "yellow", "prple": "purple", "pyrimid": "pyramid", "pyramide": "pyramid", "cylindre": "cylinder",
    "cilinder": "cylinder", "grss": "grass", "sunest": "sunset", "oragne": "orange", "tourus": "torus",
    "whtie": "white", "overcats": "overcast",
}  # fmt: skip


def test_slips_are_seen_and_other_words_are_not_taken_for_slips() -> None:
    assert {typed: nearest(typed, PLAIN_VOCABULARY) for typed in SLIPS} == SLIPS
    others = [word for word in COMMON if word not in {*ALIKE_BY_WORD, *ITEMS_OF_ONE_WORD}]
    assert {word: near for word in others if (near := nearest(word, PLAIN_VOCABULARY))} == {}
