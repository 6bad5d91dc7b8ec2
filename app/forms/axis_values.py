"""Axes of one's own comparison: what may vary, and its values as they are written. Plain text in, no torch.

    axis_of("steps", "10-30 (+10)")      10, 20, 30, as A1111 writes ranges
    axis_of("cfg_scale", "0:1:0.25")     0, 0.25, 0.5, 0.75, 1
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from app.comparison.spec import ETA, LABEL, MOST_VALUES, SAMPLER, Axis, Change
from app.forms import references
from app.forms.page_catalogue import catalogue
from app.schema.foreign_names import sampler_named, schedule_in, schedule_named
from app.schema.recipe import LIMITS, SAMPLERS, SCHEDULES, Problem, Recipe, RecipeError
from app.schema.solvers import knob_label, knob_names

AXES = {
    "seed": "Seed", "prompt": "Prompt", "prompt_sr": "Prompt S/R", "negative": "Negative prompt",
    "steps": LIMITS["steps"].label,
    "cfg_scale": LIMITS["cfg_scale"].label, "cfg_rescale": LIMITS["cfg_rescale"].label,
    "variation_seed": LIMITS["variation_seed"].label, "variation_strength": LIMITS["variation_strength"].label,
    "stop_sigma": LIMITS["stop_sigma"].label, "clip_skip": LIMITS["clip_skip"].label, "sampler": "Sampling method",
    "schedule": "Schedule type", "backbone": "Model", **references.AXES,
}  # fmt: skip
NAMED = {"sampler": SAMPLERS, "schedule": SCHEDULES}
NAMED_BY = {"sampler": sampler_named, "schedule": schedule_named}
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
#: 1-5, 1-5 (+2), 1-10 [5], as A1111 writes them; 0:1:0.25
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d+)\s*\])?")
_STEPPED = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})\s*:\s*({_NUMBER})")
BY_BARS = ("prompt", "negative")  # axes whose values have | between, since commas are part of them


def axis_choices() -> list[tuple[str, str]]:
    return [("none", ""), *((label, key) for key, label in AXES.items())]


def knob_choices() -> list[tuple[str, str]]:
    """Every knob that a row may turn, those of solvers first: (its name in words, method.knob or sampler.knob)."""
    return [(f"Sampling method: {knob_label(name)}", f"{SAMPLER}.{name}") for name in knob_names()] + [
        (f"{one['title']}: {knob['label']}", f"{name}.{knob['name']}")
        for name, one in catalogue()["methods"].items() if not one["fixed"] for knob in one["knobs"]
    ]  # fmt: skip


def values_of(kind: str, models: Sequence[tuple[str, str]] = ()) -> list[str]:
    """The names that an axis may have for its values, as the controls of Create have them; [] where any number or text
    may stand there. models: (name, id) of those that can be chosen."""
    named = {"sampler": list(SAMPLERS.values()), "schedule": list(SCHEDULES.values()),
             "backbone": [id for _, id in models]}  # fmt: skip
    if kind in named:
        return named[kind]
    method, _, name = kind.partition(".")
    knobs = catalogue()["methods"].get(method, {"knobs": ()})["knobs"]
    knob = next((one for one in knobs if one["name"] == name), {"type": ""})
    return list(knob["options"]) if knob["type"] == "choice" else ["yes", "no"] if knob["type"] == "bool" else []


def axis_of(kind: str, text: str, prompt: str = "") -> Axis:
    """The axis of these values: "0, 1, 2", ranges (see the head of this file), names of samplers, prompts with |
    between; prompt: in which Prompt S/R replaces words. Raises RecipeError, also for a value that cannot be."""
    kind = ETA if kind == "eta" else kind
    label = AXES.get(kind, kind)
    split = _by_bars(text) if kind in BY_BARS else _by_commas(text, values_of(kind))
    parts = [part.strip() for part in split]
    parts = [part for part in parts if part or kind == "negative"]
    if kind not in BY_BARS and not values_of(kind):
        parts = [one for part in parts for one in _in_range(label, part)]
    if not parts:
        between = "with | between" if kind in BY_BARS else "with commas between"
        raise RecipeError([Problem("axes", f"{label}: there are no values. Write some, {between}.")])
    if len(parts) > MOST_VALUES:
        raise RecipeError([Problem("axes", f"{label}: {len(parts)} values are too many. Give at most {MOST_VALUES}.")])
    values: list[Any]
    if kind == "prompt_sr":
        if parts[0] not in prompt:
            why = f"{label}: the prompt does not say “{parts[0]}”. Give a part of it first, then what replaces it."
            raise RecipeError([Problem("axes", why)])
        changes = [Change(label=part, recipe={"prompt": prompt.replace(parts[0], part)}) for part in parts]
    elif kind in AXES:
        values = [_value(kind, part) for part in parts]
        words = [NAMED.get(kind, {}).get(str(value), part) for part, value in zip(short_labels(parts), values)]
        changes = []
        for part, word, value in zip(parts, words, values):
            fields = {kind: value}
            if kind == "sampler" and (schedule := schedule_in(part)):  # "DPM++ 2M Karras" names both
                word, fields["schedule"] = f"{word} {SCHEDULES[schedule]}", schedule
            name = f"{label} {word}" if kind in LIMITS else word or "no words"
            if kind in (*LIMITS, *NAMED):
                _checked(fields, part)
            changes.append(Change(label=name, recipe=fields))
    elif kind.startswith(f"{SAMPLER}."):
        label = knob_label(kind.partition(".")[2])
        changes = [Change(label=f"{label} {part}", knobs={kind: _number(part)}) for part in parts]
    elif "." in kind:
        changes = [Change(label=f"{kind.partition('.')[2]} {part}", knobs={kind: _number(part)}) for part in parts]
    else:
        known = ", ".join(AXES)
        raise RecipeError(
            [Problem("axes", f"There is no axis {kind!r}. Give one of {known}, or a knob as method.knob.")]
        )
    return Axis(name=label, values=tuple(changes))


def short_labels(texts: Sequence[str]) -> list[str]:
    """The texts as labels: where one is too long for that, without the words with which all of them begin."""
    if len(texts) < 2 or max(map(len, texts)) <= LABEL:
        return list(texts)
    words = [text.split() for text in texts]
    shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*words)))
    return [" ".join(["…", *rest[shared:]]) if 0 < shared < len(rest) else text for rest, text in zip(words, texts)]


def _value(kind: str, part: str) -> Any:
    if kind in NAMED:
        return NAMED_BY[kind](part) or part  # an unknown one is said at its cells
    return _number(part) if kind in LIMITS else part


def _number(part: str) -> Any:
    try:
        value = float(part)
    except ValueError:
        return {"yes": True, "no": False, "true": True, "false": False}.get(part.lower(), part)
    return int(value) if value.is_integer() and "." not in part else value


def _by_bars(text: str) -> list[str]:
    """What stands between bars, but for those in "[a|b]" and "{a|b}", as prompts of other tools have them."""
    inside: set[int] = set()
    opened: list[int] = []
    for i, letter in enumerate(text):
        if letter in "[{":
            opened.append(i)
        elif letter in "]}" and opened:
            inside.update(range(opened.pop(), i))
    bars = [i for i, letter in enumerate(text) if letter == "|" and i not in inside]
    return [text[a + 1 : b] for a, b in itertools.pairwise([-1, *bars, len(text)])]


def _by_commas(text: str, names: Sequence[str]) -> list[str]:
    """What stands between commas; a name that has a comma in it ("Heun (EDM, churn)") stays whole."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if "," in name)
    return re.findall(rf"\s*(?:{known})\s*(?=,|$)|[^,]+", text, re.IGNORECASE) if known else text.split(",")


