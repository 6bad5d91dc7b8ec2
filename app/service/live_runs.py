"""Runs that go on without their page: a reload, a lost connection or a closed tab ends none of them.

Each is read by a thread of its own, which keeps the images as they are made, whoever looks on. A page follows it,
leaves it, and follows it again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from app.engine.events import Cancelled, Event, Failed, Finished, Made, Progress, Queued
from app.errors import error_message
from app.schema.recipe import Recipe

if TYPE_CHECKING:
    from app.engine.engine import Run

UNSEEN = 64  # runs that ended while no page was there, and are kept for the page that comes back
Place = tuple[str, str]  # the visit, and the tab of the browser


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
        self._runs: OrderedDict[Place, LiveRun] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, place: Place, run: LiveRun) -> None:
        """The run of this place, from now on; the oldest of those that ended unseen make room."""
        with self._lock:
            self._runs[place] = run
            self._runs.move_to_end(place)
            ended = [other for other, one in self._runs.items() if one.ended is not None]
            for other in ended[: max(0, len(self._runs) - UNSEEN)]:
                del self._runs[other]

    def at(self, place: Place) -> LiveRun | None:
        """The run that was begun at this place."""
        with self._lock:
            return self._runs.get(place)

    def to_join(self, place: Place) -> LiveRun | None:
        """The run that a page follows which has just come to this place: its own, else one of the same visit that no
        page follows, because its tab was closed."""
        with self._lock:
            if place in self._runs:
                return self._runs[place]
            alone = [one for (visit, _), one in self._runs.items() if visit == place[0] and not one.followers]
            return alone[-1] if alone else None

    def seen(self, run: LiveRun) -> None:
        """Its end has been shown."""
        with self._lock:
            for place in [place for place, one in self._runs.items() if one is run]:
                del self._runs[place]
