"""Images of the page, taken from the running app: `python -m tools.screenshots [folder]` (default docs/images).

Needs requirements-dev.txt and a chromium. The browser tests start the app through here as well.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the lightest first
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--no-first-run"]  # fmt: skip
PATIENCE = 120  # seconds for the app to serve and the network to load, on a busy machine
PROMPTS = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a shiny yellow torus in front of a green cylinder on snow",
    "a big blue cone behind a little white cube on sand under an overcast sky",
    "a small purple pyramid on wood at night",
)
#: One method a family, for the image of all of them: what it is given beside words, below its name.
WAYS = {
    "controlnet": "a map of depth, edges", "edit_friendly_ddpm": "an image to edit",
    "prompt_to_prompt": "two prompts, one seed", "multidiffusion": "two boxes with words",
    "ddnm": "32 × 32 pixels of it", "layout_guidance": "two boxes with words", "blended_latent": "an image, a mask",
}  # fmt: skip
FIGURE = (  # style of the sheet
    "position:fixed; inset:0 auto auto 0; z-index:99; width:1000px; box-sizing:border-box; padding:16px; display:grid; "
    "gap:20px 16px; grid-template-columns:repeat(4,1fr); background:var(--nw-paper); font-size:15px; line-height:20px"
)


def backbone() -> str:
    """Still Life where its weights are, else the oracle."""
    return "still-life" if (ROOT / "backbones" / "still_life" / "model_index.json").exists() else "exact"


class App:
    """`python app.py` on a free port, with an output folder of its own; more: of its environment."""

    def __init__(self, folder: str | Path, **more: str):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = Path(folder) / "app.log"
        env = {
            **os.environ,
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(Path(folder) / "gradio"),
            "HF_HUB_OFFLINE": "1",
            "NINE_WAYS_OUTPUT": str(Path(folder) / "outputs"),
            **more,
        }
        env.setdefault("NINE_WAYS_BACKBONE", backbone())
        self.begun = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> App:
        """Until the page is served. Raises RuntimeError with what the app said."""
        while time.monotonic() - self.begun < PATIENCE and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/config", timeout=2)
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the app did not serve:\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def visit(browser: Any, url: str, size: tuple[int, int] = (1280, 800), mode: str = "light", **more: Any) -> Iterator:
    """The open page with the network loaded."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=mode, **more)
    try:
        page = context.new_page()
        page.goto(url)
        page.get_by_label("Prompt", exact=True).wait_for()
        page.locator(".nw-model[data-state=ready]").wait_for(timeout=PATIENCE * 1000)
        page.locator("#methods [data-state=ready]").wait_for(timeout=PATIENCE * 1000)
        yield page
    finally:
        context.close()


def paint(page: Any, prompt: str, seed: int, count: int = 1, steps: int = 20) -> None:
    _forget(page)
    for name, value in (("seed", seed), ("count", count), ("steps", steps)):
        field = page.locator(f"#{name} :is(input[type=number], textarea, input[type=text])").first
        field.fill(str(value))
        field.press("Tab")
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Prompt", exact=True).press("Control+Enter")


def photograph(what: Any, path: Path) -> None:
    """A page, or a part of it, as a webp: a fifth of the bytes of a png, and looks the same."""
    from PIL import Image

    with Image.open(io.BytesIO(what.screenshot())) as image:
        image.convert("RGB").save(path, quality=90, method=6)
    print(path, flush=True)


def ways(page: Any) -> Any:
    """The image that the examples begin with and what a method of each family makes: an element to photograph."""
    from app.forms.page_catalogue import catalogue
    from app.theme import FAMILIES, glyph

    seen = "(i) => { const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight; \
            c.getContext('2d').drawImage(i, 0, 0); return c.toDataURL(); }"
    cells: list[str] = []

    def cell(source: str, head: str, title: str, words: str) -> str:
        image = f'<img src="{source}" style="width:100%; display:block; margin:0 0 8px">'
        return f'<div>{image}<b>{head}</b><br>{title}<br><span style="color:var(--nw-quiet)">{words}</span></div>'

    for name, given in WAYS.items():
        one = catalogue()["methods"][name]
        family = FAMILIES[one["family"]]
        attempt(page, family.name, one["title"])
        done(page)
        if name == "edit_friendly_ddpm":
            cells.insert(
                0, cell(page.locator("#methods .nw-given img").evaluate(seen), "Given", "A rendered scene", "")
            )
        made = page.locator("#stage .nw-image img").evaluate(seen)
        head = f'<span style="display:inline-block; margin-right:6px">{glyph(family.key)}</span>{family.name}'
        cells.append(cell(made, head, one["title"], f"given {given}"))
    sheet = f'<div id="ways" style="{FIGURE}">{"".join(cells)}</div>'
    page.evaluate("(html) => document.querySelector('.gradio-container').insertAdjacentHTML('beforeend', html)", sheet)
    return page.locator("#ways")


