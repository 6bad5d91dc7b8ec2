"""The app as its users start it, in a process of its own, and chromium to look at it."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app import theme
from app.forms.page_catalogue import catalogue
from tools.screenshots import CHROMIUM, FLAGS, PATIENCE, App

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
BOOK = catalogue()
ALL, COLOURS = {}, {"runOnly": ["color-contrast"]}  # rules: all that a mode changes are colours
LOOKS = (  # mode, width, height, what is looked for
    ("light", 1280, 800, ALL), ("dark", 1280, 800, COLOURS), ("dark", 390, 844, ALL), ("light", 390, 844, COLOURS),
)  # fmt: skip
RUN = 120_000  # ms for a run, the first of a page that just started, on a busy machine without AVX-512
SEEN = "for (const stage of document.querySelectorAll('#stage .nw-stage')) stage.dataset.seen = ''"
expect.set_options(timeout=30_000)  # how fast a page is, on a busy machine, is not what these tests are about


def pytest_collection_modifyitems(items):
    here = [item for item in items if Path(item.fspath).parent == Path(__file__).parent]
    for item in here:
        item.add_marker(pytest.mark.browser)
        if CHROMIUM is None and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason="no chromium here: apt-get install chromium"))


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    if CHROMIUM is None:
        pytest.fail("no chromium here, and CI needs it: apt-get install chromium")
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    running = App(tmp_path_factory.mktemp("app"))
    try:
        yield running.wait()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def base_url(app):
    return app.url


@pytest.fixture(scope="session")
def browser_with_cache(browser, browser_context_args):
    """One profile for all tests of a process: Gradio's scripts are loaded and compiled once, which halves the time that
    a page takes to open."""
    profile = browser.new_context(**browser_context_args)
    yield profile
    profile.close()


@pytest.fixture(scope="session")
def another_profile(browser, browser_context_args):
    """For pages that stay open from one test to the next: what they store reaches no new visitor."""
    profile = browser.new_context(**browser_context_args)
    yield profile
    profile.close()


def new_page(profile, base_url):
    """Of a new visitor: whatever another page stored is gone, only files that may be cached are still there."""
    page = profile.new_page()
    stored = {"origin": base_url.rstrip("/"), "storageTypes": "cookies,local_storage,indexeddb,cache_storage"}
    session = profile.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", stored)
    session.detach()
    return page


@pytest.fixture
def context(browser_with_cache):
    yield browser_with_cache
    for page in browser_with_cache.pages:
        page.close()


@pytest.fixture
def page(context, base_url):
    return new_page(context, base_url)


@pytest.fixture
def requests(page):
    """Every address that the page asked for."""
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


class Visitor:
    """Someone at the page: what they do and see, in words."""

    def __init__(self, page, url):
        self.page = page
        page.goto(url)
        self.prompt.wait_for()
        page.locator(".nw-model[data-state=ready]").wait_for(timeout=PATIENCE * 1000)

    @property
    def prompt(self):
        return self.page.get_by_label("Prompt", exact=True)

    @property
    def label(self):
        """What stands beside the image."""
        return self.page.locator("#stage .nw-status")

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def drawer(self, name):
        """Open or close what lies under this heading."""
        self.page.locator("button.label-wrap", has_text=name).click()

    def number(self, name):
        return self.page.locator(f"#{name} :is(input[type=number], textarea, input[type=text])").first

    def put(self, name, value):
        self.number(name).fill(str(value))
        self.number(name).press("Tab")

    def paint(self, prompt="a red sphere", **numbers):
        """Settings in, then Ctrl+Enter."""
        for name, value in numbers.items():
            self.put(name, value)
        self.prompt.fill(prompt)
        self.page.evaluate(SEEN)
        self.prompt.press("Control+Enter")

    def paint_long(self):
        """A run that lasts, seen to be under way."""
        self.paint(steps=150, count=64)
        self.page.locator("#stage .nw-stage[data-state=running] .nw-sheet img").first.wait_for(timeout=RUN)

    def sees(self, state):
        """The stage in this state: done, stopped, failed, running. What stood there before `paint` does not count: the
        app draws the stage anew."""
        found = self.page.locator(f"#stage .nw-stage[data-state={state}]:not([data-seen])")
        found.wait_for(timeout=RUN)
        return found

    def download(self):
        with self.page.expect_download() as got:
            self.page.locator("#stage").get_by_role("link", name="Download PNG").click()
        return got.value

    def run_in(self, module, call):
        """Calls something that one of the page's modules exports, as text: the instance that the page uses."""
        return self.page.evaluate(
            """([name, call]) => import(document.querySelector(`link[rel=modulepreload][href$="/${name}.js"]`).href)
                .then((module) => Function('module', `return module.${call}`)(module))""",
            [module, call],
        )

    def away(self):
        """Focus on nothing."""
        self.page.evaluate("document.activeElement?.blur()")


