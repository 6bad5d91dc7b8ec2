"""A comparison as the page's script draws it: plain JSON, the whole once and then what changes. No Gradio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from app.comparison.ranking import Rating, bradley_terry, pareto, ranks
from app.comparison.runner import ComparisonRunner, State
from app.comparison.spec import Cell, Change, Comparison
from app.comparison.store import Result
from app.comparison.task import CONDITIONS
from app.comparison.task import MEASURES as MEASURES_OF
from common.image_bytes import data_uri


def whole_comparison(
    runner: ComparisonRunner, address: Callable[[str], str], trust: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Everything of a comparison. address(key): where the page finds a cell's image."""
    comparison = runner.comparison
    given, shown_by = _conditions(runner)
    return {
        "id": runner.id,
        "title": comparison.title,
        "prompt": comparison.base.prompt,
        "axes": [{"name": axis.name, "labels": [value.label for value in axis.values]} for axis in comparison.axes],
        "glyphs": [_glyphs(value) for value in comparison.axes[0].values],
        "cells": [
            {
                "key": cell.key,
                "place": list(cell.place),
                "aspect": _aspect(cell.recipe),
                "conditions": shown_by[_task_of(cell)],
            }
            for cell in runner.cells
        ],
        "given": given,
        "condition": CONDITIONS[comparison.asked.kind],
        "without_condition": sorted(
            {cell.place[0] for cell in runner.cells} - {cell.place[0] for cell in runner.cells if cell.is_ranked}
        ),
        "measures": measures(trust),
        **changes(runner, address, 0),
    }


def changes(runner: ComparisonRunner, address: Callable[[str], str], since: int) -> dict[str, Any]:
    """What has changed since that change, and how all of it stands."""
    changed = runner.changes(since)
    done = {key: state.result for key, state in runner.states.items() if state.result is not None}
    found = {
        "id": runner.id,
        "busy": runner.busy,
        "seconds_left": None if (left := runner.seconds_left) is None else round(left, 1),
        "states": {key: _state(key, state, address) for key, state in changed.items()},
        "count": {name: runner.count(name) for name in ("done", "failed", "running", "waiting", "cancelled")},
    }
    if any(state.result is not None for state in changed.values()):
        found["summary"] = summary(runner.comparison, done)
    return found


