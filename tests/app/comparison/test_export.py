"""A comparison as files: every cell with its cost, one column for the seed, and a page that stands for itself."""

import csv
import io

import pytest
from PIL import Image

from app.comparison import export, html_export
from app.comparison.spec import Axis, Change, Comparison
from app.comparison.store import ComparisonStore, Result
from app.comparison.task import Task
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe

DEPTH = Image.new("RGB", (16, 16), "grey")
SHA = "d" * 64
BASE = Recipe(prompt="a <cube>", backbone="exact", width=16, height=16, steps=2)


@pytest.fixture
def made(tmp_path):
    """Two columns, of which one follows the map, by two seeds: (store, id, comparison, results)."""
    control = (Use(name="controlnet", inputs={"depth": SHA}),)
    columns = Axis(name="method", values=(Change(label="alone", methods=()), Change(label="control", methods=control)))
    seeds = Axis(name="seed", values=tuple(Change(label=f"seed {n}", recipe={"seed": n}) for n in (3, 4)))
    one = Comparison(title="A <b>", base=BASE, axes=(columns, seeds), task=Task(prompt=BASE.prompt, depth=SHA))
    store = ComparisonStore(tmp_path)
    id = store.add(one)
    for cell in one.cells():
        result = Result(1.25, 20, 20, 18, "euler", {"atoms": 50.0, "near": 0.01})
        store.put(id, cell.key, Image.new("RGB", (16, 16), "red"), cell.recipe, result)
    return store, id, one, export.results_of(store, id, one)


def test_the_table_has_one_column_for_the_seed(made):
    _, _, one, results = made
    head, *rows = csv.reader(io.StringIO(export.table(one, results)))
    assert [name.lower() for name in head].count("seed") == 1 and head[0] == "method"
    assert [row[head.index("seed")] for row in rows] == ["3", "3", "4", "4"]
    steps = Axis(name="steps", values=(Change(label="2 steps", recipe={"steps": 2, "seed": 1}),))
    other = one.model_copy(update={"axes": (*one.axes, steps)})
    assert next(csv.reader(io.StringIO(export.table(other, {}))))[1] == "steps", "what varies more than the seed stays"


def test_under_each_image_stand_figures_of_the_task_and_the_cost(made):
    _, _, one, results = made
    names = export.figures(one, results)
    assert names[0] == "near"
    assert export.said(next(iter(results.values())), names[:1])[-1] == "1.2 s · 20 evaluations · 18 backward"


def test_the_image_has_a_line_more_for_the_cost(made, monkeypatch):
    store, id, one, results = made
    drawn = []
    monkeypatch.setattr(export, "draw_words", lambda draw, place, words, *more: drawn.append(words))
    export.sheet(store, id, one, results, {})
    assert drawn.count("1.2 s · 20 evaluations · 18 backward") == 4


def test_the_image_begins_with_what_the_columns_were_given(made, monkeypatch):
    store, id, one, results = made
    drawn = []
    monkeypatch.setattr(export, "draw_words", lambda draw, place, words, *more: drawn.append((words, place)))
    sheet = export.sheet(store, id, one, results, {SHA: DEPTH})
    x, y = dict(drawn)["Depth map"]
    assert ("white is near", (x, y + export.LINE + export.CELL + 2)) in drawn
    colours = [sheet.getpixel((int(at) + 5, int(y) + export.LINE + 5)) for at in (x, dict(drawn)["alone"][0])]
    assert colours == [DEPTH.getpixel((0, 0)), (255, 0, 0)], "the map, then the columns"
    assert sheet.width - export.sheet(store, id, one, results, {}).width == export.CELL + export.GAP


def test_long_heads_of_columns_take_three_lines_before_they_are_cut(made, monkeypatch):
    store, id, one, results = made
    long = "ControlNet · scale 0.35 · a 30-step schedule · DPM++ 2M · CFG Scale 7.5 · seed noise"
    values = (one.axes[0].values[0].model_copy(update={"label": long}), one.axes[0].values[1])
    other = one.model_copy(update={"axes": (one.axes[0].model_copy(update={"values": values}), one.axes[1])})
    drawn = []
    monkeypatch.setattr(export, "draw_words", lambda draw, place, words, *more: drawn.append((words, place)))
    export.sheet(store, id, other, results, {})
    heads = [words for words, _ in drawn if words and words in long]
    assert len(heads) == 3 and " ".join(heads) == long
    rows = {place[1] for words, place in drawn if words in (heads[-1], "control")}
    assert len(rows) == 1, "heads end on one line"


def test_the_page_has_viewport_map_ranks_and_slider_and_words_stay_words(made):
    store, id, one, results = made
    page = html_export.page(store, id, one, results, {SHA: DEPTH})
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert page.count("data:image/png") == 4 + 2, "the map stands in every row"
    assert "<th>Depth map</th>" in page and '<input type="range"' in page and "1.2 s · 20 evaluations" in page
    assert page.index("Depth map error") < page.index("<th>control</th>") < page.index("alone, without the depth map")
    assert "<b>" not in page and "<cube>" not in page and "http" not in page
