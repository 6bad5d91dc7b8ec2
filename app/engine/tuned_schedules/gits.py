"""GITS: a schedule out of the costs of all steps on the network's own trajectories, once for all numbers of steps."""

from __future__ import annotations

from pathlib import Path

from app.engine.tuned_schedules.search import SearchInputs, Tuned
from app.schema.recipe import Recipe
from samplers.flow import Flow
from samplers.geometry import gits

TRAJECTORIES = 16  # that the costs are measured on


class GitsSchedule(Tuned[gits.Prices]):
    field, choice, label, longest = "schedule", "gits", "GITS", 40
    missing = "The schedule GITS has not been found yet. Generate once more."

    def __init__(self, inputs: SearchInputs):
        self.inputs = inputs

    def _key(self, recipe: Recipe) -> gits.Key:
        revision = self.inputs.backbone.revision
        return gits.Key(revision, self.inputs.prompts, recipe.cfg_scale, f"ipndm {gits.TEACHER_STEPS}")

    def name(self, recipe: Recipe) -> str:
        return self._key(recipe).name

    def load(self, path: Path, recipe: Recipe) -> gits.Prices | None:
        return gits.load(path.parent, self._key(recipe))

    def save(self, path: Path, recipe: Recipe, value: gits.Prices) -> None:
        gits.save(path.parent, self._key(recipe), value)

    def search(self, recipe: Recipe) -> tuple[str, int, Flow]:
        fine = self.inputs.fine_schedule()
        x, cond, noise = self.inputs.start(fine[0], TRAJECTORIES)
        flow = gits.priced(self.inputs.guided(recipe, TRAJECTORIES), x, fine, cond, noise)
        words = f"Finding the schedule GITS for guidance {recipe.cfg_scale:g}, once for all numbers of steps"
        return words, gits.TEACHER_STEPS, flow
