"""Methods as a person uses them: picked by family, filled, drawn, muted, run, cancelled, looked into."""

import json
import re

import pytest
from playwright.sync_api import expect

from app.forms.page_catalogue import STRIP, catalogue

BOOK = catalogue()
FAMILIES = [family for family in BOOK["families"] if family["methods"]]


def test_of_each_family_a_method_can_be_picked_and_added(cards):
    for family in FAMILIES:
        cards.open(family["key"])
        dialog = cards.page.get_by_role("dialog", name="Add a method")
        expect(dialog.locator(".nw-entry")).to_have_count(len(family["methods"]))
        name = next(n for n in family["methods"] if not BOOK["methods"][n]["fixed"])
        one = BOOK["methods"][name]
        entry = dialog.locator(f"[data-method={name}]")
        expect(entry).to_contain_text(one["summary"])
        expect(entry).to_contain_text(one["cost"])
        expect(entry.get_by_role("link")).to_have_attribute("href", f"https://arxiv.org/abs/{one['paper']}")
        entry.get_by_role("button", name="Add").click()
        expect(dialog).to_be_hidden()
        expect(cards.card(0)).to_contain_text(one["title"])
        expect(cards.page.locator("#stack .nw-own")).to_contain_text(one["title"])
        expect(cards.formula).to_contain_text(re.compile(rf"\b{name}\b"))
        cards.card(0).get_by_role("button", name="Remove: ").click()
        expect(cards.card(0)).to_have_count(0)


def test_the_picker_works_from_the_keyboard_and_finds_words(cards):
    keyboard = cards.page.keyboard
    cards.page.get_by_role("button", name="Add a method").press("Enter")
    dialog = cards.page.get_by_role("dialog", name="Add a method")
    expect(dialog.get_by_label("Search methods")).to_be_focused()
    keyboard.press("ArrowDown")  # into the tiles, along them, down a row and back
    expect(dialog.locator("[data-task=words]")).to_be_focused()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowDown")
    expect(dialog.locator("[data-task=edit]")).to_be_focused()
    keyboard.press("ArrowDown")  # onto the one that is as wide as two, past it, and back
    expect(dialog.locator("[data-task=wide]")).to_be_focused()
    keyboard.press("ArrowDown")
    expect(dialog.locator("[data-task=boxes]")).to_be_focused()
    keyboard.press("ArrowUp")
    expect(dialog.locator("[data-task=wide]")).to_be_focused()
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowLeft")
    expect(dialog.locator("[data-task=edit]")).to_be_focused()
    keyboard.press("ArrowUp")
    expect(dialog.locator("[data-task=map]")).to_be_focused()
    cards.me.run_in("page_state", "announce('stack')")  # as when the stack's marks arrive a moment later
    expect(dialog.locator("[data-task=map]")).to_be_focused()
    keyboard.press("Enter")
    expect(dialog.get_by_role("heading", name="Follow a depth map")).to_be_focused()
    expect(dialog.locator(".nw-entry").first).to_contain_text("ControlNet")
    keyboard.press("Backspace")
    selected = dialog.locator("[role=tab][aria-selected=true]")
    expect(selected).to_have_text("By task")
    selected.press("ArrowDown")  # the families of the survey
    expect(selected).to_contain_text("Training")
    expect(selected).to_be_focused()
    dialog.get_by_label("Search methods").fill("low frequencies")
    expect(dialog.locator(".nw-entry").first).to_contain_text("ILVR")
    keyboard.press("Escape")  # empties the search
    expect(dialog.get_by_label("Search methods")).to_have_value("")
    dialog.get_by_label("Search methods").fill("textual inversion")
    expect(dialog.locator(".nw-signpost")).to_contain_text("no embedding")
    dialog.get_by_label("Search methods").fill("img2img")
    keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Add: SDEdit")).to_be_focused()
    keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_strength_becomes_a_curve_and_wrong_text_is_said_at_the_field(cards):
    cards.add("composable")
    field = cards.field("0.knobs.weight")
    field.get_by_role("button", name="Over the steps").click()
    text = field.locator("input.nw-mono")
    text.fill("0:1, 0.4:1, 0.6:0")
    text.press("Control+Enter")  # what is being typed counts, although the field was not left
    assert json.loads(cards.given())["cards"][0]["knobs"]["weight"] == "0:1, 0.4:1, 0.6:0"
    expect(field.locator(".nw-plot circle")).to_have_count(3)
    expect(cards.page.locator("#stack .nw-own")).to_contain_text("curve")
    text.fill("0:1, 0.4")
    text.press("Tab")
    expect(field.locator(".nw-problem")).to_contain_text("no strength", timeout=20_000)


