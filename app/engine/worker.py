"""What the engine's thread does: images of many runs under way on one backbone. Single-threaded by design.

An image is the unit of work: a run of four images is four flows. Where `batch_across_runs` is on, all flows share a
driver and so their network evaluations; where it is off, every image has a driver of its own and they are gone round,
one network evaluation each: an image's numbers are then the same to the last bit, alone or beside others, since its
network evaluations are the same."""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from app.engine import loras
from app.engine.answer_cache import AnswerCache, rows_of
from app.engine.downloads import Downloads
from app.engine.events import Cancelled, Event, Failed, Finished, Made
from app.engine.jobs import ImageTask, Job
from app.engine.planner import Encoder, in_words, plan, problems
from app.engine.rows_a_call import RowsACall
from app.engine.searches import Searches
from app.engine.text_reading import learned_in
from app.engine.tuned_schedules import TunedSchedules
from app.engine.unused_settings import settings_used, used
from app.schema import png_metadata
from app.schema.recipe import Recipe, RecipeError
from app.schema.this_machine import versions
from backbones.base import Backbone
from backbones.hub import NotFetched
from backbones.memory import give_back, out_of_memory
from backbones.names import name_of
from common.image_bytes import Array, to_pixels
from samplers import protocol
from samplers.driver import Driver
from samplers.protocol import Ask, Step
from samplers.schedules import progress

log = logging.getLogger(__name__)
ALL_THREADS = torch.get_num_threads()  # asked before an engine's thread takes one only
PREVIEW_SHARE = 0.03  # of the network's time may go into previews ...
PREVIEW_EVERY = 1.0  # ... or one round of them in this many seconds, whichever allows more


@dataclass
class Spent:
    """Seconds of the engine's thread by what it did, and its network evaluations and rows, since the model was warm."""

    network: float = 0.0
    preview: float = 0.0
    decode: float = 0.0
    nfe: int = 0
    rows: int = 0


