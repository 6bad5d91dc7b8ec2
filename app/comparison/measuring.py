"""What measures the cells of a comparison: the measures of `fidelity`, on images as they are kept. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.comparison.spec import Cell
from app.comparison.targets import image_tensor, targets
from app.schema.recipe import Recipe
from fidelity.evaluator_words import seen
from fidelity.measures import evaluate, left_out
from fidelity.target import Perception


def measuring(
    images: Mapping[str, Any], backbone: Callable[[str], Any]
) -> Callable[[Cell, Recipe, Any], tuple[dict[str, float], str, str]]:
    """(cell, recipe as it was made, image) -> figures; what is left out, and what the evaluator saw, in words.
    backbone(id): one loaded."""

    def measure(cell: Cell, recipe: Recipe, image: Any) -> tuple[dict[str, float], str, str]:
        one = targets(recipe, images, backbone(recipe.backbone), cell.task)
        pixels = image_tensor(image)
        perception = Perception(pixels)
        found = {key: round(value, 6) for key, value in evaluate(pixels, one, perception).items()}
        return found, left_out(one, pixels), seen(pixels, one, perception)

    return measure
