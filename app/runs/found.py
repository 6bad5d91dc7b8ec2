"""What a network has to be asked before some pictures: the schedules GITS and LD3, the predictor of AMED-Solver.

They are found by runs on the network itself, once for a network and its guidance (LD3 also for the solver and the
number of steps, AMED for the levels), and kept in the cache folder. `Found.search` is what is still to be done before a
recipe, with its flow; None in all other cases.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.runs.recipe import Problem, Recipe, RecipeError
from backbones.base import Backbone
from backbones.checkpoint import cache_folder
from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS, SCHEDULES
from samplers.afs import afs
from samplers.flow import Denoiser, Flow, Noise, Sampler, ask
from samplers.geometry import amed, gits, ld3
from samplers.jump import stopping_at
from samplers.schedules import karras, native

WARM = 16  # pictures whose paths GITS is found on
TEACHER = gits.TEACHER_STEPS
LONGEST = {"gits": 40, "ld3": 20, "amed": 20}  # steps: with more, the schedule or the middle of a step matters little
LEARNT, EPOCHS, INSERTED, ROWS = 8, 5, 2, 4  # AMED's lessons: pictures, times, teacher's levels, pictures at once
FAR = 1000.0  # levels that begin beyond are those of a flow network: there Karras' curve wastes steps on pure noise

#: Prompts of the search for networks that are not of our world.
PROMPTS = (
    "a photograph of a mountain lake at sunrise", "a portrait of an old man with a beard", "a red car on a wet street",
    "a bowl of fruit on a wooden table", "a dog running on a beach", "a city skyline at night", "a field of sunflowers",
    "an oil painting of a sailing ship", "a cat asleep on a sofa", "a snowy forest path", "a plate of pasta",
    "a child flying a kite", "a castle on a hill in fog", "a close-up of a butterfly", "a train crossing a bridge",
    "a living room with large windows",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Search:
    """What is to be done first. words: for the page. steps: how many Steps its flow tells. keep: takes its result."""

    name: str  # equal for equal searches
    words: str
    steps: int
    flow: Flow
    keep: Callable[[Any], None]


class Found:
    """What was found on a backbone, in memory and on disk. folder None: memory alone."""

    def __init__(self, backbone: Backbone, folder: Path | None = None):
        self.backbone, self.folder = backbone, folder
        self._prices: dict[str, gits.Prices] = {}
        self._learnt: dict[str, ld3.Learnt] = {}
        self._predictors: dict[str, amed.Predictor] = {}
        self._texts: tuple[str, ...] | None = None

    @classmethod
    def of(cls, backbone: Backbone) -> Found:
        """With the cache folder of this machine."""
        folder = cache_folder()
        return cls(backbone, folder / "found" if folder is not None else None)

    # ---- for the plan ----------------------------------------------------------------------------------------------

    def levels(self, recipe: Recipe) -> list[float]:
        """The schedule of a recipe. Raises RecipeError where it has not been found yet."""
        if recipe.schedule == "ld3":
            return list(self._learnt_for(recipe).sigmas)
        if recipe.schedule != "gits":
            return SCHEDULES[recipe.schedule](recipe.steps, self.backbone.sigmas)
        prices = self._known_prices(recipe)
        if prices is None:
            raise RecipeError([Problem("schedule", "The schedule GITS has not been found yet. Generate once more.")])
        return prices.schedule(recipe.steps, gits.chosen_gamma(recipe.steps, recipe.cfg_scale), recipe.afs)

    def sampler(self, recipe: Recipe) -> Sampler:
        """The solver of a recipe, with what it is told of the first and the last step. Raises as `levels`."""
        sampler: Sampler
        if recipe.sampler == "amed":
            predictor = self._known_predictor(recipe)
            if predictor is None:
                words = "AMED-Solver has not learnt this schedule yet. Generate once more."
                raise RecipeError([Problem("sampler", words)])
            sampler = amed.amed(predictor)
        else:
            sampler = SAMPLERS[recipe.sampler].at(recipe.sampler_knobs)
        sampler = afs(sampler) if recipe.afs else sampler
        sampler = stopping_at(sampler, recipe.stop_sigma) if recipe.stop_sigma else sampler
        return Told(sampler, recipe.sampler, recipe.solver)

    def network(self, recipe: Recipe) -> Denoiser:
        """What the stack of methods asks in the end: the network, told what was learnt. Raises as `levels`."""
        return self._learnt_for(recipe).told(ask) if recipe.schedule == "ld3" else ask

    # ---- what is still to be done ----------------------------------------------------------------------------------

    def search(self, recipe: Recipe) -> Search | None:
        """What has to be found before the pictures of a recipe, the schedule first; None where all is known."""
        if recipe.schedule == "gits" and self._known_prices(recipe) is None:
            return self._search_prices(recipe)
        if recipe.schedule == "ld3" and self._known_learnt(recipe) is None:
            return self._search_learnt(recipe)
        if recipe.sampler == "amed" and self._known_predictor(recipe) is None:
            return self._search_predictor(recipe)
        return None

    def _search_prices(self, recipe: Recipe) -> Search:
        key = self._key(recipe)
        fine = self._fine()

        def keep(prices: gits.Prices) -> None:
            self._prices[key.name] = prices
            if self.folder is not None:
                gits.save(self.folder, key, prices)

        x, cond, noise = self._start(fine[0], WARM)
        flow = gits.priced(self._guided(recipe), x, fine, cond, noise)
        words = f"Finding the schedule GITS for guidance {recipe.cfg_scale:g}, once for all numbers of steps"
        return Search(key.name, words, TEACHER, flow, keep)

    def _search_learnt(self, recipe: Recipe) -> Search:
        name = self._learnt_name(recipe)
        fine = self._fine()

        def keep(learnt: ld3.Learnt) -> None:
            self._learnt[name] = learnt
            if self.folder is not None:
                ld3.write(self.folder / name, learnt)

        x, cond, noise = self._start(fine[0], ld3.PUPILS)
        solver = self.sampler(recipe.model_copy(update={"stop_sigma": 0.0}))
        begin = ld3.schedules(recipe.steps, self.backbone.sigmas)
        flow = ld3.ld3(self._guided(recipe), x, fine, cond, noise, solver, begin)
        words = f"Learning the schedule LD3 for {recipe.steps} steps of {SAMPLERS[recipe.sampler].label}, once"
        return Search(name, words, TEACHER + ld3.TRIALS * recipe.steps, flow, keep)

    def _search_predictor(self, recipe: Recipe) -> Search:
        levels = self.levels(recipe)
        name = self._predictor_name(recipe)

        def keep(predictor: amed.Predictor) -> None:
            self._predictors[name] = predictor
            if self.folder is not None:
                amed.save(self.folder / name, predictor)

        x, cond, noise = self._start(levels[0], LEARNT)
        flow = amed.train(
            self._guided(recipe), x, levels, cond, noise, rows=ROWS, epochs=EPOCHS, inserted=INSERTED
        )  # fmt: skip
        steps = recipe.steps * (INSERTED + 1) + EPOCHS * -(-LEARNT // ROWS) * (recipe.steps - 1)
        return Search(name, f"Teaching AMED-Solver {recipe.steps} steps, once", steps, flow, keep)

    # ---- parts -----------------------------------------------------------------------------------------------------

    def _known_prices(self, recipe: Recipe) -> gits.Prices | None:
        key = self._key(recipe)
        if key.name not in self._prices and self.folder is not None:
            prices = gits.load(self.folder, key)
            if prices is not None:
                self._prices[key.name] = prices
        return self._prices.get(key.name)

    def _known_learnt(self, recipe: Recipe) -> ld3.Learnt | None:
        name = self._learnt_name(recipe)
        if name not in self._learnt and self.folder is not None:
            learnt = ld3.read(self.folder / name, recipe.steps)
            if learnt is not None:
                self._learnt[name] = learnt
        return self._learnt.get(name)

    def _learnt_for(self, recipe: Recipe) -> ld3.Learnt:
        learnt = self._known_learnt(recipe)
        if learnt is None:
            words = "The schedule LD3 has not been learnt yet. Generate once more."
            raise RecipeError([Problem("schedule", words)])
        return learnt

    def _known_predictor(self, recipe: Recipe) -> amed.Predictor | None:
        if recipe.schedule == "gits" and self._known_prices(recipe) is None:
            return None
        name = self._predictor_name(recipe)
        if name not in self._predictors and self.folder is not None:
            try:
                self._predictors[name] = amed.load(self.folder / name).to(self._device())
            except (OSError, ValueError):
                pass
        return self._predictors.get(name)

    def _key(self, recipe: Recipe) -> gits.Key:
        return gits.Key(self.backbone.revision, self._prompts(), recipe.cfg_scale, f"ipndm {TEACHER}")

    def _learnt_name(self, recipe: Recipe) -> str:
        lessons = [ld3.PUPILS, ld3.TRIALS, TEACHER]
        knobs = dict(sorted(recipe.knobs_set.items()))  # none at the defaults, of which files are kept already
        solver = [recipe.sampler, knobs] if knobs else recipe.sampler
        told = [self.backbone.revision, self._prompts(), recipe.cfg_scale, solver, recipe.steps, recipe.afs]
        return f"ld3-{_hash([*told, lessons])}.json"

    def _predictor_name(self, recipe: Recipe) -> str:
        lessons = [LEARNT, EPOCHS, INSERTED]
        told = [self.backbone.revision, self._prompts(), recipe.cfg_scale, self.levels(recipe), *lessons]
        return f"amed-{_hash(told)}.safetensors"

    def _fine(self) -> list[float]:
        low, high = float(self.backbone.sigmas[0]), float(self.backbone.sigmas[-1])
        return karras(TEACHER, low, high) if high < FAR else native(TEACHER, self.backbone.sigmas)

    def _guided(self, recipe: Recipe) -> Denoiser:
        if recipe.cfg_scale == 1:
            return ask
        with torch.no_grad():
            null = self.backbone.encode_prompt([""] * max(WARM, ld3.PUPILS, LEARNT))
        return _rows(null, recipe.cfg_scale)

    def _start(self, sigma: float, rows: int) -> tuple[torch.Tensor, dict[str, Any], Noise]:
        size = self.backbone.default_size
        noise = Noise(range(rows))
        empty = torch.empty(rows, *self.backbone.latent_shape(size, size), device=self._device())
        with torch.no_grad():
            cond = dict(self.backbone.encode_prompt(list(islice(cycle(self._prompts()), rows))))
        return noise(empty) * math.sqrt(1 + sigma**2), cond, noise

    def _device(self) -> torch.device:
        return torch.device(getattr(self.backbone, "device", "cpu"))

    def _prompts(self) -> tuple[str, ...]:
        if self._texts is None:
            self._texts = PROMPTS
            if self.backbone.id.startswith("still-life"):
                from world.captions import describe
                from world.scene import draw

                scenes = enumerate(draw("train", n) for n in range(WARM))
                self._texts = tuple(describe(scene, np.random.default_rng(n)).text for n, scene in scenes)
        return self._texts


def problems(recipe: Recipe, backbone: Backbone) -> list[Problem]:
    """What GITS, LD3 and AMED cannot do of a recipe."""
    found = []
    names = (("schedule", "gits", "GITS"), ("schedule", "ld3", "LD3"), ("sampler", "amed", "AMED-Solver"))
    for field, key, label in names:
        if getattr(recipe, field) == key and recipe.steps > LONGEST[key]:
            words = f"Sampling steps: {label} is for few steps, at most {LONGEST[key]}. Give fewer."
            found.append(Problem("steps", words))
    if recipe.schedule == "ld3" and "sampler" in recipe.unused:
        words = "LD3 is learnt for a solver, and this stack of methods calls none. Choose GITS or another schedule."
        found.append(Problem("schedule", words))
    elif recipe.schedule == "ld3" and (recipe.sampler == "amed" or SAMPLERS[recipe.sampler].stochastic):
        words = (
            "LD3 is learnt from where a solver ends, so for one without chance. Choose UniPC, or GITS as the schedule."
        )
        found.append(Problem("schedule", words))
    if recipe.sampler == "amed" and recipe.steps < 2:
        found.append(Problem("steps", "Sampling steps: AMED-Solver learns from two steps or more. Give 2."))
    if recipe.sampler == "amed" and "gradients" not in getattr(backbone, "offers", ()):
        words = f"AMED-Solver learns through the network, and {backbone.id} has no gradients. Choose DPM2."
        found.append(Problem("sampler", words))
    return found


@dataclass(frozen=True)
class Told:
    """A sampler with its name, by which methods know what they do not go with, and as the formula has it."""

    function: Sampler
    key: str
    text: str

    def __call__(self, *given: Any) -> Flow:
        return self.function(*given)


def _hash(told: Any) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]


def _rows(null: Mapping[str, Any], scale: float) -> Denoiser:
    """Guidance whose unconditional rows are as many as it is asked about: lessons come in parts."""

    def guided(x: torch.Tensor, sigma: Any, cond: Any, **kw: Any) -> Flow:
        part = {name: v[: len(x)] if isinstance(v, torch.Tensor) else v for name, v in null.items()}
        return (yield from cfg(ask, part, scale)(x, sigma, cond, **kw))

    return guided
