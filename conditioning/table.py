"""The table of methods in docs/methods.md, from the registry.

    python -m conditioning.table > docs/methods.md

A test holds the file and the registry equal.
"""

import re
from collections.abc import Iterable

import conditioning  # noqa: F401  fills the registry
from conditioning.registry import FAMILIES, METHODS, NEEDS, Choice, Knob, Method

CITED = re.compile(r"\s*\([A-Z][^()]*\d{4}[^()]*\)")
_SENTENCE = re.compile(r"(?<=[a-z)\"])\.\s+(?=[A-Z])")
HEADS = ("method", "what it does", "inputs", "knobs (default, range)", "cost", "needs")


def first_sentence(text: str) -> str:
    """What a paragraph says first, without the papers it cites."""
    return _SENTENCE.split(CITED.sub("", text.replace("`", "")))[0].rstrip(".") + "."


def cost(one: Method) -> str:
    """Network evaluations and gradients, beyond those of the sampler alone, in words."""
    if one.nfe is None:
        words = "More network evaluations, depending on its settings"
    elif one.rows is None:
        words = "More rows in a network evaluation, depending on its settings"
    elif one.nfe == one.rows == 1:
        words = "No more network evaluations"
    else:
        words = f"{one.rows} rows where there was 1, in {one.nfe} network evaluation{'s' if one.nfe > 1 else ''}"
    return words + ("; a gradient through the network at every step" if "gradients" in one.needs else "")


def markdown() -> str:
    """All methods, a section for each family in the order in which they act, a line for each method."""
    sections = [
        "# Methods",
        "Made from the registry by `python -m conditioning.table > docs/methods.md`; a test holds the two equal. The "
        "cost is what a method adds to the run that it acts on. A knob of ~ takes a curve over the steps.",
    ]
    for family in FAMILIES.values():
        own = [one for one in METHODS.values() if one.family == family]
        if own:
            heading = f"## {family.stage.capitalize()}: {family.name}\n\n{family.summary}"
            sections += [heading, "\n".join([_line(HEADS), _line("---" for _ in HEADS), *map(_row, own)])]
    return "\n\n".join(sections) + "\n"


def _row(one: Method) -> str:
    inputs = [
        f"{name.replace('_', ' ')}{', may be left out' if name in one.optional else ''}"
        for name in one.inputs
        if name != "null"
    ]
    needs = [NEEDS[need].split(" (")[0] for need in one.needs if need != "gradients"]
    return _line(
        (
            f"`{one.name}` [{one.paper}](https://arxiv.org/abs/{one.paper})",
            first_sentence(one.summary),
            "; ".join(inputs),
            "; ".join(_knob(name, knob) for name, knob in one.knobs.items()),
            cost(one),
            "; ".join(needs),
        )
    )


def _knob(name: str, knob: Knob | Choice) -> str:
    if isinstance(knob, Choice):
        return f"{name} ({knob.default}: {', '.join(knob.options)})"
    return f"{name} ({knob.default:g}, {knob.low:g} to {knob.high:g}{' ~' if knob.curve else ''})"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(markdown(), end="")
