"""Classifier guidance: on the oracle, whose classifier is exact, scale 1 is the denoised prediction for the words."""

import pytest
import torch

from backbones import load
from backbones.guiding_networks import Classifier, parse
from conditioning.sampling.guidance.classifier_guidance import classifier_guidance
from samplers import SAMPLERS
from samplers.flow import Noise, ask, run
from samplers.schedules import karras
from tests.support.oracle import mixture, start

ORACLE = mixture(seed=2, K=4, shape=(3, 2, 2))
NULL = ORACLE.encode_prompt(["", ""])


def guided(s, words="word1", scale=1.0, cond=NULL, oracle=ORACLE):
    x = start([1, 2], max(s, 1.0), (3, 2, 2))
    D = classifier_guidance(ask, words, scale=scale, backbone=oracle)
    return x, run(D(x, s, cond), oracle.denoise)


@pytest.mark.parametrize("s", [20.0, 3.0, 0.4, 0.05])
def test_at_scale_one_it_is_the_conditional_estimate(s):
    """grad log p(words | x) = grad log p(x | words) - grad log p(x), and s^2 of it added to D(x) is D(x | words)."""
    x, got = guided(s)
    wanted = ORACLE.D(x, s, ORACLE.encode_prompt(["word1"] * 2))
    assert s < 1 or (wanted - ORACLE.D(x, s)).abs().max() > 0.01  # there is something to see
    torch.testing.assert_close(got, wanted)


def test_words_add_up_to_those_of_the_prompt():
    oracle = load("exact")
    x = start([1, 2], 2.0, oracle.shape)
    D = classifier_guidance(ask, "red", scale=1.0, backbone=oracle)
    got = run(D(x, 2.0, oracle.encode_prompt([""] * 2)), oracle.denoise)
    torch.testing.assert_close(got, oracle.D(x, 2.0, oracle.encode_prompt(["red"] * 2)))


def test_the_step_grows_with_the_scale_and_with_rows_of_their_own_level():
    x, one = guided(3.0, scale=1.0)
    _, three = guided(3.0, scale=3.0)
    torch.testing.assert_close(three - ORACLE.D(x, 3.0), 3 * (one - ORACLE.D(x, 3.0)))
    levels = torch.tensor([3.0, 0.7], dtype=torch.float64)
    D = classifier_guidance(ask, "word1", scale=1.0, backbone=ORACLE)
    both = run(D(x, levels, NULL), ORACLE.denoise)
    torch.testing.assert_close(both, ORACLE.D(x, levels, ORACLE.encode_prompt(["word1"] * 2)))


def test_it_samples_what_was_asked_for():
    """60 images without a prompt: red ones only with the classifier's word, a third of them without."""
    oracle, seeds = load("exact"), list(range(60))
    sigmas, x = karras(20, 0.03, 15.0), start(seeds, 15.0, oracle.shape)
    null = oracle.encode_prompt([""] * 60)
    rates = []
    for D in (ask, classifier_guidance(ask, "red", scale=1.0, backbone=oracle)):
        end = run(SAMPLERS["euler"](D, x, sigmas, null, Noise(seeds)), oracle.denoise)
        said = oracle.classifier.log_p(end, torch.full((60,), 0.03, dtype=torch.float64), ["red"]).exp()
        rates.append((said > 0.5).double().mean().item())
    assert rates[0] < 0.5 < 0.99 < rates[1]


def test_no_gradient_goes_through_the_network():
    taped = []

    def noting(one):
        taped.append(one.tape)
        return ORACLE.denoise(one)

    x = start([1, 2], 3.0, (3, 2, 2))
    run(classifier_guidance(ask, "word1", backbone=ORACLE)(x, 3.0, NULL), noting)
    assert taped == [None]


KNOWN = ["red", "blue", "cube", "sphere", "red cube", "blue sphere", "snow", "night"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("a red cube on snow at night", ["red cube", "snow", "night"]),
        ("red, cube", ["red", "cube"]),
        ("Snow, blue ball", ["snow", "blue sphere"]),
        ("blue cube", ["blue", "cube"]),  # a pair it was never shown
        ("a sphere and a sphere", ["sphere"]),
    ],
)
def test_it_is_asked_in_words(text, words):
    assert parse(text, KNOWN, {"ball": "sphere"}) == words


@pytest.mark.parametrize("text", ["a purple cube", "", "an image of the"])
def test_what_it_does_not_know_is_refused_with_what_it_knows(text):
    with pytest.raises(ValueError, match="it knows red, blue"):
        parse(text, KNOWN, {})


def test_groups_are_odds_of_their_own():
    """Words of the first group are there or not, each; of another exactly one is true."""
    torch.manual_seed(0)
    network = Classifier([["red", "cube"], ["snow", "sand", "wood"]])
    x, s = torch.randn(3, 4, 8, 8), torch.tensor([0.1, 1.0, 300.0])
    scores = network(x, s)
    assert scores.shape == (3, 5) and scores.isfinite().all()
    torch.testing.assert_close(network.log_p(x, s, ["red"]), scores[:, 0].sigmoid().log())
    total = sum(network.log_p(x, s, [word]).exp() for word in ("snow", "sand", "wood"))
    torch.testing.assert_close(total, torch.ones(3))
    both = network.log_p(x, s, ["red", "snow"])
    torch.testing.assert_close(both, network.log_p(x, s, ["red"]) + network.log_p(x, s, ["snow"]))
