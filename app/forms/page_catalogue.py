"""The catalogue as the page has it: what `app.catalog` knows, with the names and glyphs of the families."""

from __future__ import annotations

from functools import cache
from typing import Any

from app import theme
from app.catalog import STRIP
from app.catalog import catalogue as plain
from app.forms import tiles

__all__ = ["STAGES", "STRIP", "catalogue", "place"]
STAGES = {"network": "The network", "sampling": "The sampling process"}


@cache
def catalogue() -> dict[str, Any]:
    """Families with their methods, methods with knobs and inputs, operators with parameters: plain JSON."""
    known = {family["key"]: family for family in plain()["families"]}
    families = [
        {
            "key": key, "name": look.name, "stage": look.stage, "group": STAGES[look.stage],
            "glyph": theme.glyph(key, 14), "summary": known[key]["summary"], "methods": known[key]["methods"],
        }
        for key, look in theme.FAMILIES.items()
    ]  # fmt: skip
    methods = {
        name: {key: value for key, value in one.items() if key != "traits"} for name, one in plain()["methods"].items()
    }
    return {
        "families": families, "methods": methods, "operators": plain()["operators"],
        "tasks": plain()["tasks"], "image_uses": plain()["image_uses"], "tiles": tiles.board(),
        "signposts": plain()["signposts"],
    }  # fmt: skip


def place(name: str) -> tuple[int, int]:
    """Where a method acts among the others: the family in the order of STRIP, then the place inside it."""
    family, within = plain()["methods"][name]["order"]
    return family, within
