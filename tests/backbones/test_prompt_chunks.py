"""Prompts of any length for CLIP's text encoders: chunks of 75 tokens, each with places of its own, cut as A1111 cuts
them. Held against its published rules, written down once more here, and against diffusers' pipelines that are given
what the test lays together of the encoders' own features."""

import math
import random

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from app.engine.planner import Encoder, plan
from app.schema.recipe import Recipe
from backbones import stable_diffusion
from backbones.outline import outline
from common.weighted_text import weighted
from samplers.flow import Ask, run
from tests.support import tiny

WORDS = ["red", "blue", "small", "cube", "sphere", "grass"]  # a token each
COMMA = ",</w>"


def of(count, *commas):
    """Words of so many tokens, commas at these places among them."""
    return " ".join("," if i in commas else WORDS[i * 7 % 5] for i in range(count))


#: Longer than a chunk, with commas inside and outside of the last 20 tokens of one, at its very end, and behind it.
LONG = {
    "no comma": of(80), "far": of(80, 30, 54), "near": of(80, 30, 55), "two near": of(80, 60, 70),
    "at the end": of(80, 74), "behind": of(80, 70, 75), "three chunks": of(190, 60, 130, 134),
    "exactly full": of(75, 74), "full twice": of(150),
    "break": f"{of(20)} BREAK {of(90, 70)}", "break first": f"BREAK {of(3)}",
    "breaks": f"{of(3)} BREAK BREAK {of(3)} BREAK",
    "weights": f"{of(70)} (red, blue cube on grass:1.4), [{of(20, 3)}]", "short": "a (red:1.3) cube",
}  # fmt: skip


@pytest.fixture(scope="module", params=["eps", "v", "xl"])
def b(request, tmp_path_factory):
    folder = tiny.save(tmp_path_factory.mktemp("long"), request.param, places=77)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.clip_text.LEARNED_ALL", 100)  # as of CLIP's vocabulary
        patch.setattr("backbones.outline.LEARNED_ALL", 100)
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        yield stable_diffusion.load(str(folder), name="mine")


def by_the_rules(tokens, comma):
    """Of one text without BREAK: lists of at most 75 tokens."""
    rows = []
    while len(tokens) > 75:
        near = [i for i in range(55, 75) if tokens[i] == comma]
        end = near[-1] + 1 if near and tokens[75] != comma else 75
        rows.append(tokens[:end])
        tokens = tokens[end:]
    return [*rows, tokens]


def rows_of(prompt, tokenizer):
    """(tokens of a chunk, their weights) of every chunk, without what the product knows of chunks."""
    said = weighted(prompt.replace(" BREAK", " @").replace("BREAK", "@").strip(" @"))
    rows, lead = [], [([], [])] if prompt.startswith("BREAK") else []
    begin = 0
    for text in said.text.split("@"):
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        weights = [said.at(begin + first) for first, _ in read.offset_mapping]
        done = 0
        for tokens in by_the_rules(read.input_ids, tokenizer.convert_tokens_to_ids(COMMA)):
            rows.append((tokens, weights[done : done + len(tokens)]))
            done += len(tokens)
        begin += len(text) + 1
    return lead + rows


def by_hand(pipe, prompt):
    """Text (1, L, D) and what is pooled, of the encoders' own features."""
    xl = hasattr(pipe, "text_encoder_2")
    readers = [(pipe.tokenizer, pipe.text_encoder)] + ([(pipe.tokenizer_2, pipe.text_encoder_2)] if xl else [])
    parts, pooled = [], None
    for tokens, weights in rows_of(prompt, pipe.tokenizer):
        features = []
        for tokenizer, encoder in readers:
            row = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
            row += [tokenizer.pad_token_id] * (77 - len(row))
            out = encoder(torch.tensor([row]), output_hidden_states=True)
            z = out.hidden_states[-2] if xl else out.last_hidden_state
            w = torch.tensor([1.0, *weights, *[1.0] * (76 - len(weights))])[:, None]
            old, new = z.mean(), (z * w).mean()
            keeps = old.abs() > 1e-3 * z.std() and (w != 1).any()
            features.append(z * w * (old / new) if keeps else z * w)
        parts.append(torch.cat(features, -1))
        if xl and pooled is None:
            pooled = out.text_embeds
    return torch.cat(parts, 1), pooled


@pytest.fixture(scope="module")
def pipe(b):
    made = DiffusionPipeline.from_pretrained(b.folder, safety_checker=None)
    made.set_progress_bar_config(disable=True)
    made.scheduler = DDIMScheduler.from_config(made.scheduler.config, set_alpha_to_one=True)  # ends at level 0
    return made


@pytest.mark.parametrize("name", LONG)
@torch.no_grad()
def test_a_text_is_what_the_rules_make_of_the_encoders_features(b, pipe, name):
    ours, (text, pooled) = b.encode_prompt([LONG[name]]), by_hand(pipe, LONG[name])
    torch.testing.assert_close(ours["text"], text, atol=1e-5, rtol=1e-4)
    assert pooled is None or torch.equal(ours["pooled"], pooled), "that of the first chunk"
    counted = [len(tokens) for tokens, _ in rows_of(LONG[name], pipe.tokenizer)]
    assert b.count_tokens(LONG[name]) == (75 * (len(counted) - 1) + counted[-1], 75 * len(counted))
    assert outline(str(b.folder)).count_tokens(LONG[name]) == b.count_tokens(LONG[name])
    assert b.unread(LONG[name]) == outline(str(b.folder)).unread(LONG[name]) == "", "nothing is dropped"


