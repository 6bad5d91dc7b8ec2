"""The Create tab as a person uses it."""

import re
from io import BytesIO
from urllib.parse import urlparse

import pytest
from PIL import Image
from playwright.sync_api import expect

from app.catalog.tasks import TASKS
from tools.screenshots import App


def test_type_and_watch_the_image_form(regular):
    regular.page.evaluate(
        """() => {
            window.seen = { images: new Set(), words: new Set() };
            new MutationObserver(() => {
                for (const image of document.querySelectorAll('#stage .nw-sheet img')) seen.images.add(image.src);
                seen.words.add(document.querySelector('#stage .nw-status')?.textContent);
            }).observe(document.querySelector('#stage'), { subtree: true, childList: true, attributes: true });
        }"""
    )
    regular.paint(steps=25, count=2)
    regular.sees("done")
    images, words = regular.page.evaluate("[seen.images.size, [...seen.words].filter(Boolean)]")
    assert images > 2, "the image should form in view"
    assert any(re.search(r"Step \d+ of \d+", text) for text in words), words
    assert any(re.search(r"\d s left", text) for text in words), words


def test_an_image_comes_with_its_settings_and_a_png_that_keeps_them(regular):
    regular.paint("a blue cube on grass", seed=1234, steps=4)
    done = regular.sees("done")
    assert "1234" in done.locator(".nw-status").inner_text()
    done.get_by_text("Settings of this image").click()
    assert "a blue cube on grass" in done.locator("dl").inner_text()
    got = regular.download()
    assert got.suggested_filename == "nine-ways-1234.png"
    with Image.open(got.path()) as image:
        assert image.format == "PNG" and "a blue cube on grass" in image.info["parameters"]


def test_cancel_stops_within_a_step_and_the_next_run_works(regular):
    regular.paint_long()
    shown = int(regular.page.locator("#stage [role=progressbar]").get_attribute("aria-valuenow"))
    regular.page.get_by_role("button", name="Cancel").click()
    words = regular.sees("stopped").locator(".nw-status").inner_text()
    assert int(re.search(r"Cancelled at step (\d+) of 150", words)[1]) <= shown + 3  # the click took a moment
    regular.paint(steps=3, count=1)
    regular.sees("done")


def test_escape_cancels_and_question_mark_lists_the_keys(regular):
    regular.paint_long()
    regular.page.keyboard.press("Escape")
    regular.sees("stopped")
    regular.away()
    regular.page.keyboard.press("?")
    dialog = regular.page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    assert "Generate" in dialog.inner_text()
    regular.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_question_mark_in_the_prompt_is_a_character(onlooker):
    prompt = onlooker.prompt
    prompt.fill("")
    prompt.press_sequentially("why?")
    assert prompt.input_value() == "why?" and not onlooker.page.get_by_role("dialog", name="Keys").is_visible()


def test_a_downloaded_image_restores_its_settings(me, tmp_path):
    me.paint("a green cone on sand", seed=77, steps=5, cfg_scale=3)
    me.sees("done")
    file = tmp_path / "mine.png"
    me.download().save_as(file)
    me.paint("something else", seed=5, steps=3, cfg_scale=1)
    expect(me.label).to_contain_text(re.compile(r"Seed 5\b"), timeout=60_000)

    me.page.locator("#restore-row input[type=file]").set_input_files(file)
    note = me.page.locator("#restored .nw-note")
    note.wait_for()
    assert "mine.png" in note.inner_text() and "Nothing differs" in note.inner_text()
    assert me.prompt.input_value() == "a green cone on sand"
    assert [me.number(name).input_value() for name in ("seed", "steps", "cfg_scale")] == ["77", "5", "3"]


DROP = """([selector, type, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], 'given.png', { type: 'image/png' }));
    const options = { bubbles: true, cancelable: true }, target = document.querySelector(selector);
    if (type === 'paste') target.dispatchEvent(new ClipboardEvent(type, { clipboardData: data, ...options }));
    else for (const one of ['dragenter', 'dragover', type])
        target.dispatchEvent(new DragEvent(one, { dataTransfer: data, ...options }));
}"""


