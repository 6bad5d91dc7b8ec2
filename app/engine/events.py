"""What a run tells on its way, and the queue in which it waits for whoever reads it. No torch here."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from app.schema.recipe import Recipe
from common.image_bytes import Array


@dataclass(frozen=True)
class Queued:
    """The run waits; `position` runs are before it (0 = next)."""

    position: int


@dataclass(frozen=True)
class Preparing:
    """Something comes first, once: a search on the network (app/engine/tuned_schedules/), or a download
    (app/engine/downloads.py). `step` of `steps` of it is done, in what the words say."""

    words: str
    step: int
    steps: int
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Progress:
    """Step `step` of `steps` is done, both over all images of the run."""

    step: int
    steps: int
    sigma: float  # noise level after the step
    previews: tuple[Array | None, ...]  # one per image of the run: the newest look at it, of any size
    seconds_left: float | None  # estimate, with the runs beside it; None before there is one
    nfe: int  # network evaluations so far
    made: int = 0  # images finished so far

    @property
    def fraction(self) -> float:
        return min(self.step / max(self.steps, 1), 1.0)

    @property
    def preview(self) -> Array | None:
        """The one image, or a sheet of all, (H, W, 3) uint8; None before the first look."""
        return sheet(self.previews)


@dataclass(frozen=True, eq=False)
class Made:
    """Image `index` of the run is ready; its own recipe makes it again alone."""

    index: int
    image: Image.Image
    recipe: Recipe


@dataclass(frozen=True, eq=False)
class Finished:
    """All images, in order; always the last event, as Failed and Cancelled are."""

    images: tuple[Image.Image, ...]
    recipes: tuple[Recipe, ...]
    seconds: float  # from the first step to the last image, with what went into the runs beside it
    nfe: int  # network evaluations that the run took part in
    rows: int  # rows it had in them
    formula: str = ""  # what ran, as a formula in words
    gradients: int = 0  # of the evaluations, those that a backward pass ran through
    own_seconds: float = 0.0  # of the engine: without those that went into the runs beside it
    remembered: int = 0  # of the evaluations, those that were answered from memory: `seconds` does without them
    shared: bool = False  # whether other runs were computed meanwhile, so that `seconds` is longer than without them


@dataclass(frozen=True)
class Failed:
    """The run has ended without its images; `field` is the recipe's field to blame, where one is."""

    reason: str
    field: str | None = None


@dataclass(frozen=True)
class Cancelled:
    """The run was cancelled and everything of it is freed."""


Event = Queued | Preparing | Progress | Made | Finished | Failed | Cancelled
News = (Queued, Preparing, Progress)  # of these only the newest counts
Ends = (Finished, Failed, Cancelled)


class EventQueue:
    """Events from the engine's thread to one reader. Never grows with the number of steps: news replaces older news."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self.end: Event | None = None
        self.previews = True  # whether its reader has someone to show them to

    def put(self, event: Event) -> None:
        """Adds an event; does nothing once the run has ended."""
        with self._changed:
            if self.end is not None:
                return
            if isinstance(event, (*News, *Ends)):
                for old in [old for old in self._events if isinstance(old, News)]:
                    self._events.remove(old)
                    if isinstance(event, Progress) and isinstance(old, Progress):
                        seen = tuple(new if new is not None else was for new, was in zip(event.previews, old.previews))
                        event = replace(event, previews=seen)
            if isinstance(event, Ends):
                self.end = event
            self._events.append(event)
            self._changed.notify_all()

    @property
    def wants_preview(self) -> bool:
        """Whether the last preview was taken: only then another one is worth its cost."""
        with self._changed:
            waiting = [e for e in self._events if isinstance(e, Progress)]
            return self.previews and not any(look is not None for e in waiting for look in e.previews)

    def take(self, timeout: float | None = None) -> Event | None:
        """The next event; None where none came within `timeout` seconds; the end over and over."""
        with self._changed:
            if not self._events and self.end is None:
                self._changed.wait(timeout)
            return self._events.popleft() if self._events else self.end


def sheet(images: tuple[Array | None, ...]) -> Array | None:
    """All images on one sheet, as square as possible, grey where there is none yet; a single image as it is."""
    there = [p for p in images if p is not None]
    if not there:
        return None
    if len(images) == 1:
        return there[0]
    height, width = max(p.shape[0] for p in there), max(p.shape[1] for p in there)
    columns, rows = shape_of_sheet(len(images), width, height)
    whole = np.full((rows * height, columns * width, 3), 128, np.uint8)
    for i, image in enumerate(images):
        if image is None:
            continue
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        top, left = i // columns * height, i % columns * width
        whole[top : top + height, left : left + width] = image
    return whole


def shape_of_sheet(count: int, width: int, height: int) -> tuple[int, int]:
    """(columns, rows) of so many images of a size, so that the sheet is as square as possible."""
    columns = min(count, math.ceil(math.sqrt(count * height / width)))
    return columns, math.ceil(count / columns)
