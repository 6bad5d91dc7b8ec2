"""Batches: images of one recipe that differ in what is counted, the seed or the variation seed."""

from __future__ import annotations

from collections.abc import Sequence

from app.forms import address
from app.schema.recipe import Recipe


def number_of(recipe: Recipe) -> str:
    """What tells an image from the others of its batch, for the name of a file: its seed, with the variation seed where
    that is counted."""
    return f"{recipe.seed}-{recipe.variation_seed}" if recipe.variation_strength else str(recipe.seed)


def batch_of(recipes: Sequence[Recipe]) -> Recipe | None:
    """The recipe that makes these images in this order, each of which has its own; None where none does."""
    whole = recipes[0].model_copy(update={"count": len(recipes)})
    return whole if all(_is_one(recipes[0], i, one) for i, one in enumerate(recipes)) else None


def batches(recipes: Sequence[Recipe]) -> list[int]:
    """For each of some images, in the order in which they are shown, the number of its batch: those that one recipe
    makes and that stand side by side are one."""
    found: list[int] = []
    first = 0  # of the batch under way
    for place in range(len(recipes)):
        if place and _is_one(recipes[first], place - first, recipes[place]):
            found.append(found[-1])
            continue
        first = place
        found.append(found[-1] + 1 if found else 0)
    return found


def _is_one(first: Recipe, place: int, recipe: Recipe) -> bool:
    """Whether this is the image at a place of the batch that begins with `first`."""
    return address.of_recipe(first.one(place)) == address.of_recipe(recipe)
