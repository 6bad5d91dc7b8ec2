"""All that the page knows of methods, read from the registry: a new method file appears by itself.

Imports torch when it is called, not before.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

from app import theme

STAGES = {"network": "The network", "sampling": "The sampling process"}
#: In the order in which they act, as the strip shows them; the solver stands behind guidance.
STRIP = (
    "training", "repurposing", "specialization", "inversion", "attention", "blending", "guidance", "", "revision",
    "correction",
)  # fmt: skip
#: Ranges of the operators' parameters, for sliders: name -> (low, high, step, unit).
RANGES: dict[str, tuple[float, float, float, str]] = {
    "factor": (2, 16, 1, "times smaller"),
    "sigma": (0.5, 6, 0.1, "pixels"),
    "length": (1, 31, 1, "pixels"),
    "angle": (-90, 90, 5, "degrees"),
    "floor": (0.001, 0.2, 0.001, "of what is passed"),
    "ratio": (0.05, 1, 0.05, "of the coefficients"),
    "seed": (0, 9999, 1, ""),
    "quality": (1, 100, 1, "of 100"),
}
ACRONYMS = {"Snr": "SNR", "Eta b": "Eta_b"}


@cache
def catalogue() -> dict[str, Any]:
    """Families with their methods, methods with knobs and inputs, operators with parameters: plain JSON."""
    import conditioning  # noqa: F401  fills the registry
    from conditioning.operators import OPERATORS
    from conditioning.registry import FAMILIES, METHODS

    families = [
        {
            "key": key, "name": look.name, "stage": look.stage, "group": STAGES[look.stage],
            "glyph": theme.glyph(key, 14), "summary": FAMILIES[key].summary.replace("`", ""),
            "methods": [m.name for m in METHODS.values() if m.family.name == key],
        }
        for key, look in theme.FAMILIES.items()
    ]  # fmt: skip
    return {
        "families": families,
        "methods": {name: _method(one) for name, one in METHODS.items()},
        "operators": [_operator(name, made) for name, made in OPERATORS.items()],
    }


def place(name: str) -> tuple[int, int]:
    """Where a method acts among the others: the family in the order of the strip, then the place inside it."""
    from conditioning.registry import METHODS

    return STRIP.index(METHODS[name].family.name), METHODS[name].within


def label(name: str) -> str:
    words = name.replace("_", " ").capitalize()
    return ACRONYMS.get(words, words)


def told(docstring: str, name: str) -> str:
    """What a method's docstring says of an input, "name: words.", without what only programmers read; or ""."""
    from conditioning.table import CITED

    for paragraph in docstring.split("\n\n"):
        found = re.search(rf"(?:^|\. ){name}: (.+?)\.(?= |$)", " ".join(paragraph.split()))
        if found:
            words = re.sub(r"(?:, latents |\s?)\(B, [^()]*\)(?: in \[0, 1\])?,?", "", CITED.sub("", found[1]))
            words = re.sub(r"\s*\([^()]*$", "", words).strip().replace("cond of ", "").replace("`", "")
            words = re.sub(r"^True where", "painted where", words)
            return "" if words in ("the picture", "a picture") else words[:1].upper() + words[1:]
    return ""


def _method(one: Any) -> dict[str, Any]:
    from app.runs.methods import ASKS, wanted
    from conditioning.registry import NEEDS
    from conditioning.table import cost, first_sentence

    asked = wanted(one)
    return {
        "name": one.name, "title": one.title, "family": one.family.name, "kind": one.kind, "task": one.task,
        "order": place(one.name),
        "summary": first_sentence(one.summary),
        "equation": one.equation, "paper": one.paper, "link": f"https://arxiv.org/abs/{one.paper}",
        "needs": [NEEDS[need] for need in one.needs], "need_keys": list(one.needs), "cost": cost(one),
        "fixed": one.name == "cfg",  # set by the CFG Scale of every run
        "knobs": [_knob(name, knob) for name, knob in one.knobs.items()],
        "inputs": [
            {"name": name, "label": label(name), "kind": given.kind, "optional": name in one.optional,
             "wanted_by": _options(one, name), "ask": ASKS[given.kind],
             "help": told(inspect.getdoc(one.function) or "", name)}
            for name, given in asked.items()
        ],
    }  # fmt: skip


def _options(one: Any, name: str) -> dict[str, list[str]]:
    """Choices of a method, with their options that cannot do without this input: it may be left out at the others."""
    from conditioning.registry import Choice

    choices = {knob: made.inputs for knob, made in one.knobs.items() if isinstance(made, Choice)}
    found = {knob: [option for option, given in told.items() if given == name] for knob, told in choices.items()}
    return {knob: options for knob, options in found.items() if options}


def _knob(name: str, knob: Any) -> dict[str, Any]:
    from conditioning.registry import Choice

    shared = {"name": name, "label": label(name), "default": knob.default, "help": knob.help.replace("`", "")}
    if isinstance(knob, Choice):
        return shared | {"type": "choice", "options": list(knob.options)}
    kind = "bool" if knob.type is bool else "int" if knob.type is int else "float"
    step = 1 if kind == "int" else _step(knob.high - knob.low)
    return shared | {
        "type": kind, "low": knob.low, "high": knob.high, "step": step, "curve": knob.curve, "neutral": knob.neutral,
    }  # fmt: skip


def _step(span: float) -> float:
    """A step that a slider of this span moves in: 1, 2 or 5 times a power of ten, 50 or more of them."""
    for step in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002):
        if span / step >= 50:
            return step
    return 0.001


def _operator(name: str, made: Any) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    for parameter in list(inspect.signature(made).parameters.values())[1:]:
        if parameter.name == "mask":
            parameters.append({"name": "mask", "label": "What is lost", "type": "mask"})
        elif isinstance(parameter.default, (int, float)):
            low, high, step, unit = RANGES.get(parameter.name, (0, 100, 0.01, ""))
            parameters.append(
                {"name": parameter.name, "label": label(parameter.name), "type": "int" if step == 1 else "float",
                 "low": low, "high": high, "step": step, "default": parameter.default, "help": unit}
            )  # fmt: skip
    return {"name": name, "title": made.title, "parameters": parameters}
