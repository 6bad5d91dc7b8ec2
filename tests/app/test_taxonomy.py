"""The tab "Taxonomy" without a browser: every entry placed, every word true, nothing imported early."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import theme
from app.catalog import survey
from app.forms.page_catalogue import catalogue
from app.routes import all_routes
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import diagrams, taxonomy, taxonomy_panels, tree
from backbones.embedded import EMBEDDED
from bench.tasks import TASKS as BENCH
from conditioning.registry import METHODS

ROOT = Path(__file__).parents[2]
ENTRIES = survey.entries()
#: method -> the list's paper, where the registry names another one of the same method.
SAME = {"pigdm": "ΠGDM"}


class Tags(HTMLParser):
    """Every tag with its attributes, checked for being closed in order."""

    VOID = ("img", "input", "path", "circle", "rect")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, name):
        return [given[name] for _, given in self.tags if name in given]


@pytest.fixture(scope="module")
def page():
    return Tags(taxonomy_panels.panels())


# the list ------------------------------------------------------------------------------------------------------------


def test_all_176_entries_are_placed_and_told():
    assert len(ENTRIES) == 176
    for one in ENTRIES:
        assert one.family in theme.FAMILIES, one
        assert one.status in survey.STATUS, one
        assert one.short and one.title and one.publication and one.url.startswith("https://"), one
        assert one.why.endswith(".") and len(one.why.split()) >= 3, one.short
        assert set(one.tasks) <= {*survey.TASKS, survey.GENERAL}, one
        assert bool(one.by) is (one.status != "not"), f"{one.short}: {one.status}, by {one.by!r}"


def test_every_family_has_entries_and_a_paper_is_in_a_group_once():
    for key in theme.FAMILIES:
        assert survey.of_family(key), key
    placed = [(one.family, one.group, one.title) for one in ENTRIES]
    assert len(set(placed)) == len(placed)
    for stage in ("network", "sampling"):
        for key in (k for k, look in theme.FAMILIES.items() if look.stage == stage):
            assert all(bool(one.group) is (stage == "network") for one in survey.of_family(key))


def test_whatever_runs_or_covers_an_entry_is_here():
    for one in ENTRIES:
        assert not one.by or one.by in METHODS or one.by in EMBEDDED, f"{one.short} by {one.by}: no such method"


def test_no_method_of_the_registry_is_told_to_be_missing():
    papers = {method.paper: name for name, method in METHODS.items()}
    for one in ENTRIES:
        name = papers.get(one.paper)
        assert name is None or one.status != "not", (
            f"{one.short} ({one.paper}) runs here as {name}: say so in app/catalog/survey/entries.csv, with status here"
        )


def test_a_method_from_an_entrys_paper_is_what_runs_it():
    for name, method in METHODS.items():
        own = [one for one in ENTRIES if one.paper == method.paper or one.short == SAME.get(name)]
        assert not own or any(one.status == "here" for one in own), name


def test_a_paper_with_one_name_has_it_everywhere():
    for one in ENTRIES:
        assert {other.short for other in ENTRIES if other.title == one.title} == {one.short}


# tasks ---------------------------------------------------------------------------------------------------------------


def test_every_task_of_the_registry_and_of_the_bench_is_one_of_the_seven():
    assert len(survey.TASKS) == 7
    for method in METHODS.values():
        assert method.task in survey.OF_REGISTRY, f"task {method.task!r} of {method.name}: add it to app/catalog/survey"
    assert set(survey.OF_BENCH) == set(BENCH), "a task of bench.methods: add it to app/catalog/survey"
    named = {task for tasks in survey.OF_REGISTRY.values() for task in tasks} | set(survey.OF_BENCH.values())
    assert named <= {*survey.TASKS, survey.GENERAL}


def test_every_entry_of_a_task_lies_in_a_family_that_can_do_it():
    for task in survey.TASKS:
        families = taxonomy_panels.families_of(task)
        assert {one.family for one in ENTRIES if task in one.tasks} <= set(families)
        assert families == sorted(families, key=list(theme.FAMILIES).index)
        for family, names in taxonomy_panels.methods_of(task).items():
            assert family in families or not names
            assert len(set(names)) == len(names)


def test_measured_tables_are_read_as_the_bench_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(taxonomy_panels, "TABLES", tmp_path)
    assert "Not measured yet: edit, edit own" in taxonomy_panels.measured("editing")
    assert "python -m bench.methods --task edit --markdown" in taxonomy_panels.measured("editing")
    lines = [
        "### Editing on still-life",
        "",
        "| | done % | s |",
        "| --- | --- | --- |",
        "| a <b> | 0.5 ± 0.1 | 2.0 |",
        "",
    ]
    (tmp_path / "edit.md").write_text(
        "\n".join([*lines, "### Editing on other", "", "| | x |", "| --- | --- |", "| c | 1 |"])
    )
    found = taxonomy_panels.tables(tmp_path)["edit"]
    assert found == [
        ("Editing on still-life", ["", "done %", "s"], [["a <b>", "0.5 ± 0.1", "2.0"]]),
        ("Editing on other", ["", "x"], [["c", "1"]]),
    ]
    html = taxonomy_panels.measured("editing")
    assert "a &lt;b&gt;" in html and "0.5 ± 0.1" in "".join(Tags(html).words) and "Not measured yet: edit own" in html
    Tags(html)
    (tmp_path / "edit.md").write_text("| nothing\n\nbut words")
    assert "edit" not in taxonomy_panels.tables(tmp_path)
    assert "no ground truth is rendered" in taxonomy_panels.measured("customization")


# what is drawn -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", theme.FAMILIES)
def test_a_diagram_is_plain_svg_in_the_familys_hue(family):
    svg = diagrams.diagram(family)
    tags = Tags(svg)
    assert f"--family:var(--nw-{family})" in svg and "#" not in svg, "its own colours are left out on the page"
    marked = [
        given for _, given in tags.tags if {"nw-d-own", "nw-d-mark", "nw-d-frame"} & {*given.get("class", "").split()}
    ]
    assert marked, "nothing is in the family's hue"
    assert tags.tags[0][1]["role"] == "img" and tags.tags[0][1]["aria-label"] == diagrams.CHANGES[family][1]
    sheet = (diagrams.FOLDER.parent / "taxonomy.css").read_text()
    classes = {name for _, given in tags.tags for name in given.get("class", "").split()} - {"nw-d-word"}
    assert classes and all(f".{name}" in sheet for name in classes), "the page has no colour for it"
    others = {diagrams.diagram(other) for other in theme.FAMILIES if other != family}
    assert svg not in others


def test_the_tree_has_a_dot_for_every_entry_and_a_button_for_every_family():
    svg = tree.drawn()
    tags = Tags(svg)
    assert "".join(tags.words).count(": ") == len(ENTRIES) == sum(tag == "title" for tag, _ in tags.tags)
    buttons = [given for _, given in tags.tags if given.get("role") == "button"]
    assert [given["data-family"] for given in buttons] == list(theme.FAMILIES)
    assert all(given["tabindex"] == "0" and given["aria-label"] for given in buttons)
    assert Tags(tree.listed()).of("data-family") == list(theme.FAMILIES)


def test_a_panel_for_each_family_and_task_and_every_way_leads_somewhere(page):
    shown = page.of("data-panel")
    assert shown == ["", *theme.FAMILIES, *(f"task:{key}" for key in survey.TASKS), "models"]
    ids = page.of("id")
    assert len(set(ids)) == len(ids) and set(page.of("aria-labelledby")) <= set(ids)
    rows = page.of("data-way")
    assert len(set(rows)) == len(rows) and set(METHODS) <= set(rows)
    assert set(page.of("data-way-of")) <= set(rows), "a word that opens no row"
    assert len(page.of("data-status")) == len(ENTRIES)


def test_every_method_shows_its_equation_knobs_cost_and_paper_and_can_be_tried(page):
    html = taxonomy_panels.panels()
    tried = page.of("data-try")
    for name, one in catalogue()["methods"].items():
        row = taxonomy_panels.method(one)
        assert row in html
        words = "".join(Tags(row).words)
        assert "".join(one["equation"].replace("`", "").split()) in "".join(words.split())
        assert one["cost"] in words and f"arXiv {one['paper']}" in words
        assert all(knob["label"] in words for knob in one["knobs"])
        assert (name in tried) is not one["fixed"]


def test_links_go_to_papers_and_nothing_else_leaves_the_machine(page):
    for tag, given in page.tags:
        if tag == "a":
            assert given["rel"] == "noreferrer noopener" and given["href"].startswith("https://")
        assert "://" not in given.get("src", "")
    assert all("://" not in given.get("src", "") for _, given in Tags(taxonomy._side()).tags)


# images and serving ------------------------------------------------------------------------------------------------


def test_an_example_image_is_served_where_there_is_one_and_its_place_is_kept_where_not(tmp_path, monkeypatch):
    monkeypatch.setattr(taxonomy_panels, "EXAMPLES", tmp_path)
    one = catalogue()["methods"]["ilvr"]
    assert "<img" not in taxonomy_panels.method(one) and "nw-way-blank" in taxonomy_panels.method(one)
    (tmp_path / "ilvr.webp").write_bytes(b"RIFF")
    source = Tags(taxonomy_panels.method(one)).of("src")[0]
    client = TestClient(Starlette(routes=all_routes(AppState("exact", History(tmp_path / "history")))))
    assert client.get(f"/{source}").content == b"RIFF"
    for bad in ("nothing", "..%2f..%2fentries", "ILVR"):
        assert client.get(f"/taxonomy/examples/{bad}.webp").status_code == 404


def test_the_images_in_the_checkout_are_those_of_methods_and_small():
    kept = list(taxonomy_panels.EXAMPLES.glob("*"))
    assert {path.stem for path in kept} <= {*METHODS, *EMBEDDED}
    assert sum(path.stat().st_size for path in kept) < 600_000
