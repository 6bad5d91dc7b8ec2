"""A comparison to take along: one image with its legend, CSV (a page of its own: `html_export`). Nothing in them asks
the network."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from app.comparison.comparison_json import measure_order
from app.comparison.conditions import Shown, conditions
from app.comparison.lettering import draw_words, length
from app.comparison.spec import Axis, Cell, Change, Comparison
from app.comparison.store import ComparisonStore, Result
from common.colours import light
from fidelity.measures import MEASURES

CELL, GAP, LINE = 192, 12, 18  # pixels
HEAD = 3  # lines at most above a column
TITLE, SMALL = 15, 12  # letters
INK, QUIET, PAPER, MAT = light("ink", "quiet", "paper", "mat")


def figures(comparison: Comparison, results: Mapping[str, Result]) -> list[str]:
    """The measures that any cell has, in the order of the page: those of the task first."""
    return measure_order(comparison, results.values())


def results_of(store: ComparisonStore, id: str, comparison: Comparison) -> dict[str, Result]:
    """The cells that are there, by key."""
    found = {cell.key: store.result(id, cell.key) for cell in comparison.cells()}
    return {key: result for key, result in found.items() if result is not None}


def table(comparison: Comparison, results: Mapping[str, Result]) -> str:
    """CSV: a line a cell, with its place on every axis, what it cost, its figures, its seed and its stack."""
    names = figures(comparison, results)
    buffer = io.StringIO()
    lines = csv.writer(buffer)
    heads = [f"{MEASURES[key].title} ({MEASURES[key].unit})" if MEASURES[key].unit else MEASURES[key].title
             for key in names]  # fmt: skip
    axes = [i for i, axis in enumerate(comparison.axes) if not _is_seed(axis)]  # which has a column anyway
    lines.writerow([*(comparison.axes[i].name for i in axes),
                    "seconds", "network evaluations", "backward passes", *heads,
                    "prompt", "seed", "formula", "problem"])  # fmt: skip
    for cell in comparison.cells():
        labels = [comparison.axes[i].values[cell.place[i]].label for i in axes]
        one = results.get(cell.key)
        cost = ["", "", ""] if one is None else [f"{one.seconds:.3f}", one.nfe, one.gradients]
        values = [one.figures.get(key, "") if one is not None else "" for key in names]
        own = [cell.recipe.prompt, cell.recipe.seed] if cell.recipe is not None else ["", ""]
        formula = one.formula if one is not None else ""
        lines.writerow([*map(_plain, labels), *cost, *values, *map(_plain, own), formula, cell.problem])
    return buffer.getvalue()


def _is_seed(axis: Axis) -> bool:
    """Whether nothing but the seed varies along it."""
    return all(set(value.recipe) == {"seed"} and value == Change(label=value.label, recipe=value.recipe)
               for value in axis.values)  # fmt: skip


def said(one: Result, names: Sequence[str]) -> list[str]:
    """What stands under a cell: its figures of these measures, and what it cost."""
    passes = f" · {one.gradients} backward" if one.gradients else ""
    found = [f"{MEASURES[key].title} {MEASURES[key].text(one.figures[key])}" for key in names if key in one.figures]
    return [*found, f"{one.seconds:.1f} s · {one.nfe} evaluations{passes}"]


def _plain(value: object) -> object:
    """No spreadsheet takes it for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def sheet(
    store: ComparisonStore, id: str, comparison: Comparison, results: Mapping[str, Result], images: Mapping[str, Any]
) -> Image.Image:
    """All grids on one image: columns across, what they were given first, rows down, further axes below each other;
    figures and cost under each cell. images: content hash -> image, of what the columns were given."""
    names = figures(comparison, results)[:2]
    wide = max((_aspect(cell) for cell in comparison.cells()), default=1.0)
    width, height = round(CELL * wide), CELL
    labels = [value.label for value in comparison.axes[0].values]
    margin = 110 if len(comparison.axes) > 1 else GAP
    all_grids = [(label, rows_of(comparison, cells), given_columns(comparison, cells, images))
                 for label, cells in grids(comparison)]  # fmt: skip
    first = max((len(heads) for _, _, (heads, _) in all_grids), default=0)  # columns of what was given
    heads_deep = max(len(_lines(words, width)) for words in [*labels, ""]) * LINE
    deep = height + LINE * (len(names) + 1) + GAP
    top = 3 * LINE
    block = LINE + heads_deep + len(all_grids[0][1]) * deep + GAP if all_grids else 0
    page = Image.new("RGB", (margin + (first + len(labels)) * (width + GAP) + GAP, top + len(all_grids) * block), PAPER)
    draw = ImageDraw.Draw(page)
    whole = page.width - 2 * GAP
    draw_words(draw, (GAP, GAP), comparison.title, INK, TITLE, whole)
    draw_words(draw, (GAP, GAP + LINE), comparison.base.prompt, QUIET, SMALL, whole)

    def put(image: Image.Image, x: int, y: int, words: Sequence[str]) -> None:
        page.paste(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), (x, y))
        for k, line in enumerate(words):
            draw_words(draw, (x, y + height + 2 + k * LINE), line, QUIET, SMALL, width)

    for g, (label, rows, (heads, given)) in enumerate(all_grids):
        y0 = top + g * block
        draw_words(draw, (GAP, y0), label, INK, SMALL, whole)
        at = [margin + column * (width + GAP) for column in range(first + len(labels))]
        given_heads = [(words, QUIET) for words in [*heads, *[""] * (first - len(heads))]]
        for x, (words, colour) in zip(at, [*given_heads, *((words, INK) for words in labels)]):
            lines = _lines(words, width)
            for k, line in enumerate(lines, 1 + heads_deep // LINE - len(lines)):  # they end above their column
                draw_words(draw, (x, y0 + k * LINE), line, colour, SMALL, width)
        for r, (row, shown) in enumerate(zip(rows, given)):
            y = y0 + LINE + heads_deep + r * deep
            if len(comparison.axes) > 1:
                words = comparison.axes[1].values[r].label
                draw_words(draw, (GAP, y + height // 2), words, QUIET, SMALL, margin - 2 * GAP)
            for x, condition in zip(at, shown):
                put(condition.image, x, y, [condition.words])
            for x, cell in zip(at[first:], row):
                one = results.get(cell.key)
                if one is None:
                    draw.rectangle((x, y, x + width, y + height), MAT)
                    continue
                with Image.open(store.image(id, cell.key)) as image:
                    put(image, x, y, said(one, names))
    return page


def rows_of(comparison: Comparison, cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of one grid, row by row."""
    count = len(comparison.axes[0].values)
    return [list(cells[start : start + count]) for start in range(0, len(cells), count)]


def given_columns(
    comparison: Comparison, cells: Sequence[Cell], images: Mapping[str, Any]
) -> tuple[list[str], list[list[Shown]]]:
    """What the columns of a grid were given, as columns before them: their heads, and of each row what stands there."""
    found = []
    for first, *_ in rows_of(comparison, cells):
        size = (first.recipe.width, first.recipe.height) if first.recipe is not None else (256, 256)
        found.append(conditions(first.task, size, images))
    return [one.label for one in max(found, key=len, default=[])], found


def _lines(words: str, width: float) -> list[str]:
    """The words on at most HEAD lines that are not wider than this, the last one as long as it is."""
    lines: list[str] = []
    for word in words.split():
        if lines and (length(f"{lines[-1]} {word}", SMALL) <= width or len(lines) == HEAD):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def grids(comparison: Comparison) -> Iterator[tuple[str, list[Cell]]]:
    """(what is special of it, its cells) of every grid: one for each choice on the third and further axes."""
    found: dict[tuple[int, ...], list[Cell]] = {}
    for cell in comparison.cells():
        found.setdefault(cell.place[2:], []).append(cell)
    for place, cells in found.items():
        axes = comparison.axes[2:]
        yield " · ".join(f"{axis.name}: {axis.values[i].label}" for axis, i in zip(axes, place)), cells


def _aspect(cell: Cell) -> float:
    return cell.recipe.width / cell.recipe.height if cell.recipe is not None else 1.0
