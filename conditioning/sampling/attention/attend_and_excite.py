import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.gradients import gradient, leaf
from conditioning.registry import Help, Interval, Knob, Words, method
from conditioning.sampling.attention.maps import averaged, before_steps, looked_at, nearest, places, subjects
from samplers.flow import Cond, Denoiser, Flow, Sampler
from samplers.schedules import interval, progress

STEPS = 50  # of the paper's runs
THRESHOLDS = {0.0: 0.05, 0.2: 0.5, 0.4: 0.8}  # part of the steps -> the peak that every word has to reach there


@method(
    task="text-to-image",
    paper="2301.13826",
    search=(
        "missing object", "forgotten word", "two objects", "neglected subject", "attribute binding",
        "attention map",
    ),
    needs=("gradients", "attention.cross"),
    traits=("prompt_names_words",),
    intervals=(Interval("start", "end"),),
    nfe=None,
    rows=None,
)
def attend_and_excite(
    sampler: Sampler,
    sigmas: Sequence[float],
    network: Denoiser,
    backbone: Any,
    words: Annotated[
        Words,
        Help(
            "Things that must appear, as they stand in the prompt; left out, all that it names", label="Subject tokens"
        ),
    ] = "",
    strength: Annotated[
        float, Knob(0, 300, neutral=0, label="Scale factor",
                    help="How strongly a neglected word is brought into the image")
    ] = 40.0,
    start: Annotated[float, Knob(0, 1, help="From this fraction of the steps")] = 0.3,
    end: Annotated[float, Knob(0, 1, neutral=0, help="Up to this fraction of the steps")] = 0.5,
    refinements: Annotated[
        int,
        Knob(0, 50, label="Max refinement steps", help="At most so many iterations at the steps that have a threshold"),
    ] = 0,
    sharpness: Annotated[
        float, Knob(0, 200, label="Softmax sharpness", help="How hard words compete for a place; 0: maps as they are")
    ] = 0.0,
    side: Annotated[
        int, Knob(4, 64, label="Attention resolution",
                  help="Which maps of attention are read: those about this many cells wide")
    ] = 16,
) -> Sampler:
    """Attend-and-Excite.

    Before a step the state moves so that the word of the prompt that the image neglects most is attended to somewhere
    in it (Chefer et al. 2023, Algorithm 1).

        loss = max_k (1 - max_ij G * softmax_k(sharpness A)_ijk)
        x    = x - strength (50 / N) sqrt(1 - t / 2) (1 + sigma^2) grad loss     t: 0 at the first step, 1 at the last

    words: which, as they stand in the prompt, things rather than their colours; left out, the last word before each
    article, preposition or comma, but not where or when it is ("on the grass"). backbone: tells them in the tokens.
    network: whose attention is read. sigmas: the schedule of the run, of N steps.

    A: the cross-attention maps, of the prompt alone, of all layers of one size and their heads, averaged, of the
    tokens between the marks of begin and end of the text; G: a Gaussian of 3 x 3. The factor 1 + sigma^2 brings the
    paper's step on the network's x / sqrt(1 + sigma^2) to x. The strength is that of the paper's 50 steps: in fewer,
    each move is as much larger. An altered step costs an evaluation with its backward pass.

    The paper's settings, for Stable Diffusion, are a strength of 20, a start of 0, a sharpness of 100 and 20
    refinements: at 0, 20 and 40 % of the steps the move is repeated until every word peaks above 0.05, 0.5 and 0.8 (the
    official code makes one more after that). Where sharpness is 0 the maps count as they are, without softmax.

    The defaults are for Still Life. Above sigma 12, at 30 % of the steps, its maps do not tell a solid that will be
    missing from one that will be there, and a move is one at random; and it looks at "and", "on" and its padding more
    than at what they stand beside, so that a softmax over all of them leaves next to no gradient.
    """
    low, high = interval(sigmas, start, end)
    steps = len(sigmas) - 1
    texts = [text for text in words.split(",") if text.strip()]

    def excited(x: Tensor, sigma: float, cond: Cond) -> Flow:
        if strength == 0 or not low < sigma <= high:
            return x
        chosen = places(texts, cond, backbone).any(1) if texts else subjects(cond, backbone)  # (B, L)
        rivals = backbone.between_marks(cond["tokens"])  # (B, L)
        step = strength * STEPS / steps * math.sqrt(1 - progress(sigmas[:-1], sigma) / 2) * (1 + sigma**2)
        i = round(steps * progress(sigmas, sigma))
        threshold = next((peak for part, peak in THRESHOLDS.items() if math.ceil(part * steps) == i), 0.0)
        loss, move = yield from excitement(network, x, sigma, cond, chosen, rivals, sharpness, side)
        for _ in range(refinements):
            left = loss > 1 - threshold  # (B,)
            if not left.any():
                break
            x = torch.where(left.view(-1, 1, 1, 1), x - step * move, x)
            loss, move = yield from excitement(network, x, sigma, cond, chosen, rivals, sharpness, side)
        return x - step * move

    return before_steps(sampler, excited)


def excitement(
    network: Denoiser, x: Tensor, sigma: float, cond: Cond, chosen: Tensor, rivals: Tensor, sharpness: float, side: int
) -> Flow:
    """The loss (B,) of a state, and its gradient (B, C, h, w)."""
    at, tape, _ = leaf(x, None)
    recorded = yield from looked_at(network, at, sigma, cond, tape)
    loss = neglect(averaged(nearest(recorded, side)), chosen, rivals, sharpness)
    return loss.detach(), gradient(loss, at)


def neglect(maps: Tensor, chosen: Tensor, rivals: Tensor, sharpness: float) -> Tensor:
    """(B,): how far from 1 the highest peak of the chosen token is that has the lowest; maps (B, h, w, L), chosen and
    rivals (B, L) bool: the tokens that compete for a place."""
    chosen, rivals = chosen.to(maps.device), rivals.to(maps.device)
    if sharpness > 0:
        maps = (sharpness * maps).masked_fill(~rivals[:, None, None], -torch.inf).softmax(-1)
    attention = maps.permute(0, 3, 1, 2)  # (B, L, h, w)
    line = torch.tensor([-1.0, 0.0, 1.0], dtype=maps.dtype, device=maps.device).square().neg().exp()
    kernel = (line[:, None] * line / line.sum() ** 2).expand(attention.shape[1], 1, 3, 3)
    smooth = F.conv2d(F.pad(attention, (1, 1, 1, 1), mode="reflect"), kernel, groups=attention.shape[1])
    missing = 1 - smooth.flatten(2).amax(2)  # (B, L)
    return missing.masked_fill(~(chosen & rivals), 0).amax(1)
