"""The tab "Compare" as a person uses it: cells, the slider, ranks, votes, exports; cancelled, reloaded, resumed."""

import json
import re

import pytest
from playwright.sync_api import expect

RUN = 60_000  # ms for all cells, on a busy machine


class Board:
    """The open tab."""

    def __init__(self, me):
        self.me, self.page = me, me.page
        self.page.get_by_role("tab", name="Compare").click()
        self.page.locator("#ready").wait_for()

    @property
    def status(self):
        return self.page.locator(".nw-board .nw-status")

    def cells(self, status="done"):
        return self.page.locator(f".nw-cell[data-status={status}]")

    def own(self, columns=(), rows="0, 1", kind=None):
        """A comparison of one's own, over the settings of Create."""
        make = self.page.locator("#compare-make")
        if not make.is_visible():
            self.me.drawer("Make your own")
        for name in columns:
            field = self.page.locator("#columns input")
            field.click()
            field.fill(name)
            self.page.get_by_role("option", name=name, exact=True).click()
        self.page.keyboard.press("Escape")
        if kind:
            self.page.locator("#rows input").click()
            self.page.get_by_role("option", name=kind, exact=True).click()
        values = self.page.get_by_label("Values, comma-separated").first
        values.fill(rows)
        values.press("Tab")  # as a person leaves a field: what is filled within a tick of a render may be lost
        expect(values).to_have_value(rows)
        make.click()


@pytest.fixture
def board(me):
    me.put("steps", 2)
    me.prompt.fill("a large red cube to the left of a small blue sphere on grass")
    return Board(me)


def test_cells_fill_and_two_lie_under_a_slider(board, accessible):
    page = board.page
    board.own(["The stack of Create", "Perturbed-attention guidance"], "0, 1")
    expect(board.status).to_have_text("4 of 4 cells", timeout=RUN)
    expect(board.cells()).to_have_count(4)
    assert page.locator(".nw-cell img").first.evaluate("image => image.naturalWidth") == 128
    board.cells().nth(0).get_by_role("button").click()
    expect(page.locator(".nw-side h3")).to_contain_text("choose another cell")
    board.cells().nth(3).get_by_role("button").click()
    expect(page.locator(".nw-side")).to_contain_text("of 255 on average")
    expect(page.locator(".nw-side .nw-frame").first).to_be_in_viewport()
    assert page.locator(".nw-side").evaluate("side => side.previousElementSibling.contains(document.activeElement)"), (
        "below the row that was clicked"
    )
    line = page.get_by_label("How much is shown of A")
    line.press("End")
    line.press("Home")
    for _ in range(2):
        line.press("Shift+ArrowRight")
    assert page.locator(".nw-over").evaluate("over => getComputedStyle(over).clipPath") == "inset(0px 80% 0px 0px)"
    frames = page.locator(".nw-side .nw-frame img")
    frame = page.locator(".nw-side .nw-frame").first
    expect(frame).to_have_css("touch-action", "pan-y")  # a finger on it scrolls the page
    frames.first.hover()
    page.mouse.wheel(0, -200)
    expect(frame).to_have_css("touch-action", "none")  # and moves what is enlarged
    zooms = frames.evaluate_all("all => all.map(image => getComputedStyle(image).transform)")
    assert len(zooms) >= 2 and len(set(zooms)) == 1 and zooms[0] != "matrix(1, 0, 0, 1, 0, 0)", "zoomed in step"
    box = frames.first.locator("xpath=ancestor::*[contains(@class, 'nw-frame')]").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 15, box["y"] + box["height"] / 2 + 10, steps=3)
    page.mouse.up()
    moved = frames.evaluate_all("all => all.map(image => getComputedStyle(image).transform)")
    assert len(set(moved)) == 1 and moved[0] != zooms[0], "moved in step"
    page.get_by_label("Sort columns by").select_option("Caption accuracy")
    expect(page.locator(".nw-cell figcaption").first).to_contain_text("Caption accuracy")
    expect(page.locator(".nw-scatter")).to_have_count(2)
    expect(page.locator(".nw-scatter text").first).to_have_css("opacity", "1")
    expect(page.get_by_role("region", name="Ranks")).to_contain_text("On renders this measure gives")
    accessible(page)
    page.get_by_role("button", name="The left one").click()
    votes = page.get_by_role("region", name="Blind vote")
    expect(votes).to_contain_text("Ratings after 1 vote")
    page.get_by_role("button", name="Both are as good").click()
    expect(votes).to_contain_text("Ratings after 2 votes")
    page.get_by_role("button", name="Neither is good").click()
    expect(votes).to_contain_text("Neither was good in 1 vote")
    with page.expect_download() as got:
        page.get_by_role("link", name="Comparison file").click()
    file = got.value.path()
    assert json.loads(file.read_text())["comparison"]["base"]["steps"] == 2
    page.locator("#compare-files input[type=file]").set_input_files(
        {"name": "c.json", "mimeType": "application/json", "buffer": file.read_bytes()}
    )
    expect(page.locator("#compare-note")).to_contain_text("Nothing differs here")
    expect(board.status).to_contain_text("0 of 4 cells")


