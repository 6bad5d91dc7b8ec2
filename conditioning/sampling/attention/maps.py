"""Cross-attention maps as something to steer by: what keeps them, whose words they are, and when to look at them."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, stepwise

RecordedMaps = list[tuple[Any, Tensor]]  # (site, its maps (B, heads, h * w, L)), in the order they are run
FUNCTION_WORDS = frozenset(
    "a an and another are as at be beside behind below above between beneath by for from front in inside into is it "
    "its left near next of off on onto or over photo image right that the their there these this those to under "
    "underneath up with without".split()
)
SETTING = frozenset("above at by during in inside on over under".split())  # say where or when, unless "a" follows
EVERYWHERE = frozenset("background day evening floor ground morning night sky".split())  # no things, even after "a"


class Maps:
    """An edit that keeps the cross-attention maps of one ask and changes nothing."""

    def __init__(self) -> None:
        self.recorded: RecordedMaps = []

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "cross" and site.height:
            self.recorded.append((site, site.maps(q, k)))
        return plain(q, k, v)


def looked_at(network: Denoiser, x: Tensor, sigma: float | Tensor, cond: Cond, tape: object | None = None) -> Flow:
    """One ask of the network for this cond -> its cross-attention maps, with gradients where there is a tape."""
    maps = Maps()
    yield from network(x, sigma, cond, edit=maps, tape=tape)
    return maps.recorded


def nearest(recorded: RecordedMaps, side: int) -> RecordedMaps:
    """Those whose shorter side is nearest to `side`, by ratio."""
    sides = {min(site.height, site.width) for site, _ in recorded}
    best = min(sides, key=lambda one: abs(math.log(one / side)), default=0)
    return [(site, maps) for site, maps in recorded if min(site.height, site.width) == best]


def averaged(recorded: RecordedMaps) -> Tensor:
    """The mean over layers of one size and their heads: (B, h, w, L)."""
    site = recorded[0][0]
    return torch.stack([maps.mean(1) for _, maps in recorded]).mean(0).unflatten(1, (site.height, site.width))


def before_steps(sampler: Sampler, better: Callable[[Tensor, float, Cond], Flow]) -> Sampler:
    """The same sampler, whose every step starts from what the flow better(x, sigma, cond) makes of its state.

    A step at level 0 is the last and starts none. What a correction outside answers to a step is bettered as well.
    """

    def bettered(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        def after(step: Step) -> Flow:
            x = yield step
            return (yield from better(x, step.sigma, cond)) if step.sigma > 0 else x

        x = yield from better(x, sigmas[0], cond)
        return (yield from stepwise(sampler(D, x, sigmas, cond, noise), after))

    return bettered


def places(texts: Sequence[str], cond: Cond, backbone: Any) -> Tensor:
    """(B, K, L) bool: for each row of cond and each of K texts, the tokens of its words.

    A text is found as it stands in the prompt, an article at its start left out; where it stands there several times,
    all of them count. Raises ValueError where a row's prompt has it nowhere.
    """
    wanted = [_plain(text) for text in texts]
    rows = [[_found(text, backbone.words(row)) for text in wanted] for row in cond["tokens"]]
    return torch.stack([torch.stack([_mask(at, row) for at in found]) for found, row in zip(rows, cond["tokens"])])


def subjects(cond: Cond, backbone: Any) -> Tensor:
    """(B, L) bool: for each row of cond the tokens of what it is about, which in English is the last word before an
    article, a preposition, a comma or the end: sphere and cube in "a red sphere and a cube on the grass".

    Where and when it is ("on the grass", "at night") does not count unless there is nothing else: it fills the image
    and peaks nowhere.
    """
    rows = []
    for row in cond["tokens"]:
        words = backbone.words(row)
        says = [word.isalnum() and word not in FUNCTION_WORDS for word, _ in words]
        last = [i for i, (here, after) in enumerate(zip(says, [*says[1:], False])) if here and not after]
        said = [word for word, _ in words]
        things = [i for i in last if said[i] not in EVERYWHERE and not _setting(said[:i], says[:i])]
        rows.append(_mask([place for i in things or last for place in words[i][1]], row))
    return torch.stack(rows)


def _setting(before: list[str], says: list[bool]) -> bool:
    """Whether a thing is where or when the rest is, by the words before it, and which of them say something."""
    while says and says[-1]:  # its adjectives
        before, says = before[:-1], says[:-1]
    return bool(before) and (before[-2] if before[-1] == "the" and len(before) > 1 else before[-1]) in SETTING


def _mask(places: Sequence[int], row: Tensor) -> Tensor:
    mask = torch.zeros_like(row, dtype=torch.bool)
    mask[list(places)] = True
    return mask


def _plain(text: str) -> list[str]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    while len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    return words


def _found(wanted: list[str], words: list[tuple[str, list[int]]]) -> list[int]:
    said, n = [word for word, _ in words], len(wanted)
    starts = [i for i in range(len(said) - n + 1) if said[i : i + n] == wanted] if n else []
    if not starts:
        text, prompt = " ".join(wanted), " ".join(said)
        raise ValueError(f"the prompt does not say {text!r}: give words as they stand in it. It says {prompt!r}")
    return [place for i in starts for _, at in words[i : i + n] for place in at]
