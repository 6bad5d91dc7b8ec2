"""How much the columns of a comparison of one click differ: `python -m tools.column_differences [KEY ...]`.

Writes docs/comparisons.json: of each pair of columns the mean absolute difference of their images, of 255, over all
rows. Without names those of SHOWN. To be done again when the comparison or the weights have changed; a test holds that
the figures are of the comparison as it is, and that no two columns show nearly the same. Three minutes on two cores.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from app.comparison.spec import Comparison
from app.forms.presets import READY
from app.schema.method_inputs import Use
from app.service.runs import Engines
from conditioning.registry import find
from tools.example_images import painted

FILE = Path(__file__).parents[1] / "docs" / "comparisons.json"
SHOWN = ("two-objects",)  # its columns are given the prompt alone, and once looked alike


def key_of(comparison: Comparison) -> str:
    """Another one where anything of its recipes is changed, a default of a method included."""

    def knobs(use: Use) -> list[tuple[str, Any]]:
        return sorted(find(use.name).with_defaults(use.knobs).items())

    runs = [(cell.key, *map(knobs, cell.recipe.methods)) for cell in comparison.cells() if cell.recipe is not None]
    return hashlib.sha256(repr(runs).encode()).hexdigest()[:16]


def differences(comparison: Comparison, images: dict[tuple[int, ...], Any]) -> dict[str, float]:
    """"one / other" -> mean absolute difference. images: of each place, (H, W, 3) of 255."""
    labels = [value.label for value in comparison.axes[0].values]
    rows = sorted({place[1:] for place in images})
    return {
        f"{labels[i]} / {labels[j]}": float(np.mean([np.abs(images[i, *row] - images[j, *row]).mean() for row in rows]))
        for i, j in itertools.combinations(range(len(labels)), 2)
    }


def take(keys: list[str]) -> None:
    engines = Engines()
    known = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for key in keys or SHOWN:
        ready = READY[key].make()
        images = {
            cell.place: np.asarray(painted(engines, cell.recipe, ready.images), np.float64)
            for cell in ready.comparison.cells()
            if cell.recipe is not None
        }
        found = {pair: round(far, 1) for pair, far in differences(ready.comparison, images).items()}
        known[key] = {"comparison": key_of(ready.comparison), "differ": found}
        print(key, found, flush=True)
    engines.close()
    FILE.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    take(sys.argv[1:])
