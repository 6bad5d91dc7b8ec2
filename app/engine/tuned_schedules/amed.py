"""AMED-Solver: a small network that predicts where in a step to evaluate, trained for one schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from app.engine.tuned_schedules.search import SearchInputs, Tuned, hash_of
from app.schema.recipe import Problem, Recipe
from backbones.base import Backbone
from samplers.flow import Flow
from samplers.geometry import amed

TRAJECTORIES, EPOCHS, INSERTED, ROWS = 8, 5, 2, 4  # of its training; levels of the teacher in a step; rows at once


class AmedSolver(Tuned[amed.Predictor]):
    field, choice, label, longest = "sampler", "amed", "AMED-Solver", 20
    missing = "AMED-Solver has not been trained for this schedule yet. Generate once more."

    def __init__(self, inputs: SearchInputs, levels: Callable[[Recipe], list[float]]):
        self.inputs, self.levels = inputs, levels

    @staticmethod
    def problems(recipe: Recipe, backbone: Backbone) -> Iterator[Problem]:
        if recipe.steps < 2:
            yield Problem("steps", "Sampling steps: AMED-Solver learns from two steps or more. Give 2.")
        if "gradients" not in getattr(backbone, "offers", ()):
            words = f"AMED-Solver learns through the network, and {backbone.id} has no gradients. Choose DPM2."
            yield Problem("sampler", words)

    def name(self, recipe: Recipe) -> str:
        training = [TRAJECTORIES, EPOCHS, INSERTED]
        inputs = self.inputs
        key = [inputs.backbone.revision, inputs.prompts, recipe.cfg_scale, self.levels(recipe), *training]
        return f"amed-{hash_of(key)}.safetensors"

    def load(self, path: Path, recipe: Recipe) -> amed.Predictor | None:
        try:
            return amed.load(path).to(self.inputs.device)
        except (OSError, ValueError):
            return None

    def save(self, path: Path, recipe: Recipe, value: amed.Predictor) -> None:
        amed.save(path, value)

    def search(self, recipe: Recipe) -> tuple[str, int, Flow]:
        levels = self.levels(recipe)
        x, cond, noise = self.inputs.start(levels[0], TRAJECTORIES)
        guided = self.inputs.guided(recipe, TRAJECTORIES)
        flow = amed.train(guided, x, levels, cond, noise, rows=ROWS, epochs=EPOCHS, inserted=INSERTED)
        steps = recipe.steps * (INSERTED + 1) + EPOCHS * -(-TRAJECTORIES // ROWS) * (recipe.steps - 1)
        return f"Training AMED-Solver for {recipe.steps} steps, once", steps, flow
