"""The solvers and their knobs, read without torch from what `app.catalog.generate` wrote of samplers/.

A knob is called by a Problem at `sampler.knobs.<name>`, as it stands in a recipe's JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.knobs import Knob
from common.text import one_line

FILE = Path(__file__).parent / "solvers.json"
#: In A1111's words, where it has one; else a knob is called by its name.
WORDS = {"s_churn": "Sigma churn", "s_noise": "Sigma noise", "s_tmin": "Sigma tmin", "s_tmax": "Sigma tmax"}
TYPES: dict[str, type] = {"float": float, "int": int, "bool": bool}
Number = bool | int | float


def _read() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _knob(stored: Mapping[str, Any]) -> Knob:
    other = (stored["ignored_when"][0], stored["ignored_when"][1]) if stored["ignored_when"] else None
    return Knob(stored["low"], stored["high"], help=stored["help"], ignored_when=other, default=stored["default"],
                type=TYPES[stored["type"]])  # fmt: skip


_STORED = _read()
#: Trained on the network before the first run: see app/engine/tuned_schedules/amed.py.
TUNED = {"amed": "AMED-Solver"}
SAMPLERS: dict[str, str] = {key: one["label"] for key, one in _STORED.items()} | TUNED
#: Of every solver, what a recipe may set.
KNOBS: dict[str, dict[str, Knob]] = {
    key: {stored["name"]: _knob(stored) for stored in _STORED.get(key, {}).get("knobs", ())} for key in SAMPLERS
}


def knob_label(name: str) -> str:
    """What a solver's knob is called on the page and in the text of an image."""
    return WORDS.get(name, name.replace("_", " ").capitalize())


def knob_field(name: str) -> str:
    return f"sampler.knobs.{name}"


def defaults(sampler: str) -> dict[str, Number]:
    return {name: knob.default for name, knob in KNOBS.get(sampler, {}).items()}


def changed(sampler: str, knobs: Mapping[str, Number]) -> dict[str, Number]:
    """The knobs that do not stand at their defaults."""
    usual = defaults(sampler)
    return {name: value for name, value in knobs.items() if value != usual.get(name)}


def with_knob(name: Any) -> str:
    """The solvers that have it, in words."""
    return ", ".join(label for key, label in SAMPLERS.items() if name in KNOBS[key])


def has_none(sampler: str, name: Any) -> str:
    """Why a knob is not one of this solver, in words."""
    whose, label = with_knob(name), SAMPLERS.get(sampler, sampler)
    if whose:
        return f"{knob_label(name)}: {label} takes none. It is for {whose}."
    return f"{label} has no setting {shown(name)}: it has {', '.join(KNOBS.get(sampler, {})) or 'none'}."


def knob_value(value: Number) -> str:
    """As the page and the text of an image show it."""
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}"


def read_knob(sampler: str, name: str, value: Any) -> Number:
    """The value as the knob has it. Raises ValueError, in words, where the solver has no such knob or it cannot be set
    so."""
    knob = KNOBS.get(sampler, {}).get(name)
    if knob is None:
        raise ValueError(has_none(sampler, name))
    label = knob_label(name)
    if knob.type is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{label}: {shown(value)} is neither on nor off.")
        return value
    return number(label, value, knob.low, knob.high, knob.type is int)


def read_knobs(sampler: str, given: Mapping[str, Any]) -> tuple[dict[str, Number], dict[str, str]]:
    """Every knob of the solver with its value, and what is wrong: knob -> words."""
    knobs, wrong = defaults(sampler), {}
    for name, value in given.items():
        try:
            knobs[name] = read_knob(sampler, name, value)
        except ValueError as error:
            wrong[name] = str(error)
    return knobs, wrong


def number(label: str, value: Any, low: float, high: float, whole: bool, unit: str = "") -> int | float:
    """The number that is meant. Raises ValueError, in words, where it is none or is out of range."""
    span = f"from {low:g} to {high if whole else format(high, 'g')}" + (f" {unit}" if unit else "")
    kind = "a whole number" if whole else "a number"
    if value is None or value == "":
        raise ValueError(f"{label}: nothing is given. Give {kind} {span}.")
    try:
        found = _exactly(value)
    except (TypeError, ValueError):
        raise ValueError(f"{label}: {shown(value)} is not a number. Give {kind} {span}.") from None
    if isinstance(value, bool) or not math.isfinite(found) or (whole and found != int(found)):
        raise ValueError(f"{label}: {shown(value)} is not {kind}. Give {kind} {span}.")
    if not low <= found <= high:
        raise ValueError(f"{label}: {shown(value)} is out of range. Give {kind} {span}.")
    return int(found) if whole else float(found)


def _exactly(value: Any) -> int | float:
    """Whole numbers exactly, however large; of text with a comma for a point, too."""
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        return float(value)
    text = value.strip()
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return float(text.replace(",", ".") if text.count(",") == 1 else text)


def shown(value: Any) -> str:
    return one_line(repr(value))


def knob_names() -> Iterable[str]:
    """Of all solvers, each once."""
    return dict.fromkeys(name for knobs in KNOBS.values() for name in knobs)
