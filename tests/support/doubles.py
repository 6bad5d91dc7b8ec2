"""A fast backbone that can be slowed down, made to fail and watched: the oracle with a hook before every call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from app.schema.recipe import Recipe
from backbones.exact import images
from samplers.protocol import Ask


class Double:
    """The exact mixture of discs and squares. `before(ask)` may sleep, raise, or return what to answer instead."""

    def __init__(self, before: Callable[[Ask], Tensor | None] | None = None, delay: float = 0.0):
        self.inner, self.before, self.delay = images(), before, delay
        self.asks: list[int] = []  # rows of every call
        self.texts: list[str] = []
        self.previews = 0
        self.quick = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoise(self, ask: Ask) -> Tensor:
        self.asks.append(len(ask.x))
        if self.delay:
            time.sleep(self.delay)
        instead = self.before(ask) if self.before is not None else None
        return self.inner.denoise(ask) if instead is None else instead

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        self.texts += texts
        return self.inner.encode_prompt(texts)

    def preview(self, x0: Tensor) -> Tensor:
        self.previews += 1
        return self.inner.preview(x0)


def recipe(**fields: Any) -> Recipe:
    return Recipe.make(**{"prompt": "a red disc", "backbone": "exact", "width": 64, "height": 64, "steps": 8, **fields})


def size_of(ask: Ask) -> int:
    """The width in pixels of what is asked for: tests tell runs apart by it."""
    return 8 * ask.x.shape[-1]


def nan_for(width: int) -> Callable[[Ask], Tensor | None]:
    """A network that breaks for images of this width."""
    return lambda ask: torch.full_like(ask.x, torch.nan) if size_of(ask) == width else None


def all_at_once(n: int, work: Callable[[int], Any]) -> list[Any]:
    """work(0) ... work(n - 1) in n threads; their results, or what they raised."""
    results: list[Any] = [None] * n

    def one(i: int) -> None:
        try:
            results[i] = work(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