def _checked(fields: dict[str, Any], part: str) -> None:
    """Raises RecipeError where no recipe can have this value."""
    try:
        Recipe.make(**fields)
    except RecipeError as error:
        raise RecipeError([Problem("axes", f"“{part}”: {one.message}") for one in error.problems]) from None


def _in_range(label: str, part: str) -> Iterator[str]:
    """The values of a range, both ends included; what is none is a value itself. Raises RecipeError."""
    if not (found := _RANGE.fullmatch(part) or _STEPPED.fullmatch(part)):
        yield part
        return
    first, last = Decimal(found[1]), Decimal(found[2])
    if found.re is _RANGE and found[4]:
        count = int(found[4])
        if not 2 <= count <= MOST_VALUES:
            raise RecipeError([Problem("axes", f"{label}: “{part}”. Give 2 to {MOST_VALUES} values in the brackets.")])
        yield from (f"{round(first + (last - first) * i / (count - 1), 6).normalize():f}" for i in range(count))
        return
    step = Decimal(found[3]) if found[3] else Decimal(1 if last >= first else -1)
    if step == 0 or (last - first) / step < 0:
        words = f"{label}: from {first} to {last} there are no steps of {step}. Write 1-5, 1-9 (+2) or 0:1:0.25."
        raise RecipeError([Problem("axes", words)])
    count = int((last - first) / step) + 1
    if count > MOST_VALUES:
        raise RecipeError([Problem("axes", f"{label}: “{part}” is {count} values. Give at most {MOST_VALUES}.")])
    yield from (f"{first + i * step:f}" for i in range(count))
