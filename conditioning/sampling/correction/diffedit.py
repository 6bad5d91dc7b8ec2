from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Image, Knob, Mask, Prompt, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, ask, on_step, together
from samplers.schedules import level


@method(task="editing", paper="2210.11427", calls=None, rows=None)
def diffedit(
    sampler: Sampler,
    known: Image,
    source: Prompt,
    mask: Mask | None = None,
    strength: Annotated[float, Knob(0.05, 1, help="How far the picture is encoded, from 0 to 1")] = 0.8,
    maps: Annotated[int, Knob(1, 32, help="Noises that the mask is the mean of")] = 10,
    depth: Annotated[float, Knob(0.05, 1, help="Level at which the mask is looked for")] = 0.5,
    ratio: Annotated[float, Knob(0.5, 10, help="Higher makes a smaller mask")] = 3.0,
) -> Sampler:
    """DiffEdit.

    Where the estimates for the prompt of the run and for the source prompt differ, there is what to edit. The picture
    is encoded by DDIM under the source prompt; decoding goes by the prompt of the run inside the mask, and outside
    retraces the states of the encoding (Couairon et al. 2022, Section 3.2).

        m = mean |D(x, prompt) - D(x, source)| > ratio / 2 of its own mean
        x = m x + (1 - m) encoded[sigma]

    known: the picture, latents (B, C, h, w). source: a prompt that describes it. mask: (B, 1, h, w), True where to
    edit, in place of the one found. `strength` and `depth` are parts of the steps, counted from the end.

    The mask's rule is that of diffusers' `generate_mask`, with the mean of each picture and not of the batch, and both
    estimates guided as the run is; no difference at all is an empty mask. The encoding is unguided and exact on the way
    back: a state is put back at the very level it was stored at, where diffusers' pipeline is off by one.
    """

    def edited(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        start = known.to(x)
        found = mask
        if found is None:
            found = yield from edit_mask(D, start, level(sigmas, 1 - depth), cond, source, noise, maps, ratio)
        found = found.to(x.device)
        steps = len(sigmas) - 1
        part = sigmas[steps - max(1, round(strength * steps)) :]
        stored = yield from encoded(start, part, source)

        def back(step: Step) -> Tensor:
            return torch.where(found, step.x, stored[step.sigma])

        return (yield from on_step(sampler(D, stored[part[0]], part, cond, noise), back))

    return edited


def edit_mask(
    D: Denoiser, known: Tensor, sigma: float, cond: Cond, source: Cond, noise: Noise, maps: int, ratio: float
) -> Flow:
    """(B, 1, h, w) bool, True where the two prompts disagree about the picture."""
    draw = noise.child("diffedit")
    noisy = [known + sigma * draw(known) for _ in range(maps)]
    pairs = yield from together(*(D(x, sigma, which) for x in noisy for which in (cond, source)))
    away = torch.stack([(a - b).abs().mean(1, keepdim=True) for a, b in zip(pairs[::2], pairs[1::2])]).mean(0)
    return away > ratio / 2 * away.flatten(1).mean(1).view(-1, 1, 1, 1)


def encoded(x: Tensor, sigmas: Sequence[float], cond: Cond) -> Flow:
    """DDIM upwards from level 0 under a prompt, each call at the level it goes to -> {level: state}, all of sigmas."""
    stored = {sigmas[-1]: x}
    for s, s_next in pairwise(reversed(sigmas)):
        x0 = yield from ask(x, s_next, cond)
        x = x + (s_next - s) / s_next * (x - x0)
        stored[s_next] = x
    return stored
