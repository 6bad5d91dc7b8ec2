"""What other tools read in a prompt is pointed out, and plain prompts are left alone."""

import pytest

from app.engine.prompt_syntax import syntax
from app.schema.recipe import Recipe


@pytest.mark.parametrize(
    "prompt, word",
    [
        ("a (red cube:1.3) on grass", "“(red cube:1.3)” weighs"), ("a ((red)) cube", "weighs"),
        ("[[a ball]]", "weighs"),
        ("a cube <lora:style:0.8>", "adapter"), ("a cube AND a ball", "Composable"), ("a cube BREAK a ball", "BREAK"),
        ("[a cube:a ball:0.5]", "on the way"), ("[a cube|a ball]", "on the way"),
        ("a {red|blue} cube", "one of several"), ("a __colour__ cube", "one of several"),
    ],
)  # fmt: skip
def test_each_kind_is_said_at_its_field(prompt, word):
    (said,) = syntax(Recipe.make(prompt=prompt))
    assert said.field == "prompt" and word in said.message
    (said,) = syntax(Recipe.make(negative=prompt))
    assert said.field == "negative"


@pytest.mark.parametrize(
    "prompt",
    ["", "a red cube and a ball", "a cube (red) on grass", "grass [wide]", "ratio 3:2", "a - b, c; d: e", "AND",
     "a < b > c", "brand new", "snake_case"],
)  # fmt: skip
def test_plain_prompts_are_left_alone(prompt):
    assert syntax(Recipe.make(prompt=prompt, negative=prompt)) == []
