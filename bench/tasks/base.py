"""What a task of `bench.methods` is.

A case is one picture to be made from a held-out scene. Its `given` holds, by the name of an input or else by its kind,
what a person would give; so a method that is new in the registry takes part as soon as its task is named here, and a
special entry is needed only where its inputs mean something of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from backbones.base import Backbone
from conditioning.registry import METHODS, Method
from world.captions import describe
from world.render import render
from world.scene import Scene, draw

Figures = dict[str, float]
Stack = list[tuple[str, dict[str, Any]]]  # methods, and knobs where they are not the defaults
RENDERED = 128


@dataclass(frozen=True)
class Case:
    """One picture to be made. truth: (1, 3, H, W) in [0, 1], or None where nothing is known but what it should show."""

    number: int
    prompt: str
    given: Mapping[str, Any]
    truth: Tensor | None = None
    size: tuple[int, int] | None = None  # width, height; None: the backbone's own
    told: Any = None  # what the task's own measure needs to know


@dataclass(frozen=True)
class Made:
    """A picture (1, 3, H, W) in [0, 1], and the state (1, C, h, w) it was decoded from; None of one made otherwise."""

    picture: Tensor
    state: Tensor | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table: a stack of methods run on every case, or pictures made by other means."""

    label: str
    stack: Stack = field(default_factory=list)
    other: Callable[[Case], Tensor] | None = None
    changed: Callable[[Sequence[Case]], Sequence[Case]] = lambda cases: cases  # what this row is given instead


@dataclass(frozen=True)
class Task:
    """cases(backbone, count, noise); measure(case, made, backbone); columns: figure -> its label, best first."""

    label: str
    backbones: tuple[str, ...]
    columns: Mapping[str, str]
    cases: Callable[[Backbone, int, float], list[Case]]
    measure: Callable[[Sequence[Case], Sequence[Made], Backbone], list[Figures]]
    beside: Callable[[Backbone], list[Row]]  # do nothing, chance, ceiling
    tasks: tuple[str, ...]  # of the registry
    names: tuple[str, ...] = ()  # methods of other tasks of the registry that are good at it
    lines: Callable[[Method, Backbone], list[Row]] = lambda method, backbone: [Row(method.name, [(method.name, {})])]
    special: Mapping[str, Callable[[Case], Case]] = field(default_factory=dict)  # method -> what it is given instead
    scale: float = 4.0  # of the guidance
    steps: int = 50
    noise: float = 0.0  # of a measurement


def rows(task: Task, backbone: Backbone) -> list[Row]:
    """The lines of the table: what there is beside, then every method that takes part, as the registry has it."""
    taking = [one for one in METHODS.values() if one.task in task.tasks or one.name in task.names]
    return [*task.beside(backbone), *(row for one in taking for row in task.lines(one, backbone))]


def inputs(method: Method, case: Case) -> dict[str, Any]:
    """What a method is given of a case: by the name of each input, else by its kind. Optional ones only by name.

    Raises KeyError with the name of an input that the case has nothing for.
    """
    found: dict[str, Any] = {}
    for name, kind in method.inputs.items():
        if name == "null":
            continue
        if name in case.given:
            found[name] = case.given[name]
        elif name not in method.optional:
            if kind.kind not in case.given:
                raise KeyError(f"{name}, {kind.arrives}")
            found[name] = case.given[kind.kind]
    return found


def drawn(count: int, fits: Callable[[Scene], bool] = lambda scene: True) -> list[tuple[int, Scene]]:
    """The first `count` test scenes that fit, with their numbers."""
    found: list[tuple[int, Scene]] = []
    n = 0
    while len(found) < count:
        scene = draw("test", n)
        if fits(scene):
            found.append((n, scene))
        n += 1
    return found


def caption(n: int, scene: Scene) -> str:
    return describe(scene, np.random.default_rng([n, 2])).text


def pictures(scenes: Sequence[Scene], size: int) -> Tensor:
    """Renders (B, 3, size, size) in [0, 1] as an 8-bit picture has them; smaller ones are means of full ones."""
    full = F.avg_pool2d(render(scenes, RENDERED).rgb, RENDERED // size)
    return (full * 255).round() / 255


def true(case: Case) -> Tensor:
    """The truth of a case that has one."""
    assert case.truth is not None
    return case.truth


def decoded(backbone: Backbone) -> Row:
    """The ceiling of what goes through an autoencoder."""
    return Row("ceiling: the truth, decoded", other=lambda case: backbone.decode(backbone.encode_image(true(case))))


def others(size: int) -> Row:
    """Of each case the truth of another."""

    def other(case: Case) -> Tensor:
        return pictures([draw("test", case.number + 5000)], size)

    return Row("chance: renders of others", other=other)
