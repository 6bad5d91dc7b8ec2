"""How fast the world is rendered: images of 128 x 128 pixels with all maps, on one core.

Times are processor time of one thread, the best of some rounds over the same scenes, so that other work on the machine
counts as little as can be; `wall` is what the clock says.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time

import torch

from bench.table import Report
from world.render import render
from world.scene import draw

SIZE, BATCH = 128, 20


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.world", __doc__, _options, arguments) as report:
        scenes, rounds = (80, 4) if report.quick else (400, 6)
        torch.set_num_threads(1)
        size, device = report.args.size, report.args.device
        began = time.process_time()
        drawn = [draw("test", n) for n in range(scenes)]
        drawing = 1000 * (time.process_time() - began) / scenes
        render(drawn[:2], size, device)
        before = peak()
        batches = [drawn[i : i + BATCH] for i in range(0, scenes, BATCH)]
        spent, wall = [[math.inf] * len(batches) for _ in range(2)]
        for i in report.steps(list(range(len(batches))) * rounds, "batches"):
            clock, processor = time.perf_counter(), time.process_time()
            render(batches[i], size, device).rgb.sum().item()
            spent[i] = min(spent[i], time.process_time() - processor)
            wall[i] = min(wall[i], time.perf_counter() - clock)
        ms = 1000 * sum(spent) / scenes
        report.note(f"{scenes} test scenes, {size} x {size} pixels, batches of {BATCH}, {device}, one thread")
        report.figure("ms_per_scene", ms, "a scene with all maps", "ms", "at most 15", wall=1000 * sum(wall) / scenes)
        report.figure("scenes_per_second", 1000 / ms, "scenes per second", "1/s")
        report.figure("draw_ms", drawing, "drawing the scene itself", "ms")
        report.figure("peak_mb", peak(), "peak memory of the process", "MB", before=before)
        if device != "cpu":
            report.figure("device_mb", torch.cuda.max_memory_allocated() / 2**20, "peak memory on the device", "MB")


def peak() -> float:
    """Megabytes that this process has held at most."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=SIZE, help=f"pixels a side (default: {SIZE})")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


if __name__ == "__main__":
    main()
