"""Comparisons on disk: one folder each, one PNG and one JSON a cell, every file written whole or not at all.

A cell is there when both its files are; so whatever stops a comparison, it goes on with the missing ones.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image

from app.comparison.spec import Comparison
from app.schema import png_metadata
from app.schema.recipe import Recipe
from app.storage.image_files import save_png
from common.files import write_text

ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
KEY = re.compile(r"[0-9a-f]{32}")
BETTER, SAME, NEITHER = "better", "same", "neither"  # verdicts of a blind vote
RENAMED = {"calls": "nfe", "stack": "formula", "said": "left_out"}  # in the cells of version 0.1


@dataclass(frozen=True)
class Result:
    """What a cell cost and how faithful its image is. seconds: of the engine, for this cell alone (what it has from
    memory, as another cell asked the same, counts as when it was computed); gradients: evaluations under a tape.
    formula: what ran; left_out: why some measures are left out; seen: what the evaluator saw; both in words."""

    seconds: float
    nfe: int
    rows: int
    gradients: int
    formula: str
    figures: dict[str, float] = field(default_factory=dict)
    left_out: str = ""
    seen: str = ""


class ComparisonStore:
    """Comparisons in a folder. For any thread. OSError is raised as it comes (a full disk): whoever runs says it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, comparison: Comparison) -> str:
        """Keeps a new one, and gives its id."""
        id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        write_text(self._of(id) / "comparison.json", comparison.model_dump_json())
        return id

    def get(self, id: str) -> Comparison | None:
        """None where there is none of that id, or it cannot be read."""
        try:
            return Comparison.read((self._of(id) / "comparison.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def rename(self, id: str, title: str) -> None:
        """Another title for a comparison of the store; its cells stay."""
        one = self.get(id)
        if one is not None:
            write_text(self._of(id) / "comparison.json", one.model_copy(update={"title": title}).model_dump_json())

    def copy(self, id: str, title: str) -> str | None:
        """A comparison of this title with the cells of another one, without its votes, and its id; None for none."""
        one = self.get(id)
        if one is None:
            return None
        made = self.add(one.model_copy(update={"title": title}))
        if (cells := self._of(id) / "cells").is_dir():
            shutil.copytree(cells, self._of(made) / "cells")
        return made

    def delete(self, id: str) -> None:
        """For good: the comparison, its cells and its votes."""
        shutil.rmtree(self._of(id), ignore_errors=True)

    def all(self) -> Iterator[tuple[str, Comparison, int]]:
        """(id, comparison, cells that are there), newest first."""
        for path in sorted(self.folder.glob("*/comparison.json"), reverse=True):
            one = self.get(path.parent.name)
            if one is not None:
                yield path.parent.name, one, len(list((path.parent / "cells").glob("*.json")))

    def put(self, id: str, key: str, image: Image.Image, recipe: Recipe, result: Result) -> None:
        """Keeps a cell: the image with its recipe first, then the figures."""
        save_png(image, self.image(id, key), png_metadata.write(recipe))
        write_text(self._cell(id, key, "json"), json.dumps(asdict(result)))

    def result(self, id: str, key: str) -> Result | None:
        """The figures of a cell; None where it is missing."""
        try:
            fields = json.loads(self._cell(id, key, "json").read_text(encoding="utf-8"))
            result = Result(**{RENAMED.get(name, name): value for name, value in fields.items()})
            return result if self.image(id, key).exists() else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def image(self, id: str, key: str) -> Path:
        return self._cell(id, key, "png")

    def vote(self, id: str, better: str, worse: str, verdict: str = BETTER) -> None:
        """One blind vote, by the labels of the columns. verdict: BETTER, or SAME or NEITHER of the two."""
        path = self._of(id) / "votes.jsonl"
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([better, worse] if verdict == BETTER else [better, worse, verdict]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def votes(self, id: str, verdict: str = BETTER) -> list[tuple[str, str]]:
        """(better, worse) of this verdict, oldest first; half a line at the end, of a killed process, is left out."""
        found = []
        try:
            lines = (self._of(id) / "votes.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        for line in lines:
            try:
                better, worse, *said = json.loads(line)
                if (said or [BETTER]) == [verdict]:
                    found.append((str(better), str(worse)))
            except (ValueError, TypeError):
                continue
        return found

    def all_votes(self, ids: Container[str] | None = None, verdict: str = BETTER) -> list[tuple[str, str]]:
        """Those of this verdict of every comparison, oldest comparison first; ids: of these only."""
        paths = sorted(path.parent.name for path in self.folder.glob("*/votes.jsonl"))
        mine = [id for id in paths if ID.fullmatch(id) and (ids is None or id in ids)]
        return [vote for id in mine for vote in self.votes(id, verdict)]

    def _of(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise ValueError(f"{id!r} is the id of no comparison.")
        return self.folder / id

    def _cell(self, id: str, key: str, kind: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is the key of no cell.")
        return self._of(id) / "cells" / f"{key}.{kind}"
