"""The tab "Taxonomy" as a person uses it: by mouse, by keys alone, on a phone; and the way to Create."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from app import theme
from app.catalog import survey
from app.forms.page_catalogue import catalogue
from app.tabs import taxonomy_panels

FAMILY = "inversion"
NAME = theme.FAMILIES[FAMILY].name


class Atlas:
    """The open tab, its panels there."""

    def __init__(self, me):
        self.me, self.page = me, me.page
        self.page.get_by_role("tab", name="Taxonomy").click()
        self.panel(f"task:{list(survey.TASKS)[-1]}").wait_for(state="attached", timeout=60_000)

    def panel(self, key):
        return self.page.locator(f'.nw-t-panel[data-panel="{key}"]')

    def family(self, key):
        return self.page.locator(f'#taxonomy-tree [data-family="{key}"]:visible')

    def entries(self, key):
        return self.panel(key).locator(".nw-t-entry:visible")

    def row(self, name):
        return self.page.locator(f'[data-way="{name}"]')


@pytest.fixture
def atlas(onlooker):
    """On a page that is shared, at the beginning."""
    shared = Atlas(onlooker)
    if not shared.panel("").is_visible():
        shared.page.get_by_role("button", name="All nine").locator("visible=true").first.click()
    return shared


def test_a_family_opens_from_the_tree_and_its_entries_can_be_sifted(atlas):
    expect(atlas.panel("")).to_be_visible()
    expect(atlas.page.locator("#taxonomy-tree svg title")).to_have_count(176)
    atlas.family(FAMILY).click()
    expect(atlas.panel(FAMILY)).to_be_visible()
    expect(atlas.panel("")).to_be_hidden()
    expect(atlas.family(FAMILY)).to_have_attribute("aria-pressed", "true")
    some = survey.of_family(FAMILY)
    expect(atlas.entries(FAMILY)).to_have_count(len(some))
    for status, count in survey.counts(some).items():
        words = f"{taxonomy_panels.FILTERS[status]} {count}"
        atlas.panel(FAMILY).get_by_role("button", name=words, exact=True).click()
        expect(atlas.entries(FAMILY)).to_have_count(count)
    atlas.panel(FAMILY).get_by_role("button", name=f"All {len(some)}").click()
    atlas.panel(FAMILY).get_by_role("searchbox").fill("null-text")
    found = [one for one in some if "null-text" in f"{one.short} {one.title} {one.why}".lower()]
    expect(atlas.entries(FAMILY)).to_have_count(len(found))
    expect(atlas.panel(FAMILY).get_by_role("status")).to_contain_text(f"{len(found)} of {len(some)} entries")
    atlas.panel(FAMILY).get_by_role("button", name="All nine").click()
    expect(atlas.panel("")).to_be_visible()


def test_an_entry_leads_to_the_method_that_covers_it_in_another_family(atlas):
    known = catalogue()["methods"]
    some = [one for one in survey.of_family("guidance") if one.status == "covered"]
    one = next(one for one in some if known[one.by]["family"] != one.family)
    atlas.family(one.family).click()
    entry = atlas.entries(one.family).filter(has_text=one.title)
    expect(entry).to_contain_text(one.why)
    entry.get_by_role("button").click()
    known = known[one.by]
    expect(atlas.panel(known["family"])).to_be_visible()
    row = atlas.row(one.by)
    expect(row).to_have_attribute("open", "")
    expect(row.locator("summary")).to_be_focused()
    expect(row.get_by_role("region")).to_contain_text(known["equation"].splitlines()[0].split("   ")[0].strip())
    expect(row).to_contain_text(known["cost"])
    expect(row.get_by_role("link", name=f"arXiv {known['paper']}")).to_have_attribute("rel", "noreferrer noopener")


def test_a_task_shows_its_families_in_the_tree_and_beside_it(atlas):
    for task in ("restoration", "editing"):
        atlas.page.get_by_label("Which ways can do a task?").select_option(f"task:{task}")
        panel = atlas.panel(f"task:{task}")
        expect(panel).to_be_visible()
        does = panel.get_attribute("data-does").split()
        out = [key for key in theme.FAMILIES if key not in does]
        assert out, "a task that all nine do shows nothing here"
        for key in theme.FAMILIES:
            assert (atlas.family(key).get_attribute("data-out") is not None) is (key in out)
        expect(panel.get_by_role("heading", name="Measured")).to_be_visible()
    atlas.family(FAMILY).click()
    expect(atlas.page.get_by_label("Which ways can do a task?")).to_have_value("")
    expect(atlas.family(out[0])).not_to_have_attribute("data-out", "")


def test_everything_goes_by_keys(atlas):
    page, keys = atlas.page, list(theme.FAMILIES)
    atlas.family(keys[0]).focus()
    page.keyboard.press("ArrowDown")
    expect(atlas.family(keys[1])).to_be_focused()
    page.keyboard.press("Tab")
    expect(atlas.family(keys[2])).to_be_focused()
    stroke = "e => getComputedStyle(e.querySelector('.nw-t-ground')).stroke"
    assert atlas.family(keys[2]).evaluate(stroke) != atlas.family(keys[3]).evaluate(stroke), "focus is not to be seen"
    page.keyboard.press("Enter")
    expect(atlas.panel(keys[2])).to_be_visible()
    atlas.family(FAMILY).focus()
    page.keyboard.press("Space")
    expect(atlas.panel(FAMILY)).to_be_visible()
    summary = atlas.panel(FAMILY).locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(atlas.panel(FAMILY).get_by_role("button", name="Try it").first).to_be_focused()


def test_try_it_run_arguments_create_and_paints(me, requests):
    me.put("steps", 3)
    atlas = Atlas(me)
    title = catalogue()["methods"]["sdedit"]["title"]
    atlas.family("inversion").click()
    atlas.row("sdedit").locator("summary").click()
    atlas.page.get_by_role("button", name=f"Try it: {title}").click()
    expect(atlas.page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")
    expect(atlas.page.locator("#stack .nw-own")).to_contain_text(title)
    atlas.me.sees("done")
    hosts = {urlsplit(address).hostname for address in requests if not address.startswith(("data:", "blob:"))}
    assert hosts <= {"127.0.0.1"}, hosts


def test_which_models_run_what_leads_to_the_methods(atlas, accessible):
    atlas.page.get_by_role("button", name="Which models run what?").click()
    table = atlas.panel("models").get_by_role("table")
    runs = table.get_by_role("row").filter(has_text="ControlNet").get_by_role("cell")
    expect(runs.first).to_have_text("runs")
    expect(runs.nth(2)).to_have_text("file")
    accessible(atlas.page, '.nw-t-panel[data-panel="models"]')
    table.get_by_role("button", name="ControlNet", exact=True).click()
    expect(atlas.row("controlnet").locator(".nw-way-body")).to_be_visible()


def fits(atlas, width):
    expect(atlas.page.locator("#taxonomy-tree svg.nw-tree")).to_be_visible(visible=width > 640)
    atlas.family("guidance").click()
    panel = atlas.panel("guidance")
    expect(panel.get_by_role("heading", name="Guidance", exact=True)).to_be_in_viewport()
    panel.locator("summary").first.click()
    assert atlas.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [800, 1000])
def test_it_fits_every_width(atlas, width):
    atlas.page.set_viewport_size({"width": width, "height": 844})
    fits(atlas, width)


def test_it_is_a_list_on_a_phone(browser, base_url, visitor):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    try:
        fits(Atlas(visitor(context.new_page(), base_url)), 390)
    finally:
        context.close()
