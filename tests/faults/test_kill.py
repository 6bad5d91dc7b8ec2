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
#: Imports once, and forks a maker for each line "folder seed" that it is given: its process, then each seed kept.
MAKERS = """
import os, sys, torch
torch.set_num_threads(1)
from app.storage.image_history import History
from app.engine.events import Made
from app.schema.recipe import Recipe
from app.engine.engine import Engine

def make(folder, first):
    engine, history = Engine("exact"), History(folder)
    for seed in range(int(first), 10_000):
        for event in engine.submit(Recipe.make(prompt=f"a red disc {seed}", backbone="exact", width=256, height=256,
                                               steps=2, seed=seed)):
            if isinstance(event, Made):
                history.add(event.image, event.recipe)
                print(seed, flush=True)

for line in sys.stdin:
    maker = os.fork()
    if not maker:
        make(*line.rsplit(maxsplit=1))
    print(f"maker {maker}", flush=True)
    os.waitpid(maker, 0)
    print("ended", flush=True)
"""


def test_kill_during_a_run_and_again(tmp_path: Path) -> None:
    kept: set[int] = set()
    command = [sys.executable, "-c", MAKERS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as makers:
        try:
            _killed_again_and_again(tmp_path, makers, kept)
        finally:
            os.killpg(makers.pid, signal.SIGKILL)  # whatever is left where something else failed


def _killed_again_and_again(tmp_path: Path, makers: subprocess.Popen[str], kept: set[int]) -> None:
    for first, after in ((0, 1), (5_000, 9)):
        said = kill_after(makers, tmp_path, first, after)
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


def kill_after(makers: subprocess.Popen[str], folder: Path, first: int, images: int) -> list[int]:
    """Has a maker started at a seed, kills it a moment after so many images; the seeds it reported as kept."""
    assert makers.stdin is not None and makers.stdout is not None
    makers.stdin.write(f"{folder} {first}\n")
    makers.stdin.flush()
    maker = int(makers.stdout.readline().removeprefix("maker "))
    said = [int(makers.stdout.readline()) for _ in range(images)]
    time.sleep(0.003 * images)
    os.kill(maker, signal.SIGKILL)
    said += [int(line) for line in iter(makers.stdout.readline, "ended\n")]
    return said
