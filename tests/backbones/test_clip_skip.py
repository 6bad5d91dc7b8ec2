"""Clip skip as A1111 counts it: 1 the last layer of CLIP's text encoder, 2 the one before, always through the last
normalization. Held against transformers' own hidden states."""

import pytest
import torch
from diffusers import DiffusionPipeline

from app.engine.planner import Encoder, plan, problems
from app.engine.unused_settings import settings_used, unused
from app.schema.recipe import Recipe
from app.service.counting import StandIn
from backbones import stable_diffusion
from backbones.outline import outline
from samplers.flow import run
from tests.support import tiny

TEXT, LONG = "a red cube on grass", " ".join(["red cube"] * 40)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.clip_text.LEARNED_ALL", 100)  # as of CLIP's vocabulary
        patch.setattr("backbones.outline.LEARNED_ALL", 100)
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        folders = {kind: tiny.save(tmp_path_factory.mktemp(kind), kind, places=77) for kind in ("eps", "v", "xl")}
        yield {kind: stable_diffusion.load(str(folder), name="mine") for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", ["eps", "v"])
@pytest.mark.parametrize("clip_skip", [1, 2, 3])
@torch.no_grad()
def test_features_are_those_of_the_layer_through_the_last_normalization(backbones, kind, clip_skip):
    b = backbones[kind]
    pipe = DiffusionPipeline.from_pretrained(b.folder, safety_checker=None)
    tokens = pipe.tokenizer(TEXT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    states = pipe.text_encoder(tokens, output_hidden_states=True).hidden_states
    theirs = pipe.text_encoder.final_layer_norm(states[-clip_skip])
    torch.testing.assert_close(b.encode_prompt([TEXT], clip_skip)["text"], theirs, atol=1e-6, rtol=1e-5)
    if clip_skip == 1:
        assert torch.equal(b.encode_prompt([TEXT], 1)["text"], pipe.encode_prompt(TEXT, "cpu", 1, False)[0])


def test_a_run_reads_every_text_by_it(backbones):
    """The prompt, the negative prompt, that of a method, and the chunks that the shorter ones are filled up with."""
    b, read = backbones["eps"], []
    other = {"name": "composable", "inputs": {"also": "blue sphere"}}
    asked = Recipe(prompt=LONG, negative="grass", methods=[other], backbone="mine", width=32, height=32, steps=1,
                   clip_skip=2)  # fmt: skip

    def answer(ask):
        read.extend(ask.cond["text"])
        return b.denoise(ask)

    skipped = run(plan(asked, b, Encoder(b), {}).flow, answer)
    assert len(read) == 3
    empty = b.encode_prompt(["BREAK"], 2)["text"]
    wanted = [b.encode_prompt([LONG], 2)["text"]]
    wanted += [torch.cat([b.encode_prompt([text], 2)["text"], empty], 1) for text in ("grass", "blue sphere")]
    for row in wanted:
        assert any(torch.equal(row[0], one) for one in read)
    usual = run(plan(asked.model_copy(update={"clip_skip": 1}), b, Encoder(b), {}).flow, b.denoise)
    assert not torch.equal(skipped, usual)


def test_a_run_of_short_prompts_reads_by_it_too(backbones):
    b = backbones["eps"]
    asked = Recipe(prompt=TEXT, backbone="mine", width=32, height=32, steps=1, clip_skip=2)
    assert torch.equal(plan(asked, b, Encoder(b), {}).cond["text"], b.encode_prompt([TEXT], 2)["text"])


def test_more_layers_than_there_are_is_refused(backbones):
    for known in (backbones["eps"], outline(str(backbones["eps"].folder), "mine")):
        assert known.clip_skips == 3
        settings = {"backbone": "mine", "width": 32, "height": 32}
        (one,) = problems(Recipe(clip_skip=4, **settings), known, "mine")
        assert one.field == "clip_skip" and "4 is more than the 3 layers" in one.message
        assert not problems(Recipe(clip_skip=3, **settings), known, "mine")
        assert not unused(Recipe(clip_skip=3, prompt="a", **settings), known)


def test_where_there_is_no_choice_it_is_said_and_not_used(backbones):
    xl = backbones["xl"]
    asked = Recipe(prompt="a cube", clip_skip=2, backbone="mine", width=32, height=32, steps=1)
    for known in (xl, outline(str(xl.folder), "mine")):
        (said,) = unused(asked, known)
        assert said.field == "clip_skip" and "SDXL is always read to the layer before the last" in said.message
        assert settings_used(asked, known).clip_skip == 1
    assert torch.equal(plan(asked, xl, Encoder(xl), {}).cond["text"], xl.encode_prompt(["a cube"])["text"])
    assert not unused(Recipe(clip_skip=2), None), "nothing is known of it"


def test_evaluations_are_counted_without_the_weights(backbones):
    b = backbones["eps"]
    stand_in = StandIn(outline(str(b.folder), "mine"))
    asked = Recipe(prompt=LONG, clip_skip=2, backbone="mine", width=32, height=32, steps=2)
    made = plan(asked, stand_in, Encoder(stand_in), {})
    run(made.flow, stand_in.denoise)
    assert (made.tally.nfe, made.tally.rows) == (2, 4)
