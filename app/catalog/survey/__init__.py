"""The survey's list of methods: its 176 entries, and where each of them stands in this house.

Title, address, task, date and publication are the list's own (Zhan et al., arXiv 2409.19365); short name, seven tasks,
status, what runs in its place and why are ours, in entries.csv beside this file. A test holds it against the registry.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "entries.csv"

#: status -> what it says on the page, and in a legend after its number. Covered: another method here takes the same
#: and makes the same; the entry says what differs.
STATUS = {
    "here": ("here", "run here"),
    "covered": ("covered", "covered by one that does"),
    "not": ("not here", "not here"),
}

#: The survey's seven tasks: key -> name, one sentence.
TASKS = {
    "text-to-image": ("Text-to-image", "An image from words alone."),
    "restoration": ("Image restoration", "An image from what is left of it: small, blurred, grey, or with holes."),
    "visual-signal": ("Visual signal to image", "An image from a map of it: depth, edges, a sketch, labels."),
    "editing": ("Image editing", "An image changed in what one asks for, and kept in the rest."),
    "customization": ("Customization", "New images of one particular thing, known from a few images of it."),
    "composition": ("Image composition", "Things from several images, together in one."),
    "layout": ("Layout control", "Things at places that one names: boxes, regions."),
}
GENERAL = "general"  # an entry of no one task: it serves any

#: What methods of the registry call their task -> the survey's tasks.
OF_REGISTRY: dict[str, tuple[str, ...]] = {
    "text-to-image": ("text-to-image",),
    "panorama": ("text-to-image",),
    "restoration": ("restoration",),
    "inpainting": ("restoration",),
    "reference": ("restoration",),
    "visual-signal-to-image": ("visual-signal",),
    "anything that can be read off an image": ("visual-signal", GENERAL),
    "editing": ("editing",),
    "customization": ("customization",),
    "composition": ("composition",),
    "layout": ("layout",),
}

#: Tasks of bench.methods -> the survey's.
OF_BENCH = {
    "binding": "text-to-image", "panorama": "text-to-image", "super-resolution": "restoration",
    "inpaint": "restoration", "deblur": "restoration", "colourise": "restoration", "control": "visual-signal",
    "edit": "editing", "edit-own": "editing", "layout": "layout",
}  # fmt: skip


@dataclass(frozen=True)
class SurveyEntry:
    """One line of the list. A paper that the survey places in two families has a line in each."""

    short: str
    family: str  # key of app.theme.FAMILIES
    group: str  # inside a stage of the network; "" for mechanisms of sampling
    title: str
    url: str
    task: str  # in the list's words
    tasks: tuple[str, ...]  # keys of TASKS, or GENERAL; () for tasks beyond the seven
    date: str  # year.month
    publication: str
    status: str  # key of STATUS
    by: str  # the method, or network, that runs it or covers it
    why: str  # what is the same and what differs, or why it is not here

    @property
    def paper(self) -> str:
        """The arXiv number, or ""."""
        found = re.search(r"arxiv\.org/abs/(\d{4}\.\d{4,5})", self.url)
        return found[1] if found else ""


@cache
def entries() -> tuple[SurveyEntry, ...]:
    """All of them, in the order of the list."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(SurveyEntry(**{**row, "tasks": tuple(row["tasks"].split())}) for row in rows)  # type: ignore[arg-type]


def of_family(family: str) -> tuple[SurveyEntry, ...]:
    """The entries of one of the nine families."""
    return tuple(one for one in entries() if one.family == family)


def counts(some: tuple[SurveyEntry, ...]) -> dict[str, int]:
    """How many are here, covered, not."""
    return {status: sum(one.status == status for one in some) for status in STATUS}
