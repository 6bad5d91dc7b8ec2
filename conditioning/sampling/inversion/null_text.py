from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Choice, Knob, method
from conditioning.sampling.inversion.encoding import (
    BY_STRENGTH,
    FixedPointIterations,
    SourceImage,
    SourcePrompt,
    Strength,
    ddim_encode,
    tail,
)
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Ask, Cond, Denoiser, Flow, Noise, Sampler, Step, forward, with_role
from samplers.schedules import highest

RATE = 0.1  # of Adam, at the first level; half of that at the last. The official code's is 0.01
LOSS, MORE = 1e-5, 1e-4  # a level is done below this loss, and so much more at the last level; official: 1e-5, 1e-3


@method(
    task="editing",
    paper="2211.09794",
    search=(
        "inversion", "invert and edit", "real image editing", "edit a photo", "NTI",
        "optimised negative prompt",
    ),
    needs=("gradients", "prompts"),
    traits=("finds_start", "encodes_start", "retraces_path"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def null_text(
    sampler: Sampler,
    source: SourceImage,
    source_prompt: SourcePrompt,
    network: Denoiser,
    source_states: SourceStates,
    null: Cond | None = None,
    strength: Strength = 1.0,
    begin: Annotated[
        str,
        Choice(
            ("source", "null"),
            label="Initial embedding",
            help="Embedding that the optimisation begins with: of the source prompt, or of the negative prompt (null)",
        ),
    ] = "source",
    updates: Annotated[
        int,
        Knob(
            0,
            50,
            label="Inner steps",
            help="Optimisation steps at a noise level at most, each a forward and a backward pass",
        ),
    ] = 10,
    rate: Annotated[
        float,
        Knob(
            0.001,
            1,
            label="Learning rate",
            help="Learning rate of the updates at the first level; half of that at the last",
        ),
    ] = RATE,
    again: FixedPointIterations = 10,
    guided_network: Denoiser | None = None,
) -> Sampler:
    """Null-text inversion.

    The image is encoded by DDIM. Then, level by level from the top, the embedding of the negative prompt is tuned
    until a guided step under the source prompt goes where the encoding came from. So the source prompt gives the
    image back although the run is guided, and another one edits it (Mokady et al. 2023, Algorithm 1).

        null[s] = argmin |encoded[s'] - DDIM(x, s, u + w (c - u))|^2,  u = D(x, null[s])
        x = DDIM(x, s, u + w (c - u)) with null[s]

    source: the image, latents (B, C, h, w). source_prompt: a prompt that describes it. network: what the encoding
    asks. null: the cond of the negative prompt. source_states: where the source's states are kept, for methods that run
    it beside the target. guided_network: the denoiser that the texts are tuned with, that of the run where it is None;
    see `compose`.

    Whatever the denoiser of the run asks for the negative prompt, it asks with the tuned text; what else it asks is
    answered once a level. On the way of the source the tuned denoised prediction is the source prompt's own, whatever
    it was begun from: begun at the source prompt, which is negative-prompt inversion (Miyake et al. 2023, arXiv
    2305.16807), a level takes hardly an update.

    The paper's settings are 50 steps, scale 7.5, rate 0.01 and `again` 0. That rate is too low for a small text
    encoder: Adam moves every number of the text by it, whatever the gradient, and a text of fewer numbers has further
    to go. A plain encoding does not end where its steps down come from, which is not the text's to mend at the last
    levels. A level that is good enough is left as it is, where the official code makes another update, and the best
    text of a level is taken, not the last. The step tuned for is DDIM's, so other samplers give the source back less
    exactly. Without guidance there is nothing to tune, and it is DDIM inversion.
    """

    def inverted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        part = tail(sigmas, strength)
        pivot = yield from ddim_encode(network, source.to(x), part, source_prompt, again=again)
        start = pivot[part[0]]
        nulls, states = {}, pivot
        if null is not None:
            nulls, states = yield from tuned(guided_network or D, pivot, source_prompt, null, updates, rate, begin)
        source_states.keep(states, source_prompt)
        return (yield from sampler(replaced(D, nulls), start, part, cond, noise))

    return inverted


def tuned(
    D: Denoiser,
    pivot: Mapping[float, Tensor],
    cond: Cond,
    null: Cond,
    updates: int,
    rate: float = RATE,
    begin: str = "null",
    more: float = MORE,
) -> Flow:
    """The text of the negative prompt {level: (B, L, D)}, and the states that it leads the source to {level: x}.

    pivot: states to come by, of ascending levels. updates: of Adam, at most so many at a level. rate: of these, at the
    first level; half of that at the last. more: by which the loss that is enough is higher at the last level.
    """
    sigmas = [*pivot][::-1]
    x, text = pivot[sigmas[0]], (cond if begin == "source" else null)["text"]
    nulls, states = {}, {sigmas[0]: x}
    for i, (s, s_next) in enumerate(pairwise(sigmas)):
        part = i / (len(sigmas) - 1)
        known: list[tuple[Ask, Tensor]] = []
        text = text.detach().clone().requires_grad_()
        adam = torch.optim.Adam([text], lr=rate * (1 - part / 2))
        best: list[Tensor] = []  # of each row: the least loss so far, its text, where it leads to, and its x0
        for left in reversed(range(updates + 1)):
            x0 = yield from recalling(D(x, s, with_role(cond, "prompt")), text, object() if left else None, known)
            x_next = x0 + s_next / s * (x - x0)
            loss = ((x_next - pivot[s_next]) ** 2).flatten(1).mean(1) / (1 + s_next**2)  # (B,), of VP states
            latest = [one.detach().clone() for one in (loss, text, x_next, x0)]
            better = latest[0] < best[0] if best else torch.ones_like(loss, dtype=torch.bool)
            best = [rows(better, new, old) for new, old in zip(latest, best or latest)]
            on = loss.detach() > LOSS + more * part
            if not on.any() or not loss.requires_grad:
                break
            (text.grad,) = torch.autograd.grad(loss.sum(), text, allow_unused=True)
            if text.grad is None:  # asked for, and of no effect at this level
                break
            adam.step()
            text.data = rows(on, text.data, latest[1])
        _, text, x, x0 = best
        nulls[s] = text
        if s_next > 0:
            x = yield Step(x, x0, s_next, preparation=True)
        states[s_next] = x
    return nulls, states


def rows(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Those of a where `which` (B,) bool is True, else those of b."""
    return torch.where(which.view(-1, *[1] * (a.ndim - 1)), a, b)


def recalling(flow: Flow, text: Tensor, tape: object | None, known: list[tuple[Ask, Tensor]]) -> Flow:
    """A denoiser's flow whose asks for the negative prompt have this text and tape; other asks are answered once.

    known: those that were answered, and their answers; the same list for the same x and level.
    """

    def recalled(one: Ask) -> Tensor | None:
        same = (answer for old, answer in known if old.cond["text"] is one.cond["text"] and torch.equal(old.x, one.x))
        return next(same, None)

    def answer(asks: Any) -> Flow:
        reply = [None if one.role == "negative" else recalled(one) for one in asks]
        new = [i for i, known_answer in enumerate(reply) if known_answer is None]
        sent = [with_text(asks[i], text, tape) if asks[i].role == "negative" else asks[i] for i in new]
        for i, fresh in zip(new, (yield sent) if sent else []):
            reply[i] = fresh
            if not asks[i].role == "negative":
                known.append((asks[i], fresh))
        return reply

    return forward(flow, answer)


def replaced(D: Denoiser, nulls: Mapping[float, Tensor]) -> Denoiser:
    """D with what it asks for the negative prompt asked with the text of the nearest level."""
    if not nulls:
        return D

    def swapped(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        nearest = min(nulls, key=lambda s: abs(log(s / highest(sigma))))

        def answer(asks: Any) -> Flow:
            return (yield [with_text(one, nulls[nearest]) if one.role == "negative" else one for one in asks])

        return (yield from forward(D(x, sigma, cond, **kw), answer))

    return swapped


def with_text(one: Ask, text: Tensor, tape: object | None = None) -> Ask:
    return replace(one, cond={**one.cond, "text": text}, tape=one.tape if tape is None else tape)
