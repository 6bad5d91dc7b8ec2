"""Weights of words are said as they were understood, what else other tools read in a prompt is pointed out, and plain
prompts are left alone."""

from types import SimpleNamespace

import pytest

from app.engine.planner import problems
from app.engine.prompt_syntax import syntax, without_effect
from app.schema.recipe import Recipe
from app.service.checking import check, known_backbone
from app.service.reading import Request

WEIGHS = SimpleNamespace(id="clip", weighs_words=True)
EXACT = known_backbone("exact")


@pytest.mark.parametrize(
    "prompt, word",
    [
        ("a cube <lora:style:0.8>", "adapter"), ("a cube AND a ball", "AND"), ("a cube BREAK a ball", "BREAK"),
        ("[a cube:a ball:0.5]", "on the way"), ("[a cube|a ball]", "on the way"), ("a [cube:1.3]", "(word:0.8)"),
        ("a {red|blue} cube", "one of several"), ("a __colour__ cube", "one of several"),
    ],
)  # fmt: skip
def test_each_kind_is_said_at_its_field(prompt, word):
    for known in (WEIGHS, EXACT, None):
        (said,) = syntax(Recipe.make(prompt=prompt), known)
        assert said.field == "prompt" and word in said.message
        (said,) = syntax(Recipe.make(negative=prompt), known)
        assert said.field == "negative"


@pytest.mark.parametrize(
    "prompt",
    ["", "a red cube and a ball", "grass \\[wide\\]", "ratio 3:2", "a - b, c; d: e", "AND", "a < b > c", "brand new",
     "snake_case", "a (cube:1)"],
)  # fmt: skip
def test_plain_prompts_are_left_alone(prompt):
    assert syntax(Recipe.make(prompt=prompt, negative=prompt), WEIGHS) == []
    assert syntax(Recipe.make(prompt=prompt, negative=prompt), EXACT) == []


def test_weights_are_said_as_they_were_understood():
    (said,) = syntax(Recipe.make(prompt="a ((red cube:1.3)) on [grass]"), WEIGHS)
    assert said == ("prompt", "Prompt: “red cube” counts 1.43 times, “grass” counts 0.909 times.")
    (said,) = syntax(Recipe.make(prompt=" ".join(f"({word}:2) and" for word in "abcdefgh")), WEIGHS)
    assert "“f” counts 2 times, and 2 more." in said.message
    of_a_box = {"name": "composable", "inputs": {"also": "a (cube:2)"}}
    (said,) = syntax(Recipe.make(methods=[of_a_box]), WEIGHS)
    assert said.field == "methods.0.inputs.also"


def test_a_network_that_weighs_no_words_says_so_and_how_it_reads_them():
    one = Recipe.make(prompt="a (red:1.3) disc")
    assert syntax(one, EXACT) == without_effect(one, EXACT)
    assert [said.message for said in syntax(one, EXACT)] == ["Prompt: exact weighs no words. It reads “a red disc”."]
    assert without_effect(one, known_backbone("still-life")) == []
    assert syntax(one, known_backbone("still-life-pixels")) == [], "it reads no words, which is said elsewhere"


def test_the_check_without_weights_says_it_too():
    done = check(Request(Recipe.make(prompt="a (red:1.3) cube", backbone="still-life")))
    assert [one.message for one in done.unused] == ["Prompt: “red” counts 1.3 times."] and not done.problems


def test_the_oracle_reads_the_words_without_the_syntax():
    one, other = (EXACT.encode_prompt([text])["text"] for text in ("(red:1.3) <lora:blue:1> disc", "red disc"))
    assert one.equal(other) and EXACT.unknown_words("(red:1.3) <lora:blob:1> disc") == []


@pytest.mark.parametrize(("prompt", "refused"), [("(red:11) disc", True), ("(red:-10.5)", True), ("(red:-10)", False)])
def test_a_weight_that_nobody_means_is_refused_at_its_field(prompt, refused):
    found = problems(Recipe.make(prompt=prompt, backbone="exact"), EXACT, "exact")
    assert [one.field for one in found] == ["prompt"] * refused
    assert all("“red” is too large. Give -10 to 10." in one.message for one in found)
    noted = [one.message for one in syntax(Recipe.make(prompt=prompt), WEIGHS)]
    assert len(noted) == (not refused), "what is refused is not said to count"


def test_a_break_is_read_in_parts_where_the_text_encoder_can_and_said_either_way():
    one = Recipe.make(prompt="a cube BREAK a ball BREAK a cone")
    (left_out,) = syntax(one, SimpleNamespace(id="small", weighs_words=True, reads_chunks=False))
    assert left_out.field == "prompt" and "left out" in left_out.message
    large = SimpleNamespace(
        id="large", weighs_words=True, reads_chunks=True, count_tokens=lambda text: (1, 225 if text else 75)
    )
    (read,) = syntax(one, large)
    assert "large reads it in 3 chunks, each with 75 tokens of its own" in read.message


def test_prompts_that_and_joins_are_said_as_they_were_understood():
    (said,) = syntax(Recipe.make(prompt="a cube AND a ball :0.8 AND a (cone)"), WEIGHS)[:1]
    assert "AND joins 3 prompts, each true of the whole image: “a cube”, “a ball” counts 0.8 times" in said.message
    (said,) = syntax(Recipe.make(negative="a cube AND a ball"), WEIGHS)
    assert said.field == "negative" and "Here it is the word “and”" in said.message
    also = {"name": "composable", "inputs": {"also": "a cube AND a ball"}}
    assert [one.field for one in syntax(Recipe.make(methods=[also]), WEIGHS)] == ["methods.0.inputs.also"]
    (one,) = problems(Recipe.make(prompt="a disc AND a square :11", backbone="exact"), EXACT, "exact")
    assert one.field == "prompt" and "the weight 11 of “a square” is too large" in one.message
