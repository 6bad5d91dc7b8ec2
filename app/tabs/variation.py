"""The fields of the variation seed, in the drawer of advanced settings."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.schema.recipe import LIMITS


class Variation:
    """controls: field of a recipe -> its component."""

    def __init__(self) -> None:
        limit = LIMITS["variation_strength"]
        with gr.Row(elem_classes="nw-pair"):
            seed = gr.Textbox(
                "-1", label=LIMITS["variation_seed"].label, lines=1, max_lines=1, elem_id="variation_seed",
                min_width=120, info="-1: a new one each time. A batch counts it on, not the seed",
            )  # fmt: skip
            strength = gr.Slider(
                limit.low, limit.high, value=0, step=limit.step, label=limit.label, elem_id="variation_strength",
                min_width=120, buttons=[], info="0: the noise of the seed, 1: that of the variation seed",
            )  # fmt: skip
        self.controls: dict[str, Any] = {"variation_seed": seed, "variation_strength": strength}
