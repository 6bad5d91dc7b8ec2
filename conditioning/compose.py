"""Composition: a stack of methods becomes one denoiser and one sampler.

The order is not a matter of taste (see `registry.FAMILIES`): guidance by a gradient outside classifier-free guidance
costs one call and one backward a step, inside it two.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from conditioning.curves import Curve, parse
from conditioning.registry import METHODS, NEEDS, Choice, Knob, Method, find
from conditioning.sampling.trajectory import Trajectory
from samplers.flow import Cond, Denoiser, Flow, Sampler, ask
from samplers.schedules import progress

Stack = Sequence[tuple[str, Mapping[str, Any]]]  # (name of a method, its knobs and inputs), in any order


def compose(stack: Stack, sampler: Sampler, network: Denoiser = ask, /, **shared: Any) -> tuple[Denoiser, Sampler, str]:
    """The denoiser, the sampler, and the stack in words, such as "repaint(euler) over cfg(ask)".

    network: what the stack asks in the end. LD3 has it told other levels than those that methods see.
    shared: what methods take by name beyond their own knobs and inputs: `sigmas` (the schedule of the run, which
        curves and intervals need), `null` (the cond of the negative prompt), `backbone`. It adds `trajectory`, and
        for methods around the sampler `plain`: the denoiser of the network's own methods and classifier-free guidance
        alone. An inversion asks its source through it: what steers source and target alike is undone.
    A method that works on the network makes it read more keys of cond, once, and gives them to every ask of the run.
    Raises ValueError or TypeError, with the method and what it takes, for an unknown method or knob, a knob out of
    its range, a missing input, a method twice, or two that clash.
    """
    shared = {"trajectory": Trajectory(), **shared}  # of this run: see conditioning/sampling/trajectory.py
    uses = [(find(name), values) for name, values in stack]
    _refuse_clashes([one.name for one, _ in uses], _name(sampler))
    uses.sort(key=lambda use: (use[0].family.order, use[0].within))
    D = network
    D_text, sampler_text = "ask", str(getattr(sampler, "text", None) or _name(sampler))
    plain, wanted = D, any("plain" in one.fills for one, _ in uses)
    for one, given in uses:
        if one.kind == "sampler":
            continue
        if one.kind == "backbone" and "backbone" not in shared:
            raise ValueError(f"{one.name} works on the network: give compose() the backbone of the run")
        values = _values(one, given, shared)
        make = one.function if one.kind == "denoiser" else partial(_keyed, one.function, shared["backbone"])
        D, D_text = _wrapped(one, make, D, values, shared.get("sigmas")), f"{one.name}({D_text})"
        if wanted and (one.kind == "backbone" or one.name == "cfg"):
            plain = _wrapped(one, make, plain, values, shared.get("sigmas"))
    shared["plain"] = plain
    for one, given in uses:
        if one.kind == "sampler":
            sampler = one.function(sampler, **_values(one, given, shared))
            sampler_text = f"{one.name}({sampler_text})"
    return D, sampler, f"{sampler_text} over {D_text}"


def refusals(stack: Stack, backbone: Any) -> list[str]:
    """Why this backbone cannot run the stack, a sentence for each reason; [] where it can."""
    offers: frozenset[str] = getattr(backbone, "offers", frozenset())
    return [
        f"{one.title} needs {NEEDS[need]}, and {backbone.id} has none"
        for one in (find(name) for name, _ in stack)
        for need in one.needs
        if need not in offers
    ]


def _wrapped(
    one: Method,
    make: Callable[..., Denoiser],
    D: Denoiser,
    values: dict[str, Any],
    sigmas: Sequence[float] | None,
) -> Denoiser:
    """make(D, values), made anew for each ask where a knob follows a curve."""
    curves = {name: value for name, value in values.items() if isinstance(value, Curve)}
    if not curves:
        return make(D, **values)
    if sigmas is None:
        raise ValueError(f"{one.name}.{next(iter(curves))} is a curve: give compose() the sigmas of the run")
    make(D, **values | {name: curve(0.0) for name, curve in curves.items()})  # what it refuses, it refuses now

    def curved(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        at = progress(sigmas, sigma)
        now = {name: curve(at) for name, curve in curves.items()}
        return make(D, **values | now)(x, sigma, cond, **kw)

    return curved


def _keyed(method: Callable[..., Callable[..., Cond]], backbone: Any, D: Denoiser, **values: Any) -> Denoiser:
    """D with the further keys of cond that a method of the network has for an ask: method(backbone)(sigma, cond)."""
    keys = method(backbone, **values)

    def keyed(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        more = {k: v.expand(len(x), *v.shape[1:]) if isinstance(v, Tensor) else v for k, v in keys(sigma, cond).items()}
        return (yield from D(x, sigma, {**cond, **more} if more else cond, **kw))

    return keyed


def _values(one: Method, given: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Every value the method is called with, checked."""
    values: dict[str, Any] = {name: shared[name] for name in one.fills | set(one.inputs) if name in shared}
    for name, value in given.items():
        knob = one.knobs.get(name)
        if knob is None and name not in one.inputs:
            takes = ", ".join([*one.inputs, *one.knobs]) or "nothing"
            raise ValueError(f"{one.name} has no {name!r}: it takes {takes}")
        if knob is not None:
            value = parse(value) if isinstance(value, str) and not isinstance(knob, Choice) else value
            knob.check(f"{one.name}.{name}", value)
            if isinstance(knob, Knob) and not isinstance(value, Curve):
                value = knob.type(value)  # 10.0, as a text gives it, for an integer
        values[name] = value
    for name in one.needed(values):
        if name not in values:
            raise ValueError(f"{one.name} needs its {name}: {one.inputs[name].arrives}")
    return values


def _refuse_clashes(names: list[str], sampler: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"{name} is in the stack twice: once is what it is made for")
        for other in [*names, sampler]:
            if reason := METHODS[name].clashes.get(other):
                raise ValueError(f"{name} and {other} do not go together: {reason}")


def _name(sampler: Any) -> str:
    return str(getattr(sampler, "key", None) or getattr(sampler, "__name__", sampler))
