"""The finished comparison and path with which Compare and Trajectory open: `python -m tools.opening [comparison|path]`.

Written to app/assets/opening. To be done again when the weights, the methods of the comparison, its measures or its
form have changed: tests/app/forms/test_opening.py says so. Some minutes on two cores.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from typing import Any

from app.catalog.prompts import EXAMPLES
from app.comparison.store import ComparisonStore
from app.forms import comparison_form, opening, trajectory_form
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_files import save_png
from app.storage.image_history import History
from common.files import write_text

READY = "super-resolution"  # of the comparisons of one click
TITLE = "Four times as many pixels (example)"
SEED = 3
LABELS = "1, 4"  # strengths of guidance of the path


def comparison(state: AppState) -> None:
    """Its cells are made and measured as anybody's."""
    folder = opening.FOLDER / opening.COMPARISON
    shutil.rmtree(folder, ignore_errors=True)
    made = comparison_form.ready(state, READY).model_copy(update={"title": TITLE})
    write_text(folder / "comparison.json", made.model_dump_json(indent=1))
    store = ComparisonStore(opening.FOLDER)
    one = comparison_form.runner_of(state, store, opening.COMPARISON)
    assert one is not None
    for sha, image in one.images.items():
        save_png(image, folder / "images" / f"{sha}.png")
    one.start()
    one.join()
    for cell in one.cells:
        print(one.comparison.label(cell.place), one.states[cell.key].status, one.states[cell.key].reason, flush=True)


def path(state: AppState) -> None:
    """Two strengths of guidance, followed; without the files that go with a run."""
    base = Recipe.make(prompt=EXAMPLES[0], seed=SEED, sampler="dpmpp_2m", schedule="flow_shift", steps=10)
    job = trajectory_form.TrajectoryJob(state, trajectory_form.runs_of(base, "cfg_scale", LABELS), False, "")
    for _ in job.frames(1.0):
        pass
    drawn: dict[str, Any] = trajectory_form.result(state, job, "") | {"id": "", "stored": True, "files": None}
    write_text(opening.PATH, json.dumps(drawn, separators=(",", ":"), allow_nan=False))
    print(f"{opening.PATH.stat().st_size} bytes")


def take(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = AppState("still-life", History(folder))
        for part in (comparison, path):
            if not parts or part.__name__ in parts:
                part(state)


if __name__ == "__main__":
    take(sys.argv[1:])
