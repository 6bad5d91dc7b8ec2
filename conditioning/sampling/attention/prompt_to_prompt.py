import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from conditioning.registry import Choice, Help, Interval, Knob, Prompt, Words, method
from conditioning.sampling.attention.alignment import mapping, reading, said
from conditioning.sampling.attention.lockstep import Pair, Record, Source, lockstep, middle
from conditioning.sampling.attention.maps import places
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler
from samplers.schedules import interval

Look = dict[tuple[int, int], list[Tensor]]  # size of the maps -> how far words are looked at, (2, B, h, w) by layer
Looks = dict[float, Look]  # by level


@method(
    task="editing",
    paper="2208.01626",
    search=(
        "P2P", "edit by words", "swap a word", "replace a word", "change the colour", "word weights",
        "emphasis", "cross-attention",
    ),
    needs=("attention.cross", "attention.self"),
    traits=("runs_source", "prompt_names_words"),
    intervals=(Interval(end="cross"), Interval(end="keep"), Interval("start", at_next_level=True)),
    nfe=None,
    rows=None,
    order_in_family=-1,
)
def prompt_to_prompt(
    sampler: Sampler,
    source_prompt: Annotated[Prompt, Help("The prompt before the edit; the prompt above is the one after it")],
    made_sigmas: Sequence[float],
    backbone: Any,
    mode: Annotated[
        str,
        Choice(
            ("replace", "refine"),
            label="Edit type",
            help="replace: words take each other's place; refine: words are added",
        ),
    ] = "replace",
    cross: Annotated[
        float,
        Knob(
            0,
            1,
            label="Cross-attention replace until",
            help="Cross-attention is the source's up to this fraction of the steps",
        ),
    ] = 0.8,
    keep: Annotated[
        float,
        Knob(
            0,
            1,
            label="Self-attention replace until",
            help="Self-attention is the source's up to this fraction of the steps",
        ),
    ] = 0.4,
    weights: Annotated[
        Words,
        Help('Words of the edited prompt with their factors, such as "red:2, small sphere:0.5"', label="Word weights"),
    ] = "",
    only: Annotated[
        Words, Help("Words of the thing that may change; the rest of the image stays", label="Local blend words")
    ] = "",
    threshold: Annotated[
        float,
        Knob(
            0,
            1,
            ignored_when=("only", None),
            label="Local blend threshold",
            help="Share of the highest attention to the blend words that counts as theirs",
        ),
    ] = 0.3,
    start: Annotated[
        float,
        Knob(
            0,
            1,
            ignored_when=("only", None),
            label="Local blend from",
            help="The rest is the source image from this fraction of the steps",
        ),
    ] = 0.2,
    source_states: SourceStates | None = None,
) -> Sampler:
    """Prompt-to-prompt.

    The source prompt is denoised beside the edited one, and the edited image takes its cross-attention maps: a replaced
    word gets the map of the word that it replaces, a word that both prompts have keeps its map (Hertz et al. 2022,
    Algorithm 1). Words can be given other weights, and the rest of the image can be held to the source.

        M' = c (M T + own M*)                              cross-attention, while t < cross
        M' = M                                             self-attention on coarse maps, while t < keep
        x* = x + mask (x* - x),  mask = look > threshold   after each step from `start` on, with `only`

    source_prompt: cond of the prompt before the edit; the prompt of the run is the one after it; asks for the negative
    prompt are left alone. weights: words of the edited prompt with their factors c, such as "red:2, small sphere:0.5",
    down to negative ones. only: words of either prompt; what neither looks at from there stays. made_sigmas: the
    schedule of the steps that are made, of which `cross`, `keep` and `start` are parts: on an image that is encoded in
    part, of the steps from there on.

    M and M* are the source's and the target's maps, T takes the tokens of one prompt to those of the other, `own` marks
    words that stand for none. With "replace" a word takes the place of the one it was put in for, with "refine" only
    words that both prompts have are held. Coarse maps are those of at most 16 x 16 and what is nearest to that. `look`
    is summed over the steps so far, averaged over layers and heads and spread by one cell. Words that are the same in
    both prompts with a weight each, and `cross` at 1, are the paper's re-weighting. Its own settings are 50 steps, and
    0.8 and 0.4; 0.4 and 0.6 for images that were inverted.
    """
    factors, spots = weighted(weights), [text.strip() for text in only.split(",") if text.strip()]
    held = {kind: interval(made_sigmas, 0.0, end)[0] for kind, end in (("cross", cross), ("self", keep)) if end > 0}
    if not held and not spots:
        return sampler
    low = -1.0 if spots else min(held.values())  # the source goes on to the end where it is mixed in
    blend = interval(made_sigmas, start, 1.0)[1]
    beside = Source(source_prompt, source_states)
    looks: Looks = {}

    def prompted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        pairs = zip(tokens(source_prompt), tokens(cond))
        aligned = [
            mapping(reading(a, backbone), reading(b, backbone), mode == "replace") for a, b in pairs
        ]
        T, own = (torch.stack(one).to(x.device)[:, None] for one in zip(*aligned))  # (B, 1, L, L), (B, 1, L)
        c = torch.ones_like(own)
        for text, factor in factors.items():
            c = torch.where(places([text], cond, backbone).to(x.device), factor, c)
        spot = [said(spots, one, backbone).to(x) for one in (source_prompt, cond)]  # (B, L) each
        if spots and not (spot[0].any(1) | spot[1].any(1)).all():
            raise ValueError(f"neither prompt says any of {only!r}: give words as they stand in one of them")
        if looks and sigmas[0] >= max(looks):
            looks.clear()  # another run

        def edit(pair: Pair, _role: str, record: Record) -> Prompted:
            on = {kind for kind, end in held.items() if pair.level > end}
            looks[pair.level] = {}
            return Prompted(record, on, T, own[:, None], c[:, None], spot, looks[pair.level])

        def mix(x_source: Tensor, x: Tensor, sigma: float) -> Tensor:
            return torch.where(mask(looks, x, threshold), x, x_source) if spots and sigma < blend else x

        run = lockstep(sampler, beside, {"prompt": "prompt"}, edit, lambda level: level > low, low, mix)
        return (yield from run(D, x, sigmas, cond, noise))

    return prompted


