"""A comparison: a recipe, and axes along which it varies. Plain JSON, no torch."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.comparison.task import Task, with_others
from app.schema.method_inputs import BoxValue, Use
from app.schema.recipe import Problem, Recipe, RecipeError, plain_words
from app.schema.solvers import KNOBS, knob_names
from common.text import one_line

MOST = 400  # cells
MOST_VALUES = 100  # of an axis
LABEL = 80  # characters of one
KIND = "nine-ways-comparison"  # what a file of one says of itself, that has its images with it
SAMPLER = "sampler"  # in place of a method in "method.knob"
ETA = f"{SAMPLER}.eta"
#: Fields of the recipe that say what made an image, not what it is.
WHOSE = ("revision", "versions", "embeddings", "loras", "lora_hashes", "unused")


def short_label(words: Any) -> Any:
    """A text on one line, of at most LABEL characters."""
    return one_line(words, LABEL) if isinstance(words, str) else words  # else pydantic says what it is


def distinct(names: Sequence[str]) -> list[str]:
    """The same names; one that was there before gets a number: "image", "image 2"."""
    found: list[str] = []
    for name in names:
        number, fresh = 2, name
        while fresh in found:
            number, fresh = number + 1, f"{one_line(name, LABEL - 4)} {number}"
        found.append(fresh)
    return found


class Change(BaseModel):
    """One value of an axis. `recipe`: fields set; `methods`: the whole stack; `knobs`: "method.knob" -> value, of the
    methods that the stack has by then, or "sampler.knob", of the solver where it has one of this name; `swap`: content
    hash or words -> others, in every input of the stack, and where the comparison's ground truth and source are the
    ones swapped: so one axis may bring other images; `boxes`: in place of those of every input of boxes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: Annotated[str, BeforeValidator(short_label)]
    recipe: dict[str, Any] = {}
    methods: tuple[Use, ...] | None = None
    knobs: dict[str, bool | int | float | str] = {}
    swap: dict[str, str] = {}
    boxes: tuple[BoxValue, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, given: Any) -> Any:
        """There "eta" was a field of every recipe."""
        if isinstance(given, Mapping) and isinstance(recipe := given.get("recipe"), Mapping) and "eta" in recipe:
            others = {name: value for name, value in recipe.items() if name != "eta"}
            return {**given, "recipe": others, "knobs": {ETA: recipe["eta"], **dict(given.get("knobs") or {})}}
        return given


