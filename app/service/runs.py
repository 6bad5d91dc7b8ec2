"""Check a recipe, run it, make a comparison: for the page, its endpoints and the command line. Imports torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from app.comparison.idle_axes import idle_axes
from app.comparison.measuring import measuring
from app.comparison.runner import ComparisonRunner
from app.comparison.spec import Comparison, key_of
from app.comparison.store import ComparisonStore
from app.engine.engine import Engine, Run
from app.engine.jobs import Watch
from app.engine.model_settings import unusual_settings
from app.engine.prompt_syntax import syntax, without_effect
from app.engine.unread_text import unread
from app.engine.unused_settings import unused, unusual_guidance
from app.engine.unusual_size import unusual_size
from app.errors import NotLoaded
from app.schema.recipe import Problem, Recipe, RecipeError
from app.service.checking import Check, assumed, check, known_backbone, recipe_problems
from app.service.counting import evaluations
from app.service.memory import ModelMemory
from app.service.messages import cell, finished_comparison
from app.service.reading import Images, Request

MOST_SAID = 3  # sentences about texts of a comparison that are too long, or have what does nothing here
COUNTING = 3.0  # seconds for counting what a comparison will ask of the network
TICK = 1.0  # seconds after which a comparison under way is looked at again


class Engines:
    """The engines of one process, each loaded when it is first asked for, and again where it had to make room for
    another. For any thread."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._memory = ModelMemory()
        self._lock = threading.Lock()

    def __call__(self, id: str) -> Engine:
        """The engine of a backbone, loaded. Raises NotLoaded where it cannot be."""
        with self._lock:
            if id not in self._engines:
                self._engines[id] = self._memory.engine(id, "")
            engine = self._engines[id]
        if not engine.wait():
            raise NotLoaded(engine.trouble or f"The model {id} could not be loaded.")
        return engine

    def close(self) -> None:
        """Cancels every run and ends the engines' threads."""
        for engine in self._engines.values():
            engine.close()


