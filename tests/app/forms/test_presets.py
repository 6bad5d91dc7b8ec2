"""Ready comparisons: all columns of one do one task, and are measured against it."""

import itertools
import json

import numpy as np
import pytest
import torch

from app.comparison.spec import Axis, Change, Comparison
from app.comparison.targets import targets
from app.engine.method_checks import wanted
from app.forms.presets import READY
from app.schema.method_inputs import DegradationValue
from app.schema.recipe import Recipe
from backbones import load
from conditioning.registry import METHODS
from tools import column_differences
from world.captions import parse

ORACLE = load("exact")
VISIBLE = 3.0  # of 255, mean over the image: from here on a person sees a difference
CONDITIONS = ("prompt", "source_prompt", "source", "mask", "ground_truth", "edges", "near", "boxes", "colours")


@pytest.fixture(scope="module", params=READY)
def ready(request):
    return READY[request.param].make()


def given_to(comparison):
    """(place, method, name, kind, value) of everything that a column's methods are given."""
    for cell in comparison.cells():
        for use in cell.recipe.methods:
            for name, declared in wanted(METHODS[use.name]).items():
                if use.inputs.get(name):
                    yield cell.place, use.name, name, declared.kind, use.inputs[name]


def test_every_column_is_asked_for_the_same_and_nothing_else(ready):
    """The same prompt, source, mask, maps, boxes and observation; no words of its own that ask for something else."""
    comparison, task = ready.comparison, ready.comparison.asked
    assert {cell.recipe.prompt for cell in comparison.cells()} == {task.prompt}
    assert len({(cell.recipe.prompt, cell.recipe.negative, cell.recipe.backbone) for cell in comparison.cells()}) == 1
    for place, method, name, kind, value in given_to(comparison):
        where = f"{comparison.label(place)}: {method}.{name}"
        if kind == "image":
            assert value == task.source, where
        elif kind == "mask":
            assert value == task.mask, where
        elif kind == "map":
            assert value in (task.depth, task.edges), where
        elif kind == "boxes":
            assert value == task.boxes, where
        elif isinstance(value, DegradationValue):
            assert value == task.observation, where
        elif kind == "prompt" and "source" in name:
            assert value == task.source_prompt, where
        else:
            assert kind in ("prompt", "words"), f"{where}: is this part of the task?"
            said, asked = parse(value), parse(task.prompt)
            assert {(one.shape, one.colour) for one in said.solids if one.colour} <= {
                (one.shape, one.colour) for one in asked.solids
            }, where
            assert {said.ground, said.sky} <= {None, asked.ground, asked.sky}, f"{where} asks for another image"


def test_every_cell_is_measured_against_the_one_task(ready):
    comparison, images = ready.comparison, ready.images
    found = [targets(cell.recipe, images, ORACLE, cell.task) for cell in comparison.cells()]
    for name in CONDITIONS:
        first, *others = (getattr(one, name) for one in found)
        for other in others:
            same = torch.equal(first, other) if isinstance(first, torch.Tensor) else first == other
            assert same, f"{name} of a column is another one"
    observed = {None if one.observation is None else one.observation.y.sum().item() for one in found}
    assert len(observed) == 1


def test_an_image_of_the_prompt_alone_is_not_ranked_where_there_is_more_to_follow(ready):
    comparison: Comparison = ready.comparison
    for cell in comparison.cells():
        assert cell.is_ranked is bool(cell.recipe.methods or not comparison.asked.kind), comparison.label(cell.place)
    assert any(cell.is_ranked for cell in comparison.cells())


@pytest.mark.parametrize("key, kind", [
    ("edit", "editing"), ("inpaint", "inpainting"), ("super-resolution", "restoration"), ("colourise", "restoration"),
    ("depth", "depth"), ("layout", "layout"), ("two-objects", ""), ("panorama", ""), ("samplers", ""),
])  # fmt: skip
def test_a_ready_one_is_of_the_kind_that_its_title_says(key, kind):
    assert READY[key].make().comparison.asked.kind == kind


@pytest.mark.parametrize("key", column_differences.SHOWN)
def test_no_two_columns_show_nearly_the_same(key):
    """Measured on all cells, by python -m tools.column_differences."""
    known, comparison = json.loads(column_differences.FILE.read_text())[key], READY[key].make().comparison
    assert known["comparison"] == column_differences.key_of(comparison), "run python -m tools.column_differences"
    labels = [value.label for value in comparison.axes[0].values]
    assert known["differ"].keys() == {f"{a} / {b}" for a, b in itertools.combinations(labels, 2)}
    assert min(known["differ"].values()) >= VISIBLE


def test_a_difference_is_that_of_the_images_of_a_row():
    columns = Axis(name="method", values=(Change(label="a"), Change(label="b")))
    seeds = Axis(name="seed", values=tuple(Change(label=str(n), recipe={"seed": n}) for n in (1, 2)))
    comparison = Comparison(base=Recipe(backbone="exact"), axes=(columns, seeds))
    levels = {(0, 0): 10.0, (1, 0): 14.0, (0, 1): 200.0, (1, 1): 190.0}
    images = {place: np.full((2, 2, 3), level) for place, level in levels.items()}
    assert column_differences.differences(comparison, images) == {"a / b": 7.0}
