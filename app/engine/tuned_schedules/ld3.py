"""LD3: a schedule learned for one solver, number of steps and guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from app.engine.tuned_schedules.search import SearchInputs, Tuned, hash_of
from app.schema.recipe import Problem, Recipe
from backbones.base import Backbone
from samplers import SAMPLERS
from samplers.flow import Flow, Sampler
from samplers.geometry import gits, ld3


class Ld3Schedule(Tuned[ld3.LearnedSchedule]):
    field, choice, label, longest = "schedule", "ld3", "LD3", 20
    missing = "The schedule LD3 has not been learned yet. Generate once more."

    def __init__(self, inputs: SearchInputs, sampler: Callable[[Recipe], Sampler]):
        self.inputs, self.sampler = inputs, sampler

    @staticmethod
    def problems(recipe: Recipe, backbone: Backbone) -> Iterator[Problem]:
        if "sampler" in recipe.unused:
            words = "LD3 is learned for a solver, and this stack of methods calls none. Choose another schedule."
            yield Problem("schedule", words)
        elif recipe.sampler == "amed" or SAMPLERS[recipe.sampler].stochastic:
            words = "LD3 is learned from where a solver ends, so for one that draws no noise. Choose UniPC or GITS."
            yield Problem("schedule", words)

    def name(self, recipe: Recipe) -> str:
        # Only knobs that are set are part of the name: so files written before solvers had knobs are found.
        knobs = dict(sorted(recipe.knobs_set.items()))
        solver = [recipe.sampler, knobs] if knobs else recipe.sampler
        backbone, training = self.inputs.backbone, [ld3.PUPILS, ld3.TRIALS, gits.TEACHER_STEPS]
        key = [backbone.revision, self.inputs.prompts, recipe.cfg_scale, solver, recipe.steps, recipe.afs, training]
        return f"ld3-{hash_of(key)}.json"

    def load(self, path: Path, recipe: Recipe) -> ld3.LearnedSchedule | None:
        return ld3.read(path, recipe.steps)

    def save(self, path: Path, recipe: Recipe, value: ld3.LearnedSchedule) -> None:
        ld3.write(path, value)

    def search(self, recipe: Recipe) -> tuple[str, int, Flow]:
        fine = self.inputs.fine_schedule()
        x, cond, noise = self.inputs.start(fine[0], ld3.PUPILS)
        solver = self.sampler(recipe.model_copy(update={"stop_sigma": 0.0}))
        begin = ld3.schedules(recipe.steps, self.inputs.backbone.sigmas)
        flow = ld3.ld3(self.inputs.guided(recipe, ld3.PUPILS), x, fine, cond, noise, solver, begin)
        words = f"Learning the schedule LD3 for {recipe.steps} steps of {SAMPLERS[recipe.sampler].label}, once"
        return words, gits.TEACHER_STEPS + ld3.TRIALS * recipe.steps, flow
