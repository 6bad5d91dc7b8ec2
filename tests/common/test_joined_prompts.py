"""AND between prompts is read as A1111 reads it (its `get_multicond_prompt_list`)."""

import pytest

from common.joined_prompts import joined_prompts


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a cube", [("a cube", 1)]),
        ("a cube, ratio 3:2", [("a cube, ratio 3:2", 1)]),
        ("a cube AND a ball", [("a cube", 1), ("a ball", 1)]),
        ("a cube :1.2 AND a ball:.5 AND grass : -1 ", [("a cube", 1.2), ("a ball", 0.5), ("grass", -1)]),
        ("a (cube:1.3) AND a ball", [("a (cube:1.3)", 1), ("a ball", 1)]),
        ("a cube\nAND\na ball, \non grass :2.", [("a cube", 1), ("a ball, \non grass", 2)]),
        ("a cube and a ball", [("a cube and a ball", 1)]),
        ("BRAND new ANDes", [("BRAND new ANDes", 1)]),
        ("a cube BREAK on grass AND snow", [("a cube BREAK on grass", 1), ("snow", 1)]),
        ("a cube AND", [("a cube", 1)]),
        ("AND AND a cube :0.5", [("a cube", 1)]),
        ("AND", [("AND", 1)]),
        ("", [("", 1)]),
    ],
)
def test_the_prompts_and_their_weights(text, prompts):
    assert joined_prompts(text) == tuple(prompts)
