"""The settings of the chosen solver, below it: a control for each knob, shown where the solver has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from app.schema.solvers import KNOBS, knob_field, knob_label, knob_names
from common.knobs import Knob

LONGEST = 100  # up to this range a slider, beyond it a number


class SolverKnobs:
    """controls: the field of a Problem -> its component, for every knob of every solver."""

    def __init__(self, sampler: str):
        self.controls: dict[str, Any] = {knob_field(name): self._control(name, sampler) for name in knob_names()}

    def _control(self, name: str, sampler: str) -> Any:
        own = KNOBS[sampler].get(name)
        knob = own or _first(name)
        shared = {
            "label": knob_label(name), "info": knob.help, "elem_id": knob_field(name), "visible": own is not None,
            "value": knob.default,
        }  # fmt: skip
        if knob.type is bool:
            return gr.Checkbox(**shared)
        if knob.high - knob.low > LONGEST:
            return gr.Number(**shared)
        step = 1 if knob.type is int or knob.high > 10 else 0.05
        return gr.Slider(knob.low, knob.high, step=step, buttons=[], **shared)

    def chosen(self, sampler: str, knobs: Mapping[str, Any] | None = None) -> dict[Any, Any]:
        """The controls of this solver at these values, its defaults where none is given; those of others are hidden."""
        updates = {}
        for name in knob_names():
            control, knob = self.controls[knob_field(name)], KNOBS.get(sampler, {}).get(name)
            if knob is None:
                updates[control] = gr.update(visible=False)
            else:
                value = dict(knobs or {}).get(name, knob.default)
                updates[control] = gr.update(visible=True, value=value, info=knob.help)
        return updates

    @staticmethod
    def taken(fields: dict[str, Any]) -> dict[str, Any]:
        """The knobs of the solver out of the values of all controls, which are left out of `fields`."""
        own = KNOBS.get(str(fields.get("sampler")), {})
        values = {name: fields.pop(knob_field(name), None) for name in knob_names()}
        return {name: value for name, value in values.items() if name in own}


def defaults(sampler: str) -> dict[str, Any]:
    """What every knob's control begins with: field -> value."""
    return {knob_field(name): (KNOBS[sampler].get(name) or _first(name)).default for name in knob_names()}


def _first(name: str) -> Knob:
    return next(knobs[name] for knobs in KNOBS.values() if name in knobs)
