"""What a reload, Back, Forward and a link keep: the visit, the settings, the run under way."""

import re

from playwright.sync_api import expect

RUN = 60_000  # ms for a run, on a busy machine


def selected(page):
    return page.locator("#nw-tabs [role=tab][aria-selected=true]")


def test_a_reload_loses_nothing_and_joins_the_run(me):
    me.paint("a yellow torus on sand", steps=40, count=2, seed=77)
    me.page.locator("#stage .nw-stage[data-state=running] .nw-sheet img").first.wait_for(timeout=RUN)
    me.put("cfg_scale", 5)
    me.page.reload()
    expect(me.prompt).to_have_value("a yellow torus on sand")
    for name, value in {"steps": "40", "count": "2", "cfg_scale": "5"}.items():
        expect(me.number(name)).to_have_value(value)
    me.sees("running")
    expect(me.button("Cancel")).to_be_enabled()
    me.sees("done")
    assert me.page.locator("#film .nw-thumb").count() == 2
    expect(me.page).to_have_url(re.compile(r"#create\?prompt=a%20yellow%20torus%20on%20sand.*seed=77.*count=2"))
    me.page.get_by_role("tab", name="History").click()
    assert me.page.locator(".nw-card", has_text="a yellow torus on sand").count() >= 2


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
