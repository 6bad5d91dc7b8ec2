"""The tab "Trajectory": one run, or a few that differ in one thing, followed step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.errors import error_message
from app.forms import address, trajectory_form
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState, private
from app.storage.image_files import png_bytes
from app.tabs import attention, image_view
from app.tabs.create import Create
from app.tabs.generation import PATIENCE
from app.tabs.listeners import DRAWER, LONG, RETURNED, SHORT
from app.tabs.notes import failure, note
from common.image_bytes import data_uri

READY = scripts.mount("server_buttons", "mountReadyList", ["ready"])
BOARD = scripts.mount("trajectory", "mountBoard", ["attention"])
NEWS = scripts.mount("trajectory", "mountNews")


class TrajectoryTab:
    """The tab's components. What was followed is kept on disk; its maps of attention in memory, until others follow."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab):
        self.state, self.create, self.tabs = state, create, tabs
        with gr.Column(elem_id="trajectory"):
            with gr.Column(elem_id="trajectory-setup"):
                self.ready = gr.HTML(
                    trajectory_form.ready_list(), elem_id="follow-ready", js_on_load=READY, apply_default_css=False
                )  # fmt: skip
                with gr.Accordion("Choose what differs", elem_id="follow-own", **DRAWER):
                    self.along = gr.Dropdown(
                        trajectory_form.choices(), value="", label="Runs differ in", elem_id="along",
                        info="The settings of Create are the first run", allow_custom_value=True,
                    )  # fmt: skip
                    self.values = gr.Textbox(value="", label="Values, comma-separated", elem_id="along-values")
                self.attend = gr.Checkbox(
                    False, label="Read attention to words as well", elem_id="follow-attention",
                    info="One more network evaluation a step",
                )  # fmt: skip
                with gr.Row(elem_id="follow-acts"):
                    self.go = gr.Button("Follow", variant="primary", elem_id="follow", min_width=96)
                    self.cancel = gr.Button("Cancel", elem_id="follow-cancel", interactive=False, min_width=72)
            with gr.Column(elem_id="trajectory-result"):
                self.note = gr.HTML("", elem_id="trajectory-note", apply_default_css=False)
                self.board = gr.HTML(
                    trajectory_form.empty(), elem_id="paths", js_on_load=BOARD, apply_default_css=False
                )  # fmt: skip
                self.news = gr.HTML("", elem_id="trajectory-news", html_template="", js_on_load=NEWS)
                self.maps = gr.HTML("", elem_id="path-attention", js_on_load=attention.SHOW, apply_default_css=False)
        self.waiting = gr.State("")  # the id of what is shown when the tab is opened
        self.outputs = [self.news, self.note, self.go, self.cancel, self.maps, self.waiting, create.kept]
        #: What the browser keeps of this tab: name -> control.
        self.fields: dict[str, Any] = {"along": self.along, "along_values": self.values, "attend": self.attend}
        self._wire(own)

    def _wire(self, own: gr.Tab) -> None:
        of_create = self.create.controls
        self.go.click(
            self.follow_own, [self.along, self.values, self.attend, *of_create], self.outputs, js=RETURNED, **LONG
        )
        self.ready.ready(self.follow_ready, [self.attend, *of_create], self.outputs, js=RETURNED, **LONG)
        own.select(self.first, self.waiting, self.outputs, js=RETURNED, **SHORT)
        self.cancel.click(self.stop, None, None, **SHORT)
        self.board.attention(self.attention, None, self.maps, **SHORT)
        self.maps.close(lambda: "", None, self.maps, **SHORT)

    # what happens -----------------------------------------------------------------------------------------------------

    def follow_own(
        self, request: gr.Request, along: Any, values: Any, attend: Any, *fields: Any
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        """The settings of Create, along what was chosen."""
        try:
            base, _ = self.create.recipe(*fields)
            runs = trajectory_form.runs_of(base, str(along or ""), str(values or ""))
        except Exception as error:
            yield self._say(_words(error))
            return
        yield from self._follow(runs, bool(attend), request)

    def follow_ready(
        self, request: gr.Request, data: gr.EventData, attend: Any, *values: Any
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        """One of the ready-made ones, over the settings of Create."""
        key = str((data._data or {}).get("key", ""))
        try:
            base, said = trajectory_form.with_prompt(self.create.recipe(*values)[0], key)
            runs = trajectory_form.ready(base, key)
        except Exception as error:
            yield self._say(_words(error))
            return
        yield from self._follow(runs, bool(attend), request, said)

    def opens(self, event: Any, inputs: list[Any], recipe_of: Callable[..., Recipe | None]) -> None:
        """Wires an event of another tab: the run of an image that was made, once more, beside the one without its
        methods and the one without its words. recipe_of(what the event says, *inputs) finds its recipe."""

        def show(request: gr.Request, data: gr.EventData, *values: Any) -> Iterator[dict[Any, Any]]:
            recipe = recipe_of(data._data or {}, *values)
            if recipe is None:
                yield self._say("This image is no longer here: make it once more.")
                return
            yield from self._follow(trajectory_form.of_image(recipe), False, request)

        event(lambda: gr.Tabs(selected="trajectory"), None, self.tabs, **SHORT)  # before the runs begin
        event(show, inputs, self.outputs, **LONG)

    def attention(self, request: gr.Request, data: gr.EventData) -> str:
        """The maps of one run, where attention was read."""
        event = data._data or {}
        held = self.state.followed.get(str(event.get("id", "")))
        place = int(event.get("run", -1)) if str(event.get("run", "")).isdigit() else -1
        if held is None or not 0 <= place < len(held.runs):
            return attention.note("Attention of these runs is no longer in memory: follow them again.")
        if private() and held.visit_token != self.state.visit_token(request.session_hash):
            return attention.note("Only the visit that followed these runs sees their attention.")
        return _maps(held.runs[place])

    def stop(self, request: gr.Request) -> None:
        """Ends what is under way within one step."""
        for live in self.state.live_trajectories.of(self.state.visits.place(request.session_hash)):
            live.cancel()

    def first(self, id: str) -> dict[Any, Any]:
        """What this visit followed last, once the tab is opened."""
        drawn = self.state.trajectories.drawn(id)
        return {self.waiting: ""} if drawn is None else self._kept(id, drawn)

    def again(self, ids: list[str]) -> dict[Any, Any]:
        """What a page that opens has to know of what its visit followed and is still there, newest first."""
        return {self.waiting: ids[0] if ids else ""}

    def open_kept(self, id: str, is_known: bool) -> dict[Any, Any]:
        """What an address names. is_known: whether its signature is right."""
        drawn = self.state.trajectories.drawn(id) if is_known else None
        return self._say("What this address names is no longer here: follow it again.") if drawn is None else (
            self._kept(id, drawn)
        )

    def _kept(self, id: str, drawn: dict[str, Any]) -> dict[Any, Any]:
        return {self.news: json.dumps(drawn), self.note: "", self.waiting: "", **self._for_browser(id)}

    # frames -----------------------------------------------------------------------------------------------------------

    def _follow(
        self, runs: list[tuple[str, Recipe]], attend: bool, request: gr.Request, said: str = ""
    ) -> Iterator[dict[Any, Any]]:
        """Begins in the place of what was under way there. said: beside it, in words."""
        place, all_live = self.state.visits.place(request.session_hash), self.state.live_trajectories
        for other in all_live.of(place):
            other.replaced = True
            other.cancel()
            all_live.seen(other)
        visit_token, patience = self.state.visit_token(request.session_hash), PATIENCE if private() else None
        live = trajectory_form.LiveTrajectory(self.state, runs, attend, visit_token, patience)
        live.said = said
        all_live.add(place, live)
        yield from self._watch(live)

    def join(self, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Follows what this visit began and no page has shown to its end."""
        place = self.state.visits.place(request.session_hash)
        self.state.live_trajectories.adopt(place)
        found = self.state.live_trajectories.of(place)
        if not found:
            yield {self.note: gr.skip()}  # where nothing comes, Gradio empties what `join` may change
            return
        yield from self._watch(found[-1])

    def _watch(self, live: trajectory_form.LiveTrajectory) -> Iterator[dict[Any, Any]]:
        """What the page has to know until the end. Leaving it ends nothing: a reload joins again."""
        said = note(escape(live.said)) if live.said else ""
        yield {self.note: said, self.maps: "", self.waiting: ""} | self._buttons(busy=True)
        for news in live.follow():
            if news is not live.ended:
                yield {self.news: json.dumps(news)}
        if live.replaced:
            return
        assert live.ended is not None
        said = failure(escape(live.trouble)) if live.trouble else said
        shown = {self.news: json.dumps(live.ended), self.note: said}
        kept = self._for_browser(live.ended["id"]) if "id" in live.ended else {}
        yield shown | kept | self._buttons(busy=False)
        self.state.live_trajectories.seen(live)  # only now: a page that was left just before has not shown it

    def _for_browser(self, id: str) -> dict[Any, Any]:
        """What the browser keeps of runs that were followed: their id; and the address of this tab."""
        (signed,) = self.state.visits.with_signatures("trajectory", [id])
        return {self.create.kept: json.dumps({"trajectories": [signed], "address": address.of_trajectory(*signed)})}

    def _say(self, words: str) -> dict[Any, Any]:
        return {self.note: failure(escape(words))}

    def _buttons(self, busy: bool) -> dict[Any, Any]:
        return {self.go: gr.Button(interactive=not busy), self.cancel: gr.Button(interactive=busy)}


def _maps(one: Any) -> str:
    """The maps of attention of a run that was followed."""
    look = one.recording.look
    if look is None or not look.maps:
        return attention.note("Attention was not read in this run: tick the box and follow it again.")
    shown = image_view.Shown("", data_uri(png_bytes(one.image)), one.recording.recipe, "")
    return attention.view(attention.AttentionSheet(look.words, look.steps, look.sheet()), shown)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, RecipeError) else error_message(error)


def tab(state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab) -> TrajectoryTab:
    """Build the tab inside the page that is being built."""
    return TrajectoryTab(state, create, tabs, own)
