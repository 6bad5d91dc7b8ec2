"""From a recipe and its pictures to what `fidelity.measures` compares the picture with. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from app.runs import methods
from app.runs.given import Degradation
from app.runs.recipe import Recipe
from backbones.base import Backbone
from conditioning.inputs import Box
from conditioning.operators import Measurement
from conditioning.registry import METHODS
from fidelity.measures import Told

OF_THE_WORLD = ("still-life", "still-life-pixels")  # backbones whose pictures the world's judges can read
LOOKS = {  # an energy -> the measures that a run down it says nothing by
    "colours": {"colours"}, "edges": {"edges"}, "edge map": {"edges"}, "text": {"text"},
}  # fmt: skip


def told(
    recipe: Recipe, pictures: Mapping[str, Any], backbone: Backbone, truth: str = "", world: bool | None = None
) -> Told:
    """What the run of a recipe was told. pictures: content hash -> picture; truth: the hash of what it should be."""
    size = (recipe.width, recipe.height)
    found: dict[str, Any] = {"prompt": recipe.prompt}
    steered: set[str] = set()
    if truth and truth in pictures:
        found["truth"] = methods.tensor(pictures[truth], size)
    for use in recipe.methods:
        if use.name not in METHODS:
            continue
        method = METHODS[use.name]
        steered |= LOOKS.get(str(use.knobs.get("energy", "")), set())
        for name, declared in methods.wanted(method).items():
            value = use.inputs.get(name)
            if not value:
                continue
            found |= _of_input(name, declared.kind, method.task, value, size, pictures, "truth" in found)
    if any("operator" in [kind.kind for kind in METHODS[use.name].inputs.values()] for use in recipe.methods
           if use.name in METHODS):  # fmt: skip
        found |= _measured(recipe, pictures, backbone)
    contrastive = getattr(backbone, "contrastive", None)
    return Told(
        **found,
        score=None if contrastive is None else contrastive.score,
        world=recipe.backbone in OF_THE_WORLD if world is None else world,
        steered=frozenset(steered),
    )


def _of_input(
    name: str, kind: str, task: str, value: Any, size: tuple[int, int], pictures: Mapping[str, Any], known: bool
) -> dict[str, Any]:
    """What one input says: a source, a mask, a map, boxes."""
    if kind == "image" and value in pictures:
        picture = methods.tensor(pictures[value], size)
        return {"source": picture, **({"truth": picture} if task in ("inpainting", "reference") and not known else {})}
    if kind == "mask" and value in pictures:
        return {"mask": methods.tensor(pictures[value], size, "L")}
    if kind == "map" and value in pictures:
        picture = methods.tensor(pictures[value], size)
        key = "edges" if "edge" in name else "near" if "depth" in name else "colours"
        return {key: picture}
    if kind == "prompt" and "source" in name:
        return {"source_prompt": value}
    if kind == "boxes":
        return {"boxes": [Box(**one.model_dump()) for one in value]}
    if kind == "references":
        return {"references": [methods.tensor(pictures[one], size) for one in value if one in pictures]}
    return {}


def _measured(recipe: Recipe, pictures: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    """The measurement that a method was given, and the picture that was measured: it is the truth."""
    for place, use in enumerate(recipe.methods):
        given = next((value for value in use.inputs.values() if isinstance(value, Degradation)), None)
        if given is None or given.picture not in pictures:
            continue
        _, values = methods.used(place, use, recipe, backbone, pictures)
        one = next((value for value in values.values() if isinstance(value, Measurement)), None)
        found: dict[str, Any] = {"truth": methods.tensor(pictures[given.picture], (recipe.width, recipe.height))}
        if one is not None and one.operator.shape == (3, recipe.height, recipe.width):
            found["measured"] = one
        return found
    return {}


def picture_tensor(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return methods.tensor(picture, picture.size).to(torch.float32)
