"""The page as a whole: widths, light and dark, names of things, several visitors, History."""

import re
import zipfile

import pytest
from playwright.sync_api import expect

WIDTHS = {"phone": (390, 844), "small phone": (320, 640), "tablet": (820, 1180), "desk": (1280, 800)}


def sideways(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def no_sideways_scroll(page):
    """At every width."""
    for name, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        assert sideways(page) <= 0, name


def test_no_sideways_scroll(me):
    no_sideways_scroll(me.page)
    me.paint("a red sphere " + "and another one " * 12, steps=3, count=12)
    me.sees("done")
    no_sideways_scroll(me.page)
    me.page.locator("#stage .nw-pick").first.click()
    me.page.get_by_text("Settings of this image").click()
    no_sideways_scroll(me.page)
    me.page.get_by_role("tab", name="History").click()
    me.page.locator(".nw-card").first.click()
    me.page.locator("#detail .nw-image").wait_for()
    no_sideways_scroll(me.page)


def test_on_a_phone_the_result_is_right_below_generate(regular):
    regular.page.set_viewport_size({"width": 390, "height": 844})
    regular.paint(steps=3)
    regular.sees("done")
    top = {name: regular.page.locator(f"#{name}").bounding_box()["y"] for name in ("generate", "stage", "settings")}
    assert top["generate"] < top["stage"] < top["settings"]
    assert regular.page.locator("#stage .nw-mat").bounding_box()["width"] > 340


def test_on_a_desk_inputs_are_narrow_and_the_image_large(regular):
    regular.page.set_viewport_size({"width": 1280, "height": 800})
    regular.paint(steps=3)
    regular.sees("done")
    left, right = (regular.page.locator(name).bounding_box() for name in ("#compose", "#stage .nw-mat"))
    assert left["width"] <= 420 < right["width"] and left["x"] + left["width"] < right["x"]
    assert right["y"] + right["height"] <= 800, "the whole image is in view without scrolling"
    regular.drawer("Advanced")  # a column that is longer than the window
    expect(regular.number("stop_sigma")).to_be_visible()
    for width, height in ((1280, 800), (1440, 900)):
        regular.page.set_viewport_size({"width": width, "height": height})
        regular.page.evaluate("scrollTo(0, 300)")
        assert regular.page.locator("#generate").bounding_box()["y"] < 200, "scrolled"
        top = regular.page.locator("#result").bounding_box()["y"]
        assert 0 <= top <= 16, f"the image does not stay at {width} pixels"


def _contrast(page, selector):
    """WCAG contrast of an element's text with what lies behind it."""
    return page.evaluate(
        """(selector) => {
            const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
            const light = (c) => numbers(c).slice(0, 3).map((v) => v / 255)
                .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const e = document.querySelector(selector);
            let b = e;
            while (b && (numbers(getComputedStyle(b).backgroundColor)[3] ?? 1) === 0) b = b.parentElement;
            const [x, y] = [light(getComputedStyle(e).color), light(getComputedStyle(b).backgroundColor)];
            return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
        }""",
        selector,
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_can_be_read(page, base_url, visitor, mode):
    page.emulate_media(color_scheme=mode)
    me = visitor(page, base_url)
    me.paint("zzz", steps=3)
    me.sees("done")
    assert page.evaluate("document.body.classList.contains('dark')") == (mode == "dark")
    for selector in (
        "h1", ".nw-model", "#generate", "#surprise", "#prompt textarea", "#steps span", "#unknown .nw-note",
        ".nw-formula", ".nw-chip span", ".nw-status", ".nw-act", "summary", "#nw-tabs button[aria-selected=false]",
        "#restore",
    ):  # fmt: skip
        assert _contrast(page, selector) >= 4.5, f"{selector} in {mode}"


def test_the_mode_can_be_chosen_and_is_kept(me):
    dark = "document.body.classList.contains('dark')"
    before = me.page.evaluate(dark)
    me.page.locator("#nw-mode").click()
    assert me.page.evaluate(dark) != before
    me.page.reload()
    me.prompt.wait_for()
    me.page.wait_for_function(f"{dark} === {str(not before).lower()}")


def test_every_control_has_a_name_and_every_image_words(regular):
    regular.drawer("Advanced")
    regular.paint("a red sphere", steps=3, count=2)
    regular.sees("done")
    nameless = regular.page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, a, [role=combobox]')]
            .filter((e) => e.offsetParent && !e.getAttribute('aria-label') && !e.textContent.trim()
                && !e.labels?.length && !e.querySelector('img[alt]:not([alt=""])'))
            .map((e) => e.outerHTML.slice(0, 160))"""
    )
    assert not nameless
    wordless = "[...document.images].filter((i) => !i.hasAttribute('alt')).map((i) => i.outerHTML)"
    assert not regular.page.evaluate(wordless)
    doubles = regular.page.evaluate(
        """() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
            return ids.filter((id, i) => id && ids.indexOf(id) !== i); }"""
    )
    assert not doubles


def test_two_visitors_at_once_get_their_own_images(browser, base_url, visitor):
    contexts = [browser.new_context(), browser.new_context()]
    try:
        both = [visitor(context.new_page(), base_url) for context in contexts]
        for me, seed in zip(both, (11, 22), strict=True):
            me.paint("a red sphere", seed=seed, steps=8, count=2)
        for me, seed in zip(both, (11, 22), strict=True):
            me.sees("done")
            expect(me.label).to_contain_text(f"Seed {seed}")
            assert me.page.locator(".nw-thumb").count() == 3  # the two, and both at once
    finally:
        for context in contexts:
            context.close()


def test_words_from_outside_stay_words(regular):
    regular.paint("<img src=x onerror=window.broken=1> <b>bold</b>", steps=3)
    regular.sees("done")
    expect(regular.page.locator("#stage .nw-title")).to_have_text("<img src=x onerror=window.broken=1> <b>bold</b>")
    regular.page.get_by_role("tab", name="History").click()
    regular.page.locator(".nw-card").first.click()
    regular.page.locator("#detail .nw-image").wait_for()
    assert regular.page.evaluate("window.broken") is None


def test_history_finds_shows_sends_back_and_deletes(me):
    me.paint("a violet octopus", steps=3, seed=909)
    me.sees("done")
    me.prompt.fill("another thing")
    me.page.get_by_role("tab", name="History").click()
    me.page.get_by_label("Search").fill("octopus vio")
    expect(me.page.locator(".nw-card")).to_have_count(1)
    me.page.locator(".nw-card", has_text="a violet octopus").click()  # others may still be there for a moment
    detail = me.page.locator("#detail")
    expect(detail.locator(".nw-status")).to_contain_text("Seed 909")
    detail.get_by_role("button", name="Send to Create").click()
    expect(me.prompt).to_be_visible()
    expect(me.prompt).to_have_value("a violet octopus")
    expect(me.number("seed")).to_have_value("909")


def test_history_is_worked_with_by_keys_and_nothing_deleted_is_lost(me):
    me.paint("a walking cone", steps=1, count=26, seed=700)
    me.sees("done")
    me.page.get_by_role("tab", name="History").click()
    me.page.get_by_label("Search").fill("walking -725")
    cards, where = me.page.locator(".nw-card"), me.page.locator("#where")
    shown, undo = me.page.locator("#detail .nw-status"), me.button("Undo")
    expect(where).to_contain_text(re.compile(r"\b1 to 24 of 25\b"))
    cards.nth(22).click()
    expect(shown).to_contain_text("Seed 702")
    me.page.keyboard.press("ArrowRight")
    expect(shown).to_contain_text("Seed 701")
    me.page.keyboard.press("ArrowRight")  # over the end of the page
    expect(where).to_contain_text(re.compile(r"\b25 to 25 of 25\b"))
    expect(shown).to_contain_text("Seed 700")
    expect(me.button("Older")).to_be_disabled()
    me.page.keyboard.press("ArrowLeft")
    expect(shown).to_contain_text("Seed 701")
    expect(where).to_contain_text(re.compile(r"\b1 to 24 of 25\b"))

    me.page.keyboard.press("Delete")  # and the next one takes its place
    expect(shown).to_contain_text("Seed 700")
    expect(where).to_contain_text(re.compile(r"\b1 to 24 of 24\b"))
    expect(cards.last).to_be_focused()
    me.page.keyboard.press("Control+z")
    expect(shown).to_contain_text("Seed 701")
    expect(where).to_contain_text(re.compile(r"\b1 to 24 of 25\b"))

    me.page.get_by_label("Select seed 724, a walking cone").check()
    cards.nth(2).click(modifiers=["Shift"])
    bar = me.page.get_by_role("group", name="Selected images")
    expect(bar).to_contain_text("3 selected")
    with me.page.expect_download() as got:
        bar.get_by_role("button", name="Download zip").click()
    with zipfile.ZipFile(got.value.path()) as archive:
        assert sorted(name.split("-")[3] for name in archive.namelist()) == ["722", "723", "724"]
    bar.get_by_role("button", name="Add to favourites").click()
    me.page.get_by_label("Favourites only").check()
    expect(where).to_contain_text(re.compile(r"\b1 to 3 of 3\b"))
    bar.get_by_role("button", name="Delete", exact=True).click()
    expect(me.page.locator("#history-grid")).to_contain_text("No favourite has")
    undo.click()
    expect(where).to_contain_text(re.compile(r"\b1 to 3 of 3\b"))
    expect(bar).not_to_be_visible()
    me.page.get_by_role("button", name="Favourite: seed 723, a walking cone").click()
    expect(where).to_contain_text(re.compile(r"\b1 to 2 of 2\b"))

    me.page.locator("#detail").get_by_role("button", name="Attention maps").click()
    expect(me.page.locator("#history-attention .nw-word").first).to_be_visible(timeout=60_000)


def test_images_cannot_be_had_by_guessing(me, base_url):
    me.paint(steps=3)
    me.sees("done")
    source = me.page.locator("#stage .nw-image img").get_attribute("src")
    assert me.page.request.get(f"{base_url}/{source}").ok
    assert me.page.request.get(f"{base_url}/" + re.sub(r"/[0-9a-f]{24}", "/" + "0" * 24, source)).status == 404
    assert me.page.request.get(f"{base_url}/gradio_api/file=requirements.txt").status in (403, 404)
