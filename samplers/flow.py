"""Flows: samplers and methods are generators.

A flow yields two messages and nothing else: a list of `Ask` ("I want the denoised prediction of these", answered with
the list of the denoised predictions) and a `Step` ("here is my state", answered with the x to go on with).

    denoiser   x0 = yield from D(x, sigma, cond)                       a method may wrap it: D -> D
    sampler    x  = yield from sampler(D, x, sigmas, cond, noise)      or this: sampler -> sampler

Coordinates are VE everywhere: x = x0 + sigma * eps. No `with` block may span a yield: it would leak into the flows of
other people, which run in between. The driver alone decides about gradients (`Ask.tape`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from torch import Tensor

from samplers.driver import Driver, drive, run
from samplers.noise import Noise
from samplers.protocol import ROLE, ROLES, Ask, Cond, Denoiser, Done, Event, Flow, FlowFailed, Sampler, Step

__all__ = [
    "Ask", "Cond", "Denoiser", "Done", "Driver", "Event", "Flow", "FlowFailed", "Noise", "Sampler", "Step", "ask",
    "drive", "forward", "on_step", "once_each", "renoising", "role_of", "run", "stepwise", "tap", "together",
    "with_role",
]  # fmt: skip


def with_role(cond: Cond, role: str) -> Cond:
    """The same cond, in a role of ROLES; conds that are made of it, as by adding keys, have that role as well.
    Raises ValueError for another role."""
    if role not in ROLES:
        raise ValueError(f"a cond has no role {role!r}: give one of {', '.join(ROLES)}")
    return {**cond, ROLE: role}


def role_of(cond: Cond) -> str:
    """What a cond is to the run: "prompt", "negative", or "other"."""
    return str(cond.get(ROLE, "other"))


def ask(x: Tensor, sigma: float | Tensor, cond: Cond, edit: object | None = None, tape: object | None = None) -> Flow:
    """The innermost denoiser: x (B, ...) at level sigma, a float or (B,) -> its denoised prediction (B, ...).

    edit: of the network's attention, or a function cond -> edit: guidance hands what it was given to all that it asks,
    and only here is it known for which prompt that is.
    Raises ValueError where a tensor of cond has another number of rows than x.
    """
    for name, value in cond.items():
        if isinstance(value, Tensor) and len(value) != len(x):
            raise ValueError(f"cond[{name!r}] has {len(value)} rows and x has {len(x)}: give one row for every image")
    if callable(edit):
        edit = edit(cond)
    B = len(x)
    sigma = sigma.to(x).expand(B) if isinstance(sigma, Tensor) else x.new_full((B,), sigma)  # no wait for the device
    seen = {name: value for name, value in cond.items() if name != ROLE}
    (x0,) = yield [Ask(x, sigma, seen, edit, tape, role_of(cond))]
    return x0


def together(*flows: Flow) -> Flow:
    """Denoiser flows in lockstep, what they ask merged into one list -> the list of their results."""
    results: list[Any] = [None] * len(flows)
    waiting: dict[int, list[Ask]] = {}

    def advance(i: int, reply: list[Tensor] | None) -> None:
        try:
            message = flows[i].send(reply)
        except StopIteration as end:
            results[i] = end.value
            return
        if isinstance(message, Step):
            raise TypeError("a flow inside together() took a Step: only denoisers go together, drive() runs samplers")
        waiting[i] = message

    try:
        for i in range(len(flows)):
            advance(i, None)
        while waiting:
            asked = dict(waiting)
            waiting.clear()
            answers = iter((yield [one for asks in asked.values() for one in asks]))
            for i, asks in asked.items():
                advance(i, list(islice(answers, len(asks))))
        return results
    finally:
        for flow in flows:
            flow.close()


def forward(flow: Flow, answer: Callable[[list[Ask] | Step], Flow]) -> Flow:
    """The same flow, each of whose messages goes to the flow function answer(message) -> the reply to it.

    This is the only loop that reads a flow from outside; everything that follows, changes or counts what a flow says
    is made of it. answer may ask and yield Steps itself. Returns what the flow returns, and closes it in any case.
    """
    reply = None
    try:
        while True:
            try:
                message = flow.send(reply)
            except StopIteration as end:
                return end.value
            reply = yield from answer(message)
    finally:
        flow.close()


def stepwise(flow: Flow, after: Callable[[Step], Flow]) -> Flow:
    """The same flow, each of whose Steps goes to the flow function after(step) -> the x to go on with.

    What it asks passes unchanged. after may ask the network itself; it yields the Step on where somebody outside is
    to see it, and obeys the reply.
    """

    def answer(message: list[Ask] | Step) -> Flow:
        return (yield from after(message)) if isinstance(message, Step) else (yield message)

    return forward(flow, answer)


def once_each(flow: Flow) -> Flow:
    """The same flow, which asks what it wants to know twice at once only once: guidances that are stacked want the same
    rows, as the one for the negative prompt. Asks with an edit or a tape are left as they are."""

    def answer(message: list[Ask] | Step) -> Flow:
        if isinstance(message, Step) or len(message) < 2:
            return (yield message)
        firsts: list[Ask] = []
        places = []  # of each ask, in firsts
        for one in message:
            place = next((i for i, first in enumerate(firsts) if _is_same(first, one)), len(firsts))
            firsts += [one] * (place == len(firsts))
            places.append(place)
        replies = yield firsts
        return [replies[place] for place in places]

    return forward(flow, answer)


def _is_same(a: Ask, b: Ask) -> bool:
    """Whether two asks are of the same tensors; levels are compared by value, as each ask has its own."""
    if a.edit is not None or b.edit is not None or a.tape is not None or b.tape is not None:
        return False
    same = a.role == b.role and a.cond.keys() == b.cond.keys() and _is_one(a.x, b.x)
    same = same and all(_is_one(value, b.cond[name]) for name, value in a.cond.items())
    return same and a.sigma.shape == b.sigma.shape and bool((a.sigma == b.sigma).all())


def _is_one(a: Any, b: Any) -> bool:
    """Whether two values of asks are equal, without a look into tensors: those of one memory are."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b


