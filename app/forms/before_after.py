"""What an image can be compared with: the sources, observations and maps that its methods were given, each as a run of
its size gets it. `offered` reads the recipe alone; `image_before` imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from PIL import Image

from app.forms.columns import task_of
from app.forms.page_catalogue import catalogue
from app.schema.method_inputs import DegradationValue, is_hash
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

    if key not in {one for one, _, _ in _offered(recipe)}:
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
