"""Prompt and negative prompt, with what is said of them while one writes: words that the network has never read, and
how many tokens a text takes."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.catalog.prompts import EXAMPLES
from app.service.state import AppState
from app.tabs import token_count, word_chips
from app.tabs.listeners import SHORT
from app.tabs.notes import note, warning
from common.joined_prompts import joined_prompts

WORDS = scripts.mount("word_chips")


class PromptFields:
    """outputs: what `said` changes."""

    def __init__(self, state: AppState):
        self.state = state
        with gr.Column(elem_classes="nw-counted", min_width=0):
            self.prompt = gr.Textbox(
                value="", label="Prompt", lines=3, max_lines=8, elem_id="prompt", placeholder=EXAMPLES[0],
            )  # fmt: skip
            self.tokens = gr.HTML(elem_id="prompt-tokens", apply_default_css=False)
        self.unknown = gr.HTML(elem_id="unknown")
        self.draws = gr.HTML(word_chips.line(state.model()), elem_id="draws", js_on_load=WORDS, apply_default_css=False)
        with gr.Column(elem_classes="nw-counted", min_width=0):
            self.negative = gr.Textbox(
                value="", label="Negative prompt", lines=1, max_lines=4, elem_id="negative",
                placeholder="What should not be there",
            )  # fmt: skip
            self.tokens_negative = gr.HTML(elem_id="negative-tokens", apply_default_css=False)
        self.unknown_negative = gr.HTML(elem_id="unknown-negative")
        self.outputs = [self.unknown, self.tokens, self.unknown_negative, self.tokens_negative]

    def listen(self, backbone: gr.Dropdown) -> None:
        """Say it anew with each change of a text, and of the model."""
        of_prompt, of_negative = self.outputs[:2], self.outputs[2:]
        for text, said, outputs in (
            (self.prompt, self._of_prompt, of_prompt), (self.negative, self._of_negative, of_negative),
        ):  # fmt: skip
            gr.on([text.change, backbone.change], said, [text, backbone], outputs, trigger_mode="always_last", **SHORT)
        backbone.change(lambda id: word_chips.line(self.state.model(id)), backbone, self.draws, **SHORT)

    def said(self, prompt: str, negative: str, backbone: Any) -> dict[Any, Any]:
        """What is said of both."""
        return self._of_prompt(prompt, backbone) | self._of_negative(negative, backbone)

    def _of_prompt(self, text: str, backbone: Any) -> dict[Any, Any]:
        count = token_count.line(self.state.model(backbone), *(one for one, _ in joined_prompts(text)))
        return {self.unknown: self.unknown_note(text, backbone), self.tokens: count}

    def _of_negative(self, text: str, backbone: Any) -> dict[Any, Any]:
        count = token_count.line(self.state.model(backbone), text)
        return {self.unknown_negative: self.unknown_words(text, backbone), self.tokens_negative: count}

    def unknown_note(self, prompt: str, backbone: Any = None) -> str:
        """Words that the network has never read, pointed out under the field."""
        model = self.state.model(backbone)
        if model.wordless:
            words = f"{escape(model.name)} reads no words: neither the prompts nor CFG Scale change its images."
            return note(words)
        return self.unknown_words(prompt, backbone)

    def unknown_words(self, text: str, backbone: Any = None) -> str:
        """Words of a prompt, or of a negative one, that the network has never read; "" where it has read all."""
        model = self.state.model(backbone)
        found = model.unknown(text)
        if not found:
            return ""
        words = ", ".join(
            f"<b>{escape(word)}</b>" + (f" (perhaps {escape(near)}?)" if near else "") for word, near in found[:8]
        )
        what = "this word" if len(found) == 1 else "these words"
        return warning(f"{escape(model.name)} has never read {what}, and cannot draw what is meant: {words}")
