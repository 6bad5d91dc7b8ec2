"""What an operator measures of an image, as an image to look at before the run. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from app.engine import method_checks
from app.schema.recipe import Recipe, RecipeError
from backbones.base import Backbone
from common.image_bytes import to_pixels
from conditioning.operators import Linear, Measurement, state_is_pixels


def preview(recipe: Recipe, backbone: Backbone, images: Mapping[str, Any]) -> tuple[Image.Image, str]:
    """What the first operator of the recipe's only method is given by a run, to look at, and its size in words.

    Made by the very code that a run goes through. images: content hash -> image. Raises RecipeError in words.
    """
    (use,) = recipe.methods
    inputs = method_checks.wanted(method_checks.find(use.name))
    name = next(name for name, one in inputs.items() if one.kind == "operator")
    field = f"methods.0.inputs.{name}"
    if found := [problem for problem in method_checks.problems(recipe, backbone) if problem.field == field]:
        raise RecipeError(found)
    _, values = method_checks.used(0, use, recipe, backbone, images)
    one: Measurement = values[name]
    with torch.no_grad():
        y = seen(one)
        shown = backbone.decode(y) if state_is_pixels(backbone) else (y + 1) / 2
    return Image.fromarray(to_pixels(shown[0])), words(one)


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
