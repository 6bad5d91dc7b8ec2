from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Knob, method
from conditioning.sampling.inversion.encoding import BY_STRENGTH, SourceImage, SourcePrompt, Strength, direction, tail
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step


@method(
    task="editing",
    paper="2211.12446",
    search=(
        "inversion", "invert and edit", "real image editing", "edit a photo", "exact inversion",
    ),
    traits=("finds_start", "encodes_start", "replaces_steps", "whole_run"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def edict(
    sampler: Sampler,
    source: SourceImage,
    source_prompt: SourcePrompt,
    strength: Strength = 0.8,
    mix: Annotated[
        float,
        Knob(
            0.5,
            1,
            label="Mixing coefficient p",
            help="1 is no mixing; lower draws the two states together (paper: 0.93)",
        ),
    ] = 0.93,
    guided_network: Denoiser | None = None,
) -> Sampler:
    """EDICT.

    Two coupled states are denoised in turn, each with the noise that the network predicts at the other. So a step can
    be undone exactly, whatever the network is: up under the source prompt, down under the prompt of the run; the same
    prompt gives the image back up to rounding (Wallace et al. 2023, Eq. 13 to 15).

        x = x + (s' - s) eps(y, s)         up: the same backwards
        y = y + (s' - s) eps(x, s)
        x = p x + (1 - p) y
        y = p y + (1 - p) x

    source: the image, latents (B, C, h, w). source_prompt: a prompt that describes it. mix: the paper's p.
    guided_network: the denoiser of the way up, that of the run where it is None; see `compose`.

    Guidance acts on both ways; the paper takes scale 3. Where that leads the way up away from what the network knows as
    noise, nothing of the image is kept under another prompt: Still Life wants scale 1. Which of the two goes first
    changes from step to step, as in the official code. Every step costs two denoised predictions, on the way up too.
    Rounding grows by 1 / p^2 a step, so the states are in float64, whatever the network computes in."""

    def coupled(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        part = tail(sigmas, strength)
        pair = [source.to(x).double()] * 2
        for i, (s, s_next) in reversed([*enumerate(pairwise(part))]):
            upwards = unstep(guided_network or D, pair, s, s_next, source_prompt, mix, i % 2)
            pair = yield from reported(upwards, s, x.dtype, preparation=True)
        for i, (s, s_next) in enumerate(pairwise(part)):
            pair = yield from reported(step(D, pair, s, s_next, cond, mix, i % 2), s_next, x.dtype)
        return pair[0].to(x.dtype)

    return coupled


def step(D: Denoiser, pair: Sequence[Tensor], s: float, s_next: float, cond: Cond, p: float, first: int = 0) -> Flow:
    """Both states from level s down to s_next -> (the two, the last direction); first: which of them moves first."""
    pair = [*pair]
    for i, at in ((first, s), (1 - first, s_next)):  # the other one is at its new level already in the second move
        eps = yield from direction(D, pair[1 - i], at, s, cond)
        pair[i] = pair[i] + (s_next - s) * eps
    x, y = pair
    x = p * x + (1 - p) * y
    y = p * y + (1 - p) * x
    return [x, y], eps


def unstep(D: Denoiser, pair: Sequence[Tensor], s: float, s_next: float, cond: Cond, p: float, first: int = 0) -> Flow:
    """The inverse of `step`: both states from level s_next up to s."""
    x, y = pair
    y = (y - (1 - p) * x) / p
    x = (x - (1 - p) * y) / p
    pair = [x, y]
    for i, at in ((1 - first, s_next), (first, s)):
        eps = yield from direction(D, pair[1 - i], at, s, cond)
        pair[i] = pair[i] - (s_next - s) * eps
    return pair, eps


def reported(flow: Flow, sigma: float, dtype: torch.dtype, preparation: bool = False) -> Flow:
    """The pair that the flow brings to level sigma, after a Step in the run's dtype.

    What the reply changes is as it says, and the other state moves as much.
    """
    (x, y), eps = yield from flow
    shown = x.to(dtype)
    reply = yield Step(shown, (x - sigma * eps).to(dtype), sigma, preparation)
    moved = torch.where(reply == shown, x, reply.double())
    return [moved, y + (moved - x)]
