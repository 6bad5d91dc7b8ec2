"""Where the network looks for each word of the prompt, at every step of a run: the run made again, and asked once more
after each step, by an ask that reads the cross-attention and changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from app.engine.planner import Plan
from backbones.base import Backbone
from common.image_bytes import Array, to_uint8
from samplers.flow import Flow, Step, stepwise

GRID = 16  # cells across the longer side of a map
MOST_WORDS = 24


def readable(backbone: Any) -> bool:
    """Whether this network has attention to words that can be read."""
    return "attention.cross" in getattr(backbone, "offers", ()) and hasattr(backbone, "words")


class MeanMaps:
    """An edit that reads: the mean over heads and layers of what every place of the image takes from every token."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []  # (L, h, w) of each layer

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Any) -> Tensor:
        if site.kind == "cross" and site.height:
            taken = site.maps(q, k)[0].mean(0)  # (N, L)
            self.seen.append(taken.T.reshape(-1, site.height, site.width).float())
        return plain(q, k, v)

    def mean(self, size: tuple[int, int]) -> Tensor:
        """(L, *size)"""
        how: dict[str, Any] = {"mode": "bilinear", "align_corners": False, "antialias": True}
        return torch.cat([F.interpolate(one[None], size, **how) for one in self.seen]).mean(0)


@dataclass
class AttentionRecorder:
    """Goes along with a run (`Engine.submit(watch=...)`) and gathers its maps. One run each, of one image.

    words: of the prompt, as the network reads them. steps: levels of noise. maps: of each step (W, h, w) in [0, 1].
    """

    words: list[str] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    maps: list[np.ndarray] = field(default_factory=list)

    def __call__(self, plan: Plan, backbone: Backbone) -> Flow:
        if not readable(backbone):
            raise ValueError(f"{backbone.id} has no attention to words that could be read")
        words = backbone.words(plan.cond["tokens"][0])[:MOST_WORDS]  # type: ignore[attr-defined]
        self.words = [word for word, _ in words]
        return self._along(plan, [places for _, places in words], float(backbone.sigmas[0]))

    def _along(self, plan: Plan, places: list[list[int]], lowest: float) -> Flow:
        network = plan.network()

        def after(step: Step) -> Flow:
            x = yield step
            edit = MeanMaps()
            yield from network(x, max(step.sigma, lowest), plan.cond, edit=edit)
            whole = edit.mean(_grid(x.shape[2], x.shape[3]))
            each = torch.stack([whole[at].sum(0) for at in places]) if places else whole[:0]
            self.steps.append(step.sigma)
            self.maps.append(each.clamp(0, 1).cpu().numpy())
            return x

        return stepwise(plan.flow, after)

    def sheet(self) -> Array:
        """All maps on one sheet, a row a word and a column a step: (W h, S w), uint8; each word by its own largest."""
        every = np.stack(self.maps, 1)  # (W, S, h, w)
        low, high = every.min((1, 2, 3), keepdims=True), every.max((1, 2, 3), keepdims=True)
        shown = (every - low) / np.maximum(high - low, 1e-6)
        words, steps, h, w = shown.shape
        return to_uint8(shown.transpose(0, 2, 1, 3).reshape(words * h, steps * w))


def _grid(h: int, w: int) -> tuple[int, int]:
    """The size of the maps of latents (h, w)."""
    part = min(1.0, GRID / max(h, w))
    return max(1, math.ceil(h * part)), max(1, math.ceil(w * part))
