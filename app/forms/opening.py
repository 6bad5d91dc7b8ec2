"""What Compare and Trajectory show before anything was made: a finished comparison and a finished path, which are
stored with the app. Written by `python -m tools.opening`."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from app.comparison.store import ComparisonStore
from app.service.state import AppState
from app.theme import ASSETS

FOLDER = ASSETS / "opening"
COMPARISON = "20000101-000000-00000000"  # its id: older than any other, so the last in lists
PATH = FOLDER / "trajectory.json"
WORDS = "A finished example that came with the app: sort it, slide two cells, open one. What you begin takes its place."


def example_comparison(state: AppState, store: ComparisonStore, folder: Path = FOLDER) -> str:
    """The id of the stored comparison, in this store from now on, and its images held by the state; "" where there is
    none, or no room for it."""
    kept = folder / COMPARISON
    if not (kept / "comparison.json").is_file():
        return ""
    try:
        if store.get(COMPARISON) is None:
            without = shutil.ignore_patterns("images")
            shutil.copytree(kept, store.folder / COMPARISON, ignore=without, dirs_exist_ok=True)
    except OSError:
        return ""
    for path in sorted((kept / "images").glob("*.png")):
        with Image.open(path) as image:
            state.take(image.convert("RGB"))
    return COMPARISON
