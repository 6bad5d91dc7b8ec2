"""What goes on without its page: a reload, a lost connection or a closed tab ends none of it.

Each run is read by a thread of its own, which keeps the images as they are made, whoever looks on. A page follows it,
leaves it, and follows it again.
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from app.engine.events import Cancelled, Event, Failed, Finished, Made, Progress, Queued
from app.errors import error_message
from app.schema.recipe import Recipe

if TYPE_CHECKING:
    from app.engine.engine import Run

UNSEEN = 64  # runs that ended while no page was there, and are kept for the page that comes back
Place = tuple[str, str]  # the visit, and the tab of the browser
News = TypeVar("News")
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


class Live(ABC, Generic[News]):
    """Something under way, and the newest that is known of it. `ended`: the last, None before it is there.

    first: what is known at the beginning. patience: seconds after which it is cancelled where nobody follows it; None:
    never.
    """

    def __init__(self, first: News, patience: float | None = None):
        self.id = str(next(_numbers))
        self.ended: News | None = None
        self.followers = Followers(self.cancel, patience)
        self._latest = first
        self._count = 0  # of news so far
        self._changed = threading.Condition()

    @abstractmethod
    def cancel(self) -> None:
        """Ends it within one step; those who follow it hear so."""

    def follow(self) -> Iterator[News]:
        """The newest, then each newer one; those that a reader is too slow for are left out. Ends with the last.

        Closing this generator leaves everything as it is.
        """
        seen = -1
        with self.followers:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._count > seen)  # noqa: B023  called at once
                    seen, news = self._count, self._latest
                self._looked_at()
                yield news
                if news is self.ended:
                    return

    def _looked_at(self) -> None:
        """Somebody gets the newest now."""

    def _tell(self, news: News, is_last: bool) -> None:
        with self._changed:
            self._latest, self._count = news, self._count + 1
            if is_last:
                self.ended = news
            self._changed.notify_all()


class LiveRun(Live[Event]):
    """A run, and what became of it so far.

    save(image, recipe): keeps an image; what it returns stands in `made`. patience: see Live.
    """

    def __init__(self, run: Run, save: Callable[[Any, Recipe], Any], patience: float | None = None):
        super().__init__(Queued(0), patience)
        self.recipe = run.recipe
        self.made: list[Any] = []
        self._run, self._save = run, save
        threading.Thread(target=self._read, name="live run", daemon=True).start()

    def cancel(self) -> None:
        self._run.cancel()

    def _looked_at(self) -> None:
        self._run.show_previews(True)  # the next is wanted

    def _read(self) -> None:
        try:
            for event in self._run:
                if isinstance(event, Made):
                    self.made.append(self._save(event.image, event.recipe))
                else:
                    self._tell_event(event)
        except Exception as error:
            self._tell_event(Failed(error_message(error)))
        if self.ended is None:
            self._tell_event(Failed("The run ended without a word. Try again."))

    def _tell_event(self, event: Event) -> None:
        if isinstance(event, Progress) and any(look is not None for look in event.previews):
            self._run.show_previews(False)  # until this one is looked at
        self._tell(event, isinstance(event, Finished | Failed | Cancelled))


One = TypeVar("One", bound=Live[Any])


class LiveRuns(Generic[One]):
    """Those whose end no page has shown yet, by the place where they were begun. For any thread."""

    def __init__(self) -> None:
        self._runs: list[tuple[Place, One]] = []  # in the order in which they were begun
        self._lock = threading.Lock()

    def add(self, place: Place, run: One) -> None:
        """A run that was begun at this place; the oldest of those that ended unseen make room."""
        with self._lock:
            self._runs.append((place, run))
            ended = [pair for pair in self._runs if pair[1].ended is not None]
            for pair in ended[: max(0, len(self._runs) - UNSEEN)]:
                self._runs.remove(pair)

    def of(self, place: Place) -> list[One]:
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

    def seen(self, run: One) -> None:
        """Its end has been shown, or nobody wants to see it."""
        with self._lock:
            self._runs = [pair for pair in self._runs if pair[1] is not run]
