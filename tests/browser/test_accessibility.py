"""What axe finds in every tab: nothing. Compare and Trajectory are looked at where their own tests have filled them."""

from playwright.sync_api import expect


def test_create(me, accessible):
    accessible(me.page)
    me.drawer("Advanced")
    me.put("cfg_start", 0.8)
    me.put("cfg_end", 0.2)
    me.page.get_by_label("Negative prompt").fill("a zebra")
    me.paint("a red zebra", steps=1, count=3)
    expect(me.page.locator("#cfg_start .nw-problem")).to_be_visible(timeout=30_000)
    expect(me.page.locator("#unknown-negative")).to_contain_text("zebra")
    me.put("cfg_end", 1)
    expect(me.page.locator("#cfg_start .nw-problem")).to_have_count(0)  # gone with its cause, in another field
    me.paint("a red zebra")
    me.sees("done")
    accessible(me.page, "#result")
    me.page.locator("#stage .nw-pick").first.click()
    me.page.get_by_text("Settings of this image").click()
    accessible(me.page)
    me.page.get_by_role("button", name="Add a method").click()
    accessible(me.page)


def test_history(me, accessible):
    me.paint("a red sphere", steps=1, count=2)
    me.sees("done")
    me.page.get_by_role("tab", name="History").click()
    me.page.locator(".nw-card").first.click()
    me.page.locator("#detail").get_by_text("Settings of this image").click()
    me.page.locator("[data-tick]").nth(1).check(force=True)
    accessible(me.page)


def test_compare_and_trajectory_before_anything_is_made(me, accessible):
    for name in ("Compare", "Trajectory"):
        me.page.get_by_role("tab", name=name).click()
        accessible(me.page)


def test_taxonomy(me, accessible):
    me.page.get_by_role("tab", name="Taxonomy").click()
    panel = me.page.locator('.nw-t-panel[data-panel="correction"]')
    panel.wait_for(state="attached", timeout=60_000)
    accessible(me.page)
    me.page.locator('#taxonomy-tree [data-family="correction"]:visible').click()
    panel.locator("details summary").first.click()
    expect(panel).to_contain_text("5 methods. 4 of the")
    accessible(me.page, '.nw-t-panel[data-panel="correction"]')
