"""What people write is read as what they claim."""

import random
import string

import pytest

from world.captions import parse
from world.claims import Claim, Claims


def said(text: str) -> list[str]:
    return [str(claim) for claim in parse(text).solids]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a donut", "a ring"),
        ("The BIG Red box!", "a large red cube"),
        ("a red cube on a sunny day", "a red cube by day"),
        ("a red cube in the evening", "a red cube at sunset"),
        ("grey poles", "two gray columns"),
        ("a ball, which is shiny and tiny", "a small metal sphere"),
        ("a yelow cube", "a yellow cube"),
        ("it's night. there's a cone", "a cone at night"),
    ],
)
def test_other_words_for_the_same(text: str, same: str) -> None:
    one, other = parse(text), parse(same)
    assert (one.solids, one.ground, one.sky) == (other.solids, other.ground, other.sky)


def test_nothing_is_claimed_by_nothing() -> None:
    assert parse("") == parse("...") == parse("lorem ipsum") == Claims() and not Claims().anything


def test_the_definite_article_points_back() -> None:
    claims = parse("a red cube and a blue ball behind the red cube on sand at night")
    assert len(claims.solids) == 2 and claims.relations == ((1, "behind", 0),)
    assert parse("the red cube behind the blue ball").relations == ((0, "behind", 1),)


def test_numbers() -> None:
    claims = parse("two red cubes and three spheres")
    assert said("two red cubes and three spheres") == ["red cube"] * 2 + ["sphere"] * 3
    assert claims.counts == ((0, 1), (2, 3, 4))
    assert said("two cubes, one red and one blue") == ["red cube", "blue cube"]
    assert said("two cubes, one red, the other blue") == ["red cube", "blue cube"]
    assert said("one ball and one box") == ["sphere", "cube"]
    assert said("three balls: red, white and blue") == ["red sphere", "white sphere", "blue sphere"]
    assert said("three balls. two are red and one is blue") == ["red sphere", "red sphere", "blue sphere"]
    assert said("two cubes, both red and shiny") == ["metal red cube"] * 2


def test_what_is_not_to_be_there() -> None:
    assert parse("a ball but no cube or cone").absent == (Claim("cube"), Claim("cone"))
    assert parse("a green ball, nothing red").absent == (Claim(colour="red"),)
    claims = parse("no cube. a red ball")
    assert claims.absent == (Claim("cube"),) and said("no cube. a red ball") == ["red sphere"]


def test_relations_and_places_in_any_order() -> None:
    for text in ("a red ball behind a box", "behind a box is a red ball", "a box with a red ball behind it"):
        claims = parse(text)
        (a, relation, b), names = claims.relations[0], said(text)
        assert (names[a], relation, names[b]) == ("red sphere", "behind", "cube"), text
    assert parse("on the left a cube, on the right a cone").places == ((0, "left"), (1, "right"))
    assert parse("a ball between two poles").between == ((0, 1, 2),)
    assert parse("from left to right: a cube, a ball, a cone").relations == ((0, "left", 1), (1, "left", 2))
    assert parse("a cube. to its left is a ball").relations == ((1, "left", 0),)
    around = parse("a cube with a ball on its left and a cone on its right").relations
    assert around == ((1, "left", 0), (2, "right", 0))
    for text in ("behind the two red cubes is a ball", "two red cubes with a ball behind them"):
        assert set(parse(text).relations) == {(2, "behind", 0), (2, "behind", 1)}, text
    assert parse("two poles with a ball in between").between == ((2, 0, 1),)


def test_any_text_is_read_in_time_and_without_an_error() -> None:
    chance = random.Random(0)
    words = "a red two cubes between the it one other , . and behind no left on grass night of : 9 x!".split()
    for _ in range(400):
        claims = parse(" ".join(chance.choices(words, k=chance.randint(1, 60))))
        n = len(claims.solids)
        assert all(a < n and b < n and a != b for a, _, b in claims.relations)
        assert all(i < n for group in claims.counts + claims.between for i in group)
    parse("".join(chance.choices(string.printable, k=3000)))
    assert len(parse("a thousand cubes and 1000 balls and 999999 cones").solids) <= 12
    parse("red " * 50_000)
