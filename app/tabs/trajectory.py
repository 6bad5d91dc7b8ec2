"""The tab "Trajectory": one run, or a few that differ in one thing, followed step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.errors import error_message
from app.forms import trajectory_form
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_files import png_bytes
from app.tabs import attention, image_view
from app.tabs.create import Create
from app.tabs.listeners import DRAWER, LONG, SHORT
from app.tabs.notes import failure
from common.image_bytes import data_uri

TICK = 0.4  # seconds between two updates of the page, at least
READY = scripts.mount("server_buttons", "mountReadyList", ["ready"])
BOARD = scripts.mount("trajectory", "mountBoard", ["attention"])
NEWS = scripts.mount("trajectory", "mountNews")


class TrajectoryTab:
    """The tab's components. What was followed lies in the state's memory, for its files, until others follow."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs):
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
        self.outputs = [self.news, self.note, self.go, self.cancel, self.maps]
        self._wire()

    def _wire(self) -> None:
        of_create = self.create.controls
        self.go.click(self.follow_own, [self.along, self.values, self.attend, *of_create], self.outputs, **LONG)
        self.ready.ready(self.follow_ready, [self.attend, *of_create], self.outputs, **LONG)
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
            base, _ = self.create.recipe(*values)
            runs = trajectory_form.ready(base, key)
        except Exception as error:
            yield self._say(_words(error))
            return
        yield from self._follow(runs, bool(attend), request)

    def opens(self, event: Any, inputs: list[Any], recipe_of: Callable[..., Recipe | None]) -> None:
        """Wires an event of another tab: the run of an image that was made, once more, beside the one without its
        methods and the one without its words. recipe_of(what the event says, *inputs) finds its recipe."""

        def show(request: gr.Request, data: gr.EventData, *values: Any) -> Iterator[dict[Any, Any]]:
            recipe = recipe_of(data._data or {}, *values)
            if recipe is None:
                yield self._say("This image is no longer here: make it once more.")
                return
            yield from self._follow(trajectory_form.ready(recipe, trajectory_form.CONDITION), False, request)

        event(lambda: gr.Tabs(selected="trajectory"), None, self.tabs, **SHORT)  # before the runs begin
        event(show, inputs, self.outputs, **LONG)

    def attention(self, request: gr.Request, data: gr.EventData) -> str:
        """The maps of one run, where attention was read."""
        event = data._data or {}
        held = self.state.followed.get(str(event.get("id", "")))
        place = int(event.get("run", -1)) if str(event.get("run", "")).isdigit() else -1
        if held is None or held.session != request.session_hash or not 0 <= place < len(held.runs):
            return ""
        return _maps(held.runs[place])

    def stop(self, request: gr.Request) -> None:
        """Ends what is under way within one step."""
        for run in self.state.live.get(f"{request.session_hash} trajectory", []):
            run.cancel()

    # frames -----------------------------------------------------------------------------------------------------------

    def _follow(self, runs: list[tuple[str, Recipe]], attend: bool, request: gr.Request) -> Iterator[dict[Any, Any]]:
        session = f"{request.session_hash} trajectory"
        visit_token = self.state.visit_token(request.session_hash)
        self.stop(request)
        begun = {"busy": [label for label, _ in runs], "steps": 0, "of": 0}
        yield {self.news: json.dumps(begun), self.note: "", self.maps: ""} | self._buttons(busy=True)
        job: trajectory_form.TrajectoryJob | None = None
        try:
            job = trajectory_form.TrajectoryJob(self.state, runs, attend, visit_token)
            self.state.live[session] = job.runs
            for frame in job.frames(TICK):
                yield {self.news: json.dumps(frame)}
            drawn = trajectory_form.result(self.state, job, request.session_hash or "")
            words = " ".join(job.troubles)
            shown = {self.news: json.dumps(drawn), self.note: failure(escape(words)) if words else ""}
            yield shown | self._buttons(busy=False)
        except Exception as error:
            shown = {self.news: json.dumps({"stopped": True}), self.note: failure(escape(_words(error)))}
            yield shown | self._buttons(busy=False)
        finally:
            if job is not None:
                job.cancel()
            if self.state.live.get(session) is (job.runs if job is not None else None):
                self.state.live.pop(session, None)

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
    return str(error) if isinstance(error, (RecipeError, trajectory_form.Stopped)) else error_message(error)


def tab(state: AppState, create: Create, tabs: gr.Tabs) -> TrajectoryTab:
    """Build the tab inside the page that is being built."""
    return TrajectoryTab(state, create, tabs)
