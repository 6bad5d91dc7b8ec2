"""Composition: a stack of methods becomes one denoiser and one sampler.

The order is not a matter of taste (see `registry.FAMILIES`): guidance by a gradient outside classifier-free guidance
costs one evaluation and one backward pass a step, inside it two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from conditioning.clashes import clashes
from conditioning.curves import Curve, parse
from conditioning.joined import joined
from conditioning.registry import NEEDS, Choice, Knob, Method, find
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Sampler, ask, with_role
from samplers.schedules import progress

Uses = Iterable[tuple[Method, Mapping[str, Any]]]  # methods of the registry, with their knobs and inputs
Stack = Sequence[tuple[str, Mapping[str, Any]]]  # (name of a method, its knobs and inputs), in any order


def compose(stack: Stack, sampler: Sampler, network: Denoiser = ask, /, **shared: Any) -> tuple[Denoiser, Sampler, str]:
    """The denoiser, the sampler, and what is called in words, such as "repaint(euler) over cfg(ask)".

    network: what the stack asks in the end. LD3 gives one that asks at other levels than those that methods see.
    shared: of RUN_ARGUMENTS, what the run gives: `sigmas` (its schedule, which curves and intervals need), `null` (the
        cond of the negative prompt, which gets that role here: methods know it by that), `backbone`. The others are
        made here: `network` is the given one with the keys of the stack's own methods of the network, and
        `guided_network` that under classifier-free guidance; an inversion asks its source through it, since what else
        steers source and target alike would be undone. `joined`: (weight of the prompt, [(cond, weight), ...]) of the
        prompts that AND joins to it, see `joined.joined`.
    A method that works on the network makes it read more keys of cond, once, and gives them to every ask of the run.
    A method that makes the steps itself stands where the sampler stood, within all that wrap a sampler, so that these
    act on its steps; the sampler is not called then.
    Raises ValueError or TypeError, with the method and what it takes, for an unknown method or knob, a knob out of
    its range, a missing input, a method twice, or two that clash.
    """
    uses = [(find(name), values) for name, values in stack]
    _refuse_clashes(uses, _name(sampler))
    uses = ordered(uses)
    shared = {"source_states": SourceStates(), **shared}  # of this run: see conditioning/sampling/source_states.py
    if shared.get("null") is not None:
        shared["null"] = with_role(shared["null"], "negative")
    if "sigmas" in shared:
        shared["made_sigmas"] = made_sigmas(uses, shared["sigmas"])
    for one, settings in uses:
        if one.kind == "backbone":
            if "backbone" not in shared:
                raise ValueError(f"{one.name} works on the network: give compose() the backbone of the run")
            make = partial(_keyed, one.function, shared["backbone"])
            network = _wrapped(one, make, network, settings, shared)
    for one, settings in uses:
        if one.kind == "denoiser" and one.family.stage == "network":  # a prediction of its own, of several of it
            network = _wrapped(one, one.function, network, settings, shared)
    shared["network"] = D = guided = network
    if shared.get("joined"):
        D = joined(network, shared["null"], *shared["joined"])
    for one, settings in uses:
        if one.kind == "denoiser" and one.family.stage != "network":
            D = _wrapped(one, one.function, D, settings, shared)
            if one.name == "cfg":
                guided = _wrapped(one, one.function, network, settings, shared)
    shared["guided_network"] = guided
    name = str(getattr(sampler, "text", None) or _name(sampler))
    text = formula(uses, name, bool(shared.get("joined")))
    for one, settings in uses:
        if one.kind == "sampler":
            sampler = one.function(sampler, **_values(one, settings, shared))
    return D, sampler, text


def ordered(uses: Uses) -> list[tuple[Method, Mapping[str, Any]]]:
    """The methods of a stack from the innermost to the outermost: by family; what makes the steps is in the sampler's
    place, within all others that wrap a sampler."""

    def place(use: tuple[Method, Mapping[str, Any]]) -> tuple[bool, int, int]:
        one, knobs = use
        return not one.has("replaces_steps", knobs), one.family.order, one.order_in_family

    return sorted(uses, key=place)


def formula(uses: Uses, sampler: str, several: bool = False) -> str:
    """What is called, from the outermost to the innermost: "repaint(euler) over cfg(ask)"; "ddnm over ask", where a
    method makes the steps and the sampler is not called. A method at a knob at which it does nothing is left out.
    sampler: what the sampler is called there. several: whether the prompt is several, joined by AND."""
    network = "ask"
    for one, knobs in ordered(uses):
        if one.neutral(knobs) is not None:
            continue
        if one.kind != "sampler":
            if several and one.family.stage != "network":
                network, several = f"joined({network})", False
            network = f"{one.name}({network})"
        else:
            sampler = one.name if one.has("replaces_steps", knobs) else f"{one.name}({sampler})"
    return f"{sampler} over joined({network})" if several else f"{sampler} over {network}"


def made_sigmas(uses: Uses, sigmas: Sequence[float]) -> Sequence[float]:
    """The part of a schedule whose steps a stack makes: all of it, or less where a method finds a later start."""
    return sigmas[steps_left_out(uses, len(sigmas) - 1) :]


def steps_left_out(uses: Uses, steps: int) -> int:
    """How many steps of a schedule a stack does not make, since a method finds a later start."""
    for one, settings in uses:
        if one.starts_at is not None:
            return one.starts_at.left_out(steps, one.with_defaults(settings))
    return 0


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
    settings: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> Denoiser:
    """make(D, values), made anew for each ask where a knob follows a curve."""
    values = _values(one, settings, shared)
    curves = {name: value for name, value in values.items() if isinstance(value, Curve)}
    if not curves:
        return make(D, **values)
    if "sigmas" not in shared:
        raise ValueError(f"{one.name}.{next(iter(curves))} is a curve: give compose() the sigmas of the run")
    make(D, **values | {name: curve(0.0) for name, curve in curves.items()})  # what it refuses, it refuses now

    def curved(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        at = progress(shared["sigmas"], sigma)
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


def _values(one: Method, settings: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Every value the method is called with, checked."""
    values: dict[str, Any] = {name: shared[name] for name in one.run_arguments | set(one.inputs) if name in shared}
    for name, value in settings.items():
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


def _refuse_clashes(uses: Sequence[tuple[Method, Mapping[str, Any]]], sampler: str) -> None:
    names = [one.name for one, _ in uses]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"{name} is in the stack twice: once is what it is made for")
    for i, j, why in clashes(uses, sampler):
        raise ValueError(f"{names[i]} and {sampler if j is None else names[j]} do not go together: {why}")


def _name(sampler: Any) -> str:
    return str(getattr(sampler, "key", None) or getattr(sampler, "__name__", sampler))