def on_step(flow: Flow, fix: Callable[[Step], Tensor]) -> Flow:
    """The same flow, with the x of every Step replaced by fix(step)."""

    def after(step: Step) -> Flow:
        return (yield replace(step, x=fix(step)))

    return stepwise(flow, after)


def tap(flow: Flow, listener: Callable[[list[Ask] | Step, Any], object]) -> Flow:
    """The same flow. listener(message, reply) hears every message with the reply to it: the denoised predictions of a
    list of asks, or the x to go on with after a Step."""

    def answer(message: list[Ask] | Step) -> Flow:
        reply = yield message
        listener(message, reply)
        return reply

    return forward(flow, answer)


def renoising(sampler: Sampler, stream: str | None = "climbing", scale: float = 1.0) -> Sampler:
    """The same sampler for schedules that may also go up.

    Every descent is a fresh call of the sampler, so multistep history starts anew. To climb from level a to level b
    is to add noise of variance b^2 - a^2: the marginal of level b exactly. stream: that noise's name; None draws it
    from the run's own, for what is itself a sampler. scale: of that noise's standard deviation, 1 for the marginal.
    """

    def renoised(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        rise = noise if stream is None else noise.child(stream)
        tops = [i for i in range(1, len(sigmas)) if sigmas[i] > sigmas[i - 1]]
        for start, end in zip([0, *tops], [*tops, len(sigmas)]):
            if start:
                x = x + scale * math.sqrt(sigmas[start] ** 2 - sigmas[start - 1] ** 2) * rise(x)
            x = yield from sampler(D, x, sigmas[start:end], cond, noise)
        return x

    return renoised
