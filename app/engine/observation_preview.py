"""What a method is given of an image, as an image to look at before the run: what an operator measures of it, or the
map that a preprocessor makes of it. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from app.engine import method_checks
from app.schema.method_inputs import Use
from app.schema.recipe import Problem, Recipe, RecipeError
from backbones.base import Backbone
from common.image_bytes import to_pixels
from conditioning.operators import Linear, Measurement, state_is_pixels
from conditioning.operators.annotators import annotated


def preview(recipe: Recipe, backbone: Backbone, images: Mapping[str, Any]) -> tuple[Image.Image, str]:
    """What the only input of the recipe's only method is made of by a run, to look at, and its size in words.

    Made by the very code that a run goes through. images: content hash -> image. Raises RecipeError in words.
    """
    (use,) = recipe.methods
    (name,), method = use.inputs, method_checks.find(use.name)
    field = f"methods.0.inputs.{name}"
    if found := [problem for problem in method_checks.problems(recipe, backbone) if problem.field == field]:
        raise RecipeError(found)
    if method_checks.wanted(method)[name].kind == "map":
        try:
            return _map(name, use, recipe, backbone, images)
        except ValueError as error:
            raise RecipeError([Problem(field, f"{method.label(name)}: {error}.")]) from error
    _, values = method_checks.used(0, use, recipe, backbone, images)
    one: Measurement = values[name]
    with torch.no_grad():
        y = seen(one)
        shown = backbone.decode(y) if state_is_pixels(backbone) else (y + 1) / 2
    return Image.fromarray(to_pixels(shown[0])), words(one)


def _map(
    name: str, use: Use, recipe: Recipe, backbone: Backbone, images: Mapping[str, Any]
) -> tuple[Image.Image, str]:
    """The map that a preprocessor makes of an image. Raises ValueError, in words, where it cannot."""
    by = str(method_checks.find(use.name).with_defaults(use.knobs)[f"{name}_by"])
    given = method_checks.tensor(images[str(use.inputs[name])], (recipe.width, recipe.height), use.fit_of(name))
    made = annotated(name, by, given, backbone)
    return Image.fromarray(to_pixels(made[0])), "The map that the network reads."


def seen(one: Measurement) -> Tensor:
    """(B, C, H, W): y itself where it is an image, each of its pixels as large as what it stands for; else a guess."""
    C, H, W = one.operator.shape
    if len(one.operator.y_shape) < 3:  # coefficients: the smallest image that gives them
        return one.operator.show(one.y)
    return F.interpolate(one.y.expand(-1, C, -1, -1), (H, W), mode="nearest")


def words(one: Measurement) -> str:
    """How much of the image is measured, and how well."""
    (C, H, W), shape = one.operator.shape, one.operator.y_shape
    if len(shape) == 3 and shape[1:] != (H, W):
        much = f"{shape[2]} × {shape[1]} of {W} × {H} pixels"
    elif len(shape) == 3 and shape[0] < C:
        much = f"{W} × {H} pixels, {shape[0]} number each instead of {C}"
    elif isinstance(one.operator, Linear) and (part := float((one.operator.s > 0).double().mean())) < 1:
        much = f"{100 * part:.0f} % of the numbers of {W} × {H} pixels"
    else:
        much = f"{W} × {H} pixels, each changed"
    return f"Measured: {much}" + (f", with noise of {one.sigma_y:g}." if one.sigma_y else ".")
