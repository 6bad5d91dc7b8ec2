"""What a reload, Back, Forward and a link keep: the visit, the settings, the run under way."""

import re

from playwright.sync_api import expect

RUN = 60_000  # ms for a run, on a busy machine


def selected(page):
    return page.locator("#nw-tabs [role=tab][aria-selected=true]")


def test_a_reload_loses_nothing_and_joins_the_run(me):
    me.paint("a yellow torus on sand", steps=60, count=2, seed=77)  # longer than a reload takes
    me.page.locator("#stage .nw-stage[data-state=running] .nw-sheet img").first.wait_for(timeout=RUN)
    me.put("cfg_scale", 5)
    me.button("Add this stack as a column").click()
    expect(me.page.locator("#restored")).to_contain_text("column 1 of Compare")
    me.page.reload()
    expect(me.prompt).to_have_value("a yellow torus on sand")
    for name, value in {"steps": "60", "count": "2", "cfg_scale": "5"}.items():
        expect(me.number(name)).to_have_value(value)
    me.sees("running")
    expect(me.button("Cancel")).to_be_enabled()
    me.sees("done")
    assert me.page.locator("#film .nw-thumb").count() == 3  # both, and all at once
    expect(me.page).to_have_url(re.compile(r"#create\?prompt=a%20yellow%20torus%20on%20sand.*seed=77.*count=2"))
    me.page.get_by_role("tab", name="History").click()
    expect(me.page.locator(".nw-card", has_text="a yellow torus on sand").nth(1)).to_be_visible()
    me.page.get_by_role("tab", name="Compare").click()
    me.drawer("Make your own")
    expect(me.page.locator("#added-columns li")).to_contain_text("a yellow torus on sand")


def test_an_answer_that_comes_late_takes_nothing_from_who_was_quicker(me):
    """As on a slow server: the page is there, and what the browser had kept is not yet in it."""
    me.paint("a red cube", steps=2)
    me.sees("done")
    me.put("cfg_scale", 5)
    held = []

    def hold(route):
        if not held and "visit_token" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    me.page.route("**/gradio_api/**", hold)
    me.page.reload()
    me.prompt.wait_for()
    me.put("seed", 5)
    me.prompt.fill("a blue cone")
    me.prompt.press("Control+Enter")
    me.page.get_by_role("tab", name="Taxonomy").click()
    expect(selected(me.page)).to_have_text("Taxonomy")
    assert len(held) == 1, "the answer is still on its way"
    expect(me.page.locator(".nw-waiting")).to_contain_text("What you asked for begins then")
    held[0].continue_()
    expect(me.page).to_have_url(re.compile("#taxonomy$"))
    expect(me.page.locator(".nw-waiting")).to_have_count(0)
    expect(selected(me.page)).to_have_text("Taxonomy")
    me.page.get_by_role("tab", name="Create").click()
    expect(me.prompt).to_have_value("a blue cone")
    expect(me.number("seed")).to_have_value("5")
    expect(me.number("cfg_scale")).to_have_value("5")
    expect(me.number("steps")).to_have_value("2")
    expect(me.page.locator("#film .nw-thumb")).to_have_count(2, timeout=RUN)
    expect(me.page.locator("#stage .nw-title")).to_have_text("a blue cone")
    me.button("Undo").click()  # what was there before the person was quicker
    expect(me.prompt).to_have_value("a red cube")


def test_what_a_page_begins_with_is_what_its_controls_hold(onlooker):
    """Else what is kept could not come back: it would look like what a person has just typed."""
    holds = onlooker.page.evaluate(
        """async () => {
          const scripts = (await (await fetch("config")).json()).dependencies.map(({ js }) => String(js));
          const call = scripts.find((js) => js.includes("module.begin("));
          const [, begun] = call.match(/module\\.begin\\((.*), \\.\\.\\.values/);
          return [JSON.parse(begun), JSON.parse(localStorage.getItem("nine-ways-visit")).settings];
        }"""
    )
    begun, kept = holds
    assert {name: kept[name] for name in begun} == begun


def test_back_and_forward_lead_through_tabs_and_what_was_made(me):
    for words in ("a red cube", "a blue cone"):
        me.paint(words, steps=2)
        expect(me.page.locator("#stage .nw-title")).to_have_text(words, timeout=RUN)
    link = me.page.url
    me.page.get_by_role("tab", name="Taxonomy").click()
    expect(me.page).to_have_url(re.compile("#taxonomy$"))
    me.page.go_back()
    expect(selected(me.page)).to_have_text("Create")
    me.page.go_back()
    expect(me.prompt).to_have_value("a red cube")
    expect(me.page.locator("#stage .nw-title")).to_have_text("a red cube")
    me.page.go_forward()
    expect(me.prompt).to_have_value("a blue cone")
    other = me.page.context.new_page()
    other.goto(link)
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("a blue cone")
    expect(other.locator("#stage .nw-title")).to_have_text("a blue cone")
    other.goto(re.sub("#.*", "", link) + "#taxonomy")
    other.reload()
    expect(selected(other)).to_have_text("Taxonomy")
    me.put("steps", 33)
    me.button("Reset settings").click()
    expect(me.number("steps")).to_have_value("10")
    me.away()
    me.page.keyboard.press("Control+z")
    expect(me.number("steps")).to_have_value("33")
    expect(me.prompt).to_have_value("a blue cone")