def test_a_dropped_or_pasted_image_is_asked_what_it_is_for(me, accessible):
    """On whatever tab: its settings come back, or it becomes the source of a method that this model can run."""
    page, chooser = me.page, me.page.get_by_role("dialog", name="What is this image for?")
    me.paint("a yellow torus", seed=78, steps=3)
    me.sees("done")
    made = list(me.download().path().read_bytes())
    me.prompt.fill("other")
    page.evaluate(DROP, ["#stage", "drop", made])
    first = chooser.locator(".nw-use").first
    expect(first).to_contain_text("a yellow torus")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#restored .nw-note", has_text="given.png").wait_for()
    assert me.prompt.input_value() == "a yellow torus"

    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#create")).to_be_hidden()
    buffer = BytesIO()
    Image.new("RGB", (96, 64), "teal").save(buffer, "PNG")
    page.evaluate(DROP, ["body", "paste", list(buffer.getvalue())])
    expect(chooser).to_contain_text("96 × 64 pixels. It carries no settings")
    expect(chooser.locator(".nw-use", has_text="settings")).to_have_count(0)
    accessible(page, "dialog[open]")
    chooser.locator(".nw-use", has_text="img2img").click()
    card = page.locator("[id='methods.0']")
    expect(card).to_contain_text("SDEdit")
    expect(card.locator(".nw-given img")).to_be_visible()
    expect(page.locator("#create")).to_be_visible()

    page.evaluate(DROP, ["[id='methods.0.inputs.source'] .nw-image-field", "paste", made])  # a field takes it itself
    expect(chooser).to_be_hidden()
    page.evaluate(DROP, ["#stage", "drop", made])
    chooser.locator(".nw-use", has_text="ControlNet: its depth").click()
    figure = page.locator("[id='methods.0.inputs.depth'] .nw-measured")
    expect(figure.locator("img")).to_be_visible()
    expect(figure).to_contain_text("The map that the network reads.")
    accessible(page, "[id='methods.0']")
    page.get_by_label("Depth preprocessor").select_option("as it is")
    expect(figure).to_have_count(0)
    page.evaluate(DROP, ["body", "drop", list(b"no image")])
    expect(chooser.get_by_role("alert")).to_contain_text("given.png: This file is no image")


@pytest.mark.parametrize("content", [b"no image at all", None], ids=["text", "plain png"])
def test_a_file_without_settings_is_refused_in_words(onlooker, tmp_path, content):
    file = tmp_path / "foreign.png"
    if content is None:
        buffer = BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "PNG")
        content = buffer.getvalue()
    file.write_bytes(content)
    onlooker.prompt.fill("still here")
    onlooker.page.locator("#restore-row input[type=file]").set_input_files(file)
    onlooker.page.locator("#restored .nw-error", has_text="foreign.png").wait_for()
    assert onlooker.prompt.input_value() == "still here"
    assert "Traceback" not in onlooker.page.inner_text("body")


def test_settings_go_back_to_the_controls_and_the_seed_is_reused(me):
    me.paint("a red cylinder", seed=4320, steps=3, count=2)
    me.sees("done")
    me.page.locator(".nw-thumb").nth(2).click()  # the seed that is meant is that of the image in view
    me.page.get_by_role("button", name="Set seed to -1").click()
    me.page.wait_for_function("document.querySelector('#seed :is(input, textarea)').value === '-1'")
    me.page.get_by_role("button", name="Reuse the seed of the image in view").click()
    me.page.wait_for_function("document.querySelector('#seed :is(input, textarea)').value === '4321'")
    me.prompt.fill("changed")
    me.page.get_by_role("button", name="Send to Create").click()
    me.page.locator("#restored .nw-note").wait_for()
    assert me.prompt.input_value() == "a red cylinder"


def test_unknown_words_are_pointed_out_and_do_not_stop_the_run(regular):
    regular.paint("a red zebra", steps=3)
    note = regular.page.locator("#unknown")
    expect(note).to_contain_text("zebra")
    regular.sees("done")
    regular.prompt.fill("red")
    expect(note).not_to_contain_text("zebra")
    regular.page.get_by_role("button", name="Write a cube").click()  # the model's words, which Ctrl+Z takes back
    expect(regular.prompt).to_have_value("red a cube")
    regular.page.keyboard.press("Control+z")
    expect(regular.prompt).to_have_value("red")


def test_trouble_is_said_at_the_field(regular):
    regular.paint(steps=3, width=130)
    expect(regular.page.locator("#width .nw-problem")).to_contain_text("130")
    expect(regular.number("width")).to_have_attribute("aria-invalid", "true")
    expect(regular.number("width")).to_be_focused()
    assert not regular.page.locator("#stage [data-state=running]").count()
    regular.number("width").fill("128")
    expect(regular.page.locator("#width .nw-problem")).to_have_count(0)  # gone with the first letter
    regular.paint(steps=3, width=128)
    regular.sees("done")
    assert not regular.page.locator(".nw-problem").count()


