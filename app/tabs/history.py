"""The tab "History": every kept image, found by words, with its settings and the way back to Create."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.forms.history_words import titles
from app.schema.recipe import Recipe
from app.service.state import AppState, private
from app.storage.image_history import Entry, HistoryError
from app.tabs import history_cards, image_view
from app.tabs.attention import Attention, has_attention
from app.tabs.create import Create
from app.tabs.listeners import LONG, RETURNED, SHORT
from app.tabs.notes import failure, note, warning

PAGE = 24
MOST = 400  # images that are changed at once
SCRIPT = scripts.mount("history", events=["open", "remove", "favourite", "undo"])


class HistoryTab:
    """The tab's components. In private it shows what the visitor made, and nobody else's."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs, tab: gr.Tab):
        self.state, self.tabs = state, tabs
        with gr.Column(elem_id="history"):
            self.attention = Attention(state, self._shown, "history-attention")
            with gr.Column(elem_id="history-list", min_width=0):
                with gr.Row(elem_id="history-search"):
                    self.words = gr.Textbox(
                        label="Search", placeholder="Prompt, method, sampler, 128x128, seed, model; -word leaves out",
                        elem_id="search", lines=1, max_lines=1, min_width=200,
                    )  # fmt: skip
                    self.starred = gr.Checkbox(label="Favourites only", elem_id="starred", min_width=120)
                self.grid = gr.HTML("", elem_id="history-grid", js_on_load=SCRIPT, apply_default_css=False)
                with gr.Row(elem_id="pager"):
                    self.newer = gr.Button("Newer", size="sm", elem_id="newer", interactive=False)
                    self.older = gr.Button("Older", size="sm", elem_id="older", interactive=False)
                    self.where = gr.HTML("", elem_id="where", apply_default_css=False)
            with gr.Column(elem_id="history-detail", min_width=0):
                self.detail = gr.HTML("", elem_id="detail", js_on_load=image_view.ACTS, apply_default_css=False)
        self.offset = gr.State(0)

        listed = [self.grid, self.where, self.newer, self.older, self.offset]
        first = [self.words, self.starred, create.visit]
        here = [*first, self.offset]
        tab.select(self.first, first, listed, js=RETURNED, **SHORT)
        gr.on([self.words.change, self.starred.change], self.first, first, listed, trigger_mode="always_last", **SHORT)
        self.newer.click(self.back, here, listed, **SHORT)
        self.older.click(self.on, here, listed, **SHORT)
        self.grid.open(self.open, create.visit, self.detail, trigger_mode="always_last", **SHORT)
        for component in (self.grid, self.detail):
            component.remove(self.remove, here, [*listed, self.detail], **SHORT)
            component.favourite(self.favourite, here, [*listed, self.detail], **SHORT)
        self.grid.undo(self.undo, here, [*listed, self.detail], **SHORT)
        self.detail.use(self.use(create), create.visit, [*create.outputs, tabs], **SHORT)
        self.detail.attention(self.attention.show, create.visit, self.attention.panel, **LONG)

    # what there is ------------------------------------------------------------------------------------------------

    def _find(self, words: str, starred: bool, visit: list[image_view.Shown], offset: int) -> tuple[list[Entry], int]:
        own = [int(shown.id) for shown in visit if shown.id] if private() else None
        called = titles({model.id: model.name for model in self.state.models.values()}) if words.strip() else {}
        history = self.state.history
        found = history.search(words, PAGE, offset, called, own, starred)
        return found, history.count(words, called, own, starred)

    def _may(self, wanted: Any, visit: list[image_view.Shown]) -> bool:
        """Whether a visit may see and change the image of this id: in private only what it made itself."""
        return not private() or str(wanted or "") in {shown.id for shown in visit}

    def _entry(self, wanted: Any, visit: list[image_view.Shown]) -> Entry | None:
        return self.state.entry(str(wanted or "")) if self._may(wanted, visit) else None

    def _entries(self, data: gr.EventData, visit: list[image_view.Shown]) -> list[Entry]:
        """Those that an event names, as far as they are there and the visit's."""
        given = data._data or {}
        ids = str(given.get("ids") or given.get("id") or "").split()
        return [entry for id in ids[:MOST] if (entry := self._entry(id, visit)) is not None]

    # what is shown ------------------------------------------------------------------------------------------------

    def page(
        self, words: str, starred: bool, visit: list[image_view.Shown], offset: int, above: str = ""
    ) -> dict[Any, Any]:
        """The cards from `offset` on, where we are, and whether there is more on either side."""
        try:
            entries, total = self._find(words, starred, visit, max(0, offset))
        except HistoryError as error:
            return {self.grid: failure(escape(str(error))), self.where: "", self.offset: 0}
        if not entries and offset > 0:
            return self.page(words, starred, visit, max(0, min(offset - PAGE, (total - 1) // PAGE * PAGE)), above)
        above = (warning(escape(self.state.history.note)) if self.state.history.note else "") + above
        cards, where = history_cards.grid(entries, self.state.address), ""
        if entries:
            where = f"{offset + 1} to {offset + len(entries)} of {total:,}"
        else:
            cards = note(_nothing(words, starred))
        return {
            self.grid: above + cards,
            self.where: f'<p class="nw-status" aria-live="polite"><span class="nw-mono">{where}</span></p>',
            self.newer: gr.Button(interactive=offset > 0, visible=total > PAGE),
            self.older: gr.Button(interactive=offset + PAGE < total, visible=total > PAGE),
            self.offset: offset,
        }

    def first(self, words: str, starred: bool, visit: list[image_view.Shown]) -> dict[Any, Any]:
        return self.page(words, starred, visit, 0)

    def back(self, words: str, starred: bool, visit: list[image_view.Shown], offset: int) -> dict[Any, Any]:
        return self.page(words, starred, visit, max(0, offset - PAGE))

    def on(self, words: str, starred: bool, visit: list[image_view.Shown], offset: int) -> dict[Any, Any]:
        return self.page(words, starred, visit, offset + PAGE)

    def open(self, visit: list[image_view.Shown], request: gr.Request, data: gr.EventData) -> str:
        """One image with its settings, and what it was made from."""
        return self._detail(self._entry((data._data or {}).get("id"), visit), request)

    def _detail(self, entry: Entry | None, request: gr.Request) -> str:
        if entry is None:
            return failure("This image is gone. Search again to see what is there.")
        try:
            with entry.image() as image:
                text = str(image.info.get("parameters", ""))
        except HistoryError as error:
            return failure(escape(str(error)))
        token = self.state.visit_token(request.session_hash)

        def address(sha: str) -> str | None:
            return f"inputs/{sha}.png?visit_token={token}" if self.state.image(sha, token) is not None else None

        shown = replace(self._of(entry), parameters=text, given=tuple(history_cards.given(entry.recipe, address)))
        return image_view.made(shown, favourite=entry.favourite)

    def _of(self, entry: Entry) -> image_view.Shown:
        return image_view.Shown(
            str(entry.id), self.state.address(entry.id), entry.recipe, "", image_view.cost_of(entry),
            rows={"Made": history_cards.when(entry.made)}, attentive=has_attention(self.state, entry.recipe),
        )  # fmt: skip

    def _shown(self, wanted: str, visit: list[image_view.Shown]) -> image_view.Shown | None:
        entry = self._entry(wanted, visit)
        return None if entry is None else self._of(entry)

    # what is done with images ---------------------------------------------------------------------------------------

    def remove(
        self, words: str, starred: bool, visit: list[image_view.Shown], offset: int, data: gr.EventData
    ) -> dict[Any, Any]:
        """Delete images with their files; a note above the cards has the way back."""
        gone: list[Entry] = []
        trouble = ""
        for entry in self._entries(data, visit):
            try:
                gone += [entry] if self.state.history.delete(entry.id) else []
            except HistoryError as error:
                trouble = failure(escape(str(error)))
        above = trouble + history_cards.deleted(gone)
        return self.page(words, starred, visit, offset, above) | {self.detail: ""}

    def undo(
        self, words: str, starred: bool, visit: list[image_view.Shown], offset: int, request: gr.Request,
        data: gr.EventData,
    ) -> dict[Any, Any]:  # fmt: skip
        """Bring deleted images back, and show the first of them."""
        ids = [id for id in str((data._data or {}).get("ids", "")).split()[:MOST] if self._may(id, visit)]
        try:
            back = [self.state.history.restore(int(id)) for id in ids if id.isdecimal()]
            above = "" if any(back) else failure("This cannot be undone any more.")
        except HistoryError as error:
            back, above = [], failure(escape(str(error)))
        first = next(filter(None, back), None)
        shown = {} if first is None else {self.detail: self._detail(first, request)}
        return self.page(words, starred, visit, offset, above) | shown

    def favourite(
        self, words: str, starred: bool, visit: list[image_view.Shown], offset: int, request: gr.Request,
        data: gr.EventData,
    ) -> dict[Any, Any]:  # fmt: skip
        """Make images favourites, or not any more; what is open is shown anew where it is one of them."""
        given = data._data or {}
        entries, trouble = self._entries(data, visit), ""
        try:
            for entry in entries:
                self.state.history.favour(entry.id, bool(given.get("on")))
        except HistoryError as error:
            trouble = failure(escape(str(error)))
        is_open = [entry for entry in entries if str(entry.id) == str(given.get("shown") or given.get("id"))]
        shown = {self.detail: self._detail(self._entry(is_open[0].id, visit), request)} if is_open else {}
        return self.page(words, starred, visit, offset, trouble) | shown

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


def _nothing(words: str, starred: bool) -> str:
    """Why there is nothing to see, in HTML."""
    if words.strip():
        among = "No favourite" if starred else "No image"
        return (
            f"{among} has “{escape(words)}” in its prompt, methods, sampler, size, model or seed. Search for fewer "
            "words, or parts of words."
        )
    if starred:
        return "No favourites yet. The star at an image makes it one."
    return "No images yet. What you generate in Create is saved here, with everything that made it."


def tab(state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab) -> HistoryTab:
    """Build the tab inside the page that is being built."""
    return HistoryTab(state, create, tabs, own)
