"""What a stack leaves unused: methods and knobs that change nothing at these values, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from conditioning.compose import steps_left_out
from conditioning.registry import Interval, Knob, Method


class Unused(NamedTuple):
    """place: of the method in the stack. knob: where to say so. why: in words, to follow "the knob's label: ".
    whole: whether the whole method does nothing."""

    place: int
    knob: str
    why: str
    whole: bool


def unused(uses: Sequence[tuple[Method, Mapping[str, Any]]], steps: int, between: bool) -> Iterator[Unused]:
    """What does nothing in a stack of (method, knobs and inputs).

    steps: of the schedule. between: whether the sampler asks the network at levels between those of the schedule, as
    DPM-Solver-2 or a restart does.
    """
    left_out = steps_left_out(uses, steps)
    for place, (one, values) in enumerate(uses):
        knobs = one.with_defaults(values)
        if (name := one.neutral(knobs)) is not None:
            yield Unused(place, name, f"at {_shown(knobs[name])} {one.title} does nothing", True)
            continue
        silent = list(_empty_intervals(one, knobs, steps, left_out, between))
        whole = [gap for gap in silent if gap[2]]
        if whole and len(whole) == sum(interval.disables_method for interval in one.intervals):
            yield Unused(place, whole[0][0], f"{whole[0][1]}, so {one.title} does nothing", True)
            continue
        yield from (Unused(place, name, why, False) for name, why, _ in silent)
        yield from (Unused(place, name, why, False) for name, why in _idle(one, values, knobs, steps - left_out))


def _empty_intervals(
    one: Method, knobs: Mapping[str, Any], steps: int, left_out: int, between: bool
) -> Iterator[tuple[str, str, bool]]:
    """(the knob to blame, why, whether the method does nothing outside) of each interval that no step falls into.

    One that is switched off on purpose, as an end of 0 is, is none of them unless it is the whole method.
    """
    if one.kind == "sampler":  # it sees the schedule of the steps that are made
        steps, left_out = steps - left_out, 0
    for interval in one.intervals:
        start = knobs[interval.start] if interval.start else 0.0
        end = knobs[interval.end] if interval.end else 1.0
        if _acts(interval, start, end, steps, left_out, between):
            continue
        name = interval.start or interval.end or ""
        if interval.start and interval.end and start > end:
            yield name, f"{_shown(start)} lies after the end, {_shown(end)}", interval.disables_method
        elif end * steps <= left_out and left_out:
            yield (
                interval.end or name,
                f"the run begins at step {left_out} of {steps}, after this part",
                interval.disables_method,
            )
        elif interval.disables_method or (start < 1 and end > 0):
            span = f"from {_shown(start)} to {_shown(end)} of {steps} steps"
            yield name, f"no step is made {span}", interval.disables_method


def _acts(interval: Interval, start: float, end: float, steps: int, left_out: int, between: bool) -> bool:
    """Whether any step that is made falls into the interval."""
    first = round(start * steps, 9)
    last = round(end * steps, 9) if end < 1 else math.inf
    made = range(left_out, steps)
    if interval.at_next_level:
        return any(first <= step + 1 <= last for step in made)
    if between:
        return first < last and first < steps and last > left_out
    return any(first <= step < last for step in made)


def _idle(one: Method, values: Mapping[str, Any], knobs: Mapping[str, Any], made: int) -> Iterator[tuple[str, str]]:
    """Knobs that do nothing beside the others: (name, why). One that stands at its default is not worth a word."""
    for name, knob in one.knobs.items():
        if not isinstance(knob, Knob):
            continue
        if knob.ignored_when is not None and knobs[name] != knob.default:
            other, value = knob.ignored_when
            if value is None and not values.get(other, knobs.get(other)):
                yield name, f"without {_words(other)} it does nothing"
                continue
            if value is not None and knobs.get(other) == value:
                yield name, f"while {_words(other)} is {_shown(value)} it does nothing"
                continue
        if (
            knob.counts_steps
            and knobs[name] >= made
            and (knob.ignored_when is None or knobs.get(knob.ignored_when[0]) != knob.ignored_when[1])
        ):
            least = f"Give at most {made - 1}" if made > 1 else "Make more steps"
            yield name, f"{knobs[name]} steps are as many as the run makes ({made}), so nothing is repeated. {least}"


def _words(name: str) -> str:
    return f"“{name.replace('_', ' ')}”"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
