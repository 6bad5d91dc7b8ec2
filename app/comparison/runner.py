"""A comparison under way: the cells that are missing, through the engines, a few at a time, each measured and stored.

All cells share the engines with everybody's runs, so their network evaluations merge where the engine merges. What
befalls a cell is said at the cell; the others go on."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from app.comparison.spec import Cell, Comparison
from app.comparison.store import ComparisonStore, Result
from app.engine.events import Cancelled, Failed, Finished, Preparing, Progress
from app.errors import error_message
from app.schema.recipe import Recipe
from common.image_bytes import Array

log = logging.getLogger(__name__)
AT_ONCE = 6  # cells in the engines; the others wait here, so that other people's runs come in between
BUSY = 0.5  # seconds until a refused cell is tried again

Measuring = Callable[[Cell, Recipe, Any], tuple[dict[str, float], str, str]]  # -> figures, left_out, seen


@dataclass
class State:
    """How a cell is: waiting, running, done, failed, cancelled."""

    status: str = "waiting"
    step: int = 0
    steps: int = 0
    first: str = ""  # what is found on the network before the run, in words, while it is
    preview: Array | None = field(default=None, repr=False)
    result: Result | None = None
    reason: str = ""
    changed: int = 0  # the number of the change that made it so


class ComparisonRunner:
    """One comparison and how its cells are. `start` makes those that are missing; leaving them is no loss.

    engine(id) gives the engine of a backbone, or raises RuntimeError in words. images: content hash -> image.
    """

    def __init__(
        self, id: str, comparison: Comparison, store: ComparisonStore, engine: Callable[[str], Any],
        images: Mapping[str, Any], measure: Measuring,
    ):  # fmt: skip
        self.id, self.comparison, self.store = id, comparison, store
        self.cells: list[Cell] = comparison.cells()
        self.states: dict[str, State] = {}
        self.made = 0  # cells that this object made
        self.images = images
        self._engine, self._measure = engine, measure
        self._changed = threading.Condition()
        self._count = 0
        self._stop = threading.Event()  # of the newest start
        self._runs: set[Any] = set()
        self._thread: threading.Thread | None = None
        self._todo: list[str] = []  # keys of the cells that the newest start makes
        self._begun = 0.0
        for cell in self.cells:
            if cell.recipe is None:
                self.states[cell.key] = State("failed", reason=cell.problem)
            elif cell.key not in self.states:
                result = store.result(id, cell.key)
                self.states[cell.key] = State("waiting") if result is None else State("done", result=result)

    # ---- for everybody ---------------------------------------------------------------------------------------------

    @property
    def missing(self) -> list[Cell]:
        """The cells that have no image and might have one, each key once."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            if cell.recipe is not None and self.states[cell.key].status not in ("done", "running"):
                found.setdefault(cell.key, cell)
        return list(found.values())

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def resumable(self) -> bool:
        """Whether `start` would make something: cells are missing, and nobody makes them, or it was cancelled."""
        if self.busy and not self._stop.is_set():
            return False
        return any(cell.recipe is not None and self.states[cell.key].status != "done" for cell in self.cells)

    def start(self) -> threading.Event | None:
        """Makes what is missing, those that failed before too; after what was cancelled has ended. Gives what cancels
        this start and no other; None where it is at it already, and nothing is started."""
        with self._changed:
            if self.busy and not self._stop.is_set():
                return None
            stop, before = threading.Event(), self._thread
            self._stop = stop
            self._todo, self._begun = [cell.key for cell in self._wait_all()], time.monotonic()
            name = f"comparison {self.id}"
            self._thread = threading.Thread(target=self._main, args=(stop, before), name=name, daemon=True)
            self._thread.start()
            return stop

    def cancel(self, started: threading.Event | None = None) -> None:
        """Ends what is under way within one step. What is done stays. started: by `start`; cancels that one alone."""
        stop = self._stop if started is None else started
        stop.set()
        if stop is self._stop:
            for run in list(self._runs):
                run.cancel()

    def wait(self, since: int, seconds: float) -> int:
        """Until something has changed after change number `since`, or the time is over: the number of the newest."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > since, seconds)
            return self._count

    @property
    def seconds_left(self) -> float | None:
        """Going by how long the cells of this start have taken; None where nothing runs or too little is known."""
        done = 0.0
        for one in (self.states[key] for key in self._todo):
            under_way = one.step / max(one.steps, 1) if one.status == "running" else 0.0
            done += (1.0 if one.status in ("done", "failed") else under_way) / len(self._todo)
        return (time.monotonic() - self._begun) * (1 - done) / done if self.busy and done > 0.05 else None

    def join(self, seconds: float | None = None) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def changes(self, since: int = 0) -> dict[str, State]:
        """The cells that have changed after change number `since`."""
        with self._changed:
            return {key: state for key, state in self.states.items() if state.changed > since or not since}

    def count(self, status: str) -> int:
        """Cells, by place, of this status."""
        return sum(self.states[cell.key].status == status for cell in self.cells)

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _main(self, stop: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cell") as pool:
            list(pool.map(lambda cell: self._guarded(cell, stop), self._wait_all()))

    def _wait_all(self) -> list[Cell]:
        """The cells that are missing, waiting from now on."""
        todo = self.missing
        for cell in todo:
            self._set(cell.key, status="waiting", reason="", preview=None, step=0)
        return todo

    def _guarded(self, cell: Cell, stop: threading.Event) -> None:
        try:
            self._make(cell, stop)
        except Exception as error:
            log.exception("a cell failed")
            self._set(cell.key, status="failed", reason=_in_words(error), preview=None)

    def _make(self, cell: Cell, stop: threading.Event) -> None:
        assert cell.recipe is not None
        if stop.is_set():
            self._set(cell.key, status="cancelled")
            return
        self._set(cell.key, status="running", steps=cell.recipe.steps)
        engine = self._engine(cell.recipe.backbone)
        run = self._submitted(engine, cell.recipe, stop)
        if run is None:
            self._set(cell.key, status="cancelled", preview=None)
            return
        self._runs.add(run)
        try:
            if stop.is_set():
                run.cancel()
            for event in run:
                match event:
                    case Preparing(words=words, step=step, steps=steps):
                        self._set(cell.key, step=step, steps=steps, first=words)
                    case Progress(step=step, steps=steps, preview=preview):
                        self._set(cell.key, step=step, steps=steps, first="", preview=preview)
                    case Failed(reason=reason):
                        self._set(cell.key, status="failed", reason=reason, preview=None)
                    case Cancelled():
                        self._set(cell.key, status="cancelled", preview=None)
                    case Finished():
                        self._finish(cell, event)
        finally:
            self._runs.discard(run)

    def _submitted(self, engine: Any, recipe: Recipe, stop: threading.Event) -> Any:
        """The run; None where it was cancelled before there was room for it."""
        from app.engine.engine import Busy

        while not stop.is_set():
            try:
                given = {sha: self.images[sha] for use in recipe.methods for sha in use.hashes()
                         if sha in self.images}  # fmt: skip
                return engine.submit(recipe, given)
            except Busy:
                time.sleep(BUSY)
        return None

    def _finish(self, cell: Cell, event: Finished) -> None:
        (image,), (recipe,) = event.images, event.recipes
        measured = self._measure(cell, recipe, image)
        result = Result(event.own_seconds, event.nfe, event.rows, event.gradients, event.formula, *measured)
        self.store.put(self.id, cell.key, image, recipe, result)
        self.made += 1
        self._set(cell.key, status="done", result=result, preview=None)

    def _set(self, key: str, **values: Any) -> None:
        with self._changed:
            self._count += 1
            for name, value in {**values, "changed": self._count}.items():
                setattr(self.states[key], name, value)
            self._changed.notify_all()


def _in_words(error: Exception) -> str:
    """Why a cell has no image, for a person."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "The disk is full" if full else f"The image cannot be saved ({error.strerror or error})"
        return f"{what}: this cell is not saved. Free some space, or set NINE_WAYS_OUTPUT, and resume."
    return str(error) if isinstance(error, RuntimeError) else error_message(error)
