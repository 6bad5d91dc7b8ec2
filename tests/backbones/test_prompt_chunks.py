"""BREAK: a text in chunks, each with places of its own, for CLIP's text encoders; as A1111 reads it."""

import pytest
import torch

from app.engine.planner import Encoder, plan
from app.schema.recipe import Recipe
from backbones import stable_diffusion
from backbones.outline import outline
from samplers.flow import Ask, run

LONG = " ".join(["red"] * 13 + ["cube"])  # as long as a chunk: 14 words and two marks


@pytest.fixture(params=["eps", "xl"])
def b(request, checkpoints, monkeypatch):
    monkeypatch.setattr("backbones.clip_text.LEARNED_ALL", 100)  # as of CLIP's vocabulary
    monkeypatch.setattr("backbones.outline.LEARNED_ALL", 100)
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    return stable_diffusion.load(str(checkpoints(request.param)), name="mine")


def test_chunks_are_laid_end_to_end_each_as_it_is_alone(b):
    both, first, second = (b.encode_prompt([text]) for text in ("a red cube BREAK grass", "a red cube", "grass"))
    for key in ("text", "tokens"):
        assert torch.equal(both[key], torch.cat([first[key], second[key]], 1))
    if "pooled" in both:
        assert torch.equal(both["pooled"], first["pooled"])
    words = [(word, len(places)) for word, places in b.words(both["tokens"][0])]
    assert words == [(word, 1) for word in ("a", "red", "cube", "grass")]


def test_a_weight_holds_in_its_chunk_alone(b):
    weighed, plain = b.encode_prompt(["red BREAK (cube:1.5)"])["text"], b.encode_prompt(["red BREAK cube"])["text"]
    half = plain.shape[1] // 2
    assert torch.equal(weighed[:, :half], plain[:, :half]) and not torch.equal(weighed[:, half:], plain[:, half:])
    assert torch.equal(weighed[:, half:], b.encode_prompt(["(cube:1.5)"])["text"])


def test_a_text_too_long_for_one_chunk_is_read_in_two(b, checkpoints):
    assert b.unread(f"{LONG} grass") == "grass" and not b.unread(f"{LONG} BREAK grass")
    assert b.unread(f"grass BREAK {LONG} sphere") == "sphere"
    known = outline(str(b.folder))
    assert known.reads_chunks and b.reads_chunks
    assert all(known.unread(text) == b.unread(text) for text in (f"{LONG} grass", f"{LONG} BREAK grass"))


def test_rows_of_unlike_numbers_of_chunks_share_an_evaluation(b):
    """The shorter one is filled up with chunks of the empty prompt, as in A1111."""
    cond = b.encode_prompt(["red BREAK cube", "grass"])
    nothing = b.encode_prompt([""])
    assert torch.equal(cond["text"][1:], torch.cat([b.encode_prompt(["grass"])["text"], nothing["text"]], 1))
    assert b.denoise(Ask(torch.randn(2, 4, 16, 16), torch.ones(2), cond)).isfinite().all()


@pytest.mark.parametrize("prompt, negative", [("red BREAK cube", "grass"), ("red", "grass BREAK cube BREAK a")])
def test_a_guided_run_makes_one_evaluation_a_step(b, prompt, negative):
    asked = Recipe(prompt=prompt, negative=negative, backbone="mine", width=32, height=32, steps=3)
    made = plan(asked, b, Encoder(b), {})
    rows = []

    def answer(ask):
        rows.append(len(ask.x))
        return b.denoise(ask)

    assert run(made.flow, answer).isfinite().all() and rows == [2, 2, 2]


def test_an_encoder_that_was_trained_with_its_network_reads_the_text_as_one(tiny_unet):
    b = tiny_unet("eps")
    assert not b.reads_chunks and not outline(str(b.folder)).reads_chunks
    assert torch.equal(b.encode_prompt(["red BREAK cube"])["text"], b.encode_prompt(["red cube"])["text"])
