"""Weights of words are read as A1111 writes them, and a prompt without them is left as it is."""

import pytest

from common.weighted_text import plain, weighted


def runs(text: str) -> dict[str, float]:
    return {words: round(weight, 6) for words, weight in weighted(text).runs}


@pytest.mark.parametrize("text", [
    "", "a red cube, and a ball", "ratio 3:2", "  a  cube\n", ":)", "a ] b", "a\\b", "brand new", "a < b > c", "AND",
])  # fmt: skip
def test_a_prompt_without_the_syntax_is_itself(text):
    assert plain(text) == text and not weighted(text).weighs


@pytest.mark.parametrize(("text", "words", "expected"), [
    ("a (cube) on", "a cube on", {"a ": 1, "cube": 1.1, " on": 1}),
    ("((cube))", "cube", {"cube": 1.21}),
    ("[cube]", "cube", {"cube": round(1 / 1.1, 6)}),
    ("(cube:1.3)", "cube", {"cube": 1.3}), ("(cube:.5)", "cube", {"cube": 0.5}), ("(cube: -1 )", "cube", {"cube": -1}),
    ("(a (red:2) cube:1.5)", "a red cube", {"a ": 1.5, "red": 3, " cube": 1.5}),
    ("(a [red] cube:2)", "a red cube", {"a ": 2, "red": round(2 / 1.1, 6), " cube": 2}),
    ("(cube, ball", "cube, ball", {"cube, ball": 1.1}), ("(a [b) c]", "a b c", {"a ": 1.1, "b": 1, " c": 0.909091}),
    ("a \\(cube\\) \\[x\\] \\\\", "a (cube) [x] \\", {"a (cube) [x] \\": 1}),
    ("(3:2:1.2)", "3:2", {"3:2": 1.2}), ("(cube:1.2.3)", "cube:1.2.3", {"cube:1.2.3": 1.1}),
    ("(a:1) (b:1)", "a b", {"a b": 1}),
])  # fmt: skip
def test_weights(text, words, expected):
    assert plain(text) == words and runs(text) == expected
    assert [weighted(text).at(words.index(part)) for part in expected] == pytest.approx(list(expected.values()), 1e-5)


@pytest.mark.parametrize(("text", "words"), [
    ("a cube <lora:style:0.8> on (grass:2)", "a cube on grass"), ("a cube BREAK a ball", "a cube a ball"),
    ("[a cube:a ball:0.5]", "[a cube:a ball:0.5]"), ("[cube|ball] on grass", "[cube|ball] on grass"),
    ("[cube:1.3]", "[cube:1.3]"),
])  # fmt: skip
def test_what_is_no_weight(text, words):
    """Adapters and BREAK are no words; what changes the prompt on the way elsewhere is text here."""
    assert plain(text) == words and all(weight == 1 for part, weight in weighted(text).said if part != "grass")


def test_what_does_not_count_once_is_named():
    assert weighted("a (large red cube:1.3) on ( ) [grass]").said == [("large red cube", 1.3), ("grass", 1 / 1.1)]
    assert weighted("a (cube:2)").at(99) == 1


@pytest.mark.parametrize(
    "text, parts",
    [
        ("a cube", ["a cube"]),
        ("a cube BREAK a ball", ["a cube", "a ball"]),
        ("BREAK a cube BREAK BREAK a ball BREAK", ["", "a cube", "", "a ball"]),
        ("BREAK", [""]),
        ("BREAK BREAK", ["", ""]),
        ("", [""]),
        ("a BREAKFAST", ["a BREAKFAST"]),
    ],
)
def test_a_break_leaves_an_empty_part_anywhere_but_at_the_end(text, parts):
    """As A1111 has it: a BREAK ends the chunk that is being filled, if only with nothing in it."""
    assert [one.text.strip() for one in weighted(text).parts] == parts


def test_weights_hold_on_both_sides_of_a_break_within_their_brackets():
    first, second = weighted("a (red cube BREAK blue:2) ball").parts
    assert first.runs == (("a ", 1.0), ("red cube", 2.0)) and second.runs == (("blue", 2.0), (" ball", 1.0))
    assert weighted("a (red cube BREAK blue:2) ball").said == [("red cube blue", 2.0)]
