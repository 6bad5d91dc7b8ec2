from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.registry import Help, Interval, Knob, Prompt, Words, method
from conditioning.sampling.attention.alignment import said
from conditioning.sampling.attention.lockstep import (
    EVERYTHING,
    Pair,
    Record,
    Source,
    lockstep,
    middle,
)
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.schedules import interval

OUT = -1e4  # added to the logits of what is not to be looked at: finite, so that a mask of nothing is no NaN


@method(
    task="editing",
    paper="2304.08465",
    search=(
        "change the pose", "non-rigid edit", "keep the look", "consistent character", "edit by words",
        "mutual self-attention",
    ),
    needs=("attention.self",),
    traits=("runs_source", "prompt_names_words"),
    intervals=(Interval("start"),),
    nfe=None,
    rows=None,
    order_in_family=-1,
)
def masactrl(
    sampler: Sampler,
    source_prompt: Annotated[Prompt, Help("Prompt of the source image, whose appearance is kept")],
    made_sigmas: Sequence[float],
    backbone: Any,
    start: Annotated[
        float, Knob(0, 1, neutral=1, label="Start step", help="Acts from this fraction of the steps")
    ] = 0.08,
    layer: Annotated[float, Knob(0, 1, label="Start layer",
                                 help="Acts from this part of the network on; 0: from its first layer")] = 0.625,
    only: Annotated[
        Words,
        Help(
            "Words of the object that moves: it attends to that object, the background to the background",
            label="Foreground words",
        ),
    ] = "",
    threshold: Annotated[
        float,
        Knob(
            0,
            1,
            ignored_when=("only", None),
            label="Mask threshold",
            help="Share of the highest attention to the foreground words that counts as theirs",
        ),
    ] = 0.1,
    source_states: SourceStates | None = None,
) -> Sampler:
    """MasaCtrl.

    The source prompt is denoised beside that of the run, and the target's self-attention attends to the source: it
    keeps its own queries and takes the source's keys and values. So the layout is the target's and the appearance is
    the source's: things move, turn and change their pose (Cao et al. 2023, Eq. 3 and Algorithm 1).

        out = softmax(q k_s^T / sqrt(d)) v_s        in self-attention, from a step and a layer on

    source_prompt: cond of the prompt that the looks come from; asks for the negative prompt look into the source's asks
    for it. only: words of the thing that moves; with them its cells look for the source's cells of the thing, and the
    rest for the rest (Eq. 5), as the cross-attention so far tells them apart. made_sigmas: the schedule of the steps
    that are made, of which `start` is a part.

    The paper's setting is from the 5th of 50 steps and the 11th of 16 layers, which are the decoder's finer ones: from
    then on the layout is there. Its masks come from maps of 16 x 16, here from the nearest to that.
    """
    if start >= 1:
        return sampler
    texts = [text.strip() for text in only.split(",") if text.strip()]
    high = interval(made_sigmas, start, 1.0)[1]
    beside = Source(source_prompt, source_states)

    def mutual(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        spots = [said(texts, one, backbone).to(x) for one in (source_prompt, cond)]  # (B, L) each
        if texts and not all(spot.any(1).all() for spot in spots):
            raise ValueError(f"not every prompt says some of {only!r}: give words that stand in both")

        def edit(pair: Pair, role: str, record: Record) -> Mutual:
            return Mutual(pair, role, record, layer, threshold, spots if texts else None)

        run = lockstep(sampler, beside, EVERYTHING, edit, lambda level: level <= high, -1.0)
        return (yield from run(D, x, sigmas, cond, noise))

    return mutual


class Mutual:
    """The edit of the target's ask; it keeps the target's own look at the words, layer by layer."""

    def __init__(
        self, pair: Pair, role: str, record: Record, layer: float, threshold: float, spots: list[Tensor] | None
    ):
        self.pair, self.role, self.record = pair, role, record
        self.layer, self.threshold, self.spots = layer, threshold, spots
        self.looks: list[tuple[int, Tensor]] = []  # (number of the layer, (B, N)) of the maps of that size

    @cached_property
    def size(self) -> tuple[int, int]:
        """Of the maps that tell where words are."""
        return middle([site for site in self.record.sites if site.kind == "cross"])

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "cross":
            if self.spots is not None and self.role == "prompt" and (site.height, site.width) == self.size:
                self.looks.append((site.index, look(site.maps(q, k), self.spots[1])))
            return plain(q, k, v)
        if site.index < self.layer * site.of:
            return plain(q, k, v)
        _, k, v = self.record.made[site.name]
        masks = self.masks(site) if self.spots is not None else None
        if masks is None:
            return plain(q, k, v)
        there, here = masks  # (B, N) bool
        thing, rest = (
            plain(q, k, v, torch.where(keys, 0.0, OUT).to(q)[:, None, None].expand(-1, 1, q.shape[2], -1))
            for keys in (there, ~there)
        )
        return torch.where(here[:, None, :, None], thing, rest)

    def masks(self, site: Any) -> tuple[Tensor, Tensor] | None:
        """Where the thing is in the source and in the target, (B, N) bool, from the layers before this one."""
        assert self.spots is not None
        source = self.pair.records["prompt"][0]
        there = [
            look(source.maps(one), self.spots[0])
            for one in source.sites
            if one.kind == "cross" and (one.height, one.width) == self.size and one.index < site.index
        ]
        asked: list[Mutual] = self.pair.edits["prompt"]
        here = [one for index, one in asked[0].looks if index < site.index]
        if not there or not here:
            return None
        return self.mask(there, site), self.mask(here, site)

    def mask(self, looks: list[Tensor], site: Any) -> Tensor:
        mean = torch.stack(looks).mean(0)  # (B, N)
        low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
        part = ((mean - low) / (high - low).clamp(min=1e-12)).unflatten(1, self.size)[:, None]
        return F.interpolate(part, (site.height, site.width))[:, 0].flatten(1) >= self.threshold


def look(maps: Tensor, spot: Tensor) -> Tensor:
    """(B, N): how far the tokens of spot (B, L) are looked at; maps (B, heads, N, L)."""
    return (maps.mean(1).float() * spot.to(maps.device)[:, None]).sum(-1)
