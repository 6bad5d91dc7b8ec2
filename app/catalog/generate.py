"""The catalogue as JSON, from the registries of methods, operators, solvers and schedules.

    python -m app.catalog.generate       writes app/catalog/catalogue.json and app/schema/solvers.json

A test holds the files equal to the registries: a new method or solver appears in them by this command alone.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from typing import Any

import conditioning  # noqa: F401  fills the registry
from app.catalog import FILE, STRIP, models
from app.catalog.image_uses import IMAGE_USES
from app.catalog.signposts import SIGNPOSTS, of_papers
from app.catalog.tasks import TASKS
from app.engine.method_checks import ASKS, wanted
from app.schema import solvers
from app.schema.recipe import SCHEDULES, TUNED
from common.knobs import label
from conditioning.operators import OPERATORS
from conditioning.registry import FAMILIES, METHODS, NEEDS, Choice, Method
from conditioning.table import cost, first_sentence
from samplers import SAMPLERS as SOLVERS

#: Ranges of the operators' parameters, for sliders: name -> (low, high, step, unit).
RANGES: dict[str, tuple[float, float, float, str]] = {
    "factor": (2, 16, 1, "times smaller on each side"),
    "sigma": (0.5, 6, 0.1, "pixels"),
    "length": (1, 31, 1, "pixels"),
    "angle": (-90, 90, 5, "degrees"),
    "floor": (0.001, 0.2, 0.001, "frequencies passed less than this count as lost"),
    "ratio": (0.05, 1, 0.05, "of the coefficients are measured"),
    "seed": (0, 9999, 1, ""),
    "quality": (1, 100, 1, "of 100"),
}


def generate() -> dict[str, Any]:
    """Families with their methods, methods with traits, knobs and inputs, operators with parameters, solvers and
    schedules, tasks, uses of images, signposts, kinds of models: plain JSON."""
    families = [
        {"key": key, "stage": one.stage, "summary": one.summary.replace("`", ""),
         "methods": [m.name for m in METHODS.values() if m.family.name == key]}
        for key, one in FAMILIES.items()
    ]  # fmt: skip
    return {
        "families": families,
        "methods": {name: _method(one) for name, one in METHODS.items()},
        "operators": [_operator(name, made) for name, made in OPERATORS.items()],
        "tasks": [
            {"key": one.key, "title": one.title, "summary": one.summary, "methods": one.methods} for one in TASKS
        ],
        "image_uses": [
            asdict(one) | {"needs": sorted({*one.needs, *METHODS[one.method].needs})} for one in IMAGE_USES
        ],
        "signposts": [asdict(one) for one in (*SIGNPOSTS, *of_papers({m.name: m.title for m in METHODS.values()}))],
        "models": models.table(),
        "solvers": {key: one | {"searched": False} for key, one in _solvers().items()}
        | {key: {"label": label, "searched": True} for key, label in solvers.TUNED.items()},
        "schedules": {key: {"label": label, "searched": key in TUNED} for key, label in SCHEDULES.items()},
    }


def text() -> str:
    """The catalogue as it is kept: in lines, so that a change of one method is a change of its lines."""
    return json.dumps(generate(), indent=1, ensure_ascii=False) + "\n"


def _method(one: Method) -> dict[str, Any]:
    asked = wanted(one)
    return {
        "name": one.name, "title": one.title, "family": one.family.name, "kind": one.kind, "task": one.task,
        "order": [STRIP.index(one.family.name), one.order_in_family],
        "summary": first_sentence(one.summary),
        "equation": one.equation, "paper": one.paper, "link": f"https://arxiv.org/abs/{one.paper}",
        "needs": [NEEDS[need] for need in one.needs], "need_keys": list(one.needs), "cost": cost(one),
        "differs": one.differs,
        "search": list(one.search),
        "fixed": one.name == "cfg",  # set by the CFG Scale of every run
        "traits": {name: where if where is None else list(where) for name, where in one.traits.items()},
        "knobs": [_knob(name, one.label(name), knob) for name, knob in one.knobs.items()],
        "inputs": [
            {"name": name, "label": one.label(name), "kind": input.kind, "optional": name in one.optional,
             "wanted_by": _options(one, name), "ask": ASKS[input.kind],
             "help": input.help, "of": input.of}
            for name, input in asked.items()
        ],
    }  # fmt: skip


def _options(one: Any, name: str) -> dict[str, list[str]]:
    """Choices of a method, with their options that cannot do without this input: it may be left out at the others."""
    choices = {knob: made.inputs for knob, made in one.knobs.items() if isinstance(made, Choice)}
    options = {knob: [option for option, input in inputs.items() if input == name] for knob, inputs in choices.items()}
    return {knob: those for knob, those in options.items() if those}


def _knob(name: str, label: str, knob: Any) -> dict[str, Any]:
    shared = {"name": name, "label": label, "default": knob.default, "help": knob.help.replace("`", "")}
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
            parameters.append({"name": "mask", "label": "Mask", "type": "mask"})
        elif isinstance(parameter.default, (int, float)):
            low, high, step, unit = RANGES.get(parameter.name, (0, 100, 0.01, ""))
            parameters.append(
                {"name": parameter.name, "label": label(parameter.name), "type": "int" if step == 1 else "float",
                 "low": low, "high": high, "step": step, "default": parameter.default, "help": unit}
            )  # fmt: skip
    return {"name": name, "title": made.title, "parameters": parameters}


def _solvers() -> dict[str, Any]:
    return {
        key: {
            "label": one.label, "summary": one.summary, "paper": one.paper, "order": one.order, "nfe": one.nfe,
            "stochastic": one.stochastic, "renoises": one.renoises, "between": one.between,
            "knobs": [
                _knob(name, solvers.knob_label(name), knob) | {"ignored_when": knob.ignored_when}
                for name, knob in one.knobs.items()
            ],
        }
        for key, one in SOLVERS.items()
    }  # fmt: skip


def text_of_solvers() -> str:
    """The solvers as recipes read them."""
    return json.dumps(_solvers(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    solvers.FILE.write_text(text_of_solvers(), encoding="utf-8")
    FILE.write_text(text(), encoding="utf-8")
