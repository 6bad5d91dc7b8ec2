"""What has to be fetched from the Hub before runs can begin, each in a thread of its own while the other runs go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.engine.events import Preparing
from app.engine.jobs import Job
from app.schema.recipe import Problem, RecipeError
from backbones.hub import NotFetched

log = logging.getLogger(__name__)
Fail = Callable[[Job, BaseException, int], None]  # ends a run that failed after so many steps
MEGABYTE = 1_000_000


class Abandoned(Exception):
    """No run waits for it any more."""


@dataclass(eq=False)
class Download:
    """One download under way, and the runs that wait for it. The thread writes `done`, `total`, `error` and `ended`."""

    missing: NotFetched
    jobs: list[Job]
    began: float = field(default_factory=time.perf_counter)
    done: int = 0
    total: int = 0
    first: int | None = None  # bytes that were here before
    error: BaseException | None = None
    ended: bool = False

    def run(self) -> None:
        try:
            self.missing.fetch(self.tell)
        except BaseException as error:
            self.error = error
        self.ended = True

    def tell(self, done: int, total: int) -> None:
        """Called with the bytes that are here, of how many. Raises Abandoned to end the download."""
        if not self.jobs:
            raise Abandoned
        self.first = done if self.first is None else self.first
        self.done, self.total = done, total

    def progress(self) -> Preparing:
        """In megabytes; 0 of 1 while the Hub has not said how many."""
        here, left = self.done - (self.first or 0), None
        if here > 0:
            left = (time.perf_counter() - self.began) / here * (self.total - self.done)
        done, total = self.done // MEGABYTE, max(self.total // MEGABYTE, 1)
        words = f"Megabytes of {self.missing.words} from the Hugging Face Hub"
        return Preparing(words, min(done, total), total, left)


class Downloads:
    """All downloads under way for the runs of one backbone. Its methods are of the engine's thread alone."""

    def __init__(self, fail: Fail):
        self._fail = fail
        self._under_way: list[Download] = []

    def awaited(self, job: Job) -> bool:
        """Whether a run waits for a download."""
        return any(job in one.jobs for one in self._under_way)

    def begin(self, job: Job, missing: NotFetched) -> None:
        """Begins a download for a run, or lets it wait for the same one that is under way."""
        one = next((one for one in self._under_way if one.missing.place == missing.place and one.jobs), None)
        if one is None:
            one = Download(missing, [job])
            self._under_way.append(one)
            threading.Thread(target=one.run, name=f"fetch {missing.place}", daemon=True).start()
        else:
            one.jobs.append(job)
        job.events.put(one.progress())

    def round(self) -> None:
        """News to the runs that wait; those whose download has ended begin anew, or fail with it."""
        for one in list(self._under_way):
            if not one.ended:
                for job in one.jobs:
                    job.events.put(one.progress())
                continue
            self._under_way.remove(one)
            if one.error is not None and one.jobs:
                log.warning("%s", one.error)
                words = f"{one.missing.words[:1].upper()}{one.missing.words[1:]} could not be fetched: {one.error}."
                for job in list(one.jobs):
                    self._fail(job, RecipeError([Problem("methods", words)]), 0)

    def leave(self, job: Job) -> None:
        """A run ended: its download goes on where others wait for it, else it ends with the next bytes that come."""
        for one in self._under_way:
            if job in one.jobs:
                one.jobs.remove(job)
