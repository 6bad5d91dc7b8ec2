"""The engine: one thread per backbone that makes the images of many runs and tells each run how it goes.

Runs are admitted and cancelled between two network evaluations; whatever befalls one of them, the others go on.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.engine.events import Cancelled, Ends, Event, Failed, Finished, Queued
from app.engine.jobs import Job, Watch
from app.engine.planner import problems
from app.engine.worker import Spent, Worker
from app.schema.recipe import Problem, Recipe
from app.schema.this_machine import Here, versions
from backbones.base import Backbone
from backbones.footprint import Footprint
from backbones.memory import give_back
from conditioning.registry import METHODS

log = logging.getLogger(__name__)
FETCHING = 0.1  # seconds between looks at downloads, where all runs wait for them


class Busy(RuntimeError):
    """The run is refused now: too many wait, or the engine is closed."""


class RunError(RuntimeError):
    """A run that was waited for has no images; `field` is the recipe's field to blame, where one is."""

    def __init__(self, reason: str, field: str | None = None):
        super().__init__(reason)
        self.field = field


class Run:
    """The reader's end of a run: iterate over its events. Leaving the loop, or the `with` block, cancels it."""

    def __init__(self, engine: Engine, job: Job):
        self._engine, self._job = engine, job

    @property
    def recipe(self) -> Recipe:
        return self._job.recipe

    @property
    def done(self) -> bool:
        return self._job.events.end is not None

    def show_previews(self, wanted: bool) -> None:
        """Whether previews are worth their cost: a reader that shows them to nobody says so."""
        self._job.events.previews = wanted

    def __iter__(self) -> Iterator[Event]:
        try:
            while True:
                event = self._job.events.take(timeout=1.0)
                if event is None:
                    self._engine._revive()
                    continue
                yield event
                if isinstance(event, Ends):
                    return
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the run within one step and frees what it holds; does nothing to a run that has ended."""
        self._engine._cancel(self._job)

    def result(self) -> Finished:
        """Waits for the images. Raises RunError in words where there are none."""
        for event in self:
            if isinstance(event, Finished):
                return event
            if isinstance(event, Failed):
                raise RunError(event.reason, event.field)
        raise RunError("The run was cancelled.")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.cancel()


class Engine:
    """Makes images on one backbone, until it is closed.

    backbone: an object, a name for `backbones.load`, or a function that returns one; the last two are called in the
        engine's thread, so that a page can be served meanwhile.
    max_rows: rows of one network evaluation at most (an image with guidance has two); out of memory halves it.
    max_waiting: runs that may wait; `submit` refuses more.
    batch_across_runs: whether images of several runs share network evaluations. None: on a GPU they do (the low bits
        may then depend on what runs beside it), on a CPU they do not (it saves little there; images are then equal to
        the last bit).
    name: what the backbone is called in recipes; that of `backbones.load`, or its id, where it is not given.
    max_under_way: images under way at once, the others wait; None: max_rows / 2 where they share evaluations, else 8.
    make_room: called in the engine's thread with the engine and what the model will take, before weights are read; may
        unload other engines, and raise.
    """

    def __init__(
        self,
        backbone: Backbone | str | Callable[[], Backbone] = "still-life",
        max_rows: int = 32,
        max_waiting: int = 64,
        batch_across_runs: bool | None = None,
        max_under_way: int | None = None,
        name: str = "",
        make_room: Callable[[Engine, Footprint], object] = lambda engine, needed: None,
    ):
        self.name = name or (backbone if isinstance(backbone, str) else "")
        self.status = "Loading the model"  # in words
        self.trouble: str | None = None  # why there is no model, in words; the next run tries again
        self.note: str | None = None  # about the last restart, in words
        self.unloaded = ""  # why there is no model for now, in words; `wait` and the next run load it again
        self.needs: Footprint | None = None  # of the model that is loaded, where its files say it
        self.waits_for_room = False  # whether it is not loaded since others have the memory in use
        self.used = time.monotonic()  # last
        self.max_waiting = max_waiting
        self._given, self._settings = backbone, (max_rows, batch_across_runs, max_under_way)
        self._make_room = make_room
        self._worker: Worker | None = None
        self._settled = threading.Event()  # loaded, or failed to
        self._changed = threading.Condition()  # guards the queue
        self._waiting: list[Job] = []
        self._closing = False
        self._unloading = ""  # why it is to be unloaded, until its thread has heard so
        self._thread: threading.Thread | None = None
        self._revive()

    # ---- for everybody ---------------------------------------------------------------------------------------------

    @property
    def backbone(self) -> Backbone | None:
        """None while it is being loaded."""
        return self._worker.backbone if self._worker is not None else None

    @property
    def spent(self) -> Spent:
        """What the time went into since the model was warm."""
        return self._worker.spent if self._worker is not None else Spent()

    def submit(self, recipe: Recipe, inputs: Mapping[str, Any] | None = None, watch: Watch | None = None) -> Run:
        """A run of this recipe, waiting or soon under way. `inputs`: sha256 -> image, for methods. Raises Busy.

        watch: goes along with every image's flow and may ask the network in between.
        """
        job = Job(recipe, dict(inputs or {}), watch)
        with self._changed:
            if self._closing:
                raise Busy("The engine is closed. Start the app again.")
            if len(self._waiting) >= self.max_waiting:
                raise Busy(
                    f"{len(self._waiting)} runs are waiting already, and at most {self.max_waiting} may. "
                    "Try again when some of them are done."
                )
            self.used = time.monotonic()
            job.position = len(self._waiting)
            job.events.put(Queued(job.position))
            self._waiting.append(job)
            self._changed.notify_all()
        self._revive()
        return Run(self, job)

    def check(self, recipe: Recipe) -> list[Problem]:
        """What the backbone cannot do of this recipe, in words; [] also while it is being loaded."""
        return problems(recipe, self._worker.backbone, self.name) if self._worker is not None else []

    def here(self) -> Here:
        """What this machine can do, for `this_machine.differences`."""
        if self._worker is None:
            return Here()
        device = {"device": self._worker.device.type}
        return Here({self.name: self._worker.backbone.revision}, tuple(METHODS), {**versions(), **device})

    def forget(self) -> None:
        """Computes everything anew from now on: nothing that was answered before is taken from memory."""
        if self._worker is not None:
            self._worker.answers.forget()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the model is loaded and warm; False where it is not within `seconds`, or cannot be."""
        self.load()
        self._settled.wait(seconds)
        return self._worker is not None

    def load(self) -> None:
        """Begins to load the model again where it was unloaded."""
        self.used = time.monotonic()
        if self._thread is None:
            self.unloaded, self.status = "", "Loading the model"
            self._revive()

    @property
    def idle(self) -> bool:
        """Whether it has a model and nothing to do: no run is under way, none waits."""
        worker = self._worker
        return worker is not None and not (self._waiting or worker.active or self._closing)

    @property
    def closing(self) -> bool:
        return self._closing

    def unload(self, why: str) -> bool:
        """Gives the model's memory back and ends the thread, unless a run is under way or waits: whether it did. why:
        in words. An engine that was given a backbone that is loaded keeps it."""
        thread = self._thread
        if hasattr(self._given, "denoise") or thread is None or thread is threading.current_thread():
            return False
        with self._changed:
            if not self.idle:
                return False
            self._unloading = why
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._unloading, timeout=30)
            self._unloading = ""
            if self._thread is thread:  # a run came before it
                return False
        thread.join(timeout=30)
        give_back()
        log.info("%s: %s", self.name, why)
        return True

    def close(self) -> None:
        """Cancels every run, ends the thread and gives the model's memory back."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)
            if not self._thread.is_alive():
                self._worker = None
                give_back()

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _revive(self) -> None:
        """Starts the thread where there is none."""
        with self._changed:
            if self._closing or (self._thread is not None and self._thread.is_alive()):
                return
            if self._thread is not None:
                self._fell(RuntimeError("its thread was gone"))
            self._thread = threading.Thread(target=self._main, name=f"engine {self.name}", daemon=True)
            self._thread.start()

    def _main(self) -> None:
        while True:
            try:
                self._serve()
                return
            except BaseException as error:
                self._fell(error)

    def _fell(self, error: BaseException) -> None:
        """After an error that belongs to no run: what was under way fails with words, what waits is done next."""
        log.error("the engine fell and starts again", exc_info=error)
        self.note = f"The engine stopped at {time.strftime('%H:%M:%S')} ({error!r}) and was started again."
        failed = Failed(f"The engine stopped and was started again ({error}). Generate once more.")
        if self._worker is not None and self._worker.active:
            for job in list(self._worker.active):
                self._worker.end(job, failed)
        elif threading.current_thread() is self._thread:
            self._refuse_waiting(failed)  # else it would stop at the same run again and again

    def _serve(self) -> None:
        while True:
            worker = self._worker
            with self._changed:
                if worker is not None and worker.only_fetches and not self._closing:
                    self._changed.wait(FETCHING)
                while not (self._closing or self._unloading or self._waiting or worker is None or worker.active):
                    self._changed.wait()
                if self._closing:
                    break
                if self._unloading:
                    why, self._unloading = self._unloading, ""
                    self._changed.notify_all()
                    if self.idle:
                        self._settled.clear()
                        self.unloaded = self.status = why
                        self._worker = self.needs = self._thread = None
                        return
            if worker is None:
                self._load()
                continue
            worker.sweep()
            if not worker.active:
                worker.between_runs()
            self._admit(worker)
            worker.round()
        self._refuse_waiting(Cancelled())
        for job in list(worker.active) if worker is not None else []:
            worker.end(job, Cancelled())  # type: ignore[union-attr]

    def _load(self) -> None:
        """The model, warm; where that fails every waiting run fails with the reason, and the next one tries again."""
        try:
            self._settled.clear()
            self.status, self.unloaded = "Loading the model", ""
            backbone: Any = self._given
            if isinstance(backbone, str):
                from backbones import load

                backbone = load(backbone, self.name, self._hear, self._fit)
            elif callable(backbone) and not hasattr(backbone, "denoise"):
                backbone = backbone()
            self.name = self.name or backbone.id
            worker = Worker(backbone, self.name, *self._settings)
            worker.warm_up()
        except Exception as error:
            log.exception("the model could not be loaded")
            self.needs = None
            self.status = self.trouble = f"The model {self.name} could not be loaded: {error}"
            self._refuse_waiting(Failed(self.status, "backbone"))
            self._settled.set()
            with self._changed:
                while not (self._closing or self._waiting):
                    self._changed.wait()
            return
        placed = getattr(backbone, "placed", "")
        self._worker, self.status, self.trouble = worker, f"Ready, {placed}" if placed else "Ready", None
        self.used = time.monotonic()
        self._settled.set()

    def _fit(self, needed: Footprint) -> None:
        """What the model will take is known now."""
        self._make_room(self, needed)
        self.needs = needed  # from now on it counts as taken

    def _hear(self, done: int, total: int) -> None:
        """Bytes of the model that are here, of how many that come from the Hub."""
        from backbones.hub import fetching

        self.status = fetching(done, total) if done < total else "Loading the model"

    def _admit(self, worker: Worker) -> None:
        """Takes up images while there is room, in turns: a large run does not hold up the others for long."""
        while not worker.full:
            job = worker.open()
            with self._changed:
                if self._waiting and (job is None or self._waiting[0].since < job.since):
                    job = self._waiting.pop(0)
            if job is None:
                break
            worker.start_next_image(job)
        with self._changed:
            for position, job in enumerate(self._waiting):
                if job.position != position:
                    job.position = position
                    job.events.put(Queued(position))

    def _refuse_waiting(self, event: Event) -> None:
        with self._changed:
            jobs, self._waiting = self._waiting, []
        for job in jobs:
            job.events.put(event)

    def _cancel(self, job: Job) -> None:
        """From any thread: a waiting run ends at once, one under way between two network evaluations."""
        job.cancelled = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.events.put(Cancelled())
