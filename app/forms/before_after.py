"""What an image can be compared with: the sources, observations and maps that its methods were given, each as a run of
its size gets it, or the source that a method denoises beside the image. `image_before` imports torch, the others read
the recipe alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from PIL import Image

from app.catalog import catalogue
from app.forms.columns import task_of
from app.schema.method_inputs import DegradationValue, Use, is_hash
from app.schema.recipe import Recipe

SOURCE = ("Image", "Source image")  # what methods call the image that they change


class Before(NamedTuple):
    """key: names it among those of its recipe, "0.source". words: what it is, "source"."""

    key: str
    words: str


def offered(recipe: Recipe) -> list[Before]:
    """All of a recipe, in the order of its methods; each image once."""
    found: dict[tuple[str, object], Before] = {}
    for key, words, given in _offered(recipe):
        found.setdefault((words, given), Before(key, words))
    return list(found.values())


def image_before(recipe: Recipe, key: str, images: Mapping[str, Image.Image]) -> Image.Image:
    """The one of this key, as large as the result. images: content hash -> image. Raises KeyError where there is no
    such key, or an image is not here any more."""
    from app.comparison.conditions import conditions

    if key not in {one for one, _, _ in _offered(recipe)} or source_recipe(recipe, key) is not None:
        raise KeyError(key)
    place, name = key.split(".")
    use = recipe.methods[int(place)]
    value = use.inputs[name]
    alone = use.model_copy(update={"inputs": {name: value}})
    if missing := [sha for sha in alone.hashes() if sha not in images]:
        raise KeyError(missing[0])
    task, _ = task_of([recipe.model_copy(update={"methods": (alone,)})])
    if not task.kind:  # a target, of which nothing but its colours or edges is followed
        task = task.model_copy(update={"source": value})
    return conditions(task, (recipe.width, recipe.height), images)[0].image


def source_recipe(recipe: Recipe, key: str) -> Recipe | None:
    """What makes the source of this key, where that is no image that was given: its prompt, from the same noise,
    without the method that takes from it. None where it is one."""
    place, _, name = key.partition(".")
    uses = recipe.methods
    use = uses[int(place)] if place.isdecimal() and int(place) < len(uses) else None
    if use is None or not _makes_source(recipe, use, name):
        return None
    return recipe.but(prompt=use.inputs[name], methods=tuple(one for one in uses if one is not use), count=1)


def _makes_source(recipe: Recipe, use: Use, name: str) -> bool:
    """Whether a method denoises a source of its own under the prompt of this input, beside the image. An inversion has
    it from an image."""
    known = catalogue()["methods"]
    traits = [known.get(one.name, {"traits": {}})["traits"] for one in recipe.methods]
    prompt = use.inputs.get(name)
    return (
        "runs_source" in known.get(use.name, {"traits": {}})["traits"]
        and "source" in name
        and isinstance(prompt, str)
        and bool(prompt.strip())
        and not any("encodes_start" in one for one in traits)
    )


def _offered(recipe: Recipe) -> Iterator[tuple[str, str, object]]:
    """(key, words, what was given)"""
    known = catalogue()["methods"]
    for place, use in enumerate(recipe.methods):
        for one in known.get(use.name, {"inputs": ()})["inputs"]:
            name, value = one["name"], use.inputs.get(one["name"])
            if one["kind"] == "operator" and isinstance(value, DegradationValue) and is_hash(value.image):
                yield f"{place}.{name}", "observation", (value.image, value.name, str(value.parameters))
            elif one["kind"] in ("image", "map") and is_hash(value):
                yield f"{place}.{name}", "source" if one["label"] in SOURCE else one["label"].lower(), value
            elif one["kind"] == "prompt" and _makes_source(recipe, use, name):
                yield f"{place}.{name}", "source image", value
