"""Attention methods on networks in which image and words share one attention."""

import pytest
import torch

import backbones
from conditioning.gradients import gradient, leaf
from conditioning.registry import Box
from conditioning.sampling.attention.attend_and_excite import excitement
from conditioning.sampling.attention.maps import looked_at, places
from conditioning.sampling.guidance.layout_guidance import deciding, outside
from samplers.flow import ask, run
from tests.support import tiny_transformers
from tests.support.short_runs import flow

KINDS = ("flux-dev", "qwen-image", "sd3")
PROMPT, OTHER = "a red sphere and small cube", "a blue sphere and small cube"
GUIDED = ("cfg", {"scale": 3.0})


@pytest.fixture(scope="module", params=KINDS)
def b(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        made = backbones.load(str(tiny_transformers.save(tmp_path_factory.mktemp("net"), request.param)))
    made.default_size = 32
    with torch.no_grad():  # random ones look everywhere alike
        for name, weight in made.network.model.named_parameters():
            if "norm_q" in name or "norm_k" in name or "norm_added" in name:
                weight.mul_(3.0)
            if name.startswith(("context_embedder", "txt_in")):
                weight.mul_(5.0)
    return made


def made(b, stack, prompt=OTHER):
    return run(flow(b, [GUIDED, *stack], prompt=prompt, steps=3), b.denoise)


def far(one, other):
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("name, knobs", [
    ("prompt_to_prompt", {"cross": 1.0, "keep": 1.0}), ("masactrl", {"start": 0.0, "layer": 0.0}),
])  # fmt: skip
def test_a_source_of_the_same_prompt_changes_nothing_and_another_does(b, name, knobs):
    plain = made(b, [])
    same = made(b, [(name, {**knobs, "source_prompt": b.encode_prompt([OTHER])})])
    other = made(b, [(name, {**knobs, "source_prompt": b.encode_prompt([PROMPT])})])
    assert far(same, plain) < 1e-5 and far(other, plain) > 20 * far(same, plain)


def state(b):
    return 3.0 * torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(0))


def test_a_small_move_makes_a_neglected_word_less_so(b):
    cond, x = b.encode_prompt([PROMPT]), state(b)
    chosen, rivals = places(["sphere"], cond, b).any(1), b.between_marks(cond["tokens"])
    loss, move = run(excitement(ask, x, 3.0, cond, chosen, rivals, 100.0, 8), b.denoise)
    step = 0.05 / float(move.norm())
    after, _ = run(excitement(ask, x - step * move, 3.0, cond, chosen, rivals, 100.0, 8), b.denoise)
    assert 0 < float(loss - after) < 2 * 0.05 * float(move.norm())


def test_a_small_move_draws_a_word_into_its_box(b):
    cond, x, box = b.encode_prompt([PROMPT]), state(b), Box(0.0, 0.0, 0.5, 0.5, "sphere")
    tokens = places(["sphere"], cond, b)

    def energy(x, tape=None):
        recorded = run(looked_at(ask, x, 3.0, cond, tape), b.denoise)
        return outside(deciding(recorded, 8), [box], tokens)

    at, tape, _ = leaf(x, None)
    before = energy(at, tape)
    move = gradient(before, at)
    after = energy(x - 0.05 * move / move.norm())
    assert 0 < float(before - after) < 2 * 0.05 * float(move.norm())


def test_the_page_s_maps_are_of_every_word_at_every_step(b):
    from app.engine.attention_recorder import AttentionRecorder
    from app.engine.planner import Encoder, plan
    from app.schema.recipe import Recipe

    recipe = Recipe(backbone=b.id, prompt=PROMPT, width=32, height=32, steps=2, seed=3)
    look = AttentionRecorder()
    run(look(plan(recipe, b, Encoder(b), lambda sha: sha), b), b.denoise)
    assert look.words == PROMPT.split() and len(look.maps) == 2
    assert look.maps[0].shape[0] == 6 and look.maps[0].std() > 0
