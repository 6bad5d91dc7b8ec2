"""Prompts that AND joins, on the exact oracle: A1111's formula, whatever the scale; and what a run makes of them."""

import pytest
import torch

import backbones
from app.engine.planner import Encoder, plan
from app.engine.unused_settings import formula
from app.forms.stack import Stack, strip
from app.forms.stack import formula as on_the_page
from app.schema.recipe import Recipe
from conditioning.compose import compose
from conditioning.compose import formula as formula_of
from conditioning.joined import joined
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Noise, ask, run, with_role

EXACT = backbones.load("exact")
PROMPTS, WEIGHTS = ("a red disc", "a blue square", "a disc"), (0.9, 0.7, -0.3)
X = 3 * torch.randn(1, *EXACT.latent_shape(64, 64), generator=torch.Generator().manual_seed(0))


def one(text, sigma=2.0):
    return run(ask(X, sigma, EXACT.encode_prompt([text])), EXACT.denoise)


def conds():
    cond, *others = (EXACT.encode_prompt([text]) for text in PROMPTS)
    null = with_role(EXACT.encode_prompt([""]), "negative")
    return with_role(cond, "prompt"), null, (WEIGHTS[0], list(zip(others, WEIGHTS[1:])))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_it_is_a1111s_sum_under_guidance_of_any_scale(scale):
    cond, null, more = conds()
    stack = [("cfg", {"scale": scale})] if scale != 1 else []
    D, _, text = compose(stack, SAMPLERS["euler"], null=null, joined=more, sigmas=[2.0, 0.0])
    u = one("")
    theirs = u + scale * sum(w * (one(prompt) - u) for prompt, w in zip(PROMPTS, WEIGHTS))
    torch.testing.assert_close(run(D(X, 2.0, cond), EXACT.denoise), theirs)
    assert text == ("euler over cfg(joined(ask))" if scale != 1 else "euler over joined(ask)")


def test_the_formula_has_it_around_the_network_with_all_that_belongs_to_it():
    uses = [(METHODS[name], {}) for name in ("cfg", "controlnet", "multidiffusion", "repaint")]
    assert formula_of(uses, "euler", True) == "repaint(euler) over cfg(multidiffusion(joined(controlnet(ask))))"
    assert formula_of(uses[1:2], "euler", True) == "euler over joined(controlnet(ask))"
    assert formula_of([], "euler", True) == "euler over joined(ask)" and formula_of([], "euler") == "euler over ask"


def test_only_asks_for_the_prompt_are_joined():
    cond, null, (weight, others) = conds()
    D = joined(ask, null, weight, others)
    for other in (null, with_role(cond, "other")):
        assert torch.equal(run(D(X, 2.0, other), EXACT.denoise), run(ask(X, 2.0, other), EXACT.denoise))


def test_a_prompt_of_weight_0_is_as_good_as_none():
    cond, null, _ = conds()
    D = joined(ask, null, 1.0, [(EXACT.encode_prompt(["a disc"]), 0.0)])
    torch.testing.assert_close(run(D(X, 2.0, cond), EXACT.denoise), one(PROMPTS[0]))


@pytest.mark.parametrize("scale, rows", [(4.0, 3), (1.0, 3)])
def test_a_run_reads_them_in_one_evaluation_a_step(scale, rows):
    asked = Recipe(prompt="a red disc AND a blue square :0.8", negative="green", backbone="exact", width=64, height=64,
                   steps=3, cfg_scale=scale)  # fmt: skip
    made = plan(asked, EXACT, Encoder(EXACT), {})
    image = run(made.flow, EXACT.denoise)
    assert (made.tally.nfe, made.tally.rows) == (3, 3 * rows)
    assert made.formula == formula(asked, EXACT) == on_the_page(asked, EXACT) and "joined(ask)" in made.formula
    assert "2 prompts" in strip("exact", asked, Stack())
    also = asked.model_copy(update={
        "prompt": "a red disc", "methods": Recipe.make(methods=[
            {"name": "composable", "inputs": {"also": "a blue square"}, "knobs": {"weight": 0.8}}]).methods,
    })  # fmt: skip
    torch.testing.assert_close(image, run(plan(also, EXACT, Encoder(EXACT), {}).flow, EXACT.denoise))
    whole = asked.model_copy(update={"prompt": "a red disc and a blue square"})
    assert not torch.allclose(image, run(plan(whole, EXACT, Encoder(EXACT), {}).flow, EXACT.denoise))


def test_a_network_that_reads_no_prompt_is_asked_once():
    pixels = backbones.load("still-life-pixels")
    size = {"width": 64, "height": 64}
    asked = Recipe(prompt="a cube AND a ball", backbone="still-life-pixels", steps=1, cfg_scale=1.0, **size)
    made = plan(asked, pixels, Encoder(pixels), {})
    run(made.flow, pixels.denoise)
    assert made.tally.rows == 1 and made.formula == formula(asked, pixels) == "euler over ask"


def test_each_prompt_has_a_starting_noise_in_common_with_the_run():
    """The seed decides the noise alone, so AND of one prompt twice at half weight each is that prompt."""
    cond, null, _ = conds()
    D = joined(ask, null, 0.5, [(EXACT.encode_prompt([PROMPTS[0]]), 0.5)])
    sigmas = [5.0, 2.0, 0.5, 0.0]
    twice = run(SAMPLERS["euler"](D, X, sigmas, cond, Noise([0])), EXACT.denoise)
    torch.testing.assert_close(twice, run(SAMPLERS["euler"](ask, X, sigmas, cond, Noise([0])), EXACT.denoise))
