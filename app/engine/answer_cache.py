"""What the network answered lately: an ask that comes again is not computed again.

Methods that are compared on one input ask many of the same questions: all begin from one noise, and every inversion of
an image climbs by the same steps. The kept answer is that of the very same evaluation, rows and all, so it is what
would be computed, to the last bit. What it cost then is counted again (`saved`), so that no run looks cheap for having
come second.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from samplers.protocol import Ask

LARGEST = 96 * 2**20  # bytes of answers kept


class AnswerCache:
    """Answers asks that have neither tape nor edit, from memory where it can; `answer` computes. For one thread."""

    def __init__(self, answer: Callable[[Ask], Tensor], largest: int = LARGEST):
        self.answer, self.largest = answer, largest
        self.asked = self.known = 0  # so far
        self.saved = 0.0  # seconds so far that answers out of memory took when they were computed
        self._kept: OrderedDict[bytes, tuple[Tensor, float]] = OrderedDict()
        self._bytes = 0

    def __call__(self, ask: Ask) -> Tensor:
        key = digest(ask)
        self.asked += 1
        if key in self._kept:
            self.known += 1
            self._kept.move_to_end(key)
            answer, seconds = self._kept[key]
            self.saved += seconds
            return answer.clone()
        began = time.perf_counter()
        made = self.answer(ask)
        self._kept[key] = made.clone(), time.perf_counter() - began
        self._bytes += made.nbytes
        while self._bytes > self.largest:
            self._bytes -= self._kept.popitem(last=False)[1][0].nbytes
        return made

    def forget(self) -> None:
        self._kept.clear()
        self._bytes = 0


def rows_of(ask: Ask, part: slice) -> Ask:
    """Some rows of an ask."""
    cond = {key: value[part] if isinstance(value, Tensor) else value for key, value in ask.cond.items()}
    return replace(ask, x=ask.x[part], sigma=ask.sigma[part], cond=cond)


def digest(ask: Ask) -> bytes:
    """Of everything that the answer depends on."""
    made = hashlib.blake2b(digest_size=20)
    for name, value in sorted({**ask.cond, "": ask.x, " ": ask.sigma}.items()):
        made.update(name.encode())
        if isinstance(value, Tensor):
            made.update(f"{value.dtype} {tuple(value.shape)}".encode())
            made.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            made.update(repr(value).encode())
    return made.digest()
