"""What cannot be stacked with what, and why: from the traits of methods and samplers, by the rules of `traits.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from conditioning.registry import Method
from conditioning.traits import RULES, SOLVER_TRAITS
from samplers import SAMPLERS


def clash(a: Method, b: Method, knobs_a: Mapping[str, Any] = {}, knobs_b: Mapping[str, Any] = {}) -> str | None:
    """Why two methods do not go together at these knobs (and the defaults of the others), in words; None if they do."""
    return _why(_traits(a, knobs_a), _traits(b, knobs_b), a.title, b.title)


def solver_clash(a: Method, solver: str, knobs: Mapping[str, Any] = {}) -> str | None:
    """Why a method does not go with the sampler of this key of SAMPLERS, in words; None if it does.

    The key of another sampler (a trained one, one of a test) has no traits and clashes with nothing.
    """
    one = SAMPLERS.get(solver)
    return _why(_traits(a, knobs), _solver_traits(solver), a.title, one.label if one else solver)


def clashes(uses: Sequence[tuple[Method, Mapping[str, Any]]], solver: str) -> Iterator[tuple[int, int | None, str]]:
    """All clashes of a stack of (method, knobs): two places and why, None in place of the second for the sampler.

    A sampler that is not called, since a method makes the steps, clashes with nothing.
    """
    called = steps_by(uses) is None
    for i, (one, knobs) in enumerate(uses):
        for j, (other, others) in enumerate(uses[:i]):
            if other.name != one.name and (why := clash(other, one, others, knobs)):
                yield i, j, why
        if called and (why := solver_clash(one, solver, knobs)):
            yield i, None, why


def steps_by(uses: Iterable[tuple[Method, Mapping[str, Any]]]) -> Method | None:
    """The method of a stack that makes the steps in place of the sampler, if there is one."""
    return next((one for one, knobs in uses if one.has("replaces_steps", knobs)), None)


def _traits(one: Method, knobs: Mapping[str, Any]) -> set[str]:
    return {one.kind} | {trait for trait in one.traits if one.has(trait, knobs)}


def _solver_traits(solver: str) -> set[str]:
    one = SAMPLERS.get(solver)
    held = (one.stochastic, one.renoises) if one else (False, False)
    return {trait for trait, holds in zip(SOLVER_TRAITS, held) if holds}


def _why(of_a: set[str], of_b: set[str], a: str, b: str) -> str | None:
    for rule in RULES:
        if rule.a in of_a and rule.b in of_b:
            return rule.why.format(a=a, b=b)
        if rule.a in of_b and rule.b in of_a:
            return rule.why.format(a=b, b=a)
    return None
