"""kill -9 while images are made and kept: what was kept is whole, and the history opens as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.schema.png_metadata import read
from app.storage.image_history import History

ROOT = Path(__file__).parents[2]
MAKER = """
import sys, torch
torch.set_num_threads(1)
from app.storage.image_history import History
from app.engine.events import Made
from app.schema.recipe import Recipe
from app.engine.engine import Engine
engine, history = Engine("exact"), History(sys.argv[1])
for seed in range(int(sys.argv[2]), 10_000):
    for event in engine.submit(Recipe.make(prompt=f"a red disc {seed}", backbone="exact", width=256, height=256,
                                           steps=2, seed=seed)):
        if isinstance(event, Made):
            history.add(event.image, event.recipe)
            print(seed, flush=True)
"""


def test_kill_during_a_run_and_again(tmp_path: Path) -> None:
    kept: set[int] = set()
    for first, after in ((0, 1), (5_000, 9)):
        said = kill_after(tmp_path, first, after)
        history = History(tmp_path)
        assert history.note is None
        entries = history.search(limit=10_000)
        seeds = [entry.recipe.seed for entry in entries]
        assert seeds == sorted(seeds, reverse=True) and len(set(seeds)) == len(seeds) == history.count()
        kept |= set(said)
        assert kept <= set(seeds) and len(seeds) <= len(kept) + 1  # the last may be kept and not yet reported
        kept = set(seeds)
        for entry in entries:
            image = entry.image()
            assert image.size == (256, 256) and read(image.info["parameters"]).recipe == entry.recipe
        history.close()
    history = History(tmp_path)
    assert history.add(entries[0].image(), entries[0].recipe).id > entries[0].id


def kill_after(folder: Path, first: int, images: int) -> list[int]:
    """Starts a maker at a seed, kills it a moment after so many images; the seeds it reported as kept."""
    command = [sys.executable, "-c", MAKER, str(folder), str(first)]
    maker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    said = [int(maker.stdout.readline()) for _ in range(images)]
    time.sleep(0.003 * images)
    os.kill(maker.pid, signal.SIGKILL)
    said += [int(line) for line in maker.stdout.read().splitlines()]
    maker.wait()
    return said
