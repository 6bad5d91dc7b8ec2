"""The stage of Create: a batch as a grid, an image under a slider with what it was made from."""

import re
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.sync_api import expect

from app.schema.png_metadata import read
from tests.browser.conftest import RUN


def test_a_batch_is_a_grid_whose_images_are_seen_alone_and_taken_along(me):
    me.paint(steps=3, count=3, seed=100)
    me.sees("done")
    cells = me.page.locator("#stage .nw-pick")
    expect(cells).to_have_count(3)
    expect(me.label).to_contain_text("Seed 100 to 102")
    with me.page.expect_download() as got:
        me.button("Download grid PNG").click()
    with Image.open(got.value.path()) as sheet:
        recipe = read(sheet.info["parameters"]).recipe
        assert sheet.size == (256, 256) and (recipe.seed, recipe.count) == (100, 3)
    with me.page.expect_download() as got:
        me.button("Download zip").click()
    with ZipFile(got.value.path()) as archive:
        assert len(archive.namelist()) == 3
    me.page.get_by_role("button", name="Add a method").click()
    me.page.get_by_role("dialog", name="Add a method").get_by_label("Search methods").fill("img2img")
    me.page.get_by_role("button", name="Add: SDEdit").click()
    card = me.page.locator("[id='methods.0']")
    card.get_by_role("button", name="Use the current image").click()
    expect(card).to_contain_text("A batch is in view: click on one of its images first.")
    cells.nth(1).click()
    card.get_by_role("button", name="Use the current image").click()
    expect(card.locator(".nw-given img")).to_be_visible()
    card.get_by_role("button", name="Remove: ").click()
    expect(me.label).to_contain_text("Seed 101")
    me.away()
    me.page.keyboard.press("Escape")
    expect(cells).to_have_count(3)
    cells.nth(2).click()
    me.button("All images of the batch").click()
    expect(cells).to_have_count(3)
    me.page.reload()
    expect(cells).to_have_count(3, timeout=RUN)
    me.paint(steps=150, count=2)  # while they form, too
    running = me.page.locator("#stage .nw-stage[data-state=running] .nw-pick")
    running.nth(1).click(timeout=RUN)
    expect(running.nth(0)).to_be_hidden()
    expect(me.label).not_to_have_text(me.label.inner_text())  # drawn anew, and still alone
    expect(running.nth(0)).to_be_hidden()
    running.nth(1).click()
    expect(running.nth(0)).to_be_visible()
    me.page.keyboard.press("Escape")
    me.sees("stopped")


def test_an_image_lies_under_a_slider_with_its_source(me, accessible):
    """By the keyboard, by the mouse, after a reload and in History."""
    me.put("steps", 3)
    me.page.locator("#stage [data-task=mask]").click()
    me.sees("done")
    stage = me.page.locator("#stage")
    button, slider = me.button("Compare with the source"), stage.get_by_role("slider")
    button.click()
    expect(slider).to_have_attribute("aria-valuenow", "50")
    expect(button).to_have_attribute("aria-pressed", "true")
    accessible(me.page, "#result")
    slider.press("ArrowLeft")
    slider.press("PageUp")
    expect(slider).to_have_attribute("aria-valuenow", "58")
    box = stage.locator(".nw-before").bounding_box()
    me.page.mouse.move(box["x"] + 0.58 * box["width"], box["y"] + 20)
    me.page.mouse.down()
    me.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 30, steps=3)
    me.page.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "25")
    assert stage.locator(".nw-over").evaluate("over => getComputedStyle(over).clipPath") == "inset(0px 75% 0px 0px)"
    image = stage.locator(".nw-over img")
    assert image.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [128, 128]
    assert list(image.bounding_box().values()) == pytest.approx(list(box.values()), abs=1)
    button.click()
    expect(slider).to_have_count(0)
    button.click()
    expect(slider).to_have_attribute("aria-valuenow", "25")
    me.put("steps", 3)
    me.put("count", 2)  # another run ends it, and it goes on while one walks through images
    me.button("Generate").click()
    me.page.locator("#stage .nw-stage[data-state=done] .nw-pick").first.click(timeout=RUN)
    expect(slider).to_have_count(0)
    button.click()
    expect(slider).to_be_visible()
    me.away()
    me.page.keyboard.press("ArrowRight")
    expect(me.label).to_contain_text("Seed 2")
    expect(slider).to_have_attribute("aria-valuenow", "25")
    me.page.reload()
    me.page.locator("#stage .nw-pick").first.click()
    button.click()
    expect(slider).to_be_visible()
    me.page.get_by_role("tab", name="History").click()
    me.page.locator(".nw-card").first.click()
    detail = me.page.locator("#detail")
    detail.get_by_role("button", name="Compare with the source").click()
    expect(detail.get_by_role("slider")).to_be_visible()


def test_a_source_that_is_made_when_asked_can_be_stopped(me):
    """By a second click: its run ends, and nothing else changes."""
    me.page.get_by_role("button", name="Add a method").click()
    me.page.get_by_role("tab", name=re.compile("^Attention")).click()
    me.put("steps", 150)
    me.page.get_by_role("button", name=re.compile("^Try an example: Prompt-to-prompt")).first.click()
    me.sees("done")
    button = me.button("Compare with the source image")
    button.click()
    stop = me.button("Stop making the source image")
    stop.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(button).not_to_have_attribute("aria-busy", "true")
    expect(me.page.locator("#stage .nw-problem, #stage .nw-before")).to_have_count(0)
    me.paint("a red cube", steps=3)  # the engine is free for it
    me.sees("done")
