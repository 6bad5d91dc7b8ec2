"""What a schedule or solver that is tuned on a network has to say of itself, and what all such searches begin with."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from app.schema.recipe import Problem, Recipe
from backbones.base import Backbone
from conditioning.sampling.guidance.cfg import cfg
from samplers.flow import Denoiser, Flow, Noise, ask
from samplers.geometry.gits import TEACHER_STEPS
from samplers.schedules import karras, native

Value = TypeVar("Value")
FAR = 1000.0  # levels that begin beyond are those of a flow network: there Karras' curve wastes steps on pure noise
CAPTIONS = 16  # of the world, as prompts

#: Prompts of the search for networks that are not of our world.
PROMPTS = (
    "a photograph of a mountain lake at sunrise", "a portrait of an old man with a beard", "a red car on a wet street",
    "a bowl of fruit on a wooden table", "a dog running on a beach", "a city skyline at night", "a field of sunflowers",
    "an oil painting of a sailing ship", "a cat asleep on a sofa", "a snowy forest path", "a plate of pasta",
    "a child flying a kite", "a castle on a hill in fog", "a close-up of a butterfly", "a train crossing a bridge",
    "a living room with large windows",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Search:
    """What is to be done first. words: for the page. steps: how many Steps its flow reports. keep: takes its result."""

    name: str  # equal for equal searches
    words: str
    steps: int
    flow: Flow
    keep: Callable[[Any], None]


class Tuned(ABC, Generic[Value]):
    """Something that is tuned on the network once, before the first run that uses it, and kept in a file.

    field, choice: of the recipe, and its value there that chooses it. longest: steps; with more it matters little.
    missing: said where a run needs it before it is there.
    """

    field: str
    choice: str
    label: str
    longest: int
    missing: str

    @staticmethod
    def problems(recipe: Recipe, backbone: Backbone) -> Iterator[Problem]:
        """What it cannot do of a recipe that chooses it."""
        yield from ()

    @abstractmethod
    def name(self, recipe: Recipe) -> str:
        """Of its file: the same for every recipe that it serves."""

    @abstractmethod
    def load(self, path: Path, recipe: Recipe) -> Value | None:
        """What `save` wrote; None where nothing is there, or it cannot be read."""

    @abstractmethod
    def save(self, path: Path, recipe: Recipe, value: Value) -> None: ...

    @abstractmethod
    def search(self, recipe: Recipe) -> tuple[str, int, Flow]:
        """Words for the page, how many Steps the flow reports at most, and the flow, which returns the value."""


class SearchInputs:
    """Start noise, prompts, guidance and fine schedule of the searches on one backbone."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone

    def fine_schedule(self) -> list[float]:
        """The noise levels of the teacher."""
        low, high = float(self.backbone.sigmas[0]), float(self.backbone.sigmas[-1])
        return karras(TEACHER_STEPS, low, high) if high < FAR else native(TEACHER_STEPS, self.backbone.sigmas)

    def guided(self, recipe: Recipe, rows: int) -> Denoiser:
        """The network under the recipe's guidance, for at most so many rows at once."""
        if recipe.cfg_scale == 1:
            return ask
        with torch.no_grad():
            null = self.backbone.encode_prompt([""] * rows)
        return _guided_rows(null, recipe.cfg_scale)

    def start(self, sigma: float, rows: int) -> tuple[torch.Tensor, dict[str, Any], Noise]:
        """x (rows, C, h, w) at a noise level, the conditions of as many prompts, and the noise it was drawn from."""
        size = self.backbone.default_size
        noise = Noise(range(rows))
        empty = torch.empty(rows, *self.backbone.latent_shape(size, size), device=self.device)
        with torch.no_grad():
            cond = dict(self.backbone.encode_prompt(list(islice(cycle(self.prompts), rows))))
        return noise(empty) * math.sqrt(1 + sigma**2), cond, noise

    @property
    def device(self) -> torch.device:
        return torch.device(getattr(self.backbone, "device", "cpu"))

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        if not self.backbone.id.startswith("still-life"):
            return PROMPTS
        from world.captions import describe
        from world.scene import draw

        scenes = enumerate(draw("train", n) for n in range(CAPTIONS))
        return tuple(describe(scene, np.random.default_rng(n)).text for n, scene in scenes)


def hash_of(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:24]


def _guided_rows(null: Mapping[str, Any], scale: float) -> Denoiser:
    """Guidance whose unconditional rows are as many as it is asked about: training asks for parts of them."""

    def guided(x: torch.Tensor, sigma: Any, cond: Any, **kw: Any) -> Flow:
        part = {name: v[: len(x)] if isinstance(v, torch.Tensor) else v for name, v in null.items()}
        return (yield from cfg(ask, part, scale)(x, sigma, cond, **kw))

    return guided
