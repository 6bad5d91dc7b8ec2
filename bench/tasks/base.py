"""What a task of `bench.methods` is.

A case is one image to be generated from a held-out scene. Its `inputs` hold, by the name of an input or else by its
kind, what a user would provide; so a method that is new in the registry takes part as soon as its task is named here,
and a special entry is needed only where its inputs mean something of their own."""

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
from world.render import quantized, render
from world.scene import Scene, draw

Figures = dict[str, float]
Stack = list[tuple[str, dict[str, Any]]]  # methods, and knobs where they are not the defaults
RENDERED = 128


@dataclass(frozen=True)
class Case:
    """One image to be generated. ground_truth: (1, 3, H, W) in [0, 1], or None where only its content is known."""

    number: int
    prompt: str
    inputs: Mapping[str, Any]
    ground_truth: Tensor | None = None
    size: tuple[int, int] | None = None  # width, height; None: the backbone's own
    target: Any = None  # what the measure of the task compares with


@dataclass(frozen=True)
class Output:
    """An image (1, 3, H, W) in [0, 1], and the state (1, C, h, w) that it was decoded from; None of a baseline."""

    image: Tensor
    state: Tensor | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table: a stack of methods run on every case, or a baseline that generates its images otherwise."""

    label: str
    stack: Stack = field(default_factory=list)
    generate: Callable[[Case], Tensor] | None = None
    change_cases: Callable[[Sequence[Case]], Sequence[Case]] = lambda cases: cases  # the cases of this row


@dataclass(frozen=True)
class Task:
    """cases(backbone, count, noise); measure(cases, outputs, backbone); columns: figure -> its label, best first."""

    label: str
    backbones: tuple[str, ...]
    columns: Mapping[str, str]
    cases: Callable[[Backbone, int, float], list[Case]]
    measure: Callable[[Sequence[Case], Sequence[Output], Backbone], list[Figures]]
    baselines: Callable[[Backbone], list[Row]]  # do nothing, chance, ceiling
    tasks: tuple[str, ...]  # of the registry
    names: tuple[str, ...] = ()  # methods of other tasks of the registry that take part
    method_rows: Callable[[Method, Backbone], list[Row]] = lambda method, backbone: [
        Row(method.name, [(method.name, {})])
    ]
    case_adapters: Mapping[str, Callable[[Case], Case]] = field(default_factory=dict)  # method -> its own inputs
    scale: float = 4.0  # of the guidance
    steps: int = 50
    noise: float = 0.0  # of the observation


def rows(task: Task, backbone: Backbone) -> list[Row]:
    """The lines of the table: baselines first, then every method of the registry that takes part."""
    methods = [method for method in METHODS.values() if method.task in task.tasks or method.name in task.names]
    return [*task.baselines(backbone), *(row for method in methods for row in task.method_rows(method, backbone))]


def method_inputs(method: Method, case: Case) -> dict[str, Any]:
    """The inputs of a method in a case: by the name of each input, else by its kind. Optional ones only by name.

    Raises KeyError with the name of an input that the case has nothing for.
    """
    values: dict[str, Any] = {}
    for name, kind in method.inputs.items():
        if name == "null":
            continue
        if name in case.inputs:
            values[name] = case.inputs[name]
        elif name not in method.optional:
            if kind.kind not in case.inputs:
                raise KeyError(f"{name}, {kind.arrives}")
            values[name] = case.inputs[kind.kind]
    return values


def test_scenes(count: int, fits: Callable[[Scene], bool] = lambda scene: True) -> list[tuple[int, Scene]]:
    """The first `count` test scenes that fit, with their numbers."""
    scenes: list[tuple[int, Scene]] = []
    n = 0
    while len(scenes) < count:
        scene = draw("test", n)
        if fits(scene):
            scenes.append((n, scene))
        n += 1
    return scenes


def caption(n: int, scene: Scene) -> str:
    return describe(scene, np.random.default_rng([n, 2])).text


def render_images(scenes: Sequence[Scene], size: int) -> Tensor:
    """Renders (B, 3, size, size) in [0, 1] as an 8-bit image has them; smaller ones are means of full ones."""
    full = F.avg_pool2d(render(scenes, RENDERED).rgb, RENDERED // size)
    return quantized(full) / 255


def ground_truth_of(case: Case) -> Tensor:
    """The ground truth of a case that has one."""
    assert case.ground_truth is not None
    return case.ground_truth


def autoencoder_ceiling(backbone: Backbone) -> Row:
    """The ceiling of a backbone with an autoencoder."""
    return Row(
        "ceiling: the ground truth, decoded",
        generate=lambda case: backbone.decode(backbone.encode_image(ground_truth_of(case))),
    )


def renders_of_other_scenes(size: int) -> Row:
    """For each case the ground truth of another."""

    def render_other(case: Case) -> Tensor:
        return render_images([draw("test", case.number + 5000)], size)

    return Row("chance: renders of others", generate=render_other)
