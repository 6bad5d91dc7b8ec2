"""The tab "Compare": many runs on one input side by side, each cell with what it cost and how faithful it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from itertools import islice
from typing import Any

import gradio as gr

from app import scripts
from app.comparison.runner import ComparisonRunner
from app.comparison.spec import Cell, Comparison
from app.comparison.store import BETTER, NEITHER, SAME, ComparisonStore
from app.errors import error_message
from app.forms import address, axis_values, comparison_form, opening, references
from app.schema.recipe import Recipe
from app.service.live_runs import Followers
from app.service.state import AppState, private
from app.tabs.create import Create
from app.tabs.generation import PATIENCE
from app.tabs.listeners import LONG, RETURNED, SHORT
from app.tabs.notes import failure, note
from app.tabs.own_comparison import OwnComparison

TICK = 0.4  # seconds between two updates of the page, at least
KEPT = 500  # comparisons in the list, which can be searched
READY = scripts.mount("server_buttons", "mountReadyList", ["ready"])
BOARD = scripts.mount("comparison", "mountBoard", ["vote", "use", "follow", "change"])
NEWS = scripts.mount("comparison", "mountNews")


class Compare:
    """The tab's components. A comparison lives in the state while it runs, and on disk from its first moment."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab):
        self.state, self.create, self.tabs = state, create, tabs
        self._followed_by: dict[str, Followers] = {}
        self.store = ComparisonStore(state.history.folder / "comparisons")
        with gr.Column(elem_id="compare"):
            with gr.Column(elem_id="compare-setup"):
                self.ready = gr.HTML(
                    comparison_form.ready_list(), elem_id="ready", js_on_load=READY, apply_default_css=False
                )  # fmt: skip
                self.own = OwnComparison(state, create, self.store)
                self.list = gr.Dropdown(
                    [], value=None, label="Saved comparisons", elem_id="kept", interactive=True,
                )  # fmt: skip
                with gr.Column(elem_id="compare-files"):
                    self.file = gr.UploadButton(
                        "Open a comparison file", file_types=[".json"], elem_id="compare-file", size="sm"
                    )
            with gr.Column(elem_id="compare-result"):
                with gr.Row(elem_id="compare-acts"):
                    self.go = gr.Button("Resume", elem_id="resume", interactive=False, min_width=96)
                    self.cancel = gr.Button("Cancel", elem_id="compare-cancel", interactive=False, min_width=72)
                self.note = gr.HTML("", elem_id="compare-note", apply_default_css=False)
                self.board = gr.HTML(
                    comparison_form.empty(), elem_id="board", js_on_load=BOARD, apply_default_css=False
                )  # fmt: skip
                self.news = gr.HTML("", elem_id="compare-news", html_template="", js_on_load=NEWS)
        self.id = gr.State("")
        self.visit = gr.State([])  # ids of the comparisons of this visit
        self._wire(tabs, own)

    @property
    def outputs(self) -> list[Any]:
        """What the opening and the making of a comparison change."""
        return [self.news, self.id, self.visit, self.create.kept, self.go, self.cancel, self.note]

    def _wire(self, tabs: gr.Tabs, own: gr.Tab) -> None:
        outputs = self.outputs
        self.ready.ready(self.begin_ready, self.visit, outputs, js=RETURNED, **LONG)
        made = self.own
        made.make.click(self.begin_own, [self.visit, *made.inputs], outputs, js=RETURNED, **LONG)
        made.give.upload(
            self.take_images, [made.give, made.shelf],
            [made.shelf, *made.axes[:2], self.note, self.create.kept], js=RETURNED, **LONG,
        )  # fmt: skip
        made.wire(tabs, own)
        self.go.click(self.go_on, [self.id, self.visit], outputs, **LONG)
        self.file.upload(self.open_file, [self.file, self.visit], outputs, js=RETURNED, **LONG)
        self.cancel.click(self.stop, self.id, None, **SHORT)
        self.list.input(self.open_kept, [self.list, self.visit], outputs, **SHORT)
        own.select(self.first, [self.id, self.visit], outputs, js=RETURNED, **LONG)
        own.select(
            self.listed, self.visit, [self.list, made.columns, *made.axes[::2]], js=RETURNED, **SHORT
        )
        self.board.vote(self.vote, [self.id, self.visit], self.news, **SHORT)
        self.board.change(self.change, [self.id, self.visit], [*outputs, self.list], **SHORT)
        self.board.use(self.use, [self.id, self.visit], [*self.create.outputs, tabs], **SHORT)

    # what there is ----------------------------------------------------------------------------------------------------

    def listed(self, visit: list[str]) -> dict[Any, Any]:
        """The comparisons that may be opened, and what columns and axes may be."""
        known = self.state.model().backbone is not None  # the registry imports torch
        axes = axis_values.axis_choices() + (axis_values.knob_choices() if known else [])
        choices = {self.own.columns: self.own.choices(), **dict.fromkeys(self.own.axes[::2], axes)}
        return {component: gr.Dropdown(choices=those) for component, those in choices.items()} | self._kept(visit)

    def _kept(self, visit: list[str]) -> dict[Any, Any]:
        """The list of the comparisons that may be opened, newest first; in private those of this visit only."""
        mine = ((id, one, done) for id, one, done in self.store.all() if id in visit or not private())
        found = [
            (f"{one.title} · {comparison_form.progress(done, one)} · {comparison_form.when(id)}", id)
            for id, one, done in islice(mine, KEPT)
        ]
        return {self.list: gr.Dropdown(choices=found)}

    def first(self, id: str, visit: list[str]) -> Any:
        """A finished example, while nothing else is open. Not before torch is there: an answer that comes late would
        take the place of what a quick person has begun."""
        ready = not id and self.state.model().backbone is not None
        example = opening.example_comparison(self.state, self.store) if ready else ""
        if not example:
            return gr.skip()
        shown = self._shown(example, [*visit, example], opening.WORDS)
        shown[self.news] = json.dumps(json.loads(shown[self.news]) | {"stored": True})
        shown.pop(self.create.kept, None)  # of this page only: neither the browser keeps it, nor the address names it
        return shown

    def _mine(self, visit: list[str]) -> list[str] | None:
        """The comparisons whose votes this visit may see: None for all."""
        return visit if private() else None

    def _may(self, id: str, visit: list[str]) -> bool:
        return bool(id) and (id in visit or not private())

    # what happens -----------------------------------------------------------------------------------------------------

    def begin_ready(self, visit: list[str], request: gr.Request, data: gr.EventData) -> Iterator[dict[Any, Any]]:
        """A comparison of one click."""
        key = str((data._data or {}).get("key", ""))
        yield self._say("Rendering the scene")
        try:
            made = comparison_form.ready(self.state, key)
        except Exception as error:
            yield self._say(error_message(error), True)
            return
        yield from self._new(made, visit, request)

    def take_images(self, files: Any, shelf: dict[str, str], request: gr.Request) -> dict[Any, Any]:
        """Images that a person gives become the values of the rows."""
        try:
            shelf, words = self.own.take_images(request, files, shelf)
        except Exception as error:
            return self._say(error_message(error), True)
        rows, values = self.own.axes[:2]
        found = {self.own.shelf: shelf, rows: references.IMAGE, values: ", ".join(shelf)}
        return found | {self.create.kept: json.dumps({"shelf": shelf})} | self._say(words)

    def begin_own(self, request: gr.Request, visit: list[str], *values: Any) -> Iterator[dict[Any, Any]]:
        """From the columns and axes that were chosen, over the settings of Create."""
        try:
            made, said = self.own.made(request, *values)
        except Exception as error:
            yield self._say(error_message(error), True)
            return
        yield from self._new(made, visit, request, said)

    def open_file(self, path: Any, visit: list[str]) -> Iterator[dict[Any, Any]]:
        """A comparison file of whoever: its cells, to be made here; what differs here is said."""
        try:
            made, words = comparison_form.from_file(self.state, path)
        except Exception as error:
            yield self._say(error_message(error), True)
            return
        id = self.store.add(made)
        yield self._shown(id, [*visit, id], words)

    def open_kept(self, id: Any, visit: list[str]) -> dict[Any, Any]:
        """One from the list, as it stands."""
        if not isinstance(id, str) or not self._may(id, visit):
            return self._say("Choose a comparison from the list.", True)
        return self._shown(id, visit)

    def go_on(self, id: str, visit: list[str], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Makes the cells that are missing, those that failed before too."""
        if not self._may(id, visit):
            yield self._say("There is no comparison yet: choose one on the left.", True)
            return
        yield from self._run(id, visit, request)

    def stop(self, id: str) -> None:
        """Ends what is under way; what is done stays."""
        runner = self.state.comparisons.get(id)
        if runner is not None:
            runner.cancel()

    def vote(self, id: str, visit: list[str], data: gr.EventData) -> Any:
        """One blind vote; the ratings after it."""
        event = data._data or {}
        runner = comparison_form.runner_of(self.state, self.store, id) if self._may(id, visit) else None
        if runner is None:
            return gr.skip()
        labels = [value.label for value in runner.comparison.axes[0].values]
        better, worse, verdict = (str(event.get(name)) for name in ("better", "worse", "verdict"))
        if better in labels and worse in labels and better != worse and verdict in (BETTER, SAME, NEITHER):
            self.store.vote(id, better, worse, verdict)
        return json.dumps({"id": id, "votes": comparison_form.ratings(runner, self.store, self._mine(visit))})

    def change(self, id: str, visit: list[str], data: gr.EventData) -> dict[Any, Any]:
        """Another title for the open comparison, a copy of it, or its end."""
        event = data._data or {}
        what, one = event.get("what"), self.store.get(id) if self._may(id, visit) else None
        if one is None:
            return self._say("This comparison cannot be opened: its file is gone.", True)
        runner = self.state.comparisons.pop(id, None)
        if runner is not None:
            runner.cancel()
            runner.join()
        if what == "delete":
            self.store.delete(id)
            gone = {self.news: json.dumps({"gone": id}), self.id: "", self.go: gr.Button(interactive=False)}
            return gone | self._kept(visit) | self._say(f"“{one.title}” is deleted.")
        if what == "copy":
            id = self.store.copy(id, comparison_form.copied(one.title)) or id
            visit = [*visit, id]
        elif title := str(event.get("title") or "").strip():
            self.store.rename(id, title[:200])
        return self._shown(id, visit) | self._kept(visit)

    def use(self, id: str, visit: list[str], request: gr.Request, data: gr.EventData) -> dict[Any, Any]:
        """The settings of a cell into Create, and over there."""
        runner, cell = self._cell(data._data or {}, id, visit)
        if runner is None or cell is None or cell.recipe is None:
            return self.create.leave("This cell has no settings: its combination of values is invalid.")
        words = f"The settings of “{runner.comparison.label(cell.place)}” are in the controls."
        filled = self.create.fill(cell.recipe, words, visit_token=self.state.visit_token(request.session_hash))
        return filled | {self.tabs: gr.Tabs(selected="create")}

    def recipe_of(self, event: dict[str, Any], id: str, visit: list[str]) -> Recipe | None:
        """The recipe of a cell that the page names by its key; None where there is none."""
        _, cell = self._cell(event, id, visit)
        return cell.recipe if cell is not None else None

    def _cell(self, event: dict[str, Any], id: str, visit: list[str]) -> tuple[ComparisonRunner | None, Cell | None]:
        """The comparison of this id, if the visit may see it, and its cell that the page names by its key."""
        runner = comparison_form.runner_of(self.state, self.store, id) if self._may(id, visit) else None
        cells = runner.cells if runner is not None else []
        return runner, next((cell for cell in cells if cell.key == str(event.get("key", ""))), None)

    # frames -----------------------------------------------------------------------------------------------------------

    def _new(
        self, made: Comparison, visit: list[str], request: gr.Request, words: str = ""
    ) -> Iterator[dict[Any, Any]]:
        """Keeps a comparison and makes it; words: to be said beside it."""
        try:
            id = self.store.add(made)
        except OSError as error:
            yield self._say(f"The comparison cannot be saved: {error}. Free some space, or set NINE_WAYS_OUTPUT.", True)
            return
        yield from self._run(id, [*visit, id], request, words)

    def _run(self, id: str, visit: list[str], request: gr.Request, words: str = "") -> Iterator[dict[Any, Any]]:
        try:
            runner = comparison_form.runner_of(self.state, self.store, id, self.state.visit_token(request.session_hash))
            if runner is None:
                yield self._say("This comparison cannot be opened: its file is gone.", True)
                return
            runner.start()
            yield from self._followed(runner, visit, words)
        except Exception as error:
            yield self._say(error_message(error), True)

    def join(self, id: str, visit: list[str]) -> Iterator[dict[Any, Any]]:
        """Follows a comparison that is under way: the one in view, else one that this visit began."""
        running = [self.state.comparisons[one] for one in (id, *visit) if one in self.state.comparisons]
        busy = next((runner for runner in running if runner.busy and self._may(runner.id, visit)), None)
        if busy is None:
            yield {self.note: gr.skip()}  # where nothing comes, Gradio empties what `join` may change
        else:
            yield from self._followed(busy, visit)

    def _followed(self, runner: ComparisonRunner, visit: list[str], words: str = "") -> Iterator[dict[Any, Any]]:
        """What the page has to know until the comparison ends. Leaving it does not end it: a reload joins it again; on
        a public server it ends a while after the last page has left."""
        with self._followers(runner.id):
            yield self._frame(runner, visit, -1, words)
            since = 0
            while runner.busy:
                now = runner.wait(since, TICK)
                if now > since:
                    yield self._frame(runner, visit, since, words)
                    since = now
            yield self._frame(runner, visit, 0, words)

    def _followers(self, id: str) -> Followers:
        """The pages that follow a comparison."""
        if id not in self._followed_by:
            self._followed_by[id] = Followers(lambda: self.stop(id), PATIENCE if private() else None)
        return self._followed_by[id]

    def _shown(self, id: str, visit: list[str], words: str = "") -> dict[Any, Any]:
        runner = comparison_form.runner_of(self.state, self.store, id)
        if runner is None:
            return self._say("This comparison cannot be opened: its file is gone.", True)
        return self._frame(runner, visit, since=-1, words=words)

    def _frame(self, runner: Any, visit: list[str], since: int, words: str = "") -> dict[Any, Any]:
        """What the page has to know. since: -1 for all of it, else the number of the change before."""
        update = comparison_form.update(self.state, self.store, runner, since, self._mine(visit))
        return (self._for_browser(runner.id) if since < 0 else {}) | {
            self.news: json.dumps(update),
            self.id: runner.id,
            self.visit: visit,
            self.go: gr.Button(interactive=runner.resumable),
            self.cancel: gr.Button(interactive=runner.busy),
            **self._say(words),
        }

    def _for_browser(self, id: str) -> dict[Any, Any]:
        """What the browser keeps of a comparison: its id; and the address of this tab."""
        (signed,) = self.state.visits.with_signatures("comparison", [id])
        where = address.of_comparison(id, signed[1] if private() else "")
        return {self.create.kept: json.dumps({"comparisons": [signed], "address": where})}

    def _say(self, words: str, wrong: bool = False) -> dict[Any, Any]:
        shown = failure(escape(words)) if wrong else note(escape(words))
        return {self.note: shown if words else ""}


def tab(state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab) -> Compare:
    """Build the tab inside the page that is being built."""
    return Compare(state, create, tabs, own)
