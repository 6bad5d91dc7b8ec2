"""Recipes and comparisons from JSON whose images are named by a path or by their content hash. No torch."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from app.catalog import catalogue, input_label
from app.comparison.spec import KIND, Comparison, with_ground_truth
from app.schema import png_metadata
from app.schema.method_inputs import Use, is_hash, with_image
from app.schema.recipe import LIMITS, Problem, Recipe, RecipeError
from app.schema.solvers import KNOBS, SAMPLERS, has_none
from app.storage.image_files import ImageError, content_hash, open_upload
from app.storage.image_history import ENVIRONMENT, input_image
from common.knobs import label
from common.text import one_line

Find = Callable[[str], Image.Image]  # a path, a name or a hash -> the image; raises ImageError in words
Images = dict[str, Image.Image]  # by content hash
NAMED = ("image", "map", "mask", "references")  # kinds of inputs whose values name images


@dataclass(frozen=True)
class Request:
    """A recipe with the images that its methods need. `problems`: what could not be read, at its field; `unused`: what
    the JSON says and no recipe has.

    recipe: None where the JSON is no recipe.
    """

    recipe: Recipe | None
    images: Images = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    unused: tuple[Problem, ...] = ()

    @property
    def missing(self) -> list[Problem]:
        """The inputs whose images are not here, unless a problem of the same field says so already."""
        known = {one.field for one in self.problems}
        return [
            Problem(place, f"{input_label(use.name, name)}: the image {sha[:12]} is not here. Give it again.")
            for i, use in enumerate(self.recipe.methods if self.recipe is not None else ())
            for name, value in use.inputs.items()
            for sha in Use(name=use.name, inputs={name: value}).hashes()
            if sha not in self.images and (place := f"methods.{i}.inputs.{name}") not in known
        ]


def images_in(folder: Path) -> Find:
    """Images by a path relative to `folder`, or by the hash under which the history of this machine keeps an input."""

    def find(name: str) -> Image.Image:
        if is_hash(name):
            kept = input_image(Path(os.environ.get(ENVIRONMENT) or "outputs"), name)
            if kept is None:
                raise ImageError(f"the image {name[:12]} is not stored here. Give a path to it.")
            return kept
        path = folder / name
        if not path.is_file():
            raise ImageError(f"there is no image {name!r} in {folder}. Give a path relative to that folder.")
        return _within_limits(open_upload(path).image)

    return find


def images_sent(kept: Callable[[str], Image.Image | None]) -> Find:
    """Images as data URIs ("data:image/png;base64,..."), or by their hash where `kept` knows it. No file is opened,
    whatever a name says."""

    def find(name: str) -> Image.Image:
        if is_hash(name):
            image = kept(name)
            if image is None:
                raise ImageError(f"the image {name[:12]} is not here. Send it as a data URI.")
            return image
        head, comma, body = name.partition(",")
        if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
            raise ImageError("give an image as data:image/png;base64,... or by its content hash.")
        try:
            return _within_limits(open_upload(base64.b64decode(body, validate=True)).image)
        except ValueError:
            raise ImageError("the base64 of the data URI is damaged.") from None

    return find


def read_recipe(text: str, find: Find) -> Request:
    """A recipe, its images found and named by their hash. Never raises: what is wrong stands in `problems`."""
    data = _json(text)
    images: Images = {}
    problems: list[Problem] = []
    if isinstance(data, dict):
        images, problems = _hashed(data.get("methods"), find, "methods")
        text = json.dumps(data)
    try:
        recipe = Recipe.from_json(text)
        return Request(recipe, images, tuple(problems), _without_knob(data, recipe.sampler))
    except RecipeError as error:
        return Request(None, images, (*error.problems, *problems))


def _without_knob(data: Any, sampler: str) -> tuple[Problem, ...]:
    """The "eta" of schema 1, which every recipe had, where the solver takes none."""
    idle = data.get("eta", 1) != 1 and "eta" not in KNOBS[sampler]
    return (Problem("eta", has_none(sampler, "eta")),) if idle else ()


def read_comparison(text: str, find: Find) -> tuple[Comparison, Images]:
    """A comparison, also one that the page saved with its images, its images found and named by their hash.

    Raises RecipeError with everything that is wrong.
    """
    data = _json(text)
    images: Images = {}
    problems: list[Problem] = []
    if isinstance(data, dict) and data.get("kind") == KIND:
        images = _enclosed(data.get("images", data.get("pictures")))
        data = data.get("comparison")
    if not isinstance(data, dict):
        return Comparison.read(text), images  # which says what is wrong
    data = with_ground_truth(data)

    def known(name: str) -> Image.Image:
        return images[name] if name in images else find(name)

    renamed: dict[str, str] = {}
    stacks = [("base.methods", data["base"].get("methods"))] if isinstance(data.get("base"), dict) else []
    changes = list(_changes(data))
    stacks += [(f"{place}.methods", change.get("methods")) for place, change in changes]
    for place, stack in stacks:
        opened, wrong = _hashed(stack, known, place, renamed)
        images, problems = images | opened, problems + wrong
    for name in ("ground_truth", "source"):
        if data.get(name):
            data[name] = _one(data[name], known, name, label(name), images, problems, renamed)
    if isinstance(task := data.get("task"), dict):
        _hashed_task(task, known, images, problems, renamed)
    for place, change in changes:
        if isinstance(swap := change.get("swap"), dict):  # words stay, images are what the inputs name
            change["swap"] = {
                renamed.get(old, old): _one(new, known, f"{place}.swap", "Swap", images, problems, renamed)
                if old in renamed or is_hash(old)
                else new
                for old, new in swap.items()
            }
    try:
        comparison = Comparison.read(json.dumps(data))
        comparison.cells()  # refuses what is too large
    except RecipeError as error:
        raise RecipeError([*error.problems, *problems]) from None
    if problems:
        raise RecipeError(problems)
    return comparison, images


def _hashed_task(
    task: dict[str, Any], find: Find, images: Images, problems: list[Problem], renamed: dict[str, str]
) -> None:
    """The images that the task of a comparison names, which names them by their hash from now on."""
    shared = (images, problems, renamed)
    for name in ("source", "mask", "depth", "edges", "ground_truth"):
        if task.get(name):
            task[name] = _one(task[name], find, f"task.{name}", label(name), *shared)
    if isinstance(several := task.get("references"), list):
        task["references"] = [_one(one, find, "task.references", "References", *shared) for one in several]
    if isinstance(observation := task.get("observation"), dict) and observation.get("image"):
        observation["image"] = _one(observation["image"], find, "task.observation", "Observation", *shared)


def settings_in(parameters: str | None) -> str:
    """What the text that a file carries says of how it was made, in a line; "" where no settings can be read."""
    recipe = png_metadata.read(parameters).recipe if parameters else None
    if recipe is None:
        return ""
    made = f"{SAMPLERS[recipe.sampler]}, {recipe.steps} steps, seed {recipe.seed}"
    return f"{one_line(recipe.prompt)} · {made}" if recipe.prompt else made


# ---- images of a stack ----------------------------------------------------------------------------------------------


def _hashed(stack: Any, find: Find, place: str, renamed: dict[str, str] | None = None) -> tuple[Images, list[Problem]]:
    """The images that the inputs of a stack name, which name them by their hash from now on. renamed: name -> hash."""
    images: Images = {}
    problems: list[Problem] = []
    renamed = {} if renamed is None else renamed
    for i, use in enumerate(stack if isinstance(stack, list) else []):
        inputs = use.get("inputs") if isinstance(use, dict) else None
        if not isinstance(inputs, dict):
            continue
        method = catalogue()["methods"].get(str(use.get("name")), {"inputs": ()})
        for one in method["inputs"]:
            name, kind, value = one["name"], one["kind"], inputs.get(one["name"])
            shared = (find, f"{place}.{i}.inputs.{name}", one["label"], images, problems, renamed)
            if kind in NAMED and isinstance(value, list):
                inputs[name] = [_one(each, *shared) for each in value]
            elif kind in NAMED and value:
                inputs[name] = _one(value, *shared)
            elif kind == "operator" and isinstance(value, dict):
                inputs[name] = value = with_image(value)
                if value.get("image"):
                    value["image"] = _one(value["image"], *shared)
                if isinstance(parameters := value.get("parameters"), dict) and parameters.get("mask"):
                    parameters["mask"] = _one(parameters["mask"], *shared)
    return images, problems


def _one(
    name: Any, find: Find, place: str, called: str, images: Images, problems: list[Problem], renamed: dict[str, str]
) -> Any:
    """The hash of the image of this name; of one that is not found a hash that stands for it, and a problem.

    place: the field where it stands; called: what the page calls that field.
    """
    if not isinstance(name, str):
        return name  # refused as what it is
    if name not in renamed:
        try:
            image = find(name)
            sha = content_hash(image)
            images[sha] = image
            renamed[name] = sha
        except ImageError as error:
            problems.append(Problem(place, f"{called}: {error}"))
            return name if is_hash(name) else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    return renamed[name]


def _changes(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, values) of every value of every axis."""
    axes = data.get("axes")
    for i, axis in enumerate(axes if isinstance(axes, list) else []):
        values = axis.get("values") if isinstance(axis, dict) else None
        for j, change in enumerate(values if isinstance(values, list) else []):
            if isinstance(change, dict):
                yield f"axes.{i}.values.{j}", change


def _enclosed(saved: Any) -> Images:
    """The images in a file that the page saved; one that is damaged is left out, and missed where it is needed."""
    images: Images = {}
    for text in (saved if isinstance(saved, dict) else {}).values():
        try:
            image = open_upload(base64.b64decode(str(text))).image
            images[content_hash(image)] = image
        except (ImageError, ValueError):
            continue
    return images


def _within_limits(image: Image.Image) -> Image.Image:
    """No larger than an image of the app can be, as for one that is dropped on the page."""
    image.thumbnail((int(LIMITS["width"].high), int(LIMITS["height"].high)))
    return image


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