def measures(trust: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of every measure; trust: key -> {"own", "other"}, of renders of the very scene and of another."""
    from fidelity.measures import MEASURES

    return {
        key: {
            "title": one.title, "unit": one.unit, "better": one.better, "of": one.of,
            "digits": one.digits,
            "trust": trust.get(key),
        }
        for key, one in MEASURES.items()
    }  # fmt: skip


def summary(comparison: Comparison, done: Mapping[str, Result]) -> dict[str, Any]:
    """Of every measure, those of the task first: the columns ranked, with intervals, and who lies on the Pareto lines
    of seconds and NFE. Columns that do not do the task are not ranked; where none does, all are."""
    from fidelity.measures import MEASURES

    columns = [value.label for value in comparison.axes[0].values]
    there = [cell for cell in comparison.cells() if cell.key in done]
    cells = [(columns[cell.place[0]], done[cell.key]) for cell in there]
    doing = {columns[cell.place[0]] for cell in there if cell.is_ranked} or set(columns)
    cost = {
        name: {label: _mean(getattr(one, name) for own, one in cells if own == label) for label in columns}
        for name in ("seconds", "nfe")
    }
    found: dict[str, Any] = {}
    for key in measure_order(comparison, (one for _, one in cells)):
        more = MEASURES[key].better == "more"
        values = {label: [one.figures[key] for own, one in cells if own == label and key in one.figures]
                  for label in columns}  # fmt: skip
        everyone = ranks(values, more)
        ranked = [rank for rank in everyone if rank.label in doing]
        others = [rank for rank in everyone if rank.label not in doing]
        lines = {
            name: pareto({rank.label: (cost[name][rank.label], rank.mean) for rank in ranked}, more) for name in cost
        }
        found[key] = {
            "ranks": [_finite(asdict(rank)) for rank in ranked],
            "unranked": [_finite(asdict(rank)) for rank in others],
            "pareto": lines,
        }
    return {"measures": found, "cost": {name: _finite(values) for name, values in cost.items()}}


def measure_order(comparison: Comparison, results: Iterable[Result]) -> list[str]:
    """The measures that any cell has: those of the task, the first of which ranks the columns, then in page order."""
    from fidelity.measures import in_page_order

    there = in_page_order({key: 0.0 for one in results for key in one.figures})
    first = [key for key in MEASURES_OF[comparison.asked.kind] if key in there]
    return [*first, *(key for key in there if key not in first)]


def _conditions(runner: ComparisonRunner) -> tuple[dict[str, str], dict[tuple[str, int, int], list[dict[str, str]]]]:
    """Images as data URIs by a number of their own; and of each task of a cell what is shown of it: label, image and
    words. Cells of one task and size share theirs."""
    from app.comparison.conditions import conditions

    given: dict[str, str] = {}
    shown_by: dict[Any, list[dict[str, str]]] = {}
    for cell in runner.cells:
        key = _task_of(cell)
        if key in shown_by:
            continue
        width, height = (cell.recipe.width, cell.recipe.height) if cell.recipe is not None else (256, 256)
        shown_by[key] = []
        for one in conditions(cell.task, (width, height), runner.images):
            uri = data_uri(one.image)
            name = next((name for name, other in given.items() if other == uri), str(len(given)))
            given[name] = uri
            shown_by[key].append({"label": one.label, "image": name, "words": one.words})
    return given, shown_by


def _task_of(cell: Cell) -> tuple[str, int, int]:
    """The same for cells that are asked for the same at the same size."""
    size = (cell.recipe.width, cell.recipe.height) if cell.recipe is not None else (0, 0)
    return cell.task.model_dump_json(), *size


Votes = list[tuple[str, str]]


def ratings(
    comparison: Comparison, votes: Votes, everywhere: Votes, same: tuple[Votes, Votes] = ([], []), neither: int = 0
) -> dict[str, Any]:
    """Ratings of the columns, best first, and how many votes there were: in this comparison, and in all of them, where
    a column has met others too. Columns are known by their labels; those without a vote are left out. same: votes here
    and everywhere that both are as good; neither: how many found neither good, which rates nothing."""
    labels = [value.label for value in comparison.axes[0].values]
    known = [*everywhere, *same[1]]
    players = list(dict.fromkeys([*labels, *(label for vote in known for label in vote)]))
    of_all = [one for one in bradley_terry(everywhere, players, same[1]) if one.label in labels]
    return {
        "count": len(votes) + len(same[0]),
        "neither": neither,
        "ratings": _rounded(bradley_terry(votes, labels, same[0])),
        "all": {
            "count": sum(any(label in vote for label in labels) for vote in known),
            "ratings": _rounded(of_all),
        },
    }


def _rounded(ratings: list[Rating]) -> list[tuple[str, int, int, int]]:
    """(label, rating, low, high)"""
    return [(one.label, round(one.rating), round(one.low), round(one.high)) for one in ratings]


def _state(key: str, state: State, address: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {"status": state.status}
    if state.result is not None:
        found |= {"image": address(key), "result": asdict(state.result)}
    elif state.preview is not None:
        found["image"] = data_uri(state.preview, "JPEG")
    if state.status == "running":
        found |= {"step": state.step, "steps": state.steps, "first": state.first}
    if state.reason:
        found["reason"] = state.reason
    return found


def _glyphs(column: Change) -> str:
    """Those of the families of a column's methods, as SVG."""
    from app.theme import glyph
    from conditioning.registry import METHODS

    known = [METHODS[use.name].family.name for use in column.methods or () if use.name in METHODS]
    return "".join(glyph(family, 12) for family in dict.fromkeys(known))


def _aspect(recipe: Any) -> float:
    return recipe.width / recipe.height if recipe is not None else 1.0


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no nan."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()}  # fmt: skip
