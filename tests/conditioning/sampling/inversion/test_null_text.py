"""Null-text inversion, on exact and on random networks."""

import math
from itertools import pairwise

import pytest
import torch

from conditioning.compose import compose
from conditioning.sampling.inversion.encoding import ddim_encode
from conditioning.sampling.inversion.null_text import LOSS, MORE, null_text, tuned
from conditioning.sampling.source_states import SourceStates
from samplers import SAMPLERS
from samplers.flow import Ask, Noise, ask, drive, run
from samplers.schedules import karras
from tests.support.inversion_runs import (
    SHAPE,
    cond,
    error,
    euler,
    guided,
    null,
    oracle,
    other,
    result,
    sigmas,
    source,
    use,
)
from tests.support.oracle import start


class Linear:
    """A network whose denoised prediction is the state's share and something of the text, which can be anything."""

    def denoise(self, one):
        s = one.sigma.view(-1, 1, 1, 1)
        return one.x / (1 + s**2) + one.cond["text"].view_as(one.x)


def test_tuned_embeddings_bring_the_source_back_under_guidance():
    stream = torch.Generator().manual_seed(3)
    texts = [{"text": 0.3 * torch.randn(2, 4, 8, generator=stream, dtype=torch.float64)} for _ in range(3)]
    x, levels = torch.zeros_like(source), karras(50, 0.05, 20.0)
    D, _, _ = compose([("cfg", {"scale": 7.5})], euler, null=texts[1])

    def back(updates):
        made = null_text(euler, source, texts[0], ask, kept, texts[1], begin="null", updates=updates, rate=0.01)
        seen = [e for _, e in drive([made(D, x, levels, texts[0], Noise([1, 2]))], Linear().denoise)]
        for e in seen[-51:-1]:  # the run retraces the states that were tuned for
            assert torch.equal(e.x, kept.at(e.sigma))
        return error(seen[-1].result)

    kept = SourceStates()
    assert back(10) < 0.02 < 0.5 < back(0)


def test_at_the_official_rate_and_losses_the_texts_are_those_of_the_official_code():
    """null_optimization of google/prompt-to-prompt on VP states; that one tests the loss after its update."""
    stream = torch.Generator().manual_seed(3)
    texts = [{"text": 0.1 * torch.randn(1, 4, 8, generator=stream, dtype=torch.float64)} for _ in range(2)]
    levels, w, net = karras(50, 0.05, 20.0), 7.5, Linear()
    pivot = run(ddim_encode(ask, source[:1], levels, texts[0]), net.denoise)
    D, _, _ = compose([("cfg", {"scale": w})], euler, null=texts[1])
    nulls, states = run(tuned(D, pivot, *texts, 10, rate=1e-2, more=1e-3), net.denoise)

    def eps(x_vp, s, text):
        x = x_vp * math.sqrt(1 + s**2)
        return (x - net.denoise(Ask(x, torch.tensor([s], dtype=x.dtype), {"text": text}))) / s

    def lower(x, e, a, a_next):
        return math.sqrt(a_next) * (x - math.sqrt(1 - a) * e) / math.sqrt(a) + math.sqrt(1 - a_next) * e

    text, x, used = texts[1]["text"], pivot[levels[0]] / math.sqrt(1 + levels[0] ** 2), []
    for i, (s, s_next) in enumerate(pairwise(levels)):
        a, a_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
        text = text.detach().clone().requires_grad_()
        adam, eps_c = torch.optim.Adam([text], lr=1e-2 * (1 - i / 100)), eps(x, s, texts[0]["text"])
        for j in range(11):
            eps_u = eps(x, s, text)
            made = lower(x, eps_u + w * (eps_c - eps_u), a, a_next)
            loss = torch.nn.functional.mse_loss(made, pivot[s_next] / math.sqrt(1 + s_next**2))
            if j == 10 or loss < 1e-5 + i * 2e-5:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        used.append(j)
        x = made.detach()
        assert (nulls[s] - text.detach()).abs().max() < 1e-10
        assert (states[s_next] / math.sqrt(1 + s_next**2) - x).abs().max() < 1e-10
    assert 0 in used and any(used)


def test_begun_at_the_source_prompt_there_is_little_to_tune_however_the_run_is_guided():
    asked = []

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    pivot = run(ddim_encode(ask, source, sigmas, cond, again=30), oracle.denoise)
    nulls, states = run(tuned(guided(7.5), pivot, cond, null, 10, begin="source"), noting)
    assert len(asked) < 4 * 12 and error(states[0.0]) < 0.01
    assert sum(torch.equal(one, cond["text"]) for one in nulls.values()) > 6


def test_a_level_is_tuned_until_its_loss_is_small_enough_or_the_updates_are_used_up():
    pivot = run(ddim_encode(ask, source, sigmas, cond), oracle.denoise)
    asked = []

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    nulls, states = run(tuned(guided(3.0), pivot, cond, null, 15), noting)
    assert list(nulls) == sigmas[:-1] and set(states) == set(sigmas)
    for i, (s, s_next) in enumerate(pairwise(sigmas)):
        tries = sum(one.tape is not None for one in asked if one.sigma[0] == s)
        loss = ((states[s_next] - pivot[s_next]) ** 2).flatten(1).mean(1) / (1 + s_next**2)
        assert tries == 15 or (loss <= LOSS + MORE * i / 12).all()
        assert sum(one.cond["text"] is cond["text"] for one in asked if one.sigma[0] == s) == 1  # asked once a level


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_every_ask_for_the_negative_prompt_has_the_text_of_its_level(sampler):
    kept, asked = SourceStates(), []
    pivot = run(ddim_encode(ask, source, sigmas, cond, again=10), oracle.denoise)
    nulls, _ = run(tuned(guided(3.0), pivot, cond, null, 5), oracle.denoise)

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    made = null_text(SAMPLERS[sampler], source, cond, ask, kept, null, begin="null", updates=5)
    run(made(guided(3.0), start([1, 2], sigmas[0], SHAPE), sigmas, other, Noise([1, 2])), noting)
    last = [one for one in asked if len(one.x) == 4]  # of the run itself: both prompts in one call
    assert len(last) == (12 if sampler == "euler" else 23) and not any(
        one.cond["text"] is null["text"] for one in asked
    )
    for one in last:
        assert torch.equal(one.cond["text"], torch.cat([other["text"], nulls[one.sigma[0].item()]]))


def test_without_guidance_there_is_nothing_to_tune():
    assert torch.equal(result(use("null_text"), prompt=other), result(use("ddim_inversion", again=10), prompt=other))


def test_null_text_of_an_image_does_not_depend_on_its_batch():
    both = result(use("null_text"), scale=3.0, prompt=other)

    def row(c, i):
        return {key: value[i : i + 1] for key, value in c.items()}

    for i in range(2):
        D, sampler, _ = compose(
            [("null_text", {"source": source[i : i + 1], "source_prompt": row(cond, i)}), ("cfg", {"scale": 3.0})],
            euler, sigmas=sigmas, null=row(null, i),
        )  # fmt: skip
        alone = run(sampler(D, start([i + 1], 20.0, SHAPE), sigmas, row(other, i), Noise([i + 1])), oracle.denoise)
        assert torch.equal(alone, both[i : i + 1])
