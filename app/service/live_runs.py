"""Runs that go on without their page: a reload, a lost connection or a closed tab ends none of them.

Each is read by a thread of its own, which keeps the images as they are made, whoever looks on. A page follows it,
leaves it, and follows it again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from app.engine.events import Cancelled, Event, Failed, Finished, Made, Progress, Queued
from app.errors import error_message
from app.schema.recipe import Recipe

if TYPE_CHECKING:
    from app.engine.engine import Run

UNSEEN = 64  # runs that ended while no page was there, and are kept for the page that comes back
Place = tuple[str, str]  # the visit, and the tab of the browser
_numbers = itertools.count(1)


class Followers:
    """How many pages follow something. When the last one has left, and nobody has come for `patience` seconds, it is
    given up; never where patience is None."""

    def __init__(self, give_up: Callable[[], object], patience: float | None = None):
        self._give_up, self._patience = give_up, patience
        self._count = 0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._count > 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1
            if self._timer is not None:
                self._timer.cancel()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._patience is not None:
                self._timer = threading.Timer(self._patience, self._alone)
                self._timer.daemon = True
                self._timer.start()

    def _alone(self) -> None:
        if not self:
            self._give_up()


class LiveRun:
    """A run, and what became of it so far.

    save(image, recipe): keeps an image; what it returns stands in `made`. patience: seconds after which a run that
    nobody follows is cancelled; None: never.
    """

    def __init__(self, run: Run, save: Callable[[Any, Recipe], Any], patience: float | None = None):
        self.recipe = run.recipe
        self.id = str(next(_numbers))
        self.made: list[Any] = []
        self.ended: Event | None = None
        self.followers = Followers(self.cancel, patience)
        self._run, self._save = run, save
        self._latest: Event = Queued(0)
        self._count = 0  # of events so far
        self._changed = threading.Condition()
        threading.Thread(target=self._read, name="live run", daemon=True).start()

    def cancel(self) -> None:
        """Ends the run within one step; those who follow it hear so."""
        self._run.cancel()

    def follow(self) -> Iterator[Event]:
        """The newest event, then each newer one; those that a reader is too slow for are left out. Ends with the run.

        Closing this generator leaves the run as it is.
        """
        seen = -1
        with self.followers:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._count > seen)  # noqa: B023  called at once
                    seen, event = self._count, self._latest
                self._run.show_previews(True)  # this one is looked at: the next is wanted
                yield event
                if event is self.ended:
                    return

    def _read(self) -> None:
        try:
            for event in self._run:
                if isinstance(event, Made):
                    self.made.append(self._save(event.image, event.recipe))
                else:
                    self._tell(event)
        except Exception as error:
            self._tell(Failed(error_message(error)))
        if self.ended is None:
            self._tell(Failed("The run ended without a word. Try again."))

    def _tell(self, event: Event) -> None:
        if isinstance(event, Progress) and any(look is not None for look in event.previews):
            self._run.show_previews(False)  # until this one is looked at
        with self._changed:
            self._latest, self._count = event, self._count + 1
            if isinstance(event, Finished | Failed | Cancelled):
                self.ended = event
            self._changed.notify_all()


class LiveRuns:
    """The runs whose end no page has shown yet, by the place where they were begun. For any thread."""

    def __init__(self) -> None:
        self._runs: list[tuple[Place, LiveRun]] = []  # in the order in which they were begun
        self._lock = threading.Lock()

    def add(self, place: Place, run: LiveRun) -> None:
        """A run that was begun at this place; the oldest of those that ended unseen make room."""
        with self._lock:
            self._runs.append((place, run))
            ended = [pair for pair in self._runs if pair[1].ended is not None]
            for pair in ended[: max(0, len(self._runs) - UNSEEN)]:
                self._runs.remove(pair)

    def of(self, place: Place) -> list[LiveRun]:
        """Those of this place: the one in view first, then those that wait for it."""
        with self._lock:
            return [run for other, run in self._runs if other == place]

    def adopt(self, place: Place) -> None:
        """A page has come to this place. Where it has no runs, it takes over those of a tab of the same visit that was
        closed, which is one that follows none of them."""
        with self._lock:
            places = dict.fromkeys(other for other, _ in self._runs)
            left = [
                other
                for other in places
                if other[0] == place[0] and not any(run.followers for at, run in self._runs if at == other)
            ]
            if place not in places and left:
                self._runs = [(place if other == left[-1] else other, run) for other, run in self._runs]

    def seen(self, run: LiveRun) -> None:
        """Its end has been shown, or nobody wants to see it."""
        with self._lock:
            self._runs = [pair for pair in self._runs if pair[1] is not run]