class Worker:
    """Runs under way on a loaded backbone. `name` is what the backbone is called in recipes."""

    def __init__(
        self, backbone: Backbone, name: str, max_rows: int, batch_across_runs: bool | None, max_under_way: int | None
    ):
        self.backbone, self.name, self.rows = backbone, name, RowsACall(max_rows)
        self.encode = Encoder(backbone)
        self.tuned = TunedSchedules.of(backbone)
        self.answers = AnswerCache(self._fitting)
        torch.set_num_threads(1)  # of this thread: for what is small, more of them cost 100 times what they save
        cond = self.encode("")
        self.device = next((v.device for v in cond.values() if isinstance(v, Tensor)), torch.device("cpu"))
        self.batch_across_runs = self.device.type != "cpu" if batch_across_runs is None else batch_across_runs
        self.max_under_way = max_under_way or (max(1, max_rows // 2) if self.batch_across_runs else 8)
        self.active: list[Job] = []
        self.spent = Spent()
        self.searches = Searches(partial(self._answer, cached=False), self._fail)
        self.downloads = Downloads(self._fail)
        self._drivers: list[Driver] = []
        self._last_preview = 0.0

    @property
    def _network_threads(self) -> int:
        return ALL_THREADS if _in_torch(self.backbone) else 1

    def between_runs(self) -> None:
        """While no run is under way."""
        if callable(ready := getattr(self.backbone, "between_runs", None)):
            ready()

    @property
    def max_rows(self) -> int:
        """Of one network evaluation."""
        return self.rows.now

    def warm_up(self) -> None:
        """One step, decoded, so that the first run does not pay for it. Raises what the network raises.

        On a CPU a guided step of Stable Diffusion 1.5 is 22 s of processor time, and the second is not faster than the
        first (backbones/README.md), so a large network there is not made warm.
        """
        if not getattr(self.backbone, "quick", True):
            return
        size = self.backbone.default_size
        driver = Driver(self._answer, self.max_rows)
        recipe = Recipe(backbone=self.name, width=size, height=size, steps=1)
        driver.add(0, plan(recipe, self.backbone, self.encode, {}).flow)
        while len(driver):
            for _, event in driver.round():
                if isinstance(event, protocol.FlowFailed):
                    raise event.error
                if isinstance(event, protocol.Done):
                    self._decoded(event.result)
                    self._looks(event.result)
        self.spent = Spent()

    # ---- taking up and ending --------------------------------------------------------------------------------------

    def open(self) -> Job | None:
        """The run under way whose next image should be begun, if any: the one that had its turn longest ago."""
        most = self.max_under_way if self.batch_across_runs else 1
        jobs = [job for job in self.active if job.todo and not self._awaits(job) and len(job.under_way) < most]
        return min(jobs, key=lambda job: job.since, default=None)

    def _awaits(self, job: Job) -> bool:
        return self.searches.awaited(job) or self.downloads.awaited(job)

    @property
    def only_fetches(self) -> bool:
        """Whether all runs under way wait for downloads, so that there is nothing to compute."""
        return bool(self.active) and all(self.downloads.awaited(job) and not job.under_way for job in self.active)

    @property
    def full(self) -> bool:
        return sum(len(job.under_way) for job in self.active) >= self.max_under_way

    def start_next_image(self, job: Job) -> None:
        """Starts the next image of a run. A run that cannot be fails here."""
        if job not in self.active:
            self.active.append(job)
        job.since = time.perf_counter()
        try:
            if wrong := problems(job.recipe, self.backbone, self.name):
                raise RecipeError(wrong)
            if (search := self.tuned.search(settings_used(job.recipe, self.backbone))) is not None:
                self.searches.begin(job, search, self.max_rows)
                return
            if not (job.images or job.under_way):
                job.started = job.last_step = time.perf_counter()  # what was found before is not the image's time
            index = job.todo[0]
            one = settings_used(job.recipe, self.backbone).one(index)
            made = plan(one, self.backbone, self.encode, job.inputs, self.tuned)
            job.todo.pop(0)
            if not (self.batch_across_runs and self._drivers):
                self._drivers.append(Driver(self._answer, self.max_rows))
            task = ImageTask(job, index, made, self._drivers[-1])
            task.driver.add(task, job.watch(made, self.backbone) if job.watch is not None else made.flow)
            job.under_way.append(task)
            job.formula = made.formula
        except NotFetched as missing:
            self.downloads.begin(job, missing)
        except Exception as error:
            self._fail(job, error, 0)

    def end(self, job: Job, event: Event) -> None:
        """Closes and forgets all of a run, then says so."""
        self.searches.leave(job)
        self.downloads.leave(job)
        for task in job.under_way:
            try:
                task.driver.cancel(task)
            except Exception:
                log.exception("a flow raised while it was closed")
        if job in self.active:
            self.active.remove(job)
        job.todo, job.under_way, job.images, job.previews, job.inputs = [], [], {}, [], {}
        self._drop_idle_drivers()
        job.events.put(event)

    def sweep(self) -> None:
        """Ends the runs that were cancelled."""
        for job in [job for job in self.active if job.cancelled]:
            self.end(job, Cancelled())

    def _fail(self, job: Job, error: BaseException, step: int) -> None:
        log.log(logging.INFO if isinstance(error, RecipeError) else logging.ERROR, "a run failed", exc_info=error)
        engine = str(getattr(getattr(self.backbone, "engine", None), "name", ""))
        self.end(job, Failed(*in_words(error, job.recipe, step, engine)))
        if out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # they hold the tensors that were too many
            give_back()

    def _drop_idle_drivers(self) -> None:
        self._drivers[:] = [driver for driver in self._drivers if len(driver)]

    # ---- network evaluations and what comes of them ----------------------------------------------------------------

    def round(self) -> None:
        """One network evaluation for every driver (and group of alike asks in it), and what follows from the
        answers."""
        self.sweep()
        self.downloads.round()
        self.searches.round(self.max_rows)
        self._note_who_shares()
        for driver in list(self._drivers):
            self.sweep()
            driver.max_rows = self.max_rows
            done: list[tuple[ImageTask, Tensor]] = []
            mine = [p for job in self.active for p in job.under_way if p.driver is driver]
            began = time.perf_counter() + self.answers.saved  # what memory answers counts as if it were computed
            known = self.answers.known
            events = driver.round()
            for task in mine:
                task.remembered += self.answers.known - known
                task.seconds += (time.perf_counter() + self.answers.saved - began) / len(mine)
            for key, event in events:
                task = cast(ImageTask, key)
                if task.job.events.end is not None:
                    continue
                if isinstance(event, Step):
                    at = progress(task.plan.sigmas, event.sigma)  # inversions climb, time travel goes back up
                    task.latest, task.steps = event, round(at * task.job.recipe.steps)
                elif isinstance(event, protocol.FlowFailed):
                    self._fail(task.job, event.error, task.steps)
                else:
                    done.append((task, event.result))
            self._tell([p for job in self.active for p in job.under_way if p.latest is not None], {p for p, _ in done})
            for task, x in done:
                if task.job.events.end is None and not task.job.cancelled:
                    self._finish(task, x)

    def _note_who_shares(self) -> None:
        """Their seconds are not those of a run alone: whoever shows them says so."""
        computed = [job for job in self.active if job.under_way or self.searches.awaited(job)]
        if len(computed) > 1:
            for job in computed:
                job.shared = job.shared or bool(job.under_way)  # before its first image its time has not begun

    def _answer(self, ask: Ask, cached: bool = True) -> Tensor:
        start = time.perf_counter()
        torch.set_num_threads(self._network_threads if ask.tape is None and ask.edit is None else ALL_THREADS)
        try:
            cached = cached and self.device.type == "cpu" and ask.tape is None and ask.edit is None
            return self.answers(ask) if cached else self._fitting(ask)
        finally:
            torch.set_num_threads(1)
            self.spent.network += time.perf_counter() - start
            self.spent.nfe += 1
            self.spent.rows += len(ask.x)

    def _fitting(self, ask: Ask) -> Tensor:
        """The backbone's answer; where the memory does not suffice, in two halves, and so for some time."""
        rows = len(ask.x)
        try:
            answer = self.backbone.denoise(ask)
            self.rows.answered()
            return answer
        except Exception as error:
            if not out_of_memory(error) or rows == 1 or ask.tape is not None or ask.edit is not None:
                raise
        half = (rows + 1) // 2  # out here the failed evaluation's tensors are gone
        self.rows.failed(rows)
        log.warning("out of memory with %d rows: network evaluations have at most %d for now", rows, self.max_rows)
        give_back()
        parts = (slice(0, half), slice(half, rows))
        return torch.cat([self._fitting(rows_of(ask, part)) for part in parts])

    def _tell(self, tasks: list[ImageTask], done: set[ImageTask]) -> None:
        """Progress to the runs of these images, with a look at them where somebody waits for one and it is cheap."""
        now = time.perf_counter()
        steps = {task: task.latest for task in tasks if task.latest is not None}
        wanted = [p for p in steps if p not in done and p.job.events.wants_preview and not p.job.cancelled]
        first = any(p.job.previews[p.index] is None for p in wanted)
        cheap = self.spent.preview < PREVIEW_SHARE * self.spent.network or now - self._last_preview > PREVIEW_EVERY
        if wanted and (first or cheap):
            for shape in dict.fromkeys(steps[p].x0.shape for p in wanted):
                alike = [p for p in wanted if steps[p].x0.shape == shape]
                for task, look in zip(alike, self._looks(torch.cat([steps[p].x0 for p in alike]))):
                    if look is not None:
                        task.job.previews[task.index] = look
            self._last_preview = time.perf_counter()
            self.spent.preview += self._last_preview - now
        for job in dict.fromkeys(p.job for p in steps):
            fresh = [p for p in steps if p.job is job]
            pace = (now - job.last_step) / len(fresh)
            job.pace = pace if job.pace is None else 0.7 * job.pace + 0.3 * pace
            job.last_step = now
            job.events.put(job.progress(steps[fresh[0]].sigma))
        for task in tasks:
            task.latest = None

    def _finish(self, task: ImageTask, x: Tensor) -> None:
        job = task.job
        try:
            (pixels,) = self._decoded(x)
        except Exception as error:
            self._fail(job, error, task.steps)
            return
        recipe = self._recipe(job, task.index)
        made = Image.fromarray(pixels)
        made.info["parameters"] = png_metadata.write(recipe)
        job.previews[task.index], job.images[task.index] = pixels, made
        job.under_way.remove(task)
        tally = task.plan.tally
        job.nfe, job.rows = job.nfe + tally.nfe, job.rows + tally.rows
        job.gradients += tally.gradients
        job.own_seconds += task.seconds
        job.remembered += task.remembered
        self._drop_idle_drivers()
        job.events.put(Made(task.index, made, recipe))
        if len(job.images) == job.recipe.count:
            images = tuple(job.images[i] for i in range(job.recipe.count))
            recipes = tuple(self._recipe(job, i) for i in range(job.recipe.count))
            seconds = time.perf_counter() - job.started
            figures = (seconds, job.nfe, job.rows, job.formula, job.gradients, job.own_seconds, job.remembered)
            self.end(job, Finished(images, recipes, *figures, shared=job.shared))

    def _recipe(self, job: Job, index: int) -> Recipe:
        """The recipe of one image, with what made it."""
        made_with = {**versions(), "device": self.device.type}
        recipe = used(job.recipe, self.backbone).one(index)  # what is counted depends on what is used
        made_by = {"backbone": name_of(self.name), "revision": self.backbone.revision,
                   "embeddings": learned_in(recipe, self.backbone),
                   **loras.named(recipe, self.backbone)}  # fmt: skip
        return recipe.model_copy(update={**made_by, "versions": made_with})

    def _decoded(self, latents: Tensor) -> list[Array]:
        start = time.perf_counter()
        torch.set_num_threads(self._network_threads)
        try:
            with torch.no_grad():
                pixels = self.backbone.decode(latents)
        finally:
            torch.set_num_threads(1)
        if not pixels.isfinite().all():
            raise FloatingPointError("the decoder answered with NaN or infinity")
        arrays = list(to_pixels(pixels))
        self.spent.decode += time.perf_counter() - start
        return arrays

    def _looks(self, x0: Tensor) -> list[Array | None]:
        """One of each row; None where the memory does not suffice for looking on."""
        try:
            with torch.no_grad():
                return [*to_pixels(self.backbone.preview(x0))]
        except Exception as error:
            if not out_of_memory(error):
                raise
        log.warning("out of memory: no preview of this step")  # out here the failed tensors are gone
        give_back()
        return [None] * len(x0)


def _in_torch(backbone: Backbone) -> bool:
    """Whether torch computes its plain asks on the CPU, and so wants all threads. Other engines have threads of their
    own, which torch's would keep from working."""
    name = str(getattr(getattr(backbone, "engine", None), "name", "torch"))
    return name.startswith("torch") and torch.device(getattr(backbone, "device", "cpu")).type == "cpu"