class Prompted:
    """The edit of the target's ask. T (B, 1, L', L), own and c (B, 1, 1, L), spot (B, L') of the source and (B, L)
    of the target."""

    def __init__(self, record: Record, on: set[str], T: Tensor, own: Tensor, c: Tensor, spot: list[Tensor], look: Look):
        self.record, self.on, self.T, self.own, self.c, self.spot, self.look = record, on, T, own, c, spot, look

    @cached_property
    def coarse(self) -> int:
        """Cells of the finest maps of self-attention that are replaced."""
        return math.prod(middle(self.record.sites))

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "self":
            if "self" not in self.on or q.shape[2] > self.coarse:
                return plain(q, k, v)
            return plain(*self.record.made[site.name][:2], v)
        there, here = self.record.maps(site), site.maps(q, k)  # (B, heads, N, L)
        if "cross" in self.on:
            here = self.c.to(q) * (there @ self.T.to(q) + self.own.to(q) * here)
        if site.height:
            both = torch.stack(
                [(maps.mean(1) * one[:, None].to(q)).sum(-1) for maps, one in zip((there, here), self.spot)]
            )
            size = site.height, site.width
            self.look.setdefault(size, []).append(both.unflatten(-1, size).float())  # (2, B, h, w)
        return here @ v if "cross" in self.on else plain(q, k, v)


def mask(looks: Looks, x: Tensor, threshold: float) -> Tensor:
    """(B, 1, h, w) bool at the size of x (B, C, h, w): where source or target have looked at the words."""
    size = min(next(iter(looks.values())), key=lambda size: abs(math.log(size[0] * size[1] / 256)))
    total = torch.stack([torch.stack(look[size]).mean(0) for look in looks.values()]).sum(0)  # (2, B, h, w)
    spread = F.interpolate(F.max_pool2d(total, 3, 1, 1), x.shape[2:])
    high = spread > threshold * spread.amax((2, 3), keepdim=True)
    return high.any(0)[:, None].to(x.device)


def tokens(cond: Cond) -> Tensor:
    """(B, L) of a cond. Raises ValueError where it has none."""
    if "tokens" not in cond:
        raise ValueError("a prompt came without its tokens: take the cond that backbone.encode_prompt gives")
    return cond["tokens"]


def weighted(text: str) -> dict[str, float]:
    """Factors by words, of a text such as "red:2, small cube:0.5". Raises ValueError for a part without a number."""
    factors = {}
    for part in text.split(","):
        word, _, factor = part.rpartition(":")
        try:
            if part.strip():
                factors[word.strip()] = float(factor)
        except ValueError:
            word = ""
        if part.strip() and not word.strip():
            raise ValueError(f"{part.strip()!r} is no weight: give words of the prompt with numbers, such as red:2")
    return factors