class Runs:
    """engine(id): the engine of a backbone, or NotLoaded. ids: of the backbones that may run; None: all.
    known(id): what is known of a backbone before a run, itself where it is loaded; outline(id): what is known without
    it, to count with; OSError in words for none."""

    def __init__(
        self,
        engine: Callable[[str], Engine],
        ids: Collection[str] | None = None,
        known: Callable[[str], Any] = known_backbone,
        outline: Callable[[str], Any] = known_backbone,
    ):
        self._engine, self._ids, self._known, self._outline = engine, ids, known, outline

    def check(self, request: Request) -> Check:
        """What is wrong with a recipe and what its run will do; loads no weights."""
        return check(request, self._ids, self._known, self._outline)

    def problems(self, request: Request) -> list[Problem]:
        """Why a recipe is refused, each at its field; [] where it can run."""
        return recipe_problems(request, self._ids, self._known)[1]

    def unused(self, recipe: Recipe) -> list[Problem]:
        """What a run of this recipe leaves unused, and what guidance below 1, an unusual size and the syntax of
        other tools do, each at its field."""
        known = self._known_or_none(recipe.backbone)
        said = [*unused(recipe, known), *unusual_guidance(recipe, known), *unread(recipe, known)]
        return [*said, *syntax(recipe, known), *unusual_size(recipe, known), *unusual_settings(recipe, known),
                *assumed(known)]

    def _known_or_none(self, id: str) -> Any:
        try:
            return self._known(id)
        except OSError:  # its own problem says so
            return None

    def submit(self, request: Request, watch: Watch | None = None) -> Run:
        """The run of a recipe, to be iterated over for its events; leaving the loop cancels it.

        watch: goes along with every image's flow and may ask the network in between.

        Raises RecipeError with a problem for every field that is wrong, before anything is loaded; Busy where too many
        runs wait; NotLoaded where the backbone cannot be.
        """
        problems = self.problems(request)
        if request.recipe is None or problems:
            raise RecipeError(problems)
        needed = {sha for use in request.recipe.methods for sha in use.hashes()}
        images = {sha: image for sha, image in request.images.items() if sha in needed}
        return self._engine(request.recipe.backbone).submit(request.recipe, images, watch)

    def comparison_problems(self, comparison: Comparison, images: Images) -> tuple[list[Problem], list[str]]:
        """Why a comparison is refused, [] where it can be made; and in words, what else its maker should know.

        It is refused where no cell can be made, and where all images along an axis would be the same. Of what is wrong
        with some cells only, these cells say it.
        """
        wrong: dict[str, list[Problem]] = {}
        cells = comparison.cells()
        for one in cells:
            if one.recipe is None:
                wrong[one.key] = [Problem("axes", f"{comparison.label(one.place)}: {one.problem}")]
            elif problems := self.problems(Request(one.recipe, images)):
                wrong[one.key] = problems
        if len(wrong) == len({one.key for one in cells}):
            return list(dict.fromkeys(problem for group in wrong.values() for problem in group)), []
        all_alike, some_alike = idle_axes(comparison, self._known_or_none)
        of_texts = {
            f"{comparison.label(one.place)}: {problem.message}": None
            for one in cells
            if one.recipe is not None
            for said in (unread, without_effect)
            for problem in said(one.recipe, self._known_or_none(one.recipe.backbone))
        }
        return [Problem("axes", words) for words in all_alike], [*some_alike, *list(of_texts)[:MOST_SAID]]

    def wrong_values(self, comparison: Comparison, images: Images) -> list[Problem]:
        """Values of axes with which no cell can be made, in words: no number, a name that nothing has, a column whose
        method does not run on the model."""
        wrong: dict[tuple[int, ...], str] = {}
        cells = comparison.cells()
        for one in cells:
            if one.recipe is None:
                wrong[one.place] = one.problem
            elif problems := self.problems(Request(one.recipe, images)):
                wrong[one.place] = problems[0].message
        found = []
        for i, axis in enumerate(comparison.axes):
            for at, value in enumerate(axis.values):
                places = [one.place for one in cells if one.place[i] == at]
                if all(place in wrong for place in places):
                    found.append(Problem("axes", f"{axis.name}, {value.label}: {wrong[places[0]]}"))
        return found

    def evaluations(self, comparison: Comparison, images: Images) -> tuple[int, bool]:
        """Network evaluations of a comparison, and whether these are all of them: seeds make no difference, and what
        cannot be counted without the network, or takes too long to be, is left out."""
        counted: dict[str, int | None] = {}
        nfe, is_all, until = 0, True, time.monotonic() + COUNTING
        for one in comparison.cells():
            if one.recipe is None:
                continue
            recipe = one.recipe.model_copy(update={"seed": 0, "variation_seed": 0})
            key = key_of(recipe)
            if key not in counted:
                counted[key] = self._counted(recipe, images) if time.monotonic() < until else None
            found = counted[key]
            nfe, is_all = nfe + (found or 0), is_all and found is not None
        return nfe, is_all

    def _counted(self, recipe: Recipe, images: Images) -> int | None:
        try:
            return evaluations(recipe, self._outline(recipe.backbone), images).nfe
        except OSError:  # its own problem says so
            return None

    def comparison(self, id: str, comparison: Comparison, store: ComparisonStore, images: Images) -> ComparisonRunner:
        """A comparison of the store, not started: `start` makes the cells that are missing. The cells that cannot be
        made have failed already, in words."""
        runner = ComparisonRunner(
            id, comparison, store, self._engine, images, measuring(images, lambda name: self._engine(name).backbone)
        )
        for place, one in enumerate(runner.cells):
            if one.recipe is None or runner.states[one.key].status == "done":
                continue
            if problems := self.problems(Request(one.recipe, images)):
                words = " ".join(problem.message for problem in problems)
                runner.cells[place] = replace(one, recipe=None, problem=words)
                runner.states[one.key].status, runner.states[one.key].reason = "failed", words
        return runner


def stored(store: ComparisonStore, comparison: Comparison, resume: bool) -> tuple[str, bool]:
    """The id under which a comparison is kept, and whether it was there before.

    resume: take up the newest that is equal.
    """
    if resume:
        for id, other, _ in store.all():
            if other == comparison:
                return id, True
    return store.add(comparison), False


def follow(runner: ComparisonRunner) -> Iterator[dict]:
    """Starts a comparison and follows it: a message for every cell that is done or has failed, and one at the end.

    Closing this generator cancels what is under way; what is done stays.
    """
    started = runner.start()
    reported: set[str] = set()
    since = 0
    try:
        while True:
            busy = runner.busy
            for one in runner.cells:
                state = runner.states[one.key]
                if one.key not in reported and state.status in ("done", "failed", "cancelled"):
                    reported.add(one.key)
                    yield cell(runner.comparison, one, state)
            if not busy:
                break
            since = runner.wait(since, TICK)
        yield finished_comparison(runner.id, runner.made, runner.count("done"), runner.count("failed"))
    finally:
        if started is not None:
            runner.cancel(started)