def test_texts_of_any_kind_are_cut_by_the_rules(b, pipe):
    draw = random.Random(0)
    for _ in range(40):
        words = [draw.choice([*WORDS, *[","] * draw.randint(0, 3)]) for _ in range(draw.randint(0, 240))]
        rows = rows_of(" ".join(words), pipe.tokenizer)
        made = b.text.readers[0].chunks(weighted(" ".join(words)), b.learned_words)
        assert [[*chunk.tokens] for chunk in made] == [tokens for tokens, _ in rows]


@pytest.mark.parametrize("prompt, negative", [(LONG["near"], "blue"), ("red", LONG["weights"]), (LONG["break"], "")])
def test_euler_is_diffusers_ddim_given_the_same_features(b, pipe, prompt, negative):
    """The shorter one of the two is filled up with empty chunks."""
    asked = Recipe(prompt=prompt, negative=negative, backbone="mine", width=32, height=24, steps=3, schedule="leading")
    made, sizes = plan(asked, b, Encoder(b), {}), []

    def answer(ask):
        sizes.append(len(ask.x))
        return b.denoise(ask)

    with torch.no_grad():
        ours = run(made.flow, answer)
        (text, pooled), (null, null_pooled), (empty, _) = (by_hand(pipe, one) for one in (prompt, negative, ""))
        chunks = [one.shape[1] // 77 for one in (text, null)]
        if not negative and pooled is not None:  # SDXL's empty prompt
            null, null_pooled, empty = 0 * null, 0 * null_pooled, 0 * empty
        text, null = (torch.cat([one] + [empty] * (max(chunks) - n), 1) for one, n in zip((text, null), chunks))
        latents, more = made.x / math.sqrt(1 + made.sigmas[0] ** 2), {}
        if pooled is not None:
            more = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": null_pooled}
        theirs = pipe(prompt_embeds=text, negative_prompt_embeds=null, latents=latents, width=32,
                      height=24, guidance_scale=asked.cfg_scale, num_inference_steps=3, output_type="latent",
                      **more).images  # fmt: skip
    assert sizes == [2, 2, 2], "one evaluation a step"
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_what_is_unweighted_is_the_plain_prompt_to_the_bit(b):
    for text in ("(a:1) (red cube:1.0)", "a (red cube:1)"):
        one, words = b.encode_prompt([text]), b.encode_prompt(["a red cube"])
        assert all(torch.equal(one[key], words[key]) for key in words)


def test_words_are_found_in_every_chunk_and_across_a_cut(b):
    cond = b.encode_prompt([f"{of(74)} sunset on grass"])
    assert cond["tokens"].shape == (1, 154)
    words = b.words(cond["tokens"][0])
    assert [word for word, _ in words] == [*of(74).split(), "sunset", "on", "grass"]
    assert words[0][1] == [1] and words[74][1] == [75, *range(78, 83)], "cut in two where the chunk is full"
    assert words[75][1] == [83] and words[76][1] == [84]


def test_rows_of_unlike_numbers_of_chunks_share_an_evaluation(b):
    cond = b.encode_prompt(["red BREAK cube", "grass"])
    blank = b.encode_prompt(["BREAK"])
    assert torch.equal(cond["text"][1:], torch.cat([b.encode_prompt(["grass"])["text"], blank["text"]], 1))
    assert blank["text"].any(), "an empty chunk is read, also where an empty prompt is all zeros"
    assert b.denoise(Ask(torch.randn(2, 4, 16, 16), torch.ones(2), cond)).isfinite().all()


@pytest.mark.parametrize("mine, other", [(LONG["near"], "a red cube"), ("a red cube", LONG["break"])])
def test_prompts_of_methods_are_as_long_as_that_of_the_run(b, mine, other):
    """So attention to one can be laid over that to another, and all of them share an evaluation."""
    settings = dict(backbone="mine", width=32, height=32, steps=2, negative="blue")
    edited = {"name": "prompt_to_prompt", "inputs": {"source_prompt": other}, "knobs": {"cross": 1.0}}
    made = plan(Recipe(prompt=mine, methods=[edited], **settings), b, Encoder(b), {})
    assert run(made.flow, b.denoise).isfinite().all()
    composed = {"name": "composable", "inputs": {"also": other}}
    made = plan(Recipe(prompt=mine, methods=[composed], **settings), b, Encoder(b), {})
    run(made.flow, b.denoise)
    assert (made.tally.nfe, made.tally.rows) == (2, 2 * 3)  # both prompts, and the negative one once


def test_prompts_that_and_joins_are_as_long_as_the_longest(b):
    asked = Recipe(prompt=f"{LONG['near']} AND a red cube :0.5", backbone="mine", width=32, height=32, steps=2)
    made = plan(asked, b, Encoder(b), {})
    run(made.flow, b.denoise)
    assert (made.tally.nfe, made.tally.rows) == (2, 2 * 3) and made.cond["text"].shape[1] == 2 * 77


def test_an_encoder_that_was_trained_with_its_network_reads_the_text_as_one(tiny_unet, monkeypatch):
    for name in ("clip_text", "outline"):
        monkeypatch.setattr(f"backbones.{name}.LEARNED_ALL", 10_000)
    small = tiny_unet("eps")
    assert not small.reads_chunks and not outline(str(small.folder)).reads_chunks
    assert torch.equal(small.encode_prompt(["red BREAK cube"])["text"], small.encode_prompt(["red cube"])["text"])
    assert small.count_tokens(of(20)) == outline(str(small.folder)).count_tokens(of(20)) == (20, 14)
    pipe = DiffusionPipeline.from_pretrained(small.folder, safety_checker=None)
    for text in ("a red cube", of(20)):
        theirs = pipe.encode_prompt(text, "cpu", 1, False)[0]
        assert torch.equal(small.encode_prompt([text])["text"], theirs)
