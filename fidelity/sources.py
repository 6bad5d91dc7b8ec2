"""What became of a source: of an edit what changed, of a hole what fills it, of both what stayed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fidelity.target import Perception, Target


def changes(target: Target, perception: Perception) -> list[bool | None]:
    """Of each claim of the prompt that the source prompt does not make, whether it is true; None: not to be known."""
    from world import captions, evaluator

    before, after = captions.parse(target.source_prompt), captions.parse(target.prompt)
    verdict = evaluator.check(perception.reading, after)
    old = list(before.solids)
    found: list[bool | None] = []
    for claim, present, size, material in zip(after.solids, verdict.present, verdict.sizes, verdict.materials):
        if claim in old:
            old.remove(claim)
        else:
            found.append(present and size is not False and material is not False)
    found += [verdict.ground] if after.ground != before.ground else []
    found += [verdict.sky] if after.sky != before.sky else []
    return found


def filled(target: Target, perception: Perception) -> list[bool]:
    """Of each solid that the prompt names and the source does not show outside of the mask: whether one of its colour
    and shape stands in the mask, well formed where that is known."""
    from world import captions

    assert target.source is not None and target.mask is not None
    outside = [solid for solid in _source_reading(target).solids if not _is_in(target.mask, solid.box)]
    asked = []
    for claim in captions.parse(target.prompt).solids:
        there = next((solid for solid in outside if _fits(claim, solid)), None)
        if there is not None:
            outside.remove(there)
        else:
            asked.append(claim)
    solids = perception.reading.solids
    formed = perception.formed or (True,) * len(solids)
    return [
        any(_fits(claim, solid) and fine and _is_in(target.mask, solid.box) for solid, fine in zip(solids, formed))
        for claim in asked
    ]


def outside(target: Target) -> Tensor | None:
    """(1, 1, H, W) bool, the pixels that are to stay: all, or those outside of the mask; None where there are none."""
    if target.source is None:
        return None
    if target.mask is None:
        return torch.ones_like(target.source[:, :1], dtype=torch.bool)
    found = target.mask < 0.5
    return found if bool(found.any()) else None


@lru_cache(maxsize=8)
def _source_reading(target: Target) -> Any:
    """What the evaluator sees in the source, read once for all images of one target."""
    assert target.source is not None
    return Perception(target.source).reading


def _fits(claim: Any, solid: Any) -> bool:
    return claim.shape in (None, solid.shape) and claim.colour in (None, solid.colour)


def _is_in(mask: Tensor, box: Sequence[float]) -> bool:
    """Whether the middle of a box (left, top, right, bottom, as parts of the image) is painted."""
    height, width = mask.shape[2:]
    x, y = (min(int((box[i] + box[i + 2]) / 2 * length), length - 1) for i, length in ((0, width), (1, height)))
    return bool(mask[0, 0, max(y, 0), max(x, 0)] > 0.5)