@pytest.fixture
def me(page, base_url, requests):
    return Visitor(page, base_url)


@pytest.fixture(scope="module")
def onlooker(another_profile, base_url):
    """A visitor whose page the tests of a file share, as it takes longer to open than most of them: for those that
    begin no run, and do not mind what the others left in the controls."""
    page = new_page(another_profile, base_url)
    yield Visitor(page, base_url)
    page.close()


@pytest.fixture
def regular(onlooker):
    """The visitor of the shared page for a test that paints: at Create, its settings reset, on a desk. The strip of
    images and what was noted of the last run are still those of the tests before."""
    page = onlooker.page
    page.set_viewport_size({"width": 1280, "height": 800})
    onlooker.away()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Create").click()
    if page.locator("#advanced > button.label-wrap").get_attribute("aria-expanded") == "true":
        onlooker.drawer("Advanced")
    onlooker.put("steps", 99)  # that one sees when the settings are back: they arrive a moment later
    onlooker.button("Reset settings").click()
    expect(onlooker.number("steps")).not_to_have_value("99")
    return onlooker


@pytest.fixture(scope="session")
def accessible():
    """accessible(page, within="html"): axe, with every rule that it has on, finds nothing in what the page shows now,
    or in this part of it: on a desk and on a phone, light and dark. Skipped without axe-core, but
    not in CI."""
    if not AXE.exists() and os.environ.get("CI") != "true":
        return lambda page, within="html": pytest.skip("no axe-core here: npm ci")
    script = AXE.read_text(encoding="utf-8")

    def check(page, within="html"):
        before = page.viewport_size
        page.evaluate(script)
        for mode, width, height, rules in LOOKS:
            if rules and within != "html":
                continue  # of a whole page all looks, of a part the two that differ most
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=mode, reduced_motion="reduce")
            page.wait_for_function(f"document.body.classList.contains('dark') === {str(mode == 'dark').lower()}")
            found = page.evaluate(
                """([within, rules]) =>
                    Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))
                    .then(() => axe.run(within, { ...rules, resultTypes: ['violations'] })).then(({ violations }) =>
                    violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 200))]))""",
                [within, rules],
            )
            assert not found, f"{mode}, {width} pixels wide: {found}"
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        page.set_viewport_size(before)

    return check


@pytest.fixture
def visitor():
    """Visitor(page, url), for tests with a browser context of their own."""
    return Visitor


class Cards:
    """The part of the page that holds the methods."""

    def __init__(self, me):
        self.me, self.page = me, me.page
        me.page.locator("#methods [data-state=ready]").wait_for(timeout=60_000)

    def open(self, family):
        self.page.get_by_role("button", name="Add a method").click()
        self.page.get_by_role("tab", name=re.compile(f"^{theme.FAMILIES[family].name}")).click()

    def add(self, name):
        self.open(BOOK["methods"][name]["family"])
        self.page.get_by_role("button", name=f"Add: {BOOK['methods'][name]['title']}", exact=True).click()

    def attempt(self, name):
        self.open(BOOK["methods"][name]["family"])
        self.page.get_by_role("button", name=f"Try an example: {BOOK['methods'][name]['title']}", exact=True).click()

    def card(self, place):
        return self.page.locator(f"[id='methods.{place}']")

    def field(self, path):
        return self.page.locator(f"[id='methods.{path}']")

    @property
    def formula(self):
        return self.page.locator("#stack .nw-formula")

    def drag(self, locator, start, end):
        locator.scroll_into_view_if_needed()
        box = locator.bounding_box()
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        self.page.mouse.move(*at[1], steps=4)
        self.page.mouse.up()

    def given(self):
        """The stack as the server gets it next."""
        return self.me.run_in("stack", "stackText()")


@pytest.fixture
def cards(onlooker):
    """None yet, on a page that is shared: nothing is run here."""
    onlooker.page.set_viewport_size({"width": 1280, "height": 800})
    onlooker.page.keyboard.press("Escape")  # the picker may be open still
    shared = Cards(onlooker)
    while shared.card(0).count():
        shared.card(0).get_by_role("button", name="Remove: ").click()
    onlooker.button("Reset settings").click()  # a method may have brought its sampler
    return shared


@pytest.fixture
def run_cards(me):
    """On a page of their own, for a run of three steps."""
    me.put("steps", 3)
    return Cards(me)
