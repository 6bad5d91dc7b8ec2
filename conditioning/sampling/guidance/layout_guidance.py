from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.gradients import gradient, leaf
from conditioning.registry import Box, Boxes, Help, Interval, Knob, method
from conditioning.sampling.attention.maps import RecordedMaps, before_steps, looked_at, nearest, places
from samplers.flow import Cond, Denoiser, Flow, Sampler
from samplers.schedules import interval


@method(
    task="layout",
    paper="2304.03373",
    search=(
        "place by boxes", "bounding box", "boxes", "layout", "position", "grounding", "regions",
        "regional prompt",
    ),
    needs=("gradients", "attention.cross"),
    traits=("prompt_names_boxes",),
    intervals=(Interval(end="end"),),
    nfe=None,
    rows=None,
)
def layout_guidance(
    sampler: Sampler,
    boxes: Annotated[Boxes, Help("Boxes, each with its words as they stand in the prompt")],
    sigmas: Sequence[float],
    network: Denoiser,
    backbone: Any,
    strength: Annotated[
        float, Knob(0, 300, neutral=0, label="Loss scale", help="How strongly words are drawn into their boxes")
    ] = 30.0,
    end: Annotated[float, Knob(0, 1, neutral=0, label="Until", help="Up to this fraction of the steps")] = 0.5,
    threshold: Annotated[
        float, Knob(0, 1, label="Loss threshold", help="Good enough: no more iterations once the loss is down to this")
    ] = 0.2,
    repeats: Annotated[
        int, Knob(0, 20, neutral=0, label="Max iterations", help="At most so many iterations before a step")
    ] = 5,
    side: Annotated[
        int, Knob(4, 64, label="Attention resolution",
                  help="Which maps of attention are read: those about this many cells wide")
    ] = 16,
) -> Sampler:
    """Layout guidance.

    Before a step the state moves so that the words of each box attend to what lies inside of it (Chen et al. 2024,
    Section 3.3, backward guidance).

        E = mean (1 - sum_box A / sum A)^2
        x = x - sigma^2 strength grad E

    boxes: each with its text as it stands in the prompt. backbone: tells its words in the tokens. network: whose
    attention is read. sigmas: the schedule of the run.

    A: the cross-attention maps of the prompt alone, head by head, of the mid block and of the decoder's 16 x 16, which
    in Stable Diffusion is its first block with attention; the mean is over these, over boxes, and over the tokens of
    each. A cell that a box covers in part counts in part. A move costs an evaluation with its backward pass, and one
    more is made to see that it is enough. The paper moves up to 5 times before each of the first 10 of 51 steps.

    The authors do otherwise: they carry the last loss over from step to step, so that a step is not looked at where the
    one before ended below the threshold; here every step is looked at.
    """
    low, high = interval(sigmas, 0.0, end)

    def laid_out(x: Tensor, sigma: float, cond: Cond) -> Flow:
        if not boxes or strength == 0 or not low < sigma <= high:
            return x
        tokens = places([box.text for box in boxes], cond, backbone)  # (B, K, L)
        for _ in range(repeats):
            at, tape, _ = leaf(x, None)
            recorded = yield from looked_at(network, at, sigma, cond, tape)
            energy = outside(deciding(recorded, side), boxes, tokens)  # (B,)
            left = energy.detach() > threshold
            if not left.any():
                break
            move = sigma**2 * strength * gradient(energy, at)
            x = torch.where(left.view(-1, 1, 1, 1), x - move, x)
        return x

    return before_steps(sampler, laid_out)


def deciding(recorded: RecordedMaps, side: int) -> RecordedMaps:
    """The maps of the mid block, and those of the decoder of one size."""
    up = [(site, maps) for site, maps in recorded if site.place == "up"]
    return [(site, maps) for site, maps in recorded if site.place == "mid"] + nearest(up, side)


def outside(recorded: RecordedMaps, boxes: Sequence[Box], tokens: Tensor) -> Tensor:
    """The energy E (B,), from 0 to 1, of maps (B, heads, h * w, L); tokens (B, K, L) bool, for each of K boxes."""
    total = torch.zeros(())
    for site, maps in recorded:
        masks = torch.stack([covered(box, site.height, site.width) for box in boxes]).flatten(1).to(maps)  # (K, h * w)
        total_attention = maps.sum(2).clamp(min=1e-8)  # (B, heads, L), 0 for a word that no cell looks at
        inside = torch.einsum("bhnl,kn->bhkl", maps, masks) / total_attention.unsqueeze(2)  # (B, heads, K, L)
        missed = (1 - inside).square().mean(1)  # (B, K, L)
        total = total.to(maps) + ((missed * tokens).sum(2) / tokens.sum(2)).mean(1)
    return total / len(recorded)


def covered(box: Box, height: int, width: int) -> Tensor:
    """(height, width): the part 0..1 of each cell that lies in the box."""

    def line(low: float, high: float, n: int) -> Tensor:
        edge = torch.arange(n + 1.0)
        return (edge[1:].clamp(max=high * n) - edge[:-1].clamp(min=low * n)).clamp(min=0)

    return line(box.top, box.bottom, height)[:, None] * line(box.left, box.right, width)
