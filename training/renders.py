"""Renders that never end: a pool of scenes in memory, renewed while training reads from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from world.render import Rendering, render
from world.scene import Scene, random_scene

SIZE = 128
COUNTS = (0.2, 0.4, 0.27, 0.13)  # how often a scene has one, two, three, four solids


def any_scene(rng: np.random.Generator) -> Scene:
    """A scene with every pair of colour and shape, those too that denoisers never train on: for an autoencoder."""
    return random_scene(rng, int(rng.choice(4, p=COUNTS)) + 1, held_out=True)


class Pool:
    """Up to `capacity` scenes, of which each call of `renew` replaces the oldest by new ones.

    keep(scenes, rendering) -> tensors by name, each (B, ...): what is kept of newly rendered scenes; a pool begins with
    `first` of them. Scenes come from a generator of their own, so no split of `world.scene.draw` is among them.
    """

    def __init__(
        self,
        draw: Callable[[np.random.Generator], Scene],
        keep: Callable[[list[Scene], Rendering], dict[str, Tensor]],
        capacity: int,
        first: int,
        seed: int,
        device: torch.device,
    ):
        self.draw, self.keep, self.capacity, self.device = draw, keep, capacity, device
        self.rng = np.random.default_rng([0xF2E5, seed])
        self.tables: dict[str, Tensor] = {}
        self.size = self.made = 0
        while self.size < min(first, capacity):
            self.renew(min(64, first - self.size))

    def renew(self, count: int) -> None:
        """Render so many new scenes; where the pool is full they take the place of the oldest."""
        scenes = [self.draw(self.rng) for _ in range(count)]
        for name, rows in self.keep(scenes, render(scenes, SIZE, self.device)).items():
            if name not in self.tables:
                self.tables[name] = torch.empty((self.capacity, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
            at = torch.arange(self.made, self.made + count, device=rows.device) % self.capacity
            self.tables[name][at] = rows
        self.made += count
        self.size = min(self.made, self.capacity)

    def rows(self, name: str, index: Tensor) -> Tensor:
        """Some rows of a table, index (B,) in [0, size)."""
        return self.tables[name][index]
