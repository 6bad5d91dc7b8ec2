"""The driver: runs many flows at once and answers what they ask, one network evaluation for each group of alike
asks."""

import math
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samplers.protocol import Ask, Done, Event, Flow, FlowFailed, Step

Entry = tuple[Hashable, int, Ask]  # the run, the place of the ask in its list, the ask


class Driver:
    """Many flows at once.

    answer: an Ask of any number of rows -> the tensor of denoised predictions, of the shape of its x. Called with
        gradients on where the ask has a tape, and off elsewhere.
    A run fails where an answer, a state after a step, or its result is NaN or infinite anywhere.
    max_rows: evaluations of more rows are split, but for those with a tape or an edit, which belong to one evaluation.

    Not for several threads: the one that calls round() also calls add() and cancel(), between two rounds.
    """

    def __init__(self, answer: Callable[[Ask], Tensor], max_rows: int = 64):
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}: a network evaluation needs at least 1 row")
        self.answer, self.max_rows = answer, max_rows
        self.nfe = self.rows = 0  # network evaluations made so far, and the rows in them
        self._flows: dict[Hashable, Flow] = {}
        self._asks: dict[Hashable, list[Ask]] = {}  # what each flow waits for; a flow that is not here has not started

    def __len__(self) -> int:
        return len(self._flows)

    def add(self, key: Hashable, flow: Flow) -> None:
        """A new run; it starts with the next round. Raises ValueError where a run of that key is under way."""
        if key in self._flows:
            raise ValueError(f"a run {key!r} is under way already: give every run a key of its own")
        self._flows[key] = flow

    def cancel(self, key: Hashable) -> None:
        """Closes the flow: its `finally` blocks run now. Does nothing where the run has ended in the meantime."""
        self._asks.pop(key, None)
        flow = self._flows.pop(key, None)
        if flow is not None:
            flow.close()

    def round(self) -> list[tuple[Hashable, Event]]:
        """Answers every ask that waits, and takes each flow on to its next asks or its end: what happened on the way.

        A Step is answered at once with its own x. To stop a run after a Step, cancel it: nothing was asked since.
        """
        events: list[tuple[Hashable, Event]] = []
        for key in [key for key in self._flows if key not in self._asks]:
            self._advance(key, None, events)
        for key, reply in self._answers().items():
            if isinstance(reply, Exception):
                self._end(key, FlowFailed(reply), events)
            else:
                self._advance(key, reply, events)
        return events

    def _advance(self, key: Hashable, reply: list[Tensor] | None, events: list[tuple[Hashable, Event]]) -> None:
        flow = self._flows[key]
        try:
            message = flow.send(reply)
            while isinstance(message, Step):
                _check_finite(message.x, f"the state after the step to sigma {message.sigma:.4g}")
                events.append((key, message))
                message = flow.send(message.x)
            if not (isinstance(message, list) and all(isinstance(one, Ask) for one in message)):
                raise TypeError(f"a flow yields a Step or a list of Asks, and this one {message!r}")
            for one in message:
                hash(_likeness(one))  # raises here, before it is put into a batch
            self._asks[key] = message
        except StopIteration as end:
            self._end(key, _ended(end.value), events)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            self._end(key, FlowFailed(error), events)

    def _end(self, key: Hashable, event: Done | FlowFailed, events: list[tuple[Hashable, Event]]) -> None:
        events.append((key, event))
        try:
            self.cancel(key)
        except Exception as error:  # raised by a `finally` of a failed flow: its neighbours go on
            if isinstance(event, FlowFailed):
                event.error.add_note(f"and while closing: {error!r}")

    def _answers(self) -> dict[Hashable, list[Tensor] | Exception]:
        """For every run the answers to its asks, or the error that ends it.

        Calls are made in the order in which a run lists its asks: an edit may use what one before it has recorded.
        """
        answers: dict[Hashable, Any] = {key: [None] * len(asks) for key, asks in self._asks.items()}
        groups: dict[Hashable, list[Entry]] = {}
        for key, asks in self._asks.items():
            for i, one in enumerate(asks):
                groups.setdefault(_likeness(one), []).append((key, i, one))
        for group in groups.values():
            self._settle(group, answers)
        return answers

    def _settle(self, group: list[Entry], answers: dict[Hashable, Any]) -> None:
        """One evaluation for the group; where that fails, one for each of its runs, so that only the guilty one
        ends."""
        keys = dict.fromkeys(key for key, _, _ in group)
        try:
            x0 = self._call(_merged([one for _, _, one in group]))  # (rows of all, C, H, W)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # they hold the activations: out of memory would stay so
            x0 = None
            if len(keys) == 1:
                answers[group[0][0]] = error
        if x0 is None:
            for key in keys if len(keys) > 1 else ():
                self._settle([entry for entry in group if entry[0] == key], answers)
            return
        sizes = [len(one.x) for _, _, one in group]
        finite = _finite_rows(x0)
        for (key, i, one), rows, good in zip(group, x0.split(sizes), finite.split(sizes)):
            if not good.all():
                answers[key] = _not_finite(one, good)
            elif isinstance(answers[key], list):
                answers[key][i] = rows

    def _call(self, one: Ask) -> Tensor:
        B = len(one.x)
        if B > self.max_rows and one.tape is None and one.edit is None:
            size = math.ceil(B / math.ceil(B / self.max_rows))  # parts of equal size
            return torch.cat([self._call(_rows(one, slice(i, i + size))) for i in range(0, B, size)])
        self.nfe, self.rows = self.nfe + 1, self.rows + B
        with torch.set_grad_enabled(one.tape is not None):
            x0 = self.answer(one)
        if x0.shape != one.x.shape:
            raise ValueError(f"an ask of shape {tuple(one.x.shape)} was answered with shape {tuple(x0.shape)}")
        return x0