def test_what_clashes_and_what_does_not_fit_says_so_before_the_run(cards):
    me = cards.me
    cards.add("ddnm")
    cards.add("pigdm")
    problem = cards.page.locator("#methods .nw-problem")
    expect(problem.filter(has_text="do not go together")).to_have_count(2, timeout=20_000)  # at both
    me.button("Generate").click()
    expect(problem.filter(has_text="needs it").first).to_be_visible()
    assert not cards.page.locator("#stage [data-state=running]").count()
    cards.page.wait_for_function("document.activeElement.closest('#methods')")
    cards.page.locator("#stack").get_by_role("button", name="Mute PiGDM").click()
    expect(problem.filter(has_text="do not go together")).to_have_count(0, timeout=20_000)


def test_a_card_shows_what_is_measured_as_its_knobs_move(cards):
    cards.add("ddnm")
    cards.card(0).get_by_role("button", name="Fill with an example").click()
    seen = cards.field("0.inputs.measured").locator(".nw-measured")
    expect(seen).to_contain_text(re.compile(r"of \d+ × \d+ pixels"), timeout=20_000)
    expect(seen).to_contain_text("is kept")  # exactly or through the VAE, by the network
    first, words = seen.locator("img").get_attribute("src"), seen.inner_text()
    factor, noise = (
        cards.field(f"0.inputs.measured.{name}").locator("input[type=number]") for name in ("factor", "sigma_y")
    )
    factor.fill("2")
    factor.press("Tab")
    expect(seen.locator("img")).not_to_have_attribute("src", first)
    expect(seen).not_to_have_text(words)
    noise.fill("0.2")
    noise.press("Tab")
    expect(seen).to_contain_text("noise of 0.2")
    given = json.loads(cards.given())["cards"][0]["inputs"]["measured"]
    assert (given["parameters"], given["sigma_y"]) == ({"factor": 2}, 0.2)  # the one did not undo the other
    second = seen.locator("img").get_attribute("src")
    cards.field("0.inputs.measured").locator("select").select_option("inpainting")
    expect(seen.locator("img")).to_be_hidden()
    quiet = cards.field("0.inputs.measured").locator(".nw-mark.nw-warn")
    expect(quiet).to_contain_text("draw one", timeout=20_000)  # said quietly until someone generates
    cards.drag(cards.card(0).locator("canvas.nw-brush"), (0.2, 0.3), (0.5, 0.5))
    expect(seen).to_contain_text("% of the numbers", timeout=20_000)
    expect(seen.locator("img")).not_to_have_attribute("src", second)


def test_what_a_choice_asks_for_is_said_at_the_input(cards):
    cards.add("energy_guidance")
    head = cards.field("0.inputs.words").locator(".nw-field-head")
    expect(head).to_contain_text("for text")
    cards.field("0.knobs.energy").locator("select").select_option("text")
    expect(head).not_to_contain_text("for text")
    expect(cards.field("0.inputs.target").locator(".nw-field-head")).to_contain_text("for colours")


def test_what_stops_a_run_is_said_at_its_card_and_goes_with_it(cards):
    cards.add("controlnet")
    cards.me.button("Generate").click()
    problem = cards.page.locator(".nw-mark.nw-problem")
    expect(problem).to_have_count(1, timeout=60_000)
    expect(cards.card(0)).to_contain_text("give it depth, edges, or another", timeout=20_000)
    cards.card(0).get_by_role("button", name="Remove: ").click()
    expect(problem).to_have_count(0)


def test_what_the_run_will_not_use_is_said_under_its_field(cards):
    """DDNM makes the steps itself: the sampler is not called. Muted, it lets the sampler have its field back."""
    note = cards.page.locator("#sampler .nw-unused")
    cards.add("ddnm")
    expect(note).to_contain_text("DDNM makes the steps itself")
    expect(cards.formula).to_have_text(re.compile("^ddnm over "))
    cards.card(0).get_by_role("button", name="Mute: DDNM").click()
    expect(note).to_have_count(0)
    cards.card(0).get_by_role("button", name="Mute: DDNM").click()
    expect(note).to_have_count(1)