class Axis(BaseModel):
    """values: at most 100, with labels of their own: of equal ones the second gets a 2 behind it, for votes and
    figures are kept by label."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(max_length=80)]
    values: Annotated[tuple[Change, ...], Field(min_length=1, max_length=MOST_VALUES)]

    @field_validator("values")
    @classmethod
    def _told_apart(cls, values: tuple[Change, ...]) -> tuple[Change, ...]:
        labels = distinct([value.label for value in values])
        return tuple(
            value if value.label == label else value.model_copy(update={"label": label})
            for value, label in zip(values, labels)
        )


@dataclass(frozen=True)
class Cell:
    """place: the index on each axis. recipe: of one image; None where it cannot be, with the `problem` in words.
    task: what all cells are asked for, with what the axes bring to this one."""

    place: tuple[int, ...]
    key: str
    recipe: Recipe | None
    problem: str = ""
    task: Task = field(default_factory=Task)

    @property
    def is_ranked(self) -> bool:
        """Whether it does the task: an image of the prompt alone is shown beside the others, and not ranked."""
        return self.recipe is None or self.task.is_done_by(self.recipe)


class Comparison(BaseModel):
    """axes: the columns first, then the rows; every further one makes tabs of grids. task: what all columns are asked
    for, which every measure is taken against. Files of before have two parts of it here: ground_truth, the content hash
    of the image that all cells should be ("truth" in 0.1.0), and source, of the shared input."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: Annotated[str, Field(max_length=200)] = "Comparison"
    base: Recipe
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=5)]
    ground_truth: str = ""
    source: str = ""
    task: Task = Task()

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        return with_ground_truth(given)

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, given: Any) -> Any:
        """There the base's "eta" was that of every solver on the axes: the first axis sets it, if no other one does."""
        base, axes = (given.get("base"), given.get("axes")) if isinstance(given, Mapping) else (None, None)
        if not isinstance(base, Mapping) or not isinstance(axes, list) or base.get("eta", 1) == 1:
            return given
        if '"sampler":' not in json.dumps(axes, default=str):
            return given
        return {**given, "axes": [_with_eta(axes[0], base["eta"]), *axes[1:]]}

    @classmethod
    def read(cls, text: str) -> Comparison:
        """From JSON. Raises RecipeError with everything that is wrong, each at its place in the JSON."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = []
            for one in error.errors(include_url=False):
                where = ".".join(map(str, one["loc"]))
                message = f"This is not a Nine Ways comparison: {where or 'the file'}: {plain_words(one)}."
                problems.append(Problem(where or "comparison", message))
            raise RecipeError(problems) from None

    @property
    def size(self) -> int:
        """How many cells."""
        count = 1
        for axis in self.axes:
            count *= len(axis.values)
        return count

    @property
    def pictures(self) -> int:
        """How many images are kept when all are made: cells of the same settings share one, and what cannot be has
        none."""
        return len({cell.key for cell in self.cells() if cell.recipe is not None})

    @property
    def asked(self) -> Task:
        """The task, with the ground truth and the source that files of before have beside it."""
        own = {"ground_truth": self.ground_truth, "source": self.source}
        return self.task.model_copy(update={name: value for name, value in own.items() if value})

    def cells(self) -> list[Cell]:
        """All of them, the first axis fastest. Raises RecipeError for more than MOST."""
        if self.size > MOST:
            words = " x ".join(str(len(axis.values)) for axis in self.axes)
            raise RecipeError([Problem("axes", f"{words} = {self.size} cells are too many. Compare at most {MOST}.")])
        ranges = [range(len(axis.values)) for axis in reversed(self.axes)]
        return [self._cell(place[::-1]) for place in itertools.product(*ranges)]

    def hashes(self) -> list[str]:
        """Content hashes of every image that the cells need, each once."""
        found = self.asked.hashes()
        for cell in self.cells():
            found += cell.task.hashes()
            if cell.recipe is not None:
                found += [one for use in cell.recipe.methods for one in use.hashes()]
        return [one for one in dict.fromkeys(found) if one]

    def label(self, place: tuple[int, ...]) -> str:
        """What is special of a cell, in words."""
        return " · ".join(axis.values[i].label for axis, i in zip(self.axes, place, strict=True))

    def _cell(self, place: tuple[int, ...]) -> Cell:
        fields: dict[str, Any] = {**self.base.model_dump(), "count": 1, "unused": ()}
        uses = list(self.base.methods)
        knobs: dict[str, Any] = {}
        swap: dict[str, str] = {}
        boxes: tuple[BoxValue, ...] = ()
        for axis, i in zip(self.axes, place, strict=True):
            change = axis.values[i]
            fields |= _fields_set(change.recipe, fields)
            if change.methods is not None:
                uses = list(change.methods)
            knobs |= change.knobs
            swap |= change.swap
            boxes = change.boxes or boxes
        try:
            uses = [_swapped(use, swap, boxes) for use in _turned(uses, knobs)]
            recipe = _with_solver_knobs(Recipe.make(**{**fields, "methods": tuple(uses)}), knobs)
        except RecipeError as error:
            return Cell(place, _hash([place, str(error)]), None, str(error), self.asked.swapped(swap, boxes))
        return Cell(place, key_of(recipe), recipe, task=self.asked.swapped(swap, boxes))


def with_ground_truth(given: Any) -> Any:
    """A comparison as JSON, with "ground_truth" for the "truth" of version 0.1."""
    if not isinstance(given, Mapping) or "truth" not in given or "ground_truth" in given:
        return given
    return {"ground_truth" if key == "truth" else key: value for key, value in given.items()}


def key_of(recipe: Recipe) -> str:
    """What a cell is stored under: the same for the same image, whatever machine made it.

    Of the fields as schema 1 had them, with "eta" beside the solver's name and "picture" for the image of a
    degradation, so that cells stored then are still found.
    """
    fields = recipe.model_dump(exclude=set(WHOSE))
    for value in (value for use in fields["methods"] for value in use["inputs"].values()):
        if isinstance(value, dict):
            value["picture"] = value.pop("image")
    del fields["schema"]
    set_here = recipe.knobs_set
    eta = set_here.pop("eta", 1.0)
    return _hash(fields | {"sampler": recipe.sampler, "eta": eta} | ({"knobs": set_here} if set_here else {}))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _turned(uses: list[Use], knobs: dict[str, Any]) -> list[Use]:
    """The stack with these knobs set; one whose method is not in the stack says nothing there."""
    for name, value in knobs.items():
        method, dot, knob = name.partition(".")
        if method == SAMPLER:
            continue
        if not dot:
            raise RecipeError([Problem("axes", f"{name!r} names no knob. Write it as method.knob.")])
        uses = [use.model_copy(update={"knobs": {**use.knobs, knob: value}}) if use.name == method else use
                for use in uses]  # fmt: skip
    return uses


def _fields_set(changed: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that a change sets; one that names the base's own solver leaves that with its knobs."""
    base = fields.get("sampler")
    if isinstance(base, Mapping) and changed.get("sampler") == base["name"]:
        return {name: value for name, value in changed.items() if name != "sampler"}
    return changed


def _with_solver_knobs(recipe: Recipe, knobs: dict[str, Any]) -> Recipe:
    """With those of the "sampler.knob" that its solver has. Raises RecipeError."""
    own = {name.removeprefix(f"{SAMPLER}."): value for name, value in knobs.items() if name.startswith(f"{SAMPLER}.")}
    if unknown := [name for name in own if name not in knob_names()]:
        raise RecipeError([Problem("axes", f"No solver has a knob {unknown[0]!r}. Give {', '.join(knob_names())}.")])
    own = {name: value for name, value in own.items() if name in KNOBS[recipe.sampler]}
    return recipe.but(sampler_knobs=own) if own else recipe


def _with_eta(axis: Any, eta: Any) -> Any:
    """The axis, in JSON, with this eta where it sets none."""
    if not isinstance(axis, Mapping) or not isinstance(axis.get("values"), list):
        return axis  # refused as what it is
    changes = [
        {**one, "recipe": {"eta": eta, **dict(one.get("recipe") or {})}} if isinstance(one, Mapping) else one
        for one in axis["values"]
    ]
    return {**axis, "values": changes}


def _swapped(use: Use, swap: dict[str, str], boxes: tuple[BoxValue, ...]) -> Use:
    """With other images, words and boxes for its inputs."""
    inputs = with_others(use.model_dump()["inputs"], swap)
    for name, value in use.inputs.items() if boxes else ():
        if isinstance(value, tuple) and value and isinstance(value[0], BoxValue):
            inputs[name] = boxes
    return Use(**{**use.model_dump(), "inputs": inputs}) if swap or boxes else use