def test_a_decimal_comma_is_a_point(regular):
    regular.drawer("Advanced")
    for name, typed, held in (("cfg_scale", "4,5", "4.5"), ("stop_sigma", "2,5", "2.5")):
        field = regular.number(name)
        field.fill("")
        field.press_sequentially(typed)
        expect(field).to_have_value(held)
        field.press("Tab")
        expect(field).to_have_value(held)


def test_what_is_not_used_in_a_closed_drawer_is_said_at_it(me):
    me.drawer("Advanced")
    me.put("variation_seed", 5)
    unused = me.page.locator("#advanced > .nw-unused")
    expect(me.page.locator("#variation_seed .nw-unused")).to_contain_text("at a Variation strength of 0")
    expect(unused).to_be_hidden()
    me.drawer("Advanced")
    expect(unused).to_have_text("Not used: Variation seed.")
    expect(unused).to_be_visible()


def test_a_number_that_cannot_be_is_said_at_its_field_and_stays(onlooker):
    onlooker.prompt.fill("a red sphere")
    for name, typed, said in (
        ("steps", "", "nothing is given. Give a whole number from 1 to 150"),
        ("steps", "300", "300 is out of range. Give a whole number from 1 to 150"),
        ("cfg_scale", "31", "31 is out of range"),
        ("seed", "1.7", "'1.7' is not a whole number"),
        ("seed", "-5", "'-5' is out of range"),
        ("seed", "many", "'many' is not a number"),
    ):
        usual = onlooker.number(name).input_value()
        onlooker.put(name, typed)
        onlooker.prompt.press("Control+Enter")
        expect(onlooker.page.locator(f"#{name} .nw-problem")).to_contain_text(said)
        expect(onlooker.number(name)).to_have_value(typed)
        onlooker.put(name, usual)


def test_trouble_in_a_closed_drawer_opens_it(regular):
    regular.drawer("Advanced")
    regular.put("cfg_start", 0.8)
    regular.put("cfg_end", 0.2)
    regular.drawer("Advanced")
    regular.paint(steps=3)
    expect(regular.page.locator("#cfg_start .nw-problem")).to_be_visible(timeout=30_000)


def test_arrows_walk_the_images_and_a_click_shows_true_pixels(regular):
    regular.paint(steps=3, count=3, seed=100)
    regular.sees("done")
    regular.away()
    for key, seed in (("ArrowRight", "100"), ("ArrowRight", "101"), ("ArrowRight", "102"), ("ArrowLeft", "101")):
        regular.page.keyboard.press(key)
        expect(regular.label).to_contain_text(f"Seed {seed}")
    image = regular.page.locator("#stage .nw-image")
    large = image.locator("img").bounding_box()["width"]
    image.click()
    width = regular.page.evaluate("document.querySelector('#stage .nw-image img').naturalWidth")
    assert image.get_attribute("aria-pressed") == "true"
    assert image.locator("img").bounding_box()["width"] == pytest.approx(width, abs=1) != pytest.approx(large, abs=1)


def test_first_visit_a_task_with_its_images_is_one_click_away(me):
    """Every tile shows what it is about, and a click sets everything and runs."""
    tiles = me.page.locator("#stage .nw-tile")
    expect(tiles).to_have_count(len(TASKS))
    drawn = "(images) => images.every((one) => one.complete && one.naturalWidth > 0)"
    me.page.wait_for_function(f"({drawn})([...document.querySelectorAll('#stage .nw-tile img')])")
    me.put("steps", 3)
    me.page.locator("#stage [data-task=mask]").click()
    me.sees("done")
    expect(me.page.locator("[id='methods.0']")).to_contain_text("Blended latent diffusion")
    assert me.prompt.input_value()
    me.away()
    me.page.keyboard.press("Control+z")  # an example is undone as one change
    expect(me.page.locator("[id='methods.0']")).to_have_count(0)
    expect(me.prompt).to_have_value("")
    expect(me.number("steps")).to_have_value("3")


def test_surprise_writes_a_caption_and_paints_it(me):
    me.put("steps", 3)
    me.page.get_by_role("button", name="Surprise me").click()
    me.sees("done")
    assert len(me.prompt.input_value()) > 10


def test_the_stack_follows_the_controls(onlooker):
    formula = onlooker.page.locator("#stack .nw-formula")
    assert "cfg(ask)" in formula.inner_text()
    onlooker.put("cfg_scale", 1)
    onlooker.page.locator("#stack .nw-formula", has_text=re.compile(r"over ask")).wait_for()
    onlooker.page.get_by_label("Sampling method").click()
    onlooker.page.get_by_role("option", name="Heun", exact=True).click()
    onlooker.page.locator("#stack .nw-formula", has_text="heun").wait_for()


