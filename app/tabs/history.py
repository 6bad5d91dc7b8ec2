"""The tab "History": every kept image, found by words, with its settings and the way back to Create."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.forms.page_catalogue import catalogue
from app.schema.recipe import Recipe
from app.service.state import AppState, private
from app.storage.image_history import HistoryError
from app.tabs import image_view
from app.tabs.create import Create
from app.tabs.listeners import SHORT
from app.tabs.notes import failure, note, warning

PAGE = 24
SCRIPT = scripts.mount("server_buttons", "mountHistory", ["open"])


class HistoryTab:
    """The tab's components. On a public Space it shows what the visitor made, and nobody else's."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs, tab: gr.Tab):
        self.state, self.tabs = state, tabs
        with gr.Column(elem_id="history"):
            with gr.Column(elem_id="history-list", min_width=0):
                self.words = gr.Textbox(
                    label="Search", placeholder="Words of the prompt, a method, a seed, a model", elem_id="search",
                    lines=1, max_lines=1,
                )  # fmt: skip
                self.grid = gr.HTML("", elem_id="history-grid", js_on_load=SCRIPT, apply_default_css=False)
                with gr.Row(elem_id="pager"):
                    self.newer = gr.Button("Newer", size="sm", elem_id="newer", interactive=False)
                    self.older = gr.Button("Older", size="sm", elem_id="older", interactive=False)
                    self.where = gr.HTML("", elem_id="where", apply_default_css=False)
            with gr.Column(elem_id="history-detail", min_width=0):
                self.detail = gr.HTML("", elem_id="detail", js_on_load=image_view.ACTS, apply_default_css=False)
        self.offset = gr.State(0)

        listed = [self.grid, self.where, self.newer, self.older, self.offset]
        first = [self.words, create.visit]
        tab.select(self.first, first, listed, **SHORT)
        self.words.change(self.first, first, listed, trigger_mode="always_last", **SHORT)
        self.newer.click(self.back, [*first, self.offset], listed, **SHORT)
        self.older.click(self.on, [*first, self.offset], listed, **SHORT)
        self.grid.open(self.open, create.visit, self.detail, **SHORT)
        self.detail.remove(self.remove, [*first, self.offset], [*listed, self.detail], **SHORT)
        self.detail.use(self.use(create), create.visit, [*create.outputs, tabs], **SHORT)

    # what there is ------------------------------------------------------------------------------------------------

    def _find(self, words: str, visit: list[image_view.Shown], offset: int) -> tuple[list[Any], int]:
        own = [int(shown.id) for shown in visit if shown.id] if private() else None
        titles = {model.id: model.name for model in self.state.models.values()}
        if words.strip() and self.state.model().backbone is not None:  # the catalogue imports torch
            titles |= {name: one["title"] for name, one in catalogue()["methods"].items()}
        history = self.state.history
        return history.search(words, PAGE, offset, titles, own), history.count(words, titles, own)

    def _entry(self, wanted: Any, visit: list[image_view.Shown]) -> Any:
        wanted = str(wanted or "")
        if private() and wanted not in {shown.id for shown in visit}:
            return None
        return self.state.entry(wanted)

    # what is shown ------------------------------------------------------------------------------------------------

    def page(self, words: str, visit: list[image_view.Shown], offset: int) -> dict[Any, Any]:
        """The cards from `offset` on, where we are, and whether there is more on either side."""
        try:
            entries, total = self._find(words, visit, max(0, offset))
        except HistoryError as error:
            return {self.grid: failure(escape(str(error))), self.where: "", self.offset: 0}
        if not entries and offset > 0:
            return self.page(words, visit, max(0, min(offset - PAGE, (total - 1) // PAGE * PAGE)))
        cards = "".join(self._card(entry) for entry in entries)
        above = warning(escape(self.state.history.note)) if self.state.history.note else ""
        if not total:
            text = (
                f"No image has “{escape(words)}” in its prompt, methods, model or seed. Search for fewer words, or "
                "parts of words."
                if words.strip()
                else "No images yet. What you generate in Create is saved here, with everything that made it."
            )
            cards, where = note(text), ""
        else:
            cards = f'<div class="nw-grid">{cards}</div>'
            where = f"{offset + 1} to {offset + len(entries)} of {total:,}"
        return {
            self.grid: above + cards,
            self.where: f'<p class="nw-status" aria-live="polite"><span class="nw-mono">{where}</span></p>',
            self.newer: gr.Button(interactive=offset > 0, visible=total > PAGE),
            self.older: gr.Button(interactive=offset + PAGE < total, visible=total > PAGE),
            self.offset: offset,
        }

    def _card(self, entry: Any) -> str:
        prompt = entry.recipe.prompt or "no prompt"
        source = escape(self.state.address(entry.id))
        return (
            f'<button type="button" class="nw-card" data-id="{escape(str(entry.id))}">'
            f'<img src="{source}" loading="lazy" alt="">'
            f"<span>{escape(prompt)}</span><time>{_when(entry.made)}</time></button>"
        )

    def first(self, words: str, visit: list[image_view.Shown]) -> dict[Any, Any]:
        return self.page(words, visit, 0)

    def back(self, words: str, visit: list[image_view.Shown], offset: int) -> dict[Any, Any]:
        return self.page(words, visit, max(0, offset - PAGE))

    def on(self, words: str, visit: list[image_view.Shown], offset: int) -> dict[Any, Any]:
        return self.page(words, visit, offset + PAGE)

    def open(self, visit: list[image_view.Shown], data: gr.EventData) -> str:
        """One image with its settings."""
        entry = self._entry((data._data or {}).get("id"), visit)
        if entry is None:
            return failure("This image is gone. Search again to see what is there.")
        try:
            with entry.image() as image:
                text = str(image.info.get("parameters", ""))
        except HistoryError as error:
            return failure(escape(str(error)))
        shown = image_view.Shown(
            str(entry.id), self.state.address(entry.id), entry.recipe, text, entry.seconds,
            rows={"Made": _when(entry.made)},
        )  # fmt: skip
        return image_view.made(shown, removable=True)

    def remove(self, words: str, visit: list[image_view.Shown], offset: int, data: gr.EventData) -> dict[Any, Any]:
        """Delete the image and its file."""
        entry, trouble = self._entry((data._data or {}).get("id"), visit), ""
        if entry is not None:
            try:
                self.state.history.delete(entry.id)
            except HistoryError as error:
                trouble = failure(escape(str(error)))
        return self.page(words, visit, offset) | {self.detail: trouble}

    def recipe_of(self, event: dict[str, Any], visit: list[image_view.Shown]) -> Recipe | None:
        """The recipe of an image that the page names by its id; None where it is gone, or another's."""
        entry = self._entry(event.get("id"), visit)
        return None if entry is None else entry.recipe

    def use(self, create: Create) -> Any:
        """A handler: the settings of the image into the controls, and over to Create."""

        def to_controls(visit: list[image_view.Shown], request: gr.Request, data: gr.EventData) -> dict[Any, Any]:
            entry = self._entry((data._data or {}).get("id"), visit)
            if entry is None:
                return create.leave("This image is gone from the history.")
            words = f"The settings of seed {entry.recipe.seed} are in the controls."
            filled = create.fill(entry.recipe, words, visit_token=self.state.visit_token(request.session_hash))
            return filled | {self.tabs: gr.Tabs(selected="create")}

        return to_controls


def _when(made: Any) -> str:
    """A time in the words of the machine's clock."""
    moment = made if isinstance(made, datetime) else datetime.fromtimestamp(float(made)).astimezone()
    return moment.astimezone().strftime("%-d %b %Y, %H:%M")


def tab(state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab) -> HistoryTab:
    """Build the tab inside the page that is being built."""
    return HistoryTab(state, create, tabs, own)