def test_the_stack_is_muted_soloed_reordered_and_cleared(cards):
    for name in ("ilvr", "repaint", "composable"):
        cards.add(name)
    strip = [one for one in STRIP if one in ("blending", "correction")]
    assert strip == ["blending", "correction"]
    chips = cards.page.locator("#stack .nw-chip-name")
    expect(chips).to_contain_text(["Composable diffusion", "ILVR", "RePaint"])
    expect(cards.formula).to_have_text("repaint(ilvr(dpmpp_2m)) over cfg(composable(ask))")
    expect(cards.card(0).get_by_role("button", name="Later")).to_have_count(0)  # its order is fixed
    cards.card(1).get_by_role("button", name="Later: ILVR").click()
    expect(cards.formula).to_have_text("ilvr(repaint(dpmpp_2m)) over cfg(composable(ask))")
    cards.card(1).get_by_role("button", name="Mute: RePaint").click()
    expect(cards.formula).to_have_text("ilvr(dpmpp_2m) over cfg(composable(ask))")
    cards.card(0).get_by_role("button", name="Solo: Composable diffusion").click()
    expect(cards.formula).to_have_text("dpmpp_2m over cfg(composable(ask))")
    for _ in range(3):
        cards.card(0).get_by_role("button", name="Remove: ").click()
    expect(cards.formula).to_have_text("dpmpp_2m over cfg(ask)")


def test_one_click_tries_a_method_and_cancel_stops_it(run_cards):
    me, cards = run_cards.me, run_cards
    me.put("steps", 150)
    cards.attempt("repaint")
    me.page.locator("#stage .nw-stage[data-state=running] .nw-sheet img").first.wait_for(timeout=60_000)
    me.page.keyboard.press("Escape")
    assert "Cancelled at step" in me.sees("stopped").locator(".nw-status").inner_text()
    me.put("steps", 3)
    cards.attempt("panorama")
    me.sees("done")
    width, height = me.page.evaluate(
        "(i => [i.naturalWidth, i.naturalHeight])(document.querySelector('#stage .nw-image img'))"
    )
    assert width == 3 * height


def test_the_stack_comes_back_with_an_image(run_cards):
    me, cards = run_cards.me, run_cards
    cards.attempt("ilvr")
    me.sees("done")
    cards.card(0).get_by_role("button", name="Remove: ").click()
    expect(cards.card(0)).to_have_count(0)
    me.page.get_by_role("button", name="Send to Create").click()
    expect(cards.card(0)).to_contain_text("ILVR")
    expect(cards.card(0).locator(".nw-given img")).to_be_visible()
    me.put("seed", 77)  # with the same seed the engine remembers the answers: done before anybody sees it run
    me.button("Generate").click()
    expect(me.label).to_contain_text("Seed 77", timeout=120_000)
    me.sees("done")


def test_attention_of_every_word_at_every_step_can_be_opened(me):
    me.paint("a red cube", steps=3, seed=3)
    me.sees("done")
    maps = me.page.get_by_role("button", name="Attention maps")
    if not maps.count():
        pytest.skip("this network has no attention to read")
    maps.click()
    panel = me.page.locator("#attention .nw-maps-body")
    panel.wait_for(timeout=60_000)
    expect(panel.locator(".nw-word")).to_have_text(["a", "red", "cube"])
    expect(panel.locator("output")).to_contain_text("3 of 3")
    canvas, painted = panel.locator("canvas"), "(c) => c.toDataURL()"
    last = canvas.evaluate(painted)
    panel.get_by_label("Step", exact=True).press("ArrowLeft")
    expect(panel.locator("output")).to_contain_text("2 of 3")
    assert canvas.evaluate(painted) != last
    panel.locator(".nw-word", has_text="a").first.click()
    expect(panel.locator(".nw-word").first).to_have_attribute("aria-pressed", "true")
    me.page.locator("#attention").get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)


@pytest.mark.parametrize("size", [(390, 844), (320, 640)], ids=["phone", "small phone"])
def test_on_a_phone_cards_and_picker_fit(cards, size):
    cards.page.set_viewport_size({"width": size[0], "height": size[1]})
    for name in ("multidiffusion", "ddnm"):
        cards.add(name)
        assert cards.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    cards.open("correction")
    dialog = cards.page.get_by_role("dialog", name="Add a method")
    assert dialog.evaluate("(d) => d.scrollWidth - d.clientWidth") <= 0
