"""A comparison: a recipe, and axes along which it varies. Plain JSON, no torch."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.runs.given import Box, Use
from app.runs.recipe import Problem, Recipe, RecipeError

MOST = 400  # cells
KIND = "nine-ways-comparison"  # what a file of one says of itself, that has its images with it
WHOSE = ("revision", "versions", "unused")  # of the recipe: what made a picture, not what it is


class Change(BaseModel):
    """One value of an axis. `recipe`: fields set; `methods`: the whole stack; `knobs`: "method.knob" -> value, of the
    methods that the stack has by then; `swap`: content hash or words -> others, in every input of the stack, and where
    the comparison's truth and source are the ones swapped: so one axis may bring other pictures; `boxes`: in place of
    those of every input of boxes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: Annotated[str, Field(max_length=200)]
    recipe: dict[str, Any] = {}
    methods: tuple[Use, ...] | None = None
    knobs: dict[str, bool | int | float | str] = {}
    swap: dict[str, str] = {}
    boxes: tuple[Box, ...] = ()


class Axis(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(max_length=80)]
    values: Annotated[tuple[Change, ...], Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Cell:
    """place: the index on each axis. recipe: of one picture; None where it cannot be, with the `problem` in words.
    truth, source: of this cell, by their content hashes."""

    place: tuple[int, ...]
    key: str
    recipe: Recipe | None
    problem: str = ""
    truth: str = ""
    source: str = ""


class Comparison(BaseModel):
    """axes: the columns first, then the rows; every further one makes tabs of grids. truth: content hash of the picture
    that all cells should be, or ""; source: of the shared input, to be shown beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: Annotated[str, Field(max_length=200)] = "Comparison"
    base: Recipe
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=5)]
    truth: str = ""
    source: str = ""

    @classmethod
    def read(cls, text: str) -> Comparison:
        """From JSON. Raises RecipeError with everything that is wrong, each at its place in the JSON."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = []
            for one in error.errors(include_url=False):
                where, words = ".".join(map(str, one["loc"])), one["msg"].rstrip(".")
                message = f"This is no comparison of Nine Ways: {where or 'the file'}: {words}."
                problems.append(Problem(where or "comparison", message))
            raise RecipeError(problems) from None

    @property
    def size(self) -> int:
        """How many cells."""
        count = 1
        for axis in self.axes:
            count *= len(axis.values)
        return count

    def cells(self) -> list[Cell]:
        """All of them, the first axis fastest. Raises RecipeError for more than MOST."""
        if self.size > MOST:
            words = " x ".join(str(len(axis.values)) for axis in self.axes)
            raise RecipeError([Problem("axes", f"{words} = {self.size} cells are too many. Compare at most {MOST}.")])
        ranges = [range(len(axis.values)) for axis in reversed(self.axes)]
        return [self._cell(place[::-1]) for place in itertools.product(*ranges)]

    def hashes(self) -> list[str]:
        """Content hashes of every picture that the cells need, each once."""
        found = [self.truth, self.source]
        for cell in self.cells():
            found += [cell.truth, cell.source]
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
        boxes: tuple[Box, ...] = ()
        for axis, i in zip(self.axes, place, strict=True):
            change = axis.values[i]
            fields |= change.recipe
            if change.methods is not None:
                uses = list(change.methods)
            knobs |= change.knobs
            swap |= change.swap
            boxes = change.boxes or boxes
        try:
            uses = [_swapped(use, swap, boxes) for use in _turned(uses, knobs)]
            recipe = Recipe.make(**{**fields, "methods": tuple(uses)})
        except RecipeError as error:
            return Cell(place, _hash([place, str(error)]), None, str(error))
        truth, source = (swap.get(one, one) for one in (self.truth, self.source))
        return Cell(place, key_of(recipe), recipe, truth=truth, source=source)


def key_of(recipe: Recipe) -> str:
    """What a cell is kept under: the same for the same picture, whatever machine made it."""
    return _hash(recipe.model_dump(exclude=set(WHOSE)))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _turned(uses: list[Use], knobs: dict[str, Any]) -> list[Use]:
    """The stack with these knobs set; one whose method is not in the stack says nothing there."""
    for name, value in knobs.items():
        method, dot, knob = name.partition(".")
        if not dot:
            raise RecipeError([Problem("axes", f"{name!r} names no knob. Write it as method.knob.")])
        uses = [use.model_copy(update={"knobs": {**use.knobs, knob: value}}) if use.name == method else use
                for use in uses]  # fmt: skip
    return uses


def _swapped(use: Use, swap: dict[str, str], boxes: tuple[Box, ...]) -> Use:
    """With other pictures, words and boxes for its inputs."""

    def other(value: Any) -> Any:
        if isinstance(value, str):
            return swap.get(value, value)
        if isinstance(value, dict):
            return {key: other(one) for key, one in value.items()}
        return [other(one) for one in value] if isinstance(value, (list, tuple)) else value

    inputs = other(use.model_dump()["inputs"])
    for name, value in use.inputs.items() if boxes else ():
        if isinstance(value, tuple) and value and isinstance(value[0], Box):
            inputs[name] = boxes
    return Use(**{**use.model_dump(), "inputs": inputs}) if swap or boxes else use