def attempt(page: Any, family: str, title: str) -> None:
    """One click on "Try an example" of a method, with a seed that stays."""
    _forget(page)
    page.locator("#seed :is(input, textarea)").fill("3")
    page.locator("#seed :is(input, textarea)").press("Tab")
    page.get_by_role("button", name="Add a method").click()
    page.get_by_role("tab", name=family).click()
    page.get_by_role("button", name=f"Try an example: {title}", exact=True).click()


def _forget(page: Any) -> None:
    """Marks what stands on the stage as old: a run may be over before anybody sees it under way."""
    page.evaluate("document.querySelector('#stage .nw-stage')?.setAttribute('data-old', '')")


def done(page: Any) -> None:
    page.locator("#stage [data-state=done]:not([data-old])").wait_for(timeout=PATIENCE * 1000)
    page.evaluate("document.activeElement?.blur()")
    page.wait_for_function("[...document.images].every((i) => i.complete)")
    page.wait_for_timeout(300)


def compared(page: Any, key: str) -> None:
    """A comparison of one click, all its cells made, the first two methods under the slider."""
    page.get_by_role("tab", name="Compare").click()
    page.locator(f'[data-ready="{key}"]').click()
    own = page.locator(".nw-board").filter(has_not_text="(example)")  # not the one that is there before
    own.locator(".nw-status", has_text="cells").wait_for(timeout=PATIENCE * 1000)
    page.wait_for_function("document.querySelector('.nw-board').dataset.busy === 'false'", timeout=20 * 60 * 1000)
    for n in (1, 2):
        page.locator(".nw-cell[data-status=done] button").nth(n).click()
    page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(600)


def followed(page: Any, key: str) -> None:
    """What is ready to follow in the tab Trajectory, half way through."""
    page.get_by_label("Prompt", exact=True).fill(PROMPTS[0])
    page.get_by_role("tab", name="Trajectory").click()
    page.locator(f'#follow-ready [data-ready="{key}"]').click()
    page.locator("#paths .nw-board[data-state=open]:not([data-stored])").wait_for(timeout=PATIENCE * 1000)
    page.locator("#path-step").fill("9")
    page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(600)


def take(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        app = App(temporary)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            app.wait()

            def shot(what: Any, name: str) -> None:
                photograph(what, folder / f"{name}.webp")

            with visit(browser, app.url) as page:
                page.evaluate("document.activeElement?.blur()")
                shot(page, "empty")
                for i, prompt in enumerate(PROMPTS[1:]):
                    paint(page, prompt, seed=20 + i)
                    done(page)
                paint(page, PROMPTS[0], seed=7, count=4)
                done(page)
                page.locator("#stage .nw-pick").first.click()
                shot(page, "page")
                page.get_by_text("Settings of this image").click()
                shot(page, "settings")
                paint(page, "a large red zebra on grass", seed=3)
                done(page)
                shot(page, "unknown")
                paint(page, PROMPTS[0], seed=7, steps=150)
                page.locator("#stage .nw-sheet img").first.wait_for(timeout=PATIENCE * 1000)
                shot(page, "forming")
                page.get_by_role("button", name="Cancel").click()
                page.get_by_role("tab", name="History").click()
                page.locator(".nw-card").nth(1).click()
                page.locator("#detail .nw-image").wait_for()
                page.wait_for_timeout(400)
                shot(page, "history")
            with visit(browser, app.url, (1280, 1080)) as page:
                page.get_by_role("button", name="Add a method").click()
                page.get_by_role("tab", name="Correction").click()
                page.wait_for_timeout(300)
                shot(page, "picker")
                page.keyboard.press("Escape")
                attempt(page, "Correction", "Blended latent diffusion")
                done(page)
                shot(page, "methods")
                page.get_by_role("button", name="Attention maps").click()
                page.locator(".nw-maps-body").wait_for(timeout=PATIENCE * 1000)
                page.wait_for_timeout(800)
                shot(page.locator("#attention"), "attention")
            with visit(browser, app.url, (1280, 1080)) as page:
                shot(ways(page), "ways")
            with visit(browser, app.url, (1280, 1080)) as page:
                attempt(page, "Revising the process", "DDNM")
                done(page)
                page.locator(".nw-measured img").wait_for()
                shot(page, "measured")
            with visit(browser, app.url, (1280, 1400)) as page:
                compared(page, "inpaint")
                shot(page, "compare")
                page.get_by_role("tab", name="Taxonomy").click()
                page.locator('#taxonomy-tree [data-family="inversion"]:visible').click()
                page.wait_for_timeout(600)
                shot(page, "taxonomy")
            with visit(browser, app.url, (1280, 1640)) as page:
                followed(page, "guidance")
                shot(page, "trajectory")
            with visit(browser, app.url, mode="dark") as page:
                paint(page, PROMPTS[1], seed=20)
                done(page)
                shot(page, "dark")
            with visit(browser, app.url, (390, 844), is_mobile=True, device_scale_factor=2) as page:
                paint(page, PROMPTS[0], seed=7)
                done(page)
                shot(page, "phone")
        finally:
            browser.close()
            app.stop()


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
