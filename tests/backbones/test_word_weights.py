"""Weights of words in the condition of a prompt: A1111's formula on the features of the words, and nothing else."""

import pytest
import torch

from backbones.word_weights import SMALL_MEAN, weighed

WORDS, WEIGHTED = "a red cube on grass", "a (red cube:2) (on grass:0.5)"


def by_hand(z, weights):
    """A1111, modules/sd_emphasis.py: z times the multipliers, times the old mean over the new."""
    new = z * weights[:, None]
    return new * (z.mean() / new.mean())


def weights_of(length):
    """Of WEIGHTED: every word of it is one token."""
    weights = torch.ones(length)
    weights[2:4], weights[4:6] = 2.0, 0.5
    return weights


def test_the_mean_of_each_text_encoder_is_kept():
    z, weights = torch.randn(1, 16, 80, generator=torch.Generator().manual_seed(0)) + 0.5, weights_of(16)
    z[..., 32:] -= 2
    made = weighed(z, weights, [32, 48])
    torch.testing.assert_close(made, torch.cat([by_hand(part, weights) for part in z.split([32, 48], -1)], -1))
    torch.testing.assert_close(made[..., :32].mean(), z[..., :32].mean())


@pytest.mark.parametrize("mean", [1e-6, -1e-4, SMALL_MEAN / 2])
def test_where_there_is_no_mean_to_keep_the_weights_alone_act(mean):
    z = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0))
    z, weights = (z - z.mean()) / z.std() + mean, weights_of(16)
    assert torch.equal(weighed(z, weights, [32]), z * weights[:, None])


@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_only_the_features_of_the_weighted_words_are_others(tiny_unet, kind):
    """Held against the encoders' own states, weighted by hand; tokens and what is pooled are those of the words."""
    b = tiny_unet(kind)
    plain, made = b.encode_prompt([WORDS]), b.encode_prompt([WEIGHTED])
    assert all(torch.equal(plain[key], made[key]) for key in plain if key != "text")
    assert b.words(made["tokens"][0]) == b.words(plain["tokens"][0])
    parts = [plain["text"]] if kind == "eps" else plain["text"].split([32, 48], -1)
    weights = weights_of(plain["text"].shape[1])
    for before, after in zip(parts, [made["text"]] if kind == "eps" else made["text"].split([32, 48], -1)):
        kept = before.mean().abs() > SMALL_MEAN * before.std()
        torch.testing.assert_close(after, by_hand(before, weights) if kept else before * weights[:, None])
        assert not torch.equal(before, after)


@pytest.mark.parametrize("kind", ["eps", "xl"])
@pytest.mark.parametrize("text", ["(a red cube:1)", "(a:1) (red cube:1.0)", "a red <lora:x:1> cube"])
def test_weights_of_one_are_the_words_to_the_bit(tiny_unet, kind, text):
    b = tiny_unet(kind)
    one, words = b.encode_prompt([text]), b.encode_prompt(["a red cube"])
    assert all(torch.equal(one[key], words[key]) for key in words)


def test_what_is_said_of_a_text_is_of_its_words(tiny_unet):
    b = tiny_unet("eps")
    assert b.unknown_words("a (red giraffe:1.3) <lora:xyzzy:1> cube") == ["giraffe"]
    read = " ".join(["(red:1.3)"] * 14)  # all the places that there are
    assert b.unread(read) == "" and b.unread(f"{read} [cube]") == "cube"


def test_a_weighted_word_behind_the_last_place_is_not_read(tiny_unet):
    b, full = tiny_unet("eps"), " ".join(["red"] * 14)
    assert torch.equal(b.encode_prompt([f"{full} (cube:3)"])["text"], b.encode_prompt([full])["text"])
