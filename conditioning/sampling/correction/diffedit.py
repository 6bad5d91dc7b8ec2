from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Help, Image, Knob, Mask, Prompt, method
from conditioning.sampling.inversion.encoding import BY_STRENGTH, FixedPointIterations, ddim_encode, tail
from conditioning.sampling.masks import kept_outside
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step, together
from samplers.schedules import level


@method(
    task="editing",
    paper="2210.11427",
    search=(
        "automatic mask", "edit without a mask", "edit by words", "edit a photo", "change the colour", "mask",
    ),
    traits=("finds_start", "encodes_start"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
    order_in_family=1,  # the outermost, so that the start is found once, and not at every descent of time travel
)
def diffedit(
    sampler: Sampler,
    known: Annotated[Image, Help("The image to edit", label="Image")],
    source: Annotated[Prompt, Help("What the image shows now, in words", label="Source prompt")],
    network: Denoiser,
    mask: Annotated[Mask, Help("Paint where to edit, in place of the mask that is found")] | None = None,
    strength: Annotated[
        float, Knob(0.05, 1, label="Inpaint strength",
                    help="How far the image is taken back to noise, from 0 to 1: less keeps more of it")
    ] = 0.8,
    maps: Annotated[
        int, Knob(1, 32, label="Maps per mask", help="How many noises the mask is averaged over: more make it steadier")
    ] = 10,
    depth: Annotated[
        float, Knob(0.05, 1, label="Mask encode strength",
                    help="How noisy the image is made to find the mask, from 0 to 1")
    ] = 0.5,
    ratio: Annotated[float, Knob(0.5, 10, label="Mask thresholding ratio", help="Higher makes a smaller mask")] = 3.0,
    again: FixedPointIterations = 10,
) -> Sampler:
    """DiffEdit.

    Where the denoised predictions for the prompt of the run and for the source prompt differ, there is what to edit.
    The image is encoded by DDIM under the source prompt; decoding goes by the prompt of the run inside the mask, and
    outside retraces the states of the encoding (Couairon et al. 2022, Section 3.2).

        m = mean |D(x, prompt) - D(x, source)| > ratio / 2 of its own mean
        x = m x + (1 - m) encoded[sigma]

    known: the image, latents (B, C, h, w). source: a prompt that describes it. mask: (B, 1, h, w), True (or 1) where to
    edit, in place of the one found. network: what the encoding asks. `strength` and `depth` are parts of the steps,
    counted from the end.

    The mask's rule is that of diffusers' `generate_mask`, with the mean of each image and not of the batch, and both
    denoised predictions guided as the run is; no difference at all is an empty mask. The encoding is unguided, that of
    `inversion/encoding.climb`, and exact on the way back: a state is put back at the very level it was stored at, where
    diffusers' pipeline is off by one.
    """

    def edited(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        start = known.to(x)
        region = mask
        if region is None:
            region = yield from edit_mask(D, start, level(sigmas, 1 - depth), cond, source, noise, maps, ratio)
        part = tail(sigmas, strength)
        stored = yield from ddim_encode(network, start, part, source, again=again)

        def back(step: Step) -> Tensor:
            return kept_outside(region, step.x, encoded(stored, step.sigma), step.sigma)

        return (yield from on_step(sampler(D, stored[part[0]], part, cond, noise), back))

    return edited


def encoded(stored: Mapping[float, Tensor], sigma: float) -> Tensor:
    """The state of the encoding at a level; on the line between its neighbours where the run stops between two."""
    if sigma in stored:
        return stored[sigma]
    below, above = max(s for s in stored if s < sigma), min(s for s in stored if s > sigma)
    return torch.lerp(stored[below], stored[above], (sigma - below) / (above - below))


def edit_mask(
    D: Denoiser, known: Tensor, sigma: float, cond: Cond, source: Cond, noise: Noise, maps: int, ratio: float
) -> Flow:
    """(B, 1, h, w) bool, True where the two prompts disagree about the image."""
    draw = noise.child("diffedit")
    noisy = [known + sigma * draw(known) for _ in range(maps)]
    pairs = yield from together(*(D(x, sigma, which) for x in noisy for which in (cond, source)))
    away = torch.stack([(a - b).abs().mean(1, keepdim=True) for a, b in zip(pairs[::2], pairs[1::2])]).mean(0)
    return away > ratio / 2 * away.flatten(1).mean(1).view(-1, 1, 1, 1)
