"""What a search in the history is matched against beside the prompt: names that people and papers use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from app.catalog import survey
from app.forms.page_catalogue import catalogue
from app.schema.recipe import SCHEDULES
from app.schema.solvers import SAMPLERS


def titles(models: Mapping[str, str]) -> dict[str, str]:
    """By the name of a method, sampler, schedule or model, all that it is called. models: id -> name."""
    return {**_known(), **models}


@cache
def _known() -> dict[str, str]:
    """A method goes by its title, its family, and the short names of the survey's papers that it is."""
    families = {family["key"]: family["name"] for family in catalogue()["families"]}
    found = {name: f"{one['title']} {families[one['family']]}" for name, one in catalogue()["methods"].items()}
    for entry in survey.entries():
        if entry.status == "here" and entry.by in found:
            found[entry.by] += f" {entry.short}"
    for name, title in (*SAMPLERS.items(), *SCHEDULES.items()):
        found[name] = f"{found.get(name, '')} {title}"
    return found
