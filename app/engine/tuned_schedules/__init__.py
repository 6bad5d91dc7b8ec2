"""What is tuned on a network before some runs: the schedules GITS and LD3, the predictor of AMED-Solver.

Each is a file here, in one form (`search.Tuned`): by which field of a recipe it is chosen, what it cannot do, under
which name it is kept, and the search that finds it by runs on the network. `TunedSchedules` keeps the results in memory
and in the cache folder, and gives a plan its noise levels, its solver and its network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from app.engine.tuned_schedules.amed import AmedSolver
from app.engine.tuned_schedules.gits import GitsSchedule
from app.engine.tuned_schedules.ld3 import Ld3Schedule
from app.engine.tuned_schedules.search import Search, SearchInputs, Tuned
from app.schema.recipe import Problem, Recipe, RecipeError
from backbones.base import Backbone, levels_of
from backbones.cache import cache_folder
from samplers import SAMPLERS
from samplers.afs import afs
from samplers.early_stop import stopping_at
from samplers.flow import Denoiser, Flow, Sampler, ask
from samplers.geometry import amed, gits

Value = TypeVar("Value")
KINDS: tuple[type[Tuned[Any]], ...] = (GitsSchedule, Ld3Schedule, AmedSolver)
CACHE = "found"  # the folder's name of old


class TunedSchedules:
    """What was tuned on a backbone, in memory and on disk. folder None: memory alone."""

    def __init__(self, backbone: Backbone, folder: Path | None = None):
        self.backbone, self.folder = backbone, folder
        inputs = SearchInputs(backbone)
        self.gits = GitsSchedule(inputs)
        self.ld3 = Ld3Schedule(inputs, self.sampler)
        self.amed = AmedSolver(inputs, self.levels)
        self._tuned: tuple[Tuned[Any], ...] = (self.gits, self.ld3, self.amed)
        self._values: dict[str, Any] = {}

    @classmethod
    def of(cls, backbone: Backbone) -> TunedSchedules:
        """With the cache folder of this machine."""
        folder = cache_folder()
        return cls(backbone, folder / CACHE if folder is not None else None)

    # ---- for the plan ----------------------------------------------------------------------------------------------

    def levels(self, recipe: Recipe) -> list[float]:
        """The noise levels of a recipe. Raises RecipeError where its schedule has not been found yet."""
        if recipe.schedule == "ld3":
            return list(self._value(self.ld3, recipe).sigmas)
        if recipe.schedule != "gits":
            return levels_of(self.backbone, recipe.schedule, recipe.steps, recipe.width, recipe.height)
        gamma = gits.chosen_gamma(recipe.steps, recipe.cfg_scale)
        return self._value(self.gits, recipe).schedule(recipe.steps, gamma, recipe.afs)

    def sampler(self, recipe: Recipe) -> Sampler:
        """The solver of a recipe, with its first step and where it stops. Raises as `levels`."""
        sampler: Sampler
        if recipe.sampler == "amed":
            sampler = amed.amed(self._value(self.amed, recipe))
        else:
            sampler = SAMPLERS[recipe.sampler].at(recipe.sampler_knobs)
        sampler = afs(sampler) if recipe.afs else sampler
        sampler = stopping_at(sampler, recipe.stop_sigma) if recipe.stop_sigma else sampler
        return NamedSampler(sampler, recipe.sampler, recipe.solver)

    def network(self, recipe: Recipe) -> Denoiser:
        """What the stack of methods asks in the end: the network, at the time labels of LD3. Raises as `levels`."""
        return self._value(self.ld3, recipe).with_labels(ask) if recipe.schedule == "ld3" else ask

    # ---- what is still to be done ----------------------------------------------------------------------------------

    def search(self, recipe: Recipe) -> Search | None:
        """What has to be found before the images of a recipe, the schedule first; None where all is known."""
        for tuned in self._tuned:
            if getattr(recipe, tuned.field) == tuned.choice and self._known(tuned, recipe) is None:
                return self._search(tuned, recipe)
        return None

    def _search(self, tuned: Tuned[Value], recipe: Recipe) -> Search:
        name = tuned.name(recipe)

        def keep(value: Value) -> None:
            self._values[name] = value
            if self.folder is not None:
                tuned.save(self.folder / name, recipe, value)

        return Search(name, *tuned.search(recipe), keep)

    def _known(self, tuned: Tuned[Value], recipe: Recipe) -> Value | None:
        name = tuned.name(recipe)
        if name not in self._values and self.folder is not None:
            value = tuned.load(self.folder / name, recipe)
            if value is not None:
                self._values[name] = value
        return self._values.get(name)

    def _value(self, tuned: Tuned[Value], recipe: Recipe) -> Value:
        value = self._known(tuned, recipe)
        if value is None:
            raise RecipeError([Problem(tuned.field, tuned.missing)])
        return value


def problems(recipe: Recipe, backbone: Backbone) -> list[Problem]:
    """What GITS, LD3 and AMED cannot do of a recipe."""
    problems = []
    for tuned in KINDS:
        if getattr(recipe, tuned.field) == tuned.choice:
            if recipe.steps > tuned.longest:
                words = f"Sampling steps: {tuned.label} is for few steps, at most {tuned.longest}. Give fewer."
                problems.append(Problem("steps", words))
            problems += tuned.problems(recipe, backbone)
    return problems


@dataclass(frozen=True)
class NamedSampler:
    """A sampler with its name, by which methods know what they do not go with, and as the formula has it."""

    function: Sampler
    key: str
    text: str

    def __call__(self, *arguments: Any) -> Flow:
        return self.function(*arguments)
