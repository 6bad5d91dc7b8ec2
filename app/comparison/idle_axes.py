"""Axes along which nothing changes, since the runs do not use what they vary: known before any cell is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from app.comparison.spec import SAMPLER, Axis, Cell, Comparison, key_of
from app.engine.unused_settings import unused, used
from app.schema.method_inputs import Use
from app.schema.solvers import KNOBS, has_none
from conditioning.registry import METHODS

Known = Callable[[str], Any]  # id of a backbone -> it, or its outline


def idle_axes(comparison: Comparison, known: Known) -> tuple[list[str], list[str]]:
    """In words, the axes along which all images would be the same, and those along which some would be.

    known: of the backbones of its cells, that can be made. Cells that cannot be made are left out: what is wrong with
    them is said at the cells.
    """
    cells = [cell for cell in comparison.cells() if cell.recipe is not None]
    run_of = {cell.place: _run(cell, known) for cell in cells}
    all_alike, some_alike = [], []
    for place, axis in enumerate(comparison.axes):
        lines: dict[tuple[int, ...], list[Cell]] = defaultdict(list)
        for cell in cells:
            lines[cell.place[:place] + cell.place[place + 1 :]].append(cell)
        several = [
            line
            for line in lines.values()
            if len({cell.key for cell in line}) > 1 or _not_of_its_solver(axis, place, line)
        ]
        idle = [line for line in several if len({run_of[cell.place] for cell in line}) == 1]
        if not idle:
            continue
        why = _why(axis, place, idle[0], known)
        if len(idle) == len(several):
            all_alike.append(f"{axis.name}: all {len(axis.values)} images would be the same. {why}".strip())
        else:
            which = _where(comparison, place, idle)
            some_alike.append(f"{axis.name}: all images are the same for {which}. {why}".strip())
    return all_alike, some_alike


def _run(cell: Cell, known: Known) -> tuple[str, str]:
    """The same for the same image and what it is compared with."""
    assert cell.recipe is not None
    recipe = used(cell.recipe, known(cell.recipe.backbone))
    methods = tuple(use.model_copy(update={"knobs": _set(use)}) for use in recipe.methods)
    return key_of(recipe.model_copy(update={"methods": methods, "unused": ()})), cell.task.model_dump_json()


def _set(use: Use) -> dict[str, Any]:
    """The knobs that do not stand at their defaults."""
    known = METHODS[use.name].knobs if use.name in METHODS else {}
    return {name: value for name, value in use.knobs.items() if name not in known or value != known[name].default}


def _why(axis: Axis, place: int, line: list[Cell], known: Known) -> str:
    """What the runs say of the fields that the axis sets."""
    if words := _not_of_its_solver(axis, place, line):
        return words.removeprefix(f"{axis.name}: ")
    for cell in line:
        assert cell.recipe is not None
        change = axis.values[cell.place[place]]
        for field, words in unused(cell.recipe, known(cell.recipe.backbone)):
            if field in change.recipe or field.rpartition(".")[2] in {name.rpartition(".")[2] for name in change.knobs}:
                return words.removeprefix(f"{axis.name}: ")
    return ""


def _not_of_its_solver(axis: Axis, place: int, line: list[Cell]) -> str:
    """Why a knob that the axis varies, and nothing else, is none of this line's solver, in words; else ""."""
    changes = [axis.values[cell.place[place]] for cell in line]
    names = {name for one in changes for name in one.knobs}
    others = any(one.recipe or one.methods is not None or one.swap or one.boxes for one in changes)
    if others or len(names) != 1 or len({str(one.knobs) for one in changes}) == 1:
        return ""
    method, _, name = names.pop().partition(".")
    assert line[0].recipe is not None
    solver = line[0].recipe.sampler
    return has_none(solver, name) if method == SAMPLER and name not in KNOBS[solver] else ""


def _where(comparison: Comparison, place: int, lines: list[list[Cell]]) -> str:
    """The values of the other axes, a few of them."""
    labels = []
    for line in lines:
        others = [
            axis.values[i].label
            for n, (axis, i) in enumerate(zip(comparison.axes, line[0].place, strict=True))
            if n != place and len(axis.values) > 1
        ]
        labels.append(" · ".join(others))
    return ", ".join(labels[:6]) + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
