"""The tab "Trajectory" as a person uses it: runs followed, a slider over the steps, plots turned and taken along."""

import csv
import io

import pytest
from playwright.sync_api import expect

RUN = 240_000  # ms for a few runs, on a busy machine


class Paths:
    """The open tab."""

    def __init__(self, me):
        self.me, self.page = me, me.page
        self.page.get_by_role("tab", name="Trajectory").click()
        self.page.locator("#follow-ready").wait_for()

    def opened(self):
        found = self.page.locator("#paths .nw-board[data-state=open]:not([data-stored])")
        found.wait_for(timeout=RUN)
        return found

    @property
    def runs(self):
        return self.page.locator("#paths .nw-run")

    def region(self, name):
        return self.page.locator("#paths").get_by_role("region", name=name, exact=True)


@pytest.fixture
def paths(me):
    me.put("steps", 4)
    me.prompt.fill("a large red cube to the left of a small blue sphere on grass")
    return Paths(me)


def test_runs_are_followed_looked_at_and_taken_along(paths, accessible):
    page = paths.page
    expect(page.locator("#paths [data-stored]")).to_contain_text("came with the app")  # before any is followed
    paths.me.drawer("Choose what differs")
    page.locator("#along input").click()
    page.get_by_role("option", name="CFG Scale", exact=True).click()
    page.get_by_label("Values, comma-separated").last.fill("1, 6")
    page.get_by_label("Read attention to words as well").check()
    page.locator("#follow").click()
    paths.opened()
    expect(paths.runs).to_have_count(2)
    expect(paths.runs.nth(1)).to_contain_text("Departs from the first run at step")
    status = paths.runs.first.locator(".nw-status")
    expect(status).to_have_text("step 4 of 4 · sigma 0")
    page.locator("#path-step").fill("1")
    expect(status).to_contain_text("step 1 of 4")
    strip = paths.region("Film strips").locator(".nw-strip").first
    box = strip.locator("img").bounding_box()
    strip.click(position={"x": box["width"] * 0.7, "y": 20})  # of five frames the fourth
    expect(status).to_contain_text("step 3 of 4")
    plot = page.locator(".nw-paths")
    plot.evaluate("plot => plot.scrollIntoView({ block: 'center', behavior: 'instant' })")
    before = plot.locator("path.nw-line").first.get_attribute("d")
    dot = plot.locator("circle").nth(2).bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    expect(plot.locator("text.nw-name")).to_contain_text("sigma")
    page.mouse.down()
    page.mouse.move(dot["x"] + 60, dot["y"] + 40, steps=4)
    page.mouse.up()
    assert page.locator(".nw-paths path.nw-line").first.get_attribute("d") != before, "turned"
    page.get_by_role("button", name="From the front").click()
    page.get_by_role("button", name="Denoising path").click()
    page.get_by_role("button", name="Against the noise level").click()
    expect(paths.region("Figures").locator(".nw-chart")).to_have_count(7)
    for kind, head in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as got:
            page.get_by_role("button", name=f"Deviation from the chord as {kind}").click()
        assert got.value.path().read_bytes().startswith(head)
    with page.expect_download() as got:
        page.get_by_role("link", name="Figures (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(got.value.path().read_text())))
    assert [row["run"] for row in rows] == ["CFG Scale 1"] * 5 + ["CFG Scale 6"] * 5
    paths.runs.nth(1).get_by_role("button", name="Attention to words").click()
    expect(page.locator("#path-attention .nw-maps")).to_contain_text("cube")
    accessible(page)


def test_an_image_and_a_cell_open_in_trajectory(paths):
    page = paths.page
    page.get_by_role("tab", name="Create").click()
    paths.me.paint("a small blue sphere on snow", steps=3)
    paths.me.sees("done")
    page.locator("#stage").get_by_role("button", name="Open in Trajectory").click()
    paths.opened()
    expect(page.get_by_role("tab", name="Trajectory")).to_have_attribute("aria-selected", "true")
    expect(paths.runs.locator("h3")).to_have_text(["the prompt", "no condition"])
    expect(page.locator("#paths h2")).to_have_text("a small blue sphere on snow")
    page.get_by_role("tab", name="Compare").click()
    paths.me.drawer("Make your own")
    page.get_by_label("Values, comma-separated").first.fill("7")
    page.locator("#compare-make").click()
    expect(page.locator("#compare-result .nw-status").first).to_have_text("1 of 1 cells", timeout=RUN)
    cell = page.locator(".nw-cell[data-status=done]")
    cell.get_by_role("button").click()
    page.get_by_role("button", name="Send A to Trajectory").click()
    expect(page.get_by_role("tab", name="Trajectory")).to_have_attribute("aria-selected", "true")


def test_what_cannot_be_followed_is_said_and_a_long_one_is_cancelled(paths):
    page = paths.page
    page.get_by_role("tab", name="Create").click()
    paths.me.put("steps", 150)
    page.get_by_role("tab", name="Trajectory").click()
    paths.me.drawer("Choose what differs")
    page.locator("#along input").click()
    page.get_by_role("option", name="Seed", exact=True).click()
    page.locator("#follow").click()
    expect(page.locator("#trajectory-note")).to_contain_text("there are no values")
    page.get_by_label("Values, comma-separated").last.fill("1, 2")
    page.locator("#follow").click()
    progress = page.locator("#paths [data-state=running] .nw-status")
    expect(progress).to_contain_text("of 300", timeout=RUN)
    page.reload()  # what is under way is joined again, and what was chosen is still there
    expect(progress).to_contain_text("of 300", timeout=RUN)
    expect(page.get_by_label("Values, comma-separated").last).to_have_value("1, 2")
    page.locator("#follow-cancel").click()
    expect(page.locator("#trajectory-note")).to_contain_text("cancelled", timeout=RUN)
    expect(page.locator("#follow")).to_be_enabled()


def test_no_sideways_scroll_on_a_phone(paths):
    paths.page.locator("#follow-ready [data-ready=condition]").click()
    paths.opened()
    paths.page.reload()  # the address names what was followed
    paths.opened()
    paths.page.set_viewport_size({"width": 360, "height": 780})
    assert paths.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
