"""Methods of a recipe on a backbone: what is wrong with them, in words at their fields, and what they are called with.

A problem's field is `methods.<place>`, `methods.<place>.knobs.<name>` or `methods.<place>.inputs.<name>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.engine import loras
from app.schema import method_inputs
from app.schema.method_inputs import Use, is_hash
from app.schema.recipe import Problem, Recipe, RecipeError
from backbones.adapter_files import names_of
from backbones.base import Backbone
from common.fitting import Fit, fitted, fitted_mask, with_edge
from common.lora_tags import WRITE
from conditioning.clashes import clashes, solver_clash
from conditioning.compose import refusals
from conditioning.curves import parse
from conditioning.inputs import Box, Input, Point, prepare_input
from conditioning.operators import OPERATORS, Degradation, state_is_pixels
from conditioning.registry import METHODS, Choice, Method, find
from samplers import SAMPLERS

SHARED = ("sigmas", "null", "backbone")  # inputs of these names come from the run itself
ASKS = {  # kind of an input -> what to do where there is none
    "image": "upload an image, or take an example",
    "map": "upload a map, or take an example",
    "mask": "draw a mask, or take an example",
    "prompt": "write a prompt",
    "words": "write words of the prompt",
    "network": "choose one",
    "boxes": "draw a box, or type one",
    "points": "set a point, or type one",
    "references": "upload images, or take an example",
    "loras": WRITE,
    "operator": "give an image to degrade, or take an example",
}
_GIVEN = {
    "image": str, "map": str, "mask": str, "prompt": str, "words": str, "network": str, "references": str, "loras": str,
    "boxes": method_inputs.BoxValue, "points": method_inputs.PointValue, "operator": method_inputs.DegradationValue,
}  # fmt: skip
TITLES = {"controlnet": "ControlNet", "t2i adapter": "T2I-Adapter", "ip adapter": "IP-Adapter"}  # by what methods need
FITTED = ("image", "map", "references", "operator")  # kinds of inputs that are fitted to the result's size
_SEVERAL = ("boxes", "points", "references")


def wanted(method: Method) -> dict[str, Input]:
    """The inputs that a person gives, by name; the others come from the run."""
    return {name: one for name, one in method.inputs.items() if name not in SHARED}


# ---- what is wrong --------------------------------------------------------------------------------------------------


def problems(recipe: Recipe, backbone: Backbone) -> list[Problem]:
    """What is wrong with the methods of a recipe on this backbone; [] where they can run."""
    found: list[Problem] = []
    names = [use.name for use in recipe.methods]
    for place, use in enumerate(recipe.methods):
        field = f"methods.{place}"
        if use.name not in METHODS:
            found.append(Problem(field, f"There is no method {use.name} here: take it out of the stack."))
            continue
        method = find(use.name)
        if use.name in names[:place]:
            found.append(Problem(field, f"{method.title} is in the stack twice: take one of them out."))
        elif use.name == "cfg" and recipe.cfg_scale != 1:
            found.append(Problem(field, f"{method.title} is set by CFG Scale: take it out of the stack."))
        found += [Problem(field, f"{reason}.") for reason in refusals([(use.name, {})], backbone)]
        found += [Problem(f"{field}.knobs.{name}", words) for name, words in _knobs(method, use)]
        found += [Problem(f"{field}.inputs.{name}", words) for name, words in _inputs(method, use, recipe, backbone)]
        if not any(one.field.startswith(f"{field}.knobs.") for one in found):
            misfits = method.misfits_at(use.knobs, recipe.width, recipe.height, backbone)
            found += [
                Problem(f"{field}.knobs.{one.knob}", f"{method.label(one.knob)}: {one.why}.")
                for one in misfits
                if one.refused
            ]
    return [*found, *_clashes(recipe)]


def _clashes(recipe: Recipe) -> Iterator[Problem]:
    """What cannot be stacked, at each of the two methods."""
    places = [place for place, use in enumerate(recipe.methods) if use.name in METHODS]
    uses = [(find(recipe.methods[place].name), recipe.methods[place].knobs) for place in places]
    for i, j, why in clashes(uses, recipe.sampler):
        one, knobs = uses[i]
        if j is None:
            fits = ", ".join(s.label for key, s in SAMPLERS.items() if not solver_clash(one, key, knobs))
            what = f"choose another sampling method ({fits})" if fits else "take it out"
            solver = SAMPLERS[recipe.sampler].label
            words = f"{one.title} and the solver {solver} do not go together: {why}. So {what}."
            yield Problem(f"methods.{places[i]}", words)
            continue
        for at, other in ((i, j), (j, i)):
            titles = f"{uses[at][0].title} and {uses[other][0].title}"
            words = f"{titles} do not go together: {why}. Mute one of them or take it out."
            yield Problem(f"methods.{places[at]}", words)


def _knobs(method: Method, use: Use) -> Iterator[tuple[str, str]]:
    for name, value in use.knobs.items():
        knob = method.knobs.get(name)
        if knob is None:
            yield name, f"{method.title} has no {name!r}: it has {', '.join(method.knobs) or 'no knobs'}."
            continue
        try:
            number = parse(value) if isinstance(value, str) and not isinstance(knob, Choice) else value
            knob.check(method.label(name), number)
        except (ValueError, TypeError) as error:
            yield name, f"{error}."


def _inputs(method: Method, use: Use, recipe: Recipe, backbone: Backbone) -> Iterator[tuple[str, str]]:
    asked = wanted(method)
    for name, value in use.inputs.items():
        if name not in asked:
            yield name, f"{method.title} has no input {name!r}: it has {', '.join(asked) or 'none'}."
        elif value and (words := _wrong(asked[name], value, recipe, backbone)):
            yield name, f"{method.label(name)}: {words}"
    for name in use.mask_edges:
        if name not in use.inputs and (name not in asked or asked[name].kind != "mask"):
            yield name, f"{method.title} has no mask {name!r} whose edge could be changed."
    for name in use.fit:
        if name not in use.inputs and (name not in asked or asked[name].kind not in FITTED):
            yield name, f"{method.title} has no image {name!r} that could be fitted to the size."
    needed = method.needed(use.knobs)
    for name, one in asked.items():
        if name in needed and _empty(use.inputs.get(name)):
            yield name, f"{method.label(name)}: {method.title} needs it. {ASKS[one.kind].capitalize()}."


def _empty(value: Any) -> bool:
    return not value or (isinstance(value, method_inputs.DegradationValue) and not value.image)


def _wrong(asked: Input, value: Any, recipe: Recipe, backbone: Backbone) -> str:
    """What is wrong with a value for such an input, in words, or ""."""
    kind = asked.kind
    several = value if kind in _SEVERAL and isinstance(value, tuple) else (value,)
    if not all(isinstance(one, _GIVEN[kind]) for one in several):
        return f"this is no value for {kind}: {ASKS[kind]}."
    if kind in ("image", "map", "mask", "references") and not all(map(is_hash, several)):
        return f"an image is given by its hash: {ASKS[kind]}."
    if kind == "network":
        there = names_of(backbone).get(asked.of, ())
        known = f"there is no {TITLES[asked.of]} {value} here, but {', '.join(there)}."
        return "" if value in there or not there else known
    if kind == "loras":
        return loras.wrong(value, backbone)
    if kind == "boxes":
        empty = [str(i) for i, box in enumerate(value, 1) if not box.text.strip()]
        return f"box {', '.join(empty)} has no words: write what should be in it." if empty else ""
    if not isinstance(value, method_inputs.DegradationValue):
        return ""
    if value.image and not is_hash(value.image):
        return f"an image is given by its hash: {ASKS[kind]}."
    try:
        parameters: dict[str, Any] = dict(value.parameters)
        shape = _measured_shape(recipe, backbone)
        if "mask" in signature(_operator(value.name)).parameters:
            if not is_hash(parameters.get("mask")):
                return "what is lost is given by a mask: draw one."
            parameters["mask"] = torch.zeros(shape[1:])
        _operator(value.name)(shape, **parameters)
    except (ValueError, TypeError) as error:
        return f"{error}."
    return ""


def _operator(name: str) -> Any:
    if name not in OPERATORS:
        raise ValueError(f"no degradation {name!r}: there are {', '.join(OPERATORS)}")
    return OPERATORS[name]


# ---- what they are called with --------------------------------------------------------------------------------------


def used(place: int, use: Use, recipe: Recipe, backbone: Backbone, images: Mapping[str, Any]) -> tuple[str, dict]:
    """A method's name, with its knobs and its inputs as it receives them. images: content hash -> image.

    Images are fitted to the size of the recipe, as `Use.fit` says. Raises RecipeError, at the field, for one that is
    not here.
    """
    method = find(use.name)
    size = (recipe.width, recipe.height)
    latent = backbone.latent_shape(*size)
    values: dict[str, Any] = dict(use.knobs)
    for name, value in use.inputs.items():
        if _empty(value):
            continue
        asked = wanted(method)[name]
        try:
            if asked.square:
                shas: Any = value
                values[name] = [squared(images[sha], use.fit_of(name)) for sha in shas]
                continue
            ready = _value(name, asked.kind, value, use, recipe, backbone, images)
        except KeyError:
            words = f"{method.label(name)}: the image of {method.title} is not here. Give it again."
            raise RecipeError([Problem(f"methods.{place}.inputs.{name}", words)]) from None
        with torch.no_grad():
            values[name] = prepare_input(asked.kind, ready, backbone, 1, latent)
    return use.name, values


def _value(
    name: str, kind: str, value: Any, use: Use, recipe: Recipe, backbone: Backbone, images: Mapping[str, Any]
) -> Any:
    """What `conditioning.inputs.prepare_input` takes. Raises KeyError for an image that is not here."""
    size, fit = (recipe.width, recipe.height), use.fit_of(name)
    if kind in ("image", "map"):
        return tensor(images[value], size, fit)
    if kind == "mask":
        return mask_tensor(images[value], size, image_under(use, images), use.mask_edge_of(name))
    if kind == "references":
        return [tensor(images[one], size, fit) for one in value]
    if kind == "boxes":
        return [Box(**one.model_dump()) for one in value]
    if kind == "points":
        return [Point(**one.model_dump()) for one in value]
    if kind == "operator":
        return degradation(value, size, _measured_shape(recipe, backbone)[1:], images, fit)
    return value


def degradation(
    value: method_inputs.DegradationValue,
    size: tuple[int, int],
    shape: tuple[int, int],
    images: Mapping[str, Any],
    fit: Fit = "crop",
) -> Degradation:
    """What is done to an image that is fitted to this size (width, height); shape: (H, W) of what the operator acts
    on. Raises KeyError for an image that is not here."""
    parameters: dict[str, Any] = dict(value.parameters)
    image = images[value.image]
    if "mask" in parameters:
        parameters["mask"] = mask_tensor(images[parameters["mask"]], shape[::-1], Under(image, fit))[0, 0] > 0.5
    return Degradation(tensor(image, size, fit), value.name, parameters, value.sigma_y, value.seed)


def _measured_shape(recipe: Recipe, backbone: Backbone) -> tuple[int, int, int]:
    """(C, H, W) of what an operator acts on: the state where it is pixels, else the image."""
    if state_is_pixels(backbone):
        return backbone.latent_shape(recipe.width, recipe.height)
    return 3, recipe.height, recipe.width


def tensor(image: Image.Image, size: tuple[int, int], fit: Fit = "crop") -> Tensor:
    """(1, 3, H, W) in [0, 1]; size: (width, height), that the image is fitted to."""
    return _array(fitted(image, size, fit))


def squared(image: Image.Image, fit: Fit = "crop") -> Tensor:
    """(1, 3, S, S) in [0, 1]: of its shorter side where it is cropped, so that nothing is resized; else of the other.
    """
    side = min(image.size) if fit == "crop" else max(image.size)
    return tensor(image, (side, side), fit)


def mask_tensor(
    mask: Image.Image,
    size: tuple[int, int],
    under: Under | None = None,
    edge: method_inputs.MaskEdge = method_inputs.PLAIN_EDGE,
) -> Tensor:
    """(1, 1, H, W), 0 or 1, between them where the edge is feathered; size: (width, height). The page shows it so: it
    asks for the same (app/routes/images.py).

    under: the image that is given with it, see `image_under`.
    """
    placed = fitted_mask(mask, size, under and under.image.size, under.fit if under else "crop")
    return _array(with_edge(placed, edge.grow, edge.feather))


class Under(NamedTuple):
    """An image that a mask is drawn over, and how it is fitted to the result."""

    image: Image.Image
    fit: Fit = "crop"


def image_under(use: Use, images: Mapping[str, Any]) -> Under | None:
    """The image that a method's masks are drawn over: the first one that it is given, None where there is none."""
    for name, one in wanted(METHODS[use.name]).items():
        value = use.inputs.get(name)
        if isinstance(value, method_inputs.DegradationValue):
            value = value.image
        if one.kind in ("image", "map", "operator") and isinstance(value, str) and value in images:
            return Under(images[value], use.fit_of(name))
    return None


def _array(image: Image.Image) -> Tensor:
    """(1, channels, H, W) in [0, 1]."""
    array = np.array(image, np.float32) / 255
    return torch.from_numpy(array.reshape(image.height, image.width, -1)).permute(2, 0, 1)[None]
