"""The cards of methods on the tab "Create": the component that holds them, what is said at them, their examples.

The cards themselves are drawn by assets/stack.js from `catalogue.json`; here is the server's side of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

import gradio as gr

from app import scripts
from app.forms.page_catalogue import catalogue
from app.forms.prompt_words import missing, quoted
from app.forms.stack import Stack
from app.schema.method_inputs import DegradationValue
from app.schema.recipe import Problem, Recipe, RecipeError
from app.service.models import Model
from app.service.state import AppState, private
from common.text import size_said

MOUNT = scripts.mount("picker", events=["example", "attempt", "aspect"])
MARKS = scripts.mount("stack", "mountMarks")
REMEMBERED = 256
_MISSED: dict[tuple[str, str], float] = {}  # (network, content hash) -> the part of the contrast


def editor() -> gr.HTML:
    """The cards. Its value is the JSON of a `Stack`."""
    look: dict[str, Any] = {"elem_id": "methods", "apply_default_css": False}
    return gr.HTML(Stack().json(), html_template="", js_on_load=MOUNT, **look)


def marks() -> gr.HTML:
    """Not seen: brings what `said` says to the cards."""
    return gr.HTML("{}", html_template="", js_on_load=MARKS, elem_id="marks")


# what is said at the cards ------------------------------------------------------------------------------------------


def at_cards(problems: Collection[Problem]) -> dict[str, str]:
    """Field -> words, for the problems of methods."""
    found: dict[str, str] = {}
    for problem in problems:
        if _at_card(problem.field):
            found.setdefault(problem.field, problem.message)
    return found


def _at_card(field: str) -> bool:
    return field.partition(".")[0] == "methods"


def _together(problems: Collection[Problem]) -> dict[str, str]:
    """Field -> all that is said of it, its label once."""
    found: dict[str, str] = {}
    for field, words in problems:
        before = found.get(field, "")
        label = f"{before.partition(': ')[0]}: "
        found[field] = f"{before} {words.removeprefix(label)}" if before else words
    return found


def said(
    problems: Collection[Problem],
    stack: Stack,
    model: Model,
    visit_token: str,
    unused: Collection[Problem] = (),
    steps: int = 0,
    beside: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """JSON for assets/stack.js: what a run would be refused for, what is good to know, what the
    network offers, the visit's door.

    unused: what the run does not use, at the fields of the page. steps: of its schedule; 0 where they are not known.
    beside: what `far_images` and `missing_words` say.
    """
    offers = sorted(_offers(model.backbone)) if model.backbone is not None else None
    together = _together(unused)
    cards = {field: words for field, words in together.items() if _at_card(field)}
    wrong = at_cards(problems)
    elsewhere = sorted({one.field for one in problems} - wrong.keys())
    found = {"problems": wrong, "wrong": elsewhere, "notes": notes(stack, model, steps) | cards | dict(beside)}
    found["unused"] = {field: words for field, words in together.items() if field not in cards}
    of_model = {"offers": offers, "loras": lora_list(stack, model), "model": model.name, "backbone": model.id}
    return json.dumps(found | of_model | {"takes_loras": not private(), "visit_token": visit_token})


def lora_list(stack: Stack, model: Model) -> list[dict[str, str]] | None:
    """The LoRA files that are here, with their sizes in words; None where no card asks for some."""
    kinds = {one["kind"] for card in stack.cards for one in catalogue()["methods"].get(card.name, {}).get("inputs", ())}
    if "loras" not in kinds or model.backbone is None:  # what reads them imports torch
        return None
    from backbones.lora_files import names

    return [{"name": name, "size": size_said(file.stat().st_size)} for name, file in sorted(names().items())]


def _offers(backbone: Any) -> set[str]:
    """What methods need of a network, and of its ControlNets and other adapters which there are: "controlnet:depth"."""
    if backbone is None:
        return set()
    from backbones.adapter_files import names_of  # which imports torch

    there = (f"{kind}:{name}" for kind, names in names_of(backbone).items() for name in names)
    return {*getattr(backbone, "offers", ()), *there}


def far_images(stack: Stack, model: Model, find: Callable[[str], Any]) -> dict[str, str]:
    """At images that are not of the world that the network was trained on. find(content hash): the image, or None."""
    if model.backbone is None or model.declared.far is None:
        return {}
    found: dict[str, str] = {}
    for i, card in enumerate(stack.cards):
        kinds = {one["name"]: one["kind"] for one in catalogue()["methods"].get(card.name, {}).get("inputs", ())}
        for name, value in card.inputs.items():
            sha = value.image if isinstance(value, DegradationValue) else value
            if kinds.get(name) not in ("image", "operator") or not isinstance(sha, str):
                continue
            missed = _missed(model, sha, find)
            if missed > model.declared.far:
                found[f"methods.{i}.inputs.{name}"] = (
                    f"Far from what {model.name} was trained on: it will take this for something of its own world. Its "
                    f"autoencoder misses {missed:.0%} of the contrast; of that world's images at most "
                    f"{model.declared.far:.0%}."
                )
    return found


def missing_words(stack: Stack, prompt: str) -> dict[str, str]:
    """At inputs whose words the method looks for in the prompt, those that it does not say."""
    return {
        f"methods.{i}.inputs.{name}": f"The prompt does not say {quoted(words)}. Write it there, as it stands here: "
        "the method looks for it in the prompt."
        for i, card in enumerate(stack.cards)
        for name, words in missing(card, prompt).items()
    }


def _missed(model: Model, sha: str, find: Callable[[str], Any]) -> float:
    from app.engine.familiarity import missed

    key = (model.id, sha)
    if key not in _MISSED and (image := find(sha)) is not None:
        while len(_MISSED) >= REMEMBERED:
            _MISSED.pop(next(iter(_MISSED)), None)
        _MISSED[key] = missed(model.backbone, image)
    return _MISSED.get(key, 0.0)


def notes(stack: Stack, model: Model, steps: int) -> dict[str, str]:
    """Where a measurement is taken: on the state itself, or through the autoencoder; how many steps are made."""
    if model.backbone is None:  # it imports torch, as the registry does
        return {}
    return _of_observations(stack, model) | _of_masks(stack, model) | _of_maps(stack) | _of_starts(stack, steps)


def _of_maps(stack: Stack) -> dict[str, str]:
    """Whether a map is read as it is, or found in the image first: a photograph is no map."""
    from conditioning.registry import METHODS

    found: dict[str, str] = {}
    for i, card in enumerate(stack.cards):
        method = METHODS.get(card.name)
        if method is None or "reads_whole_map" not in method.traits:
            continue
        chosen = method.with_defaults(card.knobs)
        for name, one in method.inputs.items():
            if one.kind != "map" or not card.inputs.get(name):
                continue
            by = chosen.get(f"{name}_by", "as it is")
            found[f"methods.{i}.inputs.{name}"] = (
                f"Read as it is, as a finished map: nothing is looked for in it. {one.help}."
                if by == "as it is"
                else f"Found in the image by {by}."
            )
    return found


def _of_masks(stack: Stack, model: Model) -> dict[str, str]:
    """What becomes of the image outside of a mask, where the autoencoder has the last word."""
    from conditioning.registry import METHODS

    if "pixels" in getattr(model.backbone, "offers", ()):
        return {}
    words = (
        f"Outside of the mask {model.name} gives the image back as its VAE does: close to the given pixels, not "
        "exactly them. A model in pixels keeps them exactly."
    )
    found: dict[str, str] = {}
    for i, card in enumerate(stack.cards):
        kinds = {name: one.kind for name, one in METHODS[card.name].inputs.items()} if card.name in METHODS else {}
        if "image" in kinds.values():
            found |= {f"methods.{i}.inputs.{name}": words for name, kind in kinds.items() if kind == "mask"}
    return found


def _of_starts(stack: Stack, steps: int) -> dict[str, str]:
    """At the knob that says where the run begins, how many steps that leaves."""
    from conditioning.registry import METHODS

    found = {}
    for i, card in enumerate(stack.cards):
        method = METHODS.get(card.name)
        start = method.starts_at if method is not None else None
        if method is None or start is None or not steps:
            continue
        values = method.with_defaults(card.knobs)
        if not isinstance(values[start.knob], str):  # what is no number is said to be none
            found[f"methods.{i}.knobs.{start.knob}"] = (
                f"Makes {steps - start.left_out(steps, values)} of the {steps} steps."
            )
    return found


def _of_observations(stack: Stack, model: Model) -> dict[str, str]:
    exact = "pixels" in getattr(model.backbone, "offers", ())
    words = (
        f"The observation is kept exactly: {model.name} works on the pixels themselves."
        if exact
        else f"The observation is kept as well as the VAE allows: {model.name} works on latents. A model in pixels "
        "keeps it exactly."
    )
    return {
        f"methods.{i}.inputs.{name}": words
        for i, card in enumerate(stack.cards)
        for name, value in card.inputs.items()
        if isinstance(value, DegradationValue)
    }


def fitted(problems: Collection[Problem], recipe: Recipe, state: AppState) -> list[Problem]:
    """The same problems; where a method does not run on this network, with those here on which it may."""
    book = catalogue()["methods"] if recipe.methods else {}
    unfit: dict[str, str] = {}
    for place, use in enumerate(recipe.methods):
        needs = book[use.name]["need_keys"] if use.name in book else []
        if needs and not state.model(recipe.backbone).may(needs):
            others = [
                model.name for model in state.models.values() if model.id != recipe.backbone and model.may(needs)
            ]
            unfit[f"methods.{place}"] = f" Choose another Model: {' or '.join(others)}." if others else ""
    return [Problem(one.field, one.message + unfit.get(one.field, "")) for one in problems]


# examples -------------------------------------------------------------------------------------------------------------


def example(state: AppState, asked: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, Any, Stack]:
    """The id of a network that fits, the example of a method, and the stack with it.

    asked: {"name": a method, "alone": whether it takes the place of the whole stack}. given: values of the controls.
    Raises RecipeError, in words, for a method that is not here.
    """
    from app.forms.examples import example as make

    name = str(asked.get("name", ""))
    known = catalogue()["methods"].get(name)
    if known is None:
        raise RecipeError([Problem("methods", f"There is no method {escape(name)} here.")])
    model = fitting(state, known["need_keys"], str(given["backbone"]))
    made = make(name, model.default_size())
    for image in made.images.values():
        state.take(image)
    if asked.get("alone"):
        return model.id, made, Stack(cards=(made.card,))
    stack = Stack.read(given["methods"])
    cards = tuple(
        card.model_copy(update={"inputs": {**card.inputs, **made.card.inputs}}) if card.name == name else card
        for card in stack.cards
    )
    return model.id, made, Stack(cards=cards)


def fitting(state: AppState, needs: Collection[str], now: str) -> Model:
    """The network in use where it has what is needed; else the first one that has, as far as that is known."""
    candidates = [state.model(now), *(model for model in state.models.values() if model.id != now)]
    return next((model for model in candidates if model.may(needs)), candidates[0])
