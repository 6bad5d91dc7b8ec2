"""Whether the page bears a hundred images: a comparison of 10 x 10 cells, in a browser.

The cells are made while the page is open (how late does it answer meanwhile?), then the same comparison is opened by a
new visit: seconds to its first image, and to all hundred after scrolling, and what the tab holds by then. Needs a
chromium and requirements-dev.txt.

    python -m bench.page --json page.json
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from app.comparison.spec import Axis, Change, Comparison
from app.comparison.store import ComparisonStore
from app.schema.recipe import Recipe
from bench.table import Report
from tools.screenshots import CHROMIUM, FLAGS, App, visit

PROMPT = "a large red sphere to the left of a small blue cube on grass at sunset"
LONGEST = 900_000  # ms
#: The longest time between two frames since it was asked last: how late the page may answer.
WATCH = """
window.gaps = { worst: 0, last: performance.now() };
(function frame() {
  const now = performance.now();
  window.gaps.worst = Math.max(window.gaps.worst, now - window.gaps.last);
  window.gaps.last = now;
  requestAnimationFrame(frame);
})();
"""


def hundred(side: int) -> Comparison:
    """side x side cells of two steps: seeds beside strengths of guidance."""
    seeds = tuple(Change(label=f"seed {n}", recipe={"seed": n}) for n in range(side))
    scales = tuple(Change(label=f"CFG {n + 1}", recipe={"cfg_scale": 1.0 + n}) for n in range(side))
    axes = (Axis(name="CFG Scale", values=scales), Axis(name="seed", values=seeds))
    return Comparison(title="A hundred", base=Recipe(prompt=PROMPT, steps=2), axes=axes)


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.page", __doc__, arguments=arguments) as report:
        if CHROMIUM is None:
            for key, label in LABELS.items():
                report.skip(key, label, "no chromium here: apt-get install chromium")
            return
        from playwright.sync_api import sync_playwright

        side = 4 if report.quick else 10
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
            store = ComparisonStore(Path(folder) / "outputs" / "comparisons")
            store.add(hundred(side))
            app = App(folder)
            browser = play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--enable-precise-memory-info"])
            try:
                app.wait()
                with visit(browser, app.url) as page:
                    filled(report, page, side)
                with visit(browser, app.url) as page:
                    opened(report, page, side)
            finally:
                browser.close()
                app.stop()


LABELS = {
    "fill_s": "cells made, the page open",
    "fill_worst_gap_s": "longest wait between two frames meanwhile",
    "first_paint_s": "chosen from the list to the first image",
    "all_s": "to all images, scrolled through",
    "open_worst_gap_s": "longest wait between two frames",
    "heap_mb": "memory of the page's scripts",
    "nodes": "elements of the page",
}


def filled(report: Report, page: Any, side: int) -> None:
    choose(page)
    page.evaluate(WATCH)
    began = time.perf_counter()
    page.locator("#resume").click()
    count = page.locator(".nw-cell[data-status=done]")
    done = 0
    while done < side * side and time.perf_counter() - began < LONGEST / 1000:
        done = count.count()
        time.sleep(0.2)
    report.figure("fill_s", time.perf_counter() - began, f"{done} {LABELS['fill_s']}", "s")
    report.figure("fill_worst_gap_s", page.evaluate("window.gaps.worst") / 1000, LABELS["fill_worst_gap_s"], "s")


def opened(report: Report, page: Any, side: int) -> None:
    page.evaluate(WATCH)
    began = time.perf_counter()
    choose(page)
    first = "[...document.querySelectorAll('.nw-cell img')].some((image) => image.complete && image.naturalWidth)"
    page.wait_for_function(first, timeout=LONGEST)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    report.figure("first_paint_s", time.perf_counter() - began, LABELS["first_paint_s"], "s")
    for place in range(side):
        page.locator(".nw-compared-row").nth(place + 1).scroll_into_view_if_needed()
    page.wait_for_function(first.replace("some", "every"), timeout=LONGEST)
    report.figure("all_s", time.perf_counter() - began, LABELS["all_s"], "s")
    report.figure("open_worst_gap_s", page.evaluate("window.gaps.worst") / 1000, LABELS["open_worst_gap_s"], "s")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    report.figure("heap_mb", metrics["JSHeapUsedSize"] / 2**20, LABELS["heap_mb"], "MB")
    report.figure("nodes", metrics["Nodes"], LABELS["nodes"], "")


def choose(page: Any) -> None:
    """Opens the comparison from the list."""
    page.get_by_role("tab", name="Compare").click()
    page.locator("#kept input").click()
    page.get_by_role("option").first.click()
    page.locator(".nw-compared").wait_for()


if __name__ == "__main__":
    main()
