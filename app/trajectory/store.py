"""Trajectories on disk: a folder for each result, with what the page draws of its runs, and their files.

A result is there when `drawn.json` is, which is written last. Of very many the oldest go.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files import atomic_write, write_text

KEPT = 200  # results: one is a few hundred kilobytes on Still Life
ID = re.compile(r"[0-9a-f]{12,20}")  # the moment at which the runs ended, so that ids are in their order
DRAWN = "drawn.json"
FILES = ("trajectories.npz", "figures.csv")


class TrajectoryStore:
    """Results in a folder. For any thread."""

    def __init__(self, folder: Path):
        self.folder = folder

    def keep(self, id: str, drawn: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """drawn: plain JSON; files: those of `FILES`. Raises ValueError for another id or name, OSError as it comes
        (a full disk)."""
        if not ID.fullmatch(id) or not set(files) <= set(FILES):
            raise ValueError(f"{id!r} with {sorted(files)}: give an id of {ID.pattern}, and files of {FILES}")
        for name, content in files.items():
            with atomic_write(self.folder / id / name) as file:
                file.write(content)
        write_text(self.folder / id / DRAWN, json.dumps(drawn))
        for old in sorted(path for path in self.folder.iterdir() if ID.fullmatch(path.name))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def drawn(self, id: str) -> dict[str, Any] | None:
        """None where there is no such result, or it cannot be read."""
        try:
            found = json.loads((self.folder / id / DRAWN).read_text(encoding="utf-8")) if ID.fullmatch(id) else None
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def file(self, id: str, name: str) -> Path | None:
        """Where one of its files lies; None where there is none."""
        path = self.folder / id / name
        return path if ID.fullmatch(id) and name in FILES and path.is_file() else None