def test_nothing_leaves_the_machine(me, requests):
    me.paint(steps=3)
    me.sees("done")
    me.page.get_by_role("tab", name="History").click()
    me.page.locator(".nw-card").first.wait_for()
    addresses = map(urlparse, requests)
    foreign = [a for a in addresses if a.scheme not in ("data", "blob") and a.hostname != "127.0.0.1"]
    assert not foreign


def test_keyboard_alone_reaches_and_shows_the_focus(me):
    me.prompt.focus()
    names = []
    for _ in range(60):
        me.page.keyboard.press("Tab")
        names.append(
            me.page.evaluate(
                """() => {
                    const e = document.activeElement;
                    if (e === document.body) return null;
                    const style = (x) => getComputedStyle(x);
                    const seen = style(e).outlineStyle !== 'none' && style(e).outlineWidth !== '0px'
                        || style(e).boxShadow !== 'none' || style(e.closest('.wrap') ?? e).boxShadow !== 'none';
                    const label = e.getAttribute('aria-label') || e.textContent.trim();
                    return [label || e.closest('label')?.textContent.trim() || '', seen];
                }"""
            )
        )
        if names[-1] is None:
            break
    names = [name for name in names if name]
    text = " | ".join(name for name, _ in names)
    for wanted in (
        "Negative prompt", "Generate", "Surprise me", "Sampling method", "Sampling steps", "Seed", "Advanced",
        "Restore settings", "large red sphere",
    ):  # fmt: skip
        assert wanted in text, f"{wanted} is not reached by Tab: {text}"
    assert all(seen for _, seen in names), f"focus is not visible on {[n for n, seen in names if not seen]}"


def test_gits_is_found_first_with_progress_and_then_known(tmp_path, page, visitor):
    """On the exact denoiser, where it takes a second, with a cache of its own, so that it was never found before."""
    running = App(tmp_path, NINE_WAYS_BACKBONE="exact", NINE_WAYS_CACHE=str(tmp_path / "cache"))
    try:
        _finds_gits(visitor(page, running.wait().url))
    finally:
        running.stop()


def _finds_gits(me):
    me.put("steps", 6)
    me.page.get_by_label("Schedule type").click()
    me.page.get_by_role("option", name="GITS (6 steps)").click()
    me.page.evaluate(
        """() => {
            window.said = new Set();
            new MutationObserver(() => said.add(document.querySelector('#stage .nw-status')?.textContent))
                .observe(document.querySelector('#stage'), { subtree: true, childList: true });
        }"""
    )
    me.button("Generate").click()
    done = me.page.locator("#stage .nw-stage[data-state=done]")
    done.wait_for(timeout=60_000)
    words = me.page.evaluate("[...said].filter(Boolean)")
    assert any(re.search(r"Finding the schedule GITS.*\d+ of 60", text) for text in words), words
    assert "6 network evaluations" in done.locator(".nw-status").inner_text()
    done.get_by_text("Settings of this image").click()
    assert "GITS (6 steps)" in done.locator("dl").inner_text()
    me.page.evaluate("said.clear()")
    me.put("steps", 5)
    me.button("Generate").click()
    expect(me.label).to_contain_text("5 network evaluations", timeout=60_000)
    assert not any("Finding" in text for text in me.page.evaluate("[...said].filter(Boolean)"))


def test_a_problem_of_a_menu_stands_below_it_and_above_the_next_field(onlooker):
    onlooker.page.get_by_label("Sampling method").click()
    onlooker.page.get_by_role("option", name="Euler a", exact=True).click()
    onlooker.page.get_by_label("Schedule type").click()
    onlooker.page.get_by_role("option", name="LD3").click()
    onlooker.button("Generate").click()
    problem = onlooker.page.locator("#schedule-problem")
    expect(problem).to_contain_text("LD3 is learned from where a solver ends")
    said, steps = problem.bounding_box(), onlooker.page.locator("#steps").bounding_box()
    assert said["y"] + said["height"] <= steps["y"]


def test_the_run_stops_early_and_the_first_step_is_free(me):
    me.drawer("Advanced")
    me.page.get_by_label("Analytical first step").check()
    me.page.locator("#stop_sigma input").fill("1")
    me.page.locator("#stop_sigma input").press("Tab")
    me.paint(steps=8)
    done = me.sees("done")
    calls = int(re.search(r"(\d+) network evaluations", done.locator(".nw-status").inner_text())[1])
    assert 2 <= calls < 8
    assert "stopping_at(afs(dpmpp_2m), 1)" in me.page.locator(".nw-formula").inner_text()
    done.get_by_text("Settings of this image").click()
    assert "Stop at sigma" in done.locator("dl").inner_text()
