"""A run as the engine has it, and each of its images while it is made. Of the engine's thread alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from app.engine.events import EventQueue, Progress
from app.engine.planner import Plan
from app.schema.recipe import Recipe
from backbones.base import Backbone
from common.image_bytes import Array
from samplers.driver import Driver
from samplers.protocol import Flow, Step

Watch = Callable[[Plan, Backbone], Flow]  # the flow of an image with more asks in between: see `attention_recorder`


@dataclass(eq=False)
class Job:
    """A run in the engine. Below the line only the engine's thread touches it."""

    recipe: Recipe
    inputs: Mapping[str, Any]
    watch: Watch | None = None
    events: EventQueue = field(default_factory=EventQueue)
    cancelled: bool = False
    # ----
    position: int = 0  # in the queue, as its reader knows it
    since: float = field(default_factory=time.perf_counter)  # when it was submitted, or an image of it begun
    todo: list[int] = field(default_factory=list)
    under_way: list[ImageTask] = field(default_factory=list)
    images: dict[int, Image.Image] = field(default_factory=dict)
    previews: list[Array | None] = field(default_factory=list)
    formula: str = ""
    nfe: int = 0  # of finished images
    rows: int = 0
    gradients: int = 0
    own_seconds: float = 0.0
    remembered: int = 0
    shared: bool = False  # an image of another run, or a search for one, was computed beside its own
    started: float = 0.0
    last_step: float = 0.0
    pace: float | None = None  # seconds a step, smoothed

    def __post_init__(self) -> None:
        self.todo = list(range(self.recipe.count))
        self.previews = [None] * self.recipe.count

    def progress(self, sigma: float) -> Progress:
        per_image = self.recipe.steps
        step = len(self.images) * per_image + sum(task.steps for task in self.under_way)
        steps = self.recipe.count * per_image
        left = (steps - step) * self.pace if self.pace is not None else None
        nfe = self.nfe + sum(task.plan.tally.nfe for task in self.under_way)
        return Progress(step, steps, sigma, tuple(self.previews), left, nfe, len(self.images))


@dataclass(eq=False)
class ImageTask:
    """One image under way: its place in the run, its flow, the driver that runs it."""

    job: Job
    index: int
    plan: Plan
    driver: Driver
    seconds: float = 0.0  # of the engine, that went into its network evaluations
    remembered: int = 0  # network evaluations that were answered from memory
    steps: int = 0  # of the schedule, by the level that was reached last
    latest: Step | None = None  # the newest step, until its reader knows of it
