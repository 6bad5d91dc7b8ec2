"""From a recipe to the flow that makes one image of it, on a given backbone."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.engine import loras, method_checks
from app.engine.text_reading import as_read
from app.engine.tuned_schedules import TunedSchedules
from app.engine.tuned_schedules import problems as tuned_problems
from app.engine.unread_text import texts
from app.engine.unused_settings import formula, settings_used
from app.schema.recipe import Problem, Recipe, RecipeError
from backbones.base import Backbone
from backbones.memory import out_of_memory
from common.joined_prompts import joined_prompts
from common.text import one_line
from common.weighted_text import HEAVIEST, weighted
from conditioning.compose import compose
from conditioning.registry import find
from samplers.flow import Ask, Cond, Denoiser, Flow, Noise, Sampler, Step, once_each, tap, with_role
from samplers.noise import varied

Inputs = Mapping[str, Any]  # sha256 -> image


@dataclass
class Plan:
    """A flow that makes one image: its last x is the latent. `tally` counts what it asks the network.

    `cond`: of the prompt, one row, as the flow asks with it. `network()`: makes the innermost denoiser with all that
    belongs to it, as ControlNets and LoRA files, for who asks beside the flow. `sigmas`: the schedule. `x`: where the
    flow is begun.
    `on_start`: called with the state and its level whenever the solver starts a descent.
    """

    flow: Flow
    formula: str
    tally: Tally
    cond: Cond
    sigmas: list[float]
    x: Tensor  # (1, C, h, w)
    network: Callable[[], Denoiser]
    on_start: list[Callable[[Tensor, float], object]] = field(default_factory=list)


@dataclass
class Tally:
    nfe: int = 0
    rows: int = 0
    gradients: int = 0  # evaluations under a tape


class Encoder:
    """Prompts to conditions of one row, each text encoded once and kept while it is among the last `size`.

    Every text is encoded alone, so that its numbers do not depend on what stands beside it.
    """

    def __init__(self, backbone: Backbone, size: int = 64):
        self.backbone, self.size = backbone, size
        self._kept: OrderedDict[tuple[str, int, tuple[str, ...]], dict[str, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str, clip_skip: int = 1) -> dict[str, Tensor]:
        learned = getattr(self.backbone, "learned_words", None)
        key = text, clip_skip, learned.version(text) if learned is not None else ()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            with torch.no_grad():
                skipping = {"clip_skip": clip_skip} if clip_skip > 1 else {}
                cond = self.backbone.encode_prompt([text], **skipping)
            self._kept[key] = cond
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
            return cond


def problems(recipe: Recipe, backbone: Backbone, name: str) -> list[Problem]:
    """What this backbone cannot do of the recipe, in words; `name` is what the backbone is called here."""
    found = []
    if recipe.backbone != name:
        found.append(Problem("backbone", f"Model: {recipe.backbone!r} does not run here. Choose {name!r}."))
    for side, label in (("width", "Width"), ("height", "Height")):
        given, multiple = getattr(recipe, side), backbone.size_multiple
        if given % multiple:
            below, above = given // multiple * multiple, (given // multiple + 1) * multiple
            nearest = f"{below} or {above}" if below else f"{above}"
            found.append(Problem(side, f"{label}: {given} is not a multiple of {multiple} pixels. Give {nearest}."))
    levels = len(backbone.levels(recipe.width, recipe.height))
    if recipe.schedule in ("native", "linspace", "leading") and recipe.steps > levels:
        message = f"Sampling steps: {recipe.steps} are more than the {levels} levels of this model. Give fewer."
        found.append(Problem("steps", message))
    layers = getattr(backbone, "clip_skips", 1)
    if recipe.clip_skip > layers > 1:
        message = f"Clip skip: {recipe.clip_skip} is more than the {layers} layers of this model's text encoder."
        found.append(Problem("clip_skip", f"{message} Give 1 to {layers}."))
    found += tuned_problems(settings_used(recipe, backbone), backbone)
    found += method_checks.problems(recipe, backbone)
    found += loras.prompt_problems(recipe, backbone)
    return [*found, *_too_heavy(recipe), *_unreadable(recipe, backbone)]


def _too_heavy(recipe: Recipe) -> Iterator[Problem]:
    """Weights of words that are beyond HEAVIEST, at their texts."""
    for at, label, text in texts(recipe):
        for words, weight in weighted(text).said:
            if abs(weight) > HEAVIEST:
                wrong = f"the weight {weight:.3g} of “{one_line(words)}” is too large"
                yield Problem(at, f"{label}: {wrong}. Give -{HEAVIEST:g} to {HEAVIEST:g}.")
    for text, weight in joined_prompts(recipe.prompt):
        if abs(weight) > HEAVIEST:
            wrong = f"the weight {weight:.3g} of “{one_line(text)}” is too large"
            yield Problem("prompt", f"Prompt: {wrong}. Give -{HEAVIEST:g} to {HEAVIEST:g}.")


def _unreadable(recipe: Recipe, backbone: Any) -> Iterator[Problem]:
    """Words of textual inversion that this backbone cannot read, at their texts."""
    if (learned := getattr(backbone, "learned_words", None)) is not None:
        for at, label, text in texts(recipe):
            yield from (Problem(at, f"{label}: {words}.") for words in learned.wrong(text))


def plan(
    recipe: Recipe, backbone: Backbone, encode: Encoder, inputs: Inputs, tuned: TunedSchedules | None = None
) -> Plan:
    """The flow for a recipe of one image. Raises RecipeError where the stack of methods cannot be, and where the
    recipe needs something that is not in `tuned` yet."""
    tuned, recipe = tuned or TunedSchedules(backbone), settings_used(recipe, backbone)
    prompt_files, reading = loras.opened(recipe, backbone)
    if reading is not backbone:
        backbone, encode = reading, Encoder(reading)
    sigmas, solver, network = tuned.levels(recipe), tuned.sampler(recipe), tuned.network(recipe)
    alike = as_read(recipe, backbone, encode)
    if alike is not backbone:
        backbone, encode = alike, Encoder(alike)
    (prompt, weight), *others = joined_prompts(recipe.prompt)
    cond, null = with_role(encode(prompt), "prompt"), encode(recipe.negative)
    shape = backbone.latent_shape(recipe.width, recipe.height)
    on_start: list[Callable[[Tensor, float], object]] = []
    try:
        stack: list[tuple[str, Mapping[str, Any]]] = [
            method_checks.used(place, use, recipe, backbone, inputs) for place, use in enumerate(recipe.methods)
        ]
        if recipe.cfg_scale != 1:
            names = ("scale", "rescale", "start", "end")
            stack.append(("cfg", {name: getattr(recipe, f"cfg_{name}") for name in names}))
        if prompt_files and all(name != loras.METHOD for name, _ in stack):
            stack.append((loras.METHOD, {loras.FILES: []}))
        given = {"prompt_files": prompt_files} if prompt_files else {}
        shared: dict[str, Any] = {"sigmas": sigmas, "backbone": backbone, "null": null, **given}
        if others and cond.keys() & {"text"}:
            shared["joined"] = weight, [(encode(text), one) for text, one in others]
        D, sampler, _ = compose(stack, _announced(solver, on_start), network, **shared)
        own = [(name, values) for name, values in stack if find(name).kind == "backbone"]
    except RecipeError:
        raise
    except (ValueError, TypeError) as error:
        blamed = next((place for place, one in enumerate(stack) if _fails([one], solver, shared)), None)
        if blamed is None or blamed >= len(recipe.methods):
            raise RecipeError([Problem("methods", f"The stack of methods cannot run: {error}.")]) from error
        words = f"{find(recipe.methods[blamed].name).title} cannot run: {error}."
        raise RecipeError([Problem(f"methods.{blamed}", words)]) from error
    device = next((v.device for v in cond.values() if isinstance(v, Tensor)), torch.device("cpu"))
    noise = Noise([recipe.seed])
    x = noise(torch.empty(1, *shape, device=device))
    if recipe.variation_strength:
        x = varied(x, Noise([recipe.variation_seed])(x), recipe.variation_strength)
    x = x * math.sqrt(1 + sigmas[0] ** 2)  # the marginal of unit data
    tally = Tally()

    def own_network() -> Denoiser:
        return compose(own, solver, network, **shared)[0]

    flow = _counted(once_each(sampler(D, x, sigmas, cond, noise)), tally)
    return Plan(flow, formula(recipe, backbone), tally, cond, sigmas, x, own_network, on_start)


def _fails(stack: Sequence[tuple[str, Mapping[str, Any]]], solver: Sampler, shared: Mapping[str, Any]) -> bool:
    """Whether this part of a stack cannot be composed by itself."""
    try:
        compose(stack, solver, **shared)
    except (ValueError, TypeError):
        return True
    return False


def _announced(solver: Sampler, on_start: Sequence[Callable[[Tensor, float], object]]) -> Sampler:
    """The same solver, which says where it starts."""

    def announced(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        for listener in on_start:
            listener(x, float(sigmas[0]))
        return (yield from solver(D, x, sigmas, cond, noise))

    return announced


def _counted(flow: Flow, tally: Tally) -> Flow:
    """The same flow; `tally` counts the lists of asks that are answered (a network evaluation each) and their rows."""

    def count(message: list[Ask] | Step, reply: Any) -> None:
        if isinstance(message, list):
            tally.nfe += 1
            tally.rows += sum(len(one.x) for one in message)
            tally.gradients += any(one.tape is not None for one in message)

    return tap(flow, count)


def in_words(error: BaseException, recipe: Recipe, step: int, engine: str = "") -> tuple[str, str | None]:
    """What went wrong, for a person, and the field to blame where one is. `step` steps were done before; engine: the
    name of what computes the network, as "torch float16"."""
    if isinstance(error, RecipeError):
        return str(error), error.problems[0].field
    if out_of_memory(error):
        size = f"{recipe.width} x {recipe.height} pixels"
        return (
            f"The memory does not suffice for {size}, even with one row a network evaluation. Choose a smaller size.",
            "width",
        )
    if isinstance(error, FloatingPointError):
        advice = f" Try a lower CFG Scale than {recipe.cfg_scale:g}." if recipe.cfg_scale > 7 else ""
        field = "cfg_scale" if advice else None
        if engine == "torch float16":
            advice += " The network runs in float16, which overflows, too: start with NINE_WAYS_ENGINE=torch-bf16."
        return f"Stopped at step {step + 1} of {recipe.steps}: {error}.{advice} Other runs go on.", field
    if isinstance(error, ValueError) and str(error):  # a method's own words about what it was given
        return f"Stopped at step {step + 1} of {recipe.steps}: {error}.", None
    kind = type(error).__name__
    return f"Stopped at step {step + 1} of {recipe.steps}: {error or kind} ({kind}). Other runs go on.", None
