"""What has to be found on a network before runs can begin: each search once, however many runs wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from app.engine.events import Preparing
from app.engine.jobs import Job
from app.engine.tuned_schedules import Search
from samplers import protocol
from samplers.driver import Driver
from samplers.protocol import Ask, Step

log = logging.getLogger(__name__)
Fail = Callable[[Job, BaseException, int], None]  # ends a run that failed after so many steps


@dataclass(eq=False)
class RunningSearch:
    """One search under way, and the runs that wait for it: `jobs[0]` fails where it fails, the others begin anew."""

    search: Search
    driver: Driver
    jobs: list[Job]
    began: float = field(default_factory=time.perf_counter)
    steps: int = 0

    def progress(self) -> Preparing:
        left = None
        if self.steps:
            left = (time.perf_counter() - self.began) / self.steps * (self.search.steps - self.steps)
        return Preparing(self.search.words, self.steps, self.search.steps, left)


class Searches:
    """All searches under way on one backbone, which `answer` asks."""

    def __init__(self, answer: Callable[[Ask], Tensor], fail: Fail):
        self._answer, self._fail = answer, fail
        self._under_way: list[RunningSearch] = []

    def __len__(self) -> int:
        return len(self._under_way)

    def awaited(self, job: Job) -> bool:
        """Whether a run waits for a search."""
        return any(job in one.jobs for one in self._under_way)

    def begin(self, job: Job, search: Search, max_rows: int) -> None:
        """Begins a search for a run, or lets it wait for the same one that is under way."""
        one = next((one for one in self._under_way if one.search.name == search.name), None)
        if one is None:
            one = RunningSearch(search, Driver(self._answer, max_rows), [])
            one.driver.add(one, search.flow)
            self._under_way.append(one)
        one.jobs.append(job)
        job.events.put(one.progress())

    def round(self, max_rows: int) -> None:
        """One network evaluation for every search, and what follows from it."""
        for one in list(self._under_way):
            one.driver.max_rows = max_rows
            for _, event in one.driver.round():
                if isinstance(event, Step):
                    one.steps += 1
                    for job in one.jobs:
                        job.events.put(one.progress())
                    continue
                self._under_way.remove(one)
                if isinstance(event, protocol.FlowFailed):
                    self._fail(one.jobs[0], event.error, one.steps)
                    continue
                try:
                    one.search.keep(event.result)
                except OSError as error:  # a full disk: it is in memory
                    log.warning("what was found is not kept: %s", error)

    def leave(self, job: Job) -> None:
        """A run ended: its search goes on where others wait for it."""
        for one in [one for one in self._under_way if job in one.jobs]:
            one.jobs.remove(job)
            if not one.jobs:
                one.driver.cancel(one)
                self._under_way.remove(one)
