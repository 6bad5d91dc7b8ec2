"""A comparison to take along: one image with its legend, a page of its own, CSV. Nothing in them asks the network."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from app.comparison.lettering import draw_words
from app.comparison.spec import Cell, Comparison
from app.comparison.store import ComparisonStore, Result
from common.colours import light
from common.image_bytes import data_uri
from fidelity.measures import MEASURES, in_page_order

CELL, GAP, LINE = 192, 12, 18  # pixels
TITLE, SMALL = 15, 12  # letters
INK, QUIET, PAPER, MAT = light("ink", "quiet", "paper", "mat")
ROW = "font: 15px/1.5 system-ui, sans-serif"


def figures(comparison: Comparison, results: Mapping[str, Result]) -> list[str]:
    """The measures that any cell has, in the order of the page."""
    return in_page_order({key: 0.0 for one in results.values() for key in one.figures})


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
    lines.writerow([*(axis.name for axis in comparison.axes),
                    "seconds", "network evaluations", "backward passes", *heads,
                    "prompt", "seed", "formula", "problem"])  # fmt: skip
    for cell in comparison.cells():
        labels = [axis.values[i].label for axis, i in zip(comparison.axes, cell.place, strict=True)]
        one = results.get(cell.key)
        cost = ["", "", ""] if one is None else [f"{one.seconds:.3f}", one.nfe, one.gradients]
        values = [one.figures.get(key, "") if one is not None else "" for key in names]
        own = [cell.recipe.prompt, cell.recipe.seed] if cell.recipe is not None else ["", ""]
        formula = one.formula if one is not None else ""
        lines.writerow([*map(_plain, labels), *cost, *values, *map(_plain, own), formula, cell.problem])
    return buffer.getvalue()


def _plain(value: object) -> object:
    """No spreadsheet takes it for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def sheet(store: ComparisonStore, id: str, comparison: Comparison, results: Mapping[str, Result]) -> Image.Image:
    """All grids on one image: columns across, rows down, further axes below each other, the figures under each."""
    names = figures(comparison, results)[:2]
    wide = max((_aspect(cell) for cell in comparison.cells()), default=1.0)
    width, height = round(CELL * wide), CELL
    columns = comparison.axes[0].values
    margin = 110 if len(comparison.axes) > 1 else GAP
    grids = list(_grids(comparison))
    rows = len(comparison.axes[1].values) if len(comparison.axes) > 1 else 1
    deep = height + LINE * len(names) + GAP
    top = 3 * LINE
    block = 2 * LINE + rows * deep + GAP
    page = Image.new("RGB", (margin + len(columns) * (width + GAP) + GAP, top + len(grids) * block), PAPER)
    draw = ImageDraw.Draw(page)
    whole = page.width - 2 * GAP
    draw_words(draw, (GAP, GAP), comparison.title, INK, TITLE, whole)
    draw_words(draw, (GAP, GAP + LINE), comparison.base.prompt, QUIET, SMALL, whole)
    for g, (label, cells) in enumerate(grids):
        y0 = top + g * block
        draw_words(draw, (GAP, y0), label, INK, SMALL, whole)
        for cell in cells:
            column, row = cell.place[0], cell.place[1] if len(cell.place) > 1 else 0
            x, y = margin + column * (width + GAP), y0 + 2 * LINE + row * deep
            if row == 0:
                draw_words(draw, (x, y0 + LINE), columns[column].label, INK, SMALL, width)
            if column == 0 and len(cell.place) > 1:
                words = comparison.axes[1].values[row].label
                draw_words(draw, (GAP, y + height // 2), words, QUIET, SMALL, margin - 2 * GAP)
            one = results.get(cell.key)
            if one is None:
                draw.rectangle((x, y, x + width, y + height), MAT)
                continue
            with Image.open(store.image(id, cell.key)) as image:
                page.paste(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), (x, y))
            for k, key in enumerate(name for name in names if name in one.figures):
                words = f"{MEASURES[key].title} {MEASURES[key].text(one.figures[key])}"
                draw_words(draw, (x, y + height + 2 + k * LINE), words, QUIET, SMALL, width)
    return page


def page(store: ComparisonStore, id: str, comparison: Comparison, results: Mapping[str, Result]) -> str:
    """A page of HTML that holds everything: images, figures, and the comparison itself as JSON."""
    names = figures(comparison, results)
    parts = [f"<h1>{escape(comparison.title)}</h1><p>{escape(comparison.base.prompt)}</p>"]
    for label, cells in _grids(comparison):
        columns = comparison.axes[0].values
        heads = "".join(f"<th>{escape(value.label)}</th>" for value in columns)
        parts.append(f"<h2>{escape(label)}</h2><table><tr><th></th>{heads}</tr>" if label else
                     f"<table><tr><th></th>{heads}</tr>")  # fmt: skip
        for start in range(0, len(cells), len(columns)):
            line = cells[start : start + len(columns)]
            row = comparison.axes[1].values[line[0].place[1]].label if len(comparison.axes) > 1 else ""
            body = "".join(f"<td>{_cell(store.image(id, cell.key), cell, results.get(cell.key), names)}</td>"
                           for cell in line)  # fmt: skip
            parts.append(f"<tr><th>{escape(row)}</th>{body}</tr>")
        parts.append("</table>")
    json = escape(comparison.model_dump_json(indent=1))
    style = (
        f"body{{{ROW};margin:24px;color:{INK};background:{PAPER}}}table{{border-spacing:12px}}"
        "th{font-weight:400;text-align:left;vertical-align:top}td{vertical-align:top}img{width:192px;display:block}"
        f"small{{color:{QUIET};display:block;font-size:13px}}pre{{overflow:auto;max-height:24em;background:{MAT}}}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(comparison.title)}</title>'
        f"<style>{style}</style><body>{''.join(parts)}<h2>To make it again</h2><pre>{json}</pre></body></html>"
    )


def _cell(path: Path, cell: Cell, one: Result | None, names: list[str]) -> str:
    if one is None:
        return f"<small>{escape(cell.problem or 'not made')}</small>"
    lines = [f"{MEASURES[key].title} {MEASURES[key].text(one.figures[key])}" for key in names if key in one.figures]
    lines.append(f"{one.seconds:.1f} s, {one.nfe} NFE, {one.gradients} backward passes")
    small = "".join(f"<small>{escape(words)}</small>" for words in lines)
    return f'<img alt="" src="{data_uri(path.read_bytes())}">{small}'


def _grids(comparison: Comparison) -> Iterator[tuple[str, list[Cell]]]:
    """(what is special of it, its cells) of every grid: one for each choice on the third and further axes."""
    found: dict[tuple[int, ...], list[Cell]] = {}
    for cell in comparison.cells():
        found.setdefault(cell.place[2:], []).append(cell)
    for place, cells in found.items():
        axes = comparison.axes[2:]
        yield " · ".join(f"{axis.name}: {axis.values[i].label}" for axis, i in zip(axes, place)), cells


def _aspect(cell: Cell) -> float:
    return cell.recipe.width / cell.recipe.height if cell.recipe is not None else 1.0
