"""From a recipe and its images to what `fidelity.measures` compares the image with. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from app.comparison.task import Task
from app.engine import method_checks
from app.schema.method_inputs import DegradationValue, Use
from app.schema.recipe import Recipe
from backbones.base import Backbone
from common.weighted_text import plain
from conditioning.inputs import Box
from conditioning.operators import Measurement
from conditioning.operators.annotators import ANNOTATORS, annotated, as_it_is, canny
from conditioning.registry import METHODS
from fidelity import clip
from fidelity.target import Target

OF_THE_WORLD = ("still-life", "still-life-pixels")  # backbones whose images the world's evaluators can read
LOOKS = {  # an energy -> what its target says, and the measure that a run down it says nothing by
    "colours": "colours", "style": "colours", "edges": "edges", "edge map": "edges", "depth map": "near",
    "text": "text",
}  # fmt: skip
STEERED = ("colours", "edges", "text")  # what reads depth here is another network than the one that steers


def targets(recipe: Recipe, images: Mapping[str, Any], backbone: Backbone, task: Task | None = None) -> Target:
    """The target of a recipe's run; its texts are the words without their weights. images: content hash -> image; task:
    of the comparison that it is a cell of, which comes before what the recipe's own inputs say. What the run was
    steered by is always its own."""
    size = (recipe.width, recipe.height)
    found, steered = _of_recipe(recipe, images, backbone)
    if task is not None:
        found |= _of_task(task, size, images)
    found |= {name: plain(found[name]) for name in ("prompt", "source_prompt") if name in found}
    found |= {"boxes": [replace(box, text=plain(box.text)) for box in found.get("boxes", ())]}
    contrastive = getattr(backbone, "contrastive", None)
    world = recipe.backbone in OF_THE_WORLD
    prompt = found["prompt"]
    return Target(
        **found,
        text_score=None if contrastive is None else contrastive.score,
        text_score_problem=contrastive.unreadable(prompt) if contrastive is not None and prompt else "",
        clip=None if world else clip.installed(),
        world=world,
        guided_by=frozenset(steered),
    )


def _of_recipe(recipe: Recipe, images: Mapping[str, Any], backbone: Backbone) -> tuple[dict[str, Any], set[str]]:
    """What a recipe says of its image, by the fields of a Target; and the measures that its run goes down."""
    size = (recipe.width, recipe.height)
    found: dict[str, Any] = {"prompt": recipe.prompt}
    steered: set[str] = set()
    for place, use in enumerate(recipe.methods):
        if use.name not in METHODS:
            continue
        method = METHODS[use.name]
        choices = {name: str(use.knobs.get(name, knob.default)) for name, knob in method.knobs.items()}
        look = LOOKS.get(choices.get("energy", ""), "")
        steered |= {look} & set(STEERED)
        for name, declared in method_checks.wanted(method).items():
            value = use.inputs.get(name)
            if isinstance(value, str) and declared.kind == "map" and value in images:
                found |= _of_map(name, method_checks.tensor(images[value], size, use.fit_of(name)), choices, backbone)
            elif isinstance(value, DegradationValue) and value.image in images:
                found |= _measured(place, recipe, images, backbone, name)
            elif value:
                found |= _of_input(name, declared.kind, use, size, images)
    return found, steered


def _of_task(task: Task, size: tuple[int, int], images: Mapping[str, Any]) -> dict[str, Any]:
    """What the task of a comparison says of its images of this size, by the fields of a Target."""
    found: dict[str, Any] = {}
    for name in ("source", "ground_truth", "depth"):
        if (sha := getattr(task, name)) in images:
            found["near" if name == "depth" else name] = method_checks.tensor(images[sha], size, task.fit)
    if task.edges in images:
        found["edges"] = edge_map(images[task.edges], size, task)
    if task.mask in images:
        source = images.get(task.source)
        under = None if source is None else method_checks.Under(source, task.fit)
        found["mask"] = method_checks.mask_tensor(images[task.mask], size, under, task.mask_edge)
    if task.observation is not None and task.observation.image in images:
        found["ground_truth"] = method_checks.tensor(images[task.observation.image], size, task.fit)
        found["observation"] = observed(task, size, images)
    if references := [method_checks.tensor(images[one], size, task.fit) for one in task.references if one in images]:
        found["references"] = references
    if task.boxes:
        found["boxes"] = [Box(**one.model_dump()) for one in task.boxes]
    return found | {name: value for name in ("prompt", "source_prompt") if (value := getattr(task, name))}


def observed(task: Task, size: tuple[int, int], images: Mapping[str, Any]) -> Measurement:
    """What the degradation of a task leaves of its image at this size (width, height), as an operator on images
    measures it."""
    assert task.observation is not None
    of_images = SimpleNamespace(offers=())  # a network whose state is none
    degraded = method_checks.degradation(task.observation, size, size[::-1], images, task.fit)
    return degraded.measured(of_images, 1)


def edge_map(image: Image.Image, size: tuple[int, int], task: Task) -> Tensor:
    """(1, 3 or 1, H, W): the map of edges that the image of a task is at this size (width, height), or that is made of
    it."""
    return ANNOTATORS.get(task.edges_by, as_it_is)(method_checks.tensor(image, size, task.fit))


def _of_map(name: str, image: Tensor, choices: Mapping[str, str], backbone: Backbone) -> dict[str, Any]:
    """A map of edges or depth, made of the image where the method was to make it; or the target of an energy."""
    if "energy" in choices:
        look = LOOKS.get(choices["energy"], "")
        image = canny(image) if choices["energy"] == "edges" else image
        return {look: image} if look and look != "text" else {}
    made = annotated(name, choices[f"{name}_by"], image, backbone) if f"{name}_by" in choices else image
    return {"edges" if "edge" in name else "near": made}


def _of_input(name: str, kind: str, use: Use, size: tuple[int, int], images: Mapping[str, Any]) -> dict[str, Any]:
    """What one input says: a source, a mask, its prompt, boxes, references."""
    value: Any = use.inputs[name]
    if kind == "image" and value in images:
        return {"source": method_checks.tensor(images[value], size, use.fit_of(name))}
    if kind == "mask" and value in images:
        under, edge = method_checks.image_under(use, images), use.mask_edge_of(name)
        return {"mask": method_checks.mask_tensor(images[value], size, under, edge)}
    if kind == "prompt" and "source" in name:
        return {"source_prompt": value}
    if kind == "boxes":
        return {"boxes": [Box(**one.model_dump()) for one in value]}
    if kind == "references":
        fit = use.fit_of(name)
        return {"references": [method_checks.tensor(images[one], size, fit) for one in value if one in images]}
    return {}


def _measured(
    place: int, recipe: Recipe, images: Mapping[str, Any], backbone: Backbone, name: str
) -> dict[str, Any]:
    """The measurement that a method was given as its input `name`, and the image that was measured: it is the ground
    truth."""
    size, use = (recipe.width, recipe.height), recipe.methods[place]
    given: Any = use.inputs[name]
    _, values = method_checks.used(place, use, recipe, backbone, images)
    one = next((value for value in values.values() if isinstance(value, Measurement)), None)
    fits = one is not None and one.operator.shape == (3, recipe.height, recipe.width)
    truth = method_checks.tensor(images[given.image], size, use.fit_of(name))
    return {"ground_truth": truth, **({"observation": one} if fits else {})}


def image_tensor(image: Image.Image) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return method_checks.tensor(image, image.size).to(torch.float32)
