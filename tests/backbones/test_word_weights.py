"""Weights of words in the condition of a prompt: what they do to the features of the words, and to nothing else."""

import pytest
import torch

from backbones.prompts import Prompts
from backbones.word_weights import NO_MEAN, extrapolated, multiplied
from samplers.protocol import Ask
from tests.support.networks import embedded

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


# ---- CLIP ----------------------------------------------------------------------------------------------------------


def test_the_mean_of_each_text_encoder_is_kept():
    z, weights = torch.randn(1, 16, 80, generator=torch.Generator().manual_seed(0)) + 0.5, weights_of(16)
    z[..., 32:] -= 2
    for part in z.split([32, 48], -1):
        made = multiplied(part, weights)
        torch.testing.assert_close(made, by_hand(part, weights))
        torch.testing.assert_close(made.mean(), part.mean())


@pytest.mark.parametrize("mean", [1e-6, -1e-5, NO_MEAN / 2])
def test_where_there_is_no_mean_to_keep_the_weights_alone_act(mean):
    z = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0))
    z, weights = (z - z.mean()) / z.std() + mean, weights_of(16)
    assert torch.equal(multiplied(z, weights), z * weights[:, None])


@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_features_of_clip_are_multiplied_as_in_a1111(tiny_unet, monkeypatch, kind):
    """Held against the encoders' own states, weighted by hand; tokens and what is pooled are those of the words."""
    monkeypatch.setattr("backbones.clip_text.LEARNED_ALL", 100)  # as of the 49,408 tokens of CLIP
    b = tiny_unet(kind)
    monkeypatch.setattr(b, "_prompts", Prompts(b.text))
    plain, made = b.encode_prompt([WORDS]), b.encode_prompt([WEIGHTED])
    assert all(torch.equal(plain[key], made[key]) for key in plain if key != "text")
    assert b.words(made["tokens"][0]) == b.words(plain["tokens"][0])
    widths, weights = [32] if kind == "eps" else [32, 48], weights_of(plain["text"].shape[1])
    for before, after in zip(plain["text"].split(widths, -1), made["text"].split(widths, -1)):
        kept = before.mean().abs() > NO_MEAN * before.std()
        torch.testing.assert_close(after, by_hand(before, weights) if kept else before * weights[:, None])
        assert not torch.equal(before, after)


# ---- a text encoder that was trained with its network -------------------------------------------------------------


def test_features_move_by_what_the_words_change_about_them():
    z, weights = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(0)), weights_of(16)
    asked = []

    def without(read):
        asked.append(read[0].tolist())
        return 0.25 * z if read[0, 2] else 0.5 * z

    made = extrapolated(z, weights, without)
    torch.testing.assert_close(made, z - 0.5 * (z - 0.25 * z) + (z - 0.5 * z))
    assert asked == [[int(i not in (4, 5)) for i in range(16)], [int(i not in (2, 3)) for i in range(16)]]


def test_at_zero_no_other_token_knows_of_the_words():
    """The words' own tokens stay what they are; the sentence in the marks of the end is that without them."""
    b = embedded("still-life")
    red, blue = (b.encode_prompt([f"a ({colour}:0) cube on grass"])["text"] for colour in ("red", "blue"))
    others = [i for i in range(red.shape[1]) if i != 2]
    torch.testing.assert_close(red[:, others], blue[:, others], atol=1e-4, rtol=1e-4)
    red, blue = (b.encode_prompt([f"a {colour} cube on grass"])["text"] for colour in ("red", "blue"))
    assert (red - blue)[:, 3:].abs().mean() > 0.05


def test_weights_move_the_end_of_the_text_along_one_line():
    b = embedded("still-life")
    nought, half, once, twice = (b.encode_prompt([f"a (red:{w}) cube"])["text"] for w in (0, 0.5, 1, 2))
    torch.testing.assert_close(half, (nought + once) / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(twice, 2 * once - nought, atol=1e-4, rtol=1e-4)


def test_the_network_follows_the_weight_as_far_as_it_goes():
    """Between its prediction without the words and that with them, and beyond; multiplying the words' own features, as
    for CLIP, moves it nowhere, not even at 0."""
    b, sigma = embedded("still-life"), torch.tensor([5.0])
    x = 5 * torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))

    def prediction(text):
        return b.denoise(Ask(x, sigma, b.encode_prompt([text])))

    without, plain = prediction("a red cube on grass"), prediction("a red cube on grass at sunset")
    way = plain - without

    def gone(made):
        return ((made - without) * way).sum().item() / way.square().sum().item()

    at = [gone(prediction(f"a red cube on grass (at sunset:{w})")) for w in (0, 0.5, 1.5)]
    assert abs(at[0]) < 0.02 < 0.1 < at[1] < 0.9 < 1.02 < at[2]
    features = b.encode_prompt(["a red cube on grass at sunset"])["text"].clone()
    features[:, 6:8] = 0
    assert gone(b.denoise(Ask(x, sigma, {"text": features}))) > 0.95


# ---- both ----------------------------------------------------------------------------------------------------------


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