def test_junk_is_refused_before_it_is_kept_and_a_cell_goes_to_create(board):
    page = board.page
    expect(page.locator("#compare-note")).to_contain_text("came with the app")  # a finished one, before any is made
    expect(board.cells()).not_to_have_count(0)
    board.own(rows=" ")
    expect(page.locator("#compare-note")).to_contain_text("there are no values")
    board.own(rows="2, 0", kind="Sampling steps")
    expect(page.locator("#compare-note")).to_contain_text("0 is out of range")
    expect(page.locator("#compare-cost")).to_contain_text("0 is out of range")
    expect(board.cells("failed")).to_have_count(0)
    board.own(rows="1-2")
    expect(board.status).to_have_text("2 of 2 cells", timeout=RUN)
    board.cells().first.get_by_role("button").click()
    page.get_by_role("button", name="Send A to Create").click()
    expect(page.locator("#restored")).to_contain_text("are in the controls")
    expect(board.me.prompt).to_have_value("a large red cube to the left of a small blue sphere on grass")


def test_cancelled_reloaded_and_resumed(board):
    page = board.page
    board.me.page.get_by_role("tab", name="Create").click()
    board.me.put("steps", 20)
    page.get_by_role("tab", name="Compare").click()
    board.own(rows=", ".join(map(str, range(7))))
    expect(board.status).to_contain_text("of 7 cells", timeout=RUN)  # and no longer the example's
    expect(board.cells().first).to_be_visible(timeout=RUN)
    page.locator("#compare-cancel").click()
    expect(board.status).to_contain_text("stopped", timeout=RUN)
    there = board.cells().count()
    assert 1 <= there < 7
    page.reload()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#kept input").click()
    page.locator(".options [role=option]").first.click()
    expect(board.cells()).to_have_count(there)
    page.locator("#resume").click()
    expect(board.status).to_have_text("7 of 7 cells", timeout=RUN)
    page.set_viewport_size({"width": 360, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing scrolls sideways on a phone"


def test_on_a_phone_what_can_be_compared_comes_first_and_results_have_room(me):
    page = me.page
    page.set_viewport_size({"width": 360, "height": 780})
    board = Board(me)
    expect(page.locator("#compare-note")).to_contain_text("came with the app")
    expect(board.cells()).not_to_have_count(0)
    assert page.evaluate("scrollY") == 0, "the example does not push away the list"
    assert page.locator("#compare button:disabled:visible").count() == 0
    assert board.cells().first.bounding_box()["x"] < 300, "what the columns were given leaves room for them"


def test_every_ready_made_comparison_begins_with_one_click(board):
    page = board.page
    ready = page.locator("#ready [data-ready]")
    titles = [one.strip() for one in ready.locator("b").all_inner_texts()]
    assert len(titles) >= 9
    for place, title in enumerate(titles):
        ready.nth(place).click()
        expect(page.locator(".nw-board h2")).to_have_text(title, timeout=RUN)
        expect(page.locator("#compare-cancel")).to_be_enabled(timeout=RUN)
        expect(page.locator(".nw-cell:is([data-status=running], [data-status=done])").first).to_be_visible(timeout=RUN)
        assert board.cells("failed").count() == 0, "no cell of a ready-made comparison is one that cannot be"
        page.locator("#compare-cancel").click()
        expect(page.locator("#compare-cancel")).to_be_disabled(timeout=RUN)
    assert page.locator(".nw-heads > div").count() >= 12, "the last one has many columns"
    above, narrowest = page.locator(".nw-many").evaluate("""grid => {
        const top = (one) => one.getBoundingClientRect().top, images = [...grid.querySelectorAll('.nw-cell-image')];
        grid.scrollTop = grid.scrollHeight;
        const heads = grid.querySelector('.nw-heads > div');
        return [top(heads) - top(grid), Math.min(...images.map((one) => one.clientWidth))];
    }""")
    assert above == pytest.approx(0, abs=1), "heads stay in view as rows go by"
    assert narrowest >= 100, "an image is still one"
    page.set_viewport_size({"width": 390, "height": 844})
    left = page.locator(".nw-many").evaluate("""grid => {
        grid.scrollLeft = grid.scrollWidth;
        return grid.querySelector('[role=rowheader]').getBoundingClientRect().left - grid.getBoundingClientRect().left;
    }""")
    assert left == pytest.approx(0, abs=1), "the names of rows stay in view, however far one scrolls"


def test_further_axes_are_tabs_of_grids_and_all_of_it_can_be_taken_along(board):
    page = board.page
    page.keyboard.press("Escape")
    board.me.drawer("Make your own")
    page.locator("#tabs input").click()
    page.get_by_role("option", name="CFG Scale", exact=True).click()
    page.get_by_label("Values, comma-separated").nth(1).fill("1, 4")
    board.own(rows="0, 1")
    expect(board.status).to_have_text("4 of 4 cells", timeout=RUN)
    expect(board.cells()).to_have_count(2)
    grids = page.locator(".nw-board-tools .nw-act[aria-pressed]")
    shown = page.locator(".nw-cell img").first.get_attribute("src")
    grids.filter(has_text="CFG Scale 4").click()
    expect(grids.filter(has_text="CFG Scale 4")).to_have_attribute("aria-pressed", "true")
    expect(board.cells()).to_have_count(2)
    assert page.locator(".nw-cell img").first.get_attribute("src") != shown
    begins = {"Image": b"\x89PNG", "Page": b"<!doctype html", "CSV": b"method,", "Comparison file": b"{"}
    for name, head in begins.items():
        with page.expect_download() as got:
            page.get_by_role("link", name=name, exact=True).click()
        found = got.value.path().read_bytes()
        assert found[: len(head)].lower() == head.lower(), name
        if name == "Page":
            assert found.count(b"data:image/png;base64,") >= 4
            assert b"http" not in found.replace(b"http://www.w3.org", b""), "nothing is fetched from elsewhere"


def test_own_images_are_rows(board):
    from io import BytesIO

    from PIL import Image

    page, files = board.page, []
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        buffer = BytesIO()
        Image.new("RGB", (96, 96), colour).save(buffer, "PNG")
        files.append({"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()})
    page.get_by_role("tab", name="Create").click()
    page.get_by_role("button", name="Add a method").click()
    page.get_by_role("tab", name=re.compile("^Inversion")).click()
    page.get_by_role("button", name="Try an example: SDEdit (image to image)", exact=True).click()
    board.me.sees("done")
    board.me.put("steps", 2)
    page.locator("#as-column").click()
    expect(page.locator("#restored")).to_contain_text("column 1 of Compare")
    page.get_by_role("tab", name="Compare").click()
    board.me.drawer("Make your own")
    expect(page.locator("#added-columns img")).to_have_count(1)
    page.locator("#compare-images input[type=file]").set_input_files(files)
    expect(page.locator("#compare-note")).to_contain_text("2 images are there")
    board.own(rows="red, blue")
    expect(board.status).to_have_text("2 of 2 cells", timeout=RUN)
    expect(page.get_by_role("columnheader", name="Source")).to_be_visible()
    board.cells().first.get_by_role("button").click()
    expect(page.locator(".nw-side figcaption", has_text="Source")).to_be_visible()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Title of the comparison").fill("Red and blue")
    page.keyboard.press("Enter")
    expect(page.locator(".nw-board h2")).to_have_text("Red and blue")
    page.locator(".nw-board-head").get_by_role("button", name="Duplicate").click()
    expect(page.locator(".nw-board h2")).to_have_text("Red and blue (copy)")
    expect(board.status).to_have_text("2 of 2 cells")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".nw-board h2")).to_have_text("Deleted")
    page.locator("#kept input").click()
    expect(page.get_by_role("option").first).to_contain_text("Red and blue · 2 images")
    page.keyboard.press("Escape")
    board.own([], rows="green")
    expect(page.locator("#compare-note")).to_contain_text("No image 'green'")
