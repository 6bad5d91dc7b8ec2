"""All that is known of methods, operators, solvers and schedules, read without torch from what `generate` wrote."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from common.knobs import label

FILE = Path(__file__).parent / "catalogue.json"
#: Families in the order in which they act, as the page shows them; the solver, "", stands behind guidance.
STRIP = (
    "training", "repurposing", "specialization", "inversion", "attention", "blending", "guidance", "", "revision",
    "correction",
)  # fmt: skip


def input_label(method: str, name: str) -> str:
    """What an input of a method is called; of a method that there is not, as its name."""
    inputs = catalogue()["methods"].get(method, {}).get("inputs", [])
    return next((one["label"] for one in inputs if one["name"] == name), label(name))


@cache
def catalogue() -> dict[str, Any]:
    """Families, methods with traits, knobs and inputs, operators, solvers, schedules. Shared: not to be changed."""
    return json.loads(FILE.read_text(encoding="utf-8"))
