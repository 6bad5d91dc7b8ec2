"""What a recipe sets and its run does not use: said at the field before the run, neither written nor searched for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import conditioning  # noqa: F401  fills the registry
from app.engine.loras import METHOD as LORA
from app.engine.loras import in_prompt
from app.schema.recipe import SAMPLERS as LABELS
from app.schema.recipe import Problem, Recipe
from app.schema.solvers import KNOBS, defaults, knob_field, knob_label, knob_value
from backbones.base import levels_of
from common.joined_prompts import joined_prompts
from conditioning.clashes import steps_by
from conditioning.compose import formula as formula_of
from conditioning.compose import made_sigmas, steps_left_out
from conditioning.registry import METHODS, Method, Misfit
from conditioning.unused import unused as unused_of_stack
from samplers import SAMPLERS, SCHEDULES
from samplers.afs import NOISE

DEFAULTS = Recipe()
OF_THE_STEPS = ("afs", "stop_sigma")
OF_GUIDANCE = ("negative", "cfg_rescale", "cfg_start", "cfg_end")
SAID = {
    "afs": "Analytical first step", "stop_sigma": "Stop at sigma", "negative": "Negative prompt",
    "cfg_rescale": "CFG rescale", "cfg_start": "Guidance start", "cfg_end": "Guidance end",
    "variation_seed": "Variation seed", "variation_strength": "Variation strength",
}  # fmt: skip


def unused(recipe: Recipe, backbone: Any = None) -> list[Problem]:
    """What the run of a recipe does not use, at its field, in words. A field at its default is not worth a word, except
    for the sampler, which is always shown.

    backbone: or its outline; where it is not known, nothing is said that depends on its levels or sizes.
    """
    uses = _uses(recipe)
    return [
        *_of_methods(recipe, uses, backbone),
        *_of_guidance(recipe, uses),
        *_of_the_sampler(recipe, uses, backbone),
        *_of_the_variation(recipe, uses),
        *_of_the_text(recipe, backbone),
    ]


def unusual_guidance(recipe: Recipe, backbone: Any = None) -> list[Problem]:
    """What a CFG Scale means, at its field, that does something else than one may think: above 1 where the network has
    guidance built in; below 1, where diffusers means the prompt alone, and so do the model cards of Turbo and Lightning
    that say 0."""
    scale = recipe.cfg_scale
    if settings_used(recipe).cfg_scale != scale:  # no step is guided
        return []
    if scale > 1 and "distilled guidance" in getattr(backbone, "offers", ()):
        words = "This model has its guidance built in (the method Distilled guidance sets how strong it is)"
        return [Problem("cfg_scale", f"CFG Scale: {words}, and {scale:g} comes on top at twice the time. Give 1.")]
    if scale >= 1:
        return []
    way = f"{scale:.0%} of the way from the negative prompt to the prompt"
    here = way if scale else "the negative prompt alone, without the prompt"
    plain = "No guidance, the prompt alone, is 1 here; in diffusers that is 0 to 1"
    advice = f"{plain}, so give 1 where the card of a model (Turbo, Lightning) says 0"
    return [Problem("cfg_scale", f"CFG Scale: {scale:g} is {here}. {advice}.")]


def settings_used(recipe: Recipe, backbone: Any = None) -> Recipe:
    """The same run: fields that it does not use are named in `Recipe.unused` and stand at their defaults."""
    names = {field for field, _ in unused(recipe, backbone) if "." not in field}
    scale = recipe.cfg_scale
    if names & {"cfg_start", "cfg_end"}:  # no step is guided, which is said by a scale of 1
        scale, names = 1.0, names | {name for name in OF_GUIDANCE if getattr(recipe, name) != getattr(DEFAULTS, name)}
    left_out = {name: getattr(DEFAULTS, name) for name in names}
    if "sampler" in names:
        left_out["sampler_knobs"] = DEFAULTS.sampler_knobs
    return recipe.model_copy(update={**left_out, "cfg_scale": scale, "unused": tuple(sorted(names))})


def used(recipe: Recipe, backbone: Any = None) -> Recipe:
    """The same run, as its image tells of it: besides, without methods and knobs that do nothing."""
    gone: set[int] = set()
    knobs: set[tuple[int, str]] = set()
    of_solver: set[str] = set()
    for field, _ in unused(recipe, backbone):
        head, *rest = field.split(".")
        if head == "methods":
            knobs.add((int(rest[0]), rest[2]))
        elif head == "sampler" and rest:
            of_solver.add(rest[1])
    uses = _uses(recipe)
    for one in unused_of_stack([(m, k) for _, m, k in uses], recipe.steps, _asks_between(recipe)):
        if one.whole:
            gone.add(uses[one.place][0])
    gone |= {place for place, _, _ in _of_no_effect(recipe, uses, backbone)}
    methods = tuple(
        use.model_copy(update={"knobs": {n: v for n, v in use.knobs.items() if (place, n) not in knobs}})
        for place, use in enumerate(recipe.methods)
        if place not in gone
    )
    found = settings_used(recipe, backbone)
    usual = {name: value for name, value in defaults(found.sampler).items() if name in of_solver}
    return found.model_copy(update={"methods": methods, "sampler_knobs": {**found.sampler_knobs, **usual}})


def formula(recipe: Recipe, backbone: Any = None) -> str:
    """The stack as text, in the notation of `conditioning.compose`: what is called, and nothing that does nothing."""
    found = used(recipe, backbone)
    uses = [(method, values) for _, method, values in _uses(found)]
    reads = backbone is None or getattr(backbone, "weighs_words", None) is not None
    several = reads and len(joined_prompts(found.prompt)) > 1
    if in_prompt(recipe, backbone) and all(method.name != LORA for method, _ in uses):
        uses.append((METHODS[LORA], {}))
    return formula_of(uses + ([(METHODS["cfg"], {})] if found.cfg_scale != 1 else []), found.solver, several)


# ---- parts ----------------------------------------------------------------------------------------------------------

Placed = tuple[int, Method, Mapping[str, Any]]  # place in the recipe, method, knobs and inputs


def _uses(recipe: Recipe) -> list[Placed]:
    """Of the methods that are here."""
    return [
        (place, METHODS[use.name], {**use.inputs, **use.knobs})
        for place, use in enumerate(recipe.methods)
        if use.name in METHODS
    ]


def _asks_between(recipe: Recipe) -> bool:
    """Whether the sampler asks at more levels than those of the schedule; where it is not sure, yes."""
    solver = SAMPLERS.get(recipe.sampler)
    return solver is None or solver.between or recipe.stop_sigma > 0


def _of_methods(recipe: Recipe, uses: Sequence[Placed], backbone: Any) -> Iterator[Problem]:
    stack = [(method, values) for _, method, values in uses]
    for one in unused_of_stack(stack, recipe.steps, _asks_between(recipe)):
        place, method, _ = uses[one.place]
        yield Problem(f"methods.{place}.knobs.{one.knob}", f"{method.label(one.knob)}: {one.why}.")
    for place, method, misfit in _of_no_effect(recipe, uses, backbone):
        yield Problem(f"methods.{place}.knobs.{misfit.knob}", f"{method.label(misfit.knob)}: {misfit.why}.")


def _of_no_effect(recipe: Recipe, uses: Sequence[Placed], backbone: Any) -> Iterator[tuple[int, Method, Misfit]]:
    """Methods that do nothing to an image of this size, with their place in the recipe."""
    for place, method, values in uses if backbone is not None else ():
        for one in method.misfits_at(values, recipe.width, recipe.height, backbone):
            if not one.refused:
                yield place, method, one


def _of_guidance(recipe: Recipe, uses: Sequence[Placed]) -> Iterator[Problem]:
    if recipe.cfg_scale == 1:
        joins = len(joined_prompts(recipe.prompt)) > 1
        if joins or any("null" in {*method.run_arguments, *method.inputs} for _, method, _ in uses):
            return
        for name in OF_GUIDANCE:
            if getattr(recipe, name) != getattr(DEFAULTS, name):
                yield Problem(name, f"{SAID[name]}: at a CFG Scale of 1 there is no guidance, so it is not used.")
        return
    cfg = {"scale": recipe.cfg_scale, "start": recipe.cfg_start, "end": recipe.cfg_end}
    stack = [(method, values) for _, method, values in uses] + [(METHODS["cfg"], cfg)]
    for one in unused_of_stack(stack, recipe.steps, _asks_between(recipe)):
        if one.place == len(uses):
            why = one.why.partition(", so ")[0]
            yield Problem(f"cfg_{one.knob}", f"{SAID[f'cfg_{one.knob}']}: {why}, so no step is guided.")


def _of_the_sampler(recipe: Recipe, uses: Sequence[Placed], backbone: Any) -> Iterator[Problem]:
    stack = [(method, values) for _, method, values in uses]
    label = LABELS.get(recipe.sampler, recipe.sampler)
    owner = steps_by(stack)
    if owner is not None:
        yield Problem("sampler", f"Sampling method: {owner.title} makes the steps itself, and {label} is not called.")
        for name in recipe.knobs_set:
            yield Problem(
                knob_field(name), f"{knob_label(name)}: {owner.title} makes the steps itself, so it is not used."
            )
        for name in OF_THE_STEPS:
            if getattr(recipe, name) != getattr(DEFAULTS, name):
                yield Problem(name, f"{SAID[name]}: {owner.title} makes the steps itself, so it is not used.")
        return
    if steps_left_out(stack, recipe.steps) >= recipe.steps:
        yield Problem("sampler", f"Sampling method: no step is left to be made, and {label} is not called.")
        return
    for name in recipe.knobs_set:
        idle = KNOBS[recipe.sampler][name].ignored_when
        if idle is not None and recipe.sampler_knobs[idle[0]] == idle[1]:
            other = f"“{knob_label(idle[0])}” is {knob_value(idle[1])}"
            yield Problem(knob_field(name), f"{knob_label(name)}: while {other} it does nothing.")
    if recipe.afs and backbone is not None and recipe.schedule in SCHEDULES:
        levels = levels_of(backbone, recipe.schedule, recipe.steps, recipe.width, recipe.height)
        highest = made_sigmas(stack, levels)[0]
        if highest < NOISE:
            yield Problem(
                "afs", f"Analytical first step: the run begins at noise level {highest:.3g}, and from {NOISE:g} on a "
                "state is noise alone. So it is not used."
            )  # fmt: skip


def _of_the_variation(recipe: Recipe, uses: Sequence[Placed]) -> Iterator[Problem]:
    """Of the noise that a run starts from, where it starts from something else."""
    stack = [(method, values) for _, method, values in uses]
    encoder = next((method for method, values in stack if method.has("encodes_start", values)), None)
    if not recipe.variation_strength:
        why = "at a Variation strength of 0 it is not used"
    elif encoder is not None:
        why = f"{encoder.title} starts the run from an encoded image, not from the noise of the seed. So it is not used"
    elif steps_left_out(stack, recipe.steps) >= recipe.steps:
        why = "no step is left to be made, so it is not used"
    elif recipe.variation_seed == recipe.seed and recipe.count == 1:
        why = "both seeds are the same, so nothing is varied"
    else:
        return
    for name in ("variation_strength", "variation_seed"):
        if getattr(recipe, name) != getattr(DEFAULTS, name):
            yield Problem(name, f"{SAID[name]}: {why}.")


def _of_the_text(recipe: Recipe, backbone: Any) -> Iterator[Problem]:
    """Layers that a text encoder is not to be read to, where there is no choice."""
    if recipe.clip_skip == DEFAULTS.clip_skip or backbone is None or getattr(backbone, "clip_skips", 1) > 1:
        return
    why = "this model has no CLIP whose layers could be left out, so it is not used"
    if getattr(backbone, "reads_chunks", False):
        why = "SDXL is always read to the layer before the last, which other tools call 2, so it is not used"
    yield Problem("clip_skip", f"Clip skip: {why}.")
