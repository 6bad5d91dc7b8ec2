"""kill -9 while images are made and kept: what was kept is whole, and the history opens as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
for seed in range(10_000):
    for event in engine.submit(Recipe.make(prompt=f"a red disc {seed}", backbone="exact", width=256, height=256,
                                           steps=2, seed=seed)):
        if isinstance(event, Made):
            history.add(event.image, event.recipe)
            print(seed, flush=True)
"""


@pytest.mark.parametrize("after", [1, 9])
def test_kill_during_a_run(tmp_path: Path, after: int) -> None:
    said = kill_after(tmp_path, after)
    history = History(tmp_path)
    assert history.note is None
    entries = history.search(limit=10_000)
    seeds = [entry.recipe.seed for entry in entries]
    assert seeds == sorted(seeds, reverse=True) and len(set(seeds)) == len(seeds)
    assert set(said) <= set(seeds) and len(seeds) <= len(said) + 1  # the last may be kept and not yet reported
    for entry in entries:
        image = entry.image()
        assert image.size == (256, 256) and read(image.info["parameters"]).recipe == entry.recipe
    assert history.add(entries[0].image(), entries[0].recipe).id > entries[0].id


def test_kill_again_and_again(tmp_path: Path) -> None:
    total = 0
    for after in (1, 2):
        total += len(kill_after(tmp_path, after))
        history = History(tmp_path)
        assert history.note is None and total <= history.count() <= total + after
        total = history.count()
        history.close()


def kill_after(folder: Path, images: int) -> list[int]:
    """Starts a maker, kills it a moment after so many images; the seeds it reported as kept."""
    maker = subprocess.Popen([sys.executable, "-c", MAKER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    said = [int(maker.stdout.readline()) for _ in range(images)]
    time.sleep(0.003 * images)
    os.kill(maker.pid, signal.SIGKILL)
    said += [int(line) for line in maker.stdout.read().splitlines()]
    maker.wait()
    return said