def drive(
    flows: Mapping[Any, Flow] | Sequence[Flow], answer: Callable[[Ask], Tensor], max_rows: int = 64
) -> Iterator[tuple[Any, Event]]:
    """All flows to their ends together: (key or place, event), as they come. Closing this closes all the flows."""
    driver = Driver(answer, max_rows)
    keyed = dict(flows) if isinstance(flows, Mapping) else dict(enumerate(flows))
    try:
        for key, flow in keyed.items():
            driver.add(key, flow)
        while len(driver):
            yield from driver.round()
    finally:
        with ExitStack() as closing:  # all of them, whichever raises
            for key in keyed:
                closing.callback(driver.cancel, key)


def run(flow: Flow, answer: Callable[[Ask], Tensor], max_rows: int = 64) -> Any:
    """One flow to its end: what it returns. Raises what it raises."""
    for _, event in drive([flow], answer, max_rows):
        if isinstance(event, FlowFailed):
            raise event.error
        if isinstance(event, Done):
            return event.result


def _likeness(one: Ask) -> Hashable:
    """Asks of equal likeness may share an evaluation. By identity, never by truth value: an empty edit is an edit."""
    if one.edit is not None:
        return id(one)
    cond = tuple(sorted((name, _kind(value)) for name, value in one.cond.items()))
    return _kind(one.x), cond, None if one.tape is None else id(one.tape)


def _kind(value: Any) -> Hashable:
    """What must agree for values to go into one evaluation: all but the rows of a tensor, other values altogether."""
    if isinstance(value, Tensor):
        return str(value.dtype), str(value.device), *value.shape[1:]
    return value


def _merged(asks: list[Ask]) -> Ask:
    first, *others = asks
    if not others:
        return first
    cond = {k: torch.cat([one.cond[k] for one in asks]) if isinstance(v, Tensor) else v for k, v in first.cond.items()}
    return replace(first, x=torch.cat([one.x for one in asks]), sigma=torch.cat([one.sigma for one in asks]), cond=cond)


def _rows(one: Ask, part: slice) -> Ask:
    cond = {k: v[part] if isinstance(v, Tensor) else v for k, v in one.cond.items()}
    return replace(one, x=one.x[part], sigma=one.sigma[part], cond=cond)


def _ended(result: Any) -> Done | FlowFailed:
    try:
        if isinstance(result, Tensor):
            _check_finite(result, "the result")
    except FloatingPointError as error:
        return FlowFailed(error)
    return Done(result)


def _finite_rows(x: Tensor) -> Tensor:
    """(B,) whether each row is free of NaN and infinity, which survive a sum."""
    return x.detach().float().reshape(x.shape[0] if x.ndim else 1, -1).sum(1).isfinite().cpu()


def _check_finite(x: Tensor, what: str) -> None:
    good = _finite_rows(x)
    if not good.all():
        raise FloatingPointError(
            f"{what} is NaN or infinite in {int((~good).sum())} of {len(good)} rows: something in the stack divides by "
            "zero or overflows"
        )


def _not_finite(one: Ask, good: Tensor) -> FloatingPointError:
    return FloatingPointError(
        f"the network answered with NaN or infinity at sigma {float(one.sigma[~good.to(one.sigma.device)][0]):.4g}, in "
        f"{int((~good).sum())} of {len(good)} rows: a guidance that is too strong overflows like this, and a state "
        "that something in the stack has driven off"
    )
