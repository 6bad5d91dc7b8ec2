"""Number fields hand on what a person has typed: what is wrong with it is said at the field, by the recipe.

Gradio's own refuse a number out of range with a note in a corner, fail at an emptied one, and round the others. In the
page assets/number_fields.js takes a comma for a point and keeps a slider from moving what was typed.

The method of Gradio's classes is replaced, since a class of ours below them would make Gradio write a .pyi file beside
this one whenever the app starts.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


def _as_typed(self: Any, payload: Any) -> Any:
    """None where the field is empty."""
    return payload


for _field in (gr.Number, gr.Slider):
    _field.preprocess = _as_typed
