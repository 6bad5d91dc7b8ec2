"""Traits: what a method does to a run, in a small closed set of words. Every clash follows from them.

    @method(..., traits=("finds_start", "retraces_path"), ...)

No method names another one: whoever writes the next method says what it does, and what it cannot be stacked with is
known. A trait that holds only at one option of a knob is written {"replaces_steps": ("weights", "adaptive")}.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from samplers import SAMPLERS

if TYPE_CHECKING:
    from conditioning.registry import Method

TRAITS = {
    "replaces_steps": "makes the steps itself, so that the sampler of the run is not called",
    "finds_start": "finds the state that the run starts from, and how many steps are left",
    "whole_run": "makes the start and all steps itself, so that nothing can act around the sampler",
    "retraces_path": "encodes an image along the path of an ODE, which the run has to go back",
    "extracts_noise": "keeps, for every level, the noise that leads the sampler along the source",
    "runs_source": "denoises a source image beside the target, through the same sampler",
    "follows_observation": "draws the image to an observation y = A(x) + noise",
    "reads_whole_map": "reads a map that belongs to the whole image",
    "cuts_windows": "denoises windows of the image, each by itself",
    "prompt_names_boxes": "looks for the words of its boxes in the prompt of the run",
    "prompt_omits_boxes": "paints its boxes by prompts of their own, which the prompt of the run should not repeat",
}
SOLVER_TRAITS = ("adds_noise", "climbs")  # of a sampler: draws noise on the way; goes up again between two levels


class Rule(NamedTuple):
    """Two traits (or kinds of methods) that do not go together, and why; {a} and {b} are the titles of the two."""

    a: str
    b: str
    why: str


RULES = (
    Rule("replaces_steps", "replaces_steps", "each of them makes the steps of the run, so that only one would act"),
    Rule("finds_start", "finds_start", "each of them finds the start of the run by itself"),
    Rule("whole_run", "sampler", "{a} makes the start and all steps of the run itself, and {b} would not act there"),
    Rule("runs_source", "runs_source", "each of them runs a source of its own"),
    Rule("runs_source", "follows_observation", "{b} would draw the source of {a} to its observation, too"),
    Rule("reads_whole_map", "cuts_windows", "the map of {a} belongs to the whole image, and {b} cuts it into windows"),
    Rule(
        "prompt_names_boxes",
        "prompt_omits_boxes",
        "the prompt has to name what is in the boxes of {a}, and should not name what is in those of {b}",
    ),
    Rule("retraces_path", "adds_noise", "fresh noise at every step erases the image that {a} has encoded"),
    Rule("extracts_noise", "climbs", "{b} adds noise between the levels, where {a} has no noise of the source to keep"),
)


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
    held = (one.stochastic, one.climbs) if one else (False, False)
    return {trait for trait, holds in zip(SOLVER_TRAITS, held) if holds}


def _why(of_a: set[str], of_b: set[str], a: str, b: str) -> str | None:
    for rule in RULES:
        if rule.a in of_a and rule.b in of_b:
            return rule.why.format(a=a, b=b)
        if rule.a in of_b and rule.b in of_a:
            return rule.why.format(a=b, b=a)
    return None
