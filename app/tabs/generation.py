"""A run as the page shows it: from a click on Generate, step by step, to the images in the strip."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

import gradio as gr

from app.engine.events import Cancelled, Failed, Finished, Preparing, Progress, Queued
from app.errors import error_message
from app.forms import address
from app.schema.recipe import Recipe, RecipeError
from app.service.live_runs import LiveRun, Place
from app.service.state import AppState, private, waiting
from app.storage.image_files import png_bytes
from app.tabs import image_view
from app.tabs.attention import has_attention
from app.tabs.prompt_fields import PromptFields
from common.image_bytes import data_uri

KEPT = 24  # images in the strip of a visit
NONE: Mapping[str, str] = MappingProxyType({})
PATIENCE = 300.0  # seconds that a run goes on on a public server while nobody looks


class Tab(Protocol):
    """What a run needs of the tab that shows it. fields: those with a control, where a problem can be said."""

    fields: tuple[str, ...]
    stage: gr.HTML
    film: gr.HTML
    visit: gr.State
    kept: gr.HTML
    queue: gr.HTML
    cancel: gr.Button
    texts: PromptFields
    problems: gr.HTML

    def check(self, *values: Any, visit_token: str = "") -> tuple[Recipe | None, dict[str, str]]: ...


class Generation:
    """What Generate and Cancel do, and what a page does that finds a run of its visit under way."""

    def __init__(self, state: AppState, tab: Tab):
        self.state, self.tab = state, tab
        self._watched: set[Place] = set()  # where a page shows what becomes of its runs

    @property
    def outputs(self) -> list[Any]:
        """What `run` and `join` change."""
        tab = self.tab
        return [tab.stage, tab.film, tab.visit, tab.kept, tab.queue, tab.cancel, tab.texts.unknown, tab.problems]

    def run(self, request: gr.Request, *values: Any) -> Iterator[dict[Any, Any]]:
        """One click on Generate: updates of the page while the run goes on; where another run is in view, it waits for
        that one below it. Closing this generator leaves the run as it is: see `join`."""
        *fields, visit = values
        tab, visit_token = self.tab, self.state.visit_token(request.session_hash)
        recipe, problems = tab.check(*fields, visit_token=visit_token)
        if recipe is None:
            yield {tab.problems: json.dumps(problems)}
            return
        place = self.state.visits.place(request.session_hash)
        first = place not in self._watched
        model = self.state.model(recipe.backbone)
        size = (recipe.width, recipe.height)
        note = {tab.texts.unknown: tab.texts.unknown_note(recipe.prompt, recipe.backbone)}
        yield note | (self._begun(image_view.waiting("Starting", size), place) if first else {tab.problems: "{}"})
        trouble, problems = "", {}
        try:
            for words in waiting(model):
                yield {tab.stage: image_view.waiting(f"{model.name}: {words}", size)} if first else note
            run = self.state.runs.submit(self.state.request(recipe, visit_token, keep=True))
            self.state.live_runs.add(place, LiveRun(run, self._saved, PATIENCE if private() else None))
        except RecipeError as error:  # refused only now: before, the network was not known well enough
            trouble, problems = error.problems[0].message, self._at(*error.problems[0])
        except Exception as error:
            trouble = error_message(error)
        if trouble and first:
            yield self._ended(image_view.trouble(trouble, size), [], visit, place, problems)
        elif trouble:  # the stage belongs to the run in view
            yield {tab.problems: json.dumps(problems or {"prompt": trouble})}
        elif place in self._watched:
            yield {tab.queue: self._queue(place)}
        else:
            yield from self._watch(place, visit)

    def join(self, visit: list[image_view.Shown], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Follows the runs of this visit that are under way, or shows what they made while no page was there."""
        place = self.state.visits.place(request.session_hash)
        self.state.live_runs.adopt(place)
        runs = self.state.live_runs.of(place)
        if not runs:
            yield {self.tab.stage: gr.skip()}  # where nothing comes, Gradio empties what `join` may change
            return
        size = (runs[0].recipe.width, runs[0].recipe.height)
        yield self._begun(image_view.waiting("Back at the run that is under way", size), place)
        yield from self._watch(place, visit)

    def _watch(self, place: Place, visit: list[image_view.Shown]) -> Iterator[dict[Any, Any]]:
        """The runs of this place, one after the other, until there is none left."""
        self._watched.add(place)
        try:
            while runs := self.state.live_runs.of(place):
                yield from self._followed(runs[0], visit, place)
                visit = [*runs[0].made, *visit]
        finally:
            self._watched.discard(place)

    def _followed(
        self, live: LiveRun, visit: Sequence[image_view.Shown], place: Place
    ) -> Iterator[dict[Any, Any]]:
        recipe, size = live.recipe, (live.recipe.width, live.recipe.height)
        each = self._of_each(recipe)
        last: list[str] = []
        step = 0
        for event in live.follow():
            if event is live.ended:
                self.state.live_runs.seen(live)  # where the page was left just before, another one sees its images
            match event:
                case Queued(position=position):
                    words = "Starting" if position == 0 else f"Waiting: {position} before this"
                    yield self._begun(image_view.waiting(words, size), place)
                case Preparing():
                    yield {self.tab.stage: image_view.preparing(event, size)}
                case Progress():
                    last = [data_uri(p, "JPEG") if p is not None else "" for p in event.previews]
                    step = int(event.fraction * recipe.steps)  # the engine counts over all images
                    forming = image_view.forming(last, step, recipe.steps, event.seconds_left, each, event.made)
                    yield {self.tab.stage: forming}
                case Finished():
                    live.made = self._together(live, image_view.Cost.of(event))
                    whole = image_view.batch(live.made) if len(live.made) > 1 else image_view.made(live.made[0])
                    yield self._ended(whole, live.made, visit, place, made=recipe)
                case Failed(reason=reason, field=field):
                    at = self._at(field, reason)
                    live.made = self._together(live)
                    yield self._ended(image_view.trouble(reason, size), live.made, visit, place, at)
                case Cancelled():
                    words = f"Cancelled at step {step} of {recipe.steps}"
                    live.made = self._together(live)
                    yield self._ended(image_view.stopped(words, size, last, each), live.made, visit, place)

    def _of_each(self, recipe: Recipe) -> list[Recipe]:
        """The recipes of its images. What counts them depends on what is used."""
        unused = self.state.runs.unused(recipe) if recipe.variation_strength else []
        if any(problem.field == "variation_strength" for problem in unused):
            recipe = recipe.model_copy(update={"variation_strength": 0.0})
        return [recipe.one(i) for i in range(recipe.count)]

    @staticmethod
    def _together(live: LiveRun, cost: image_view.Cost | None = None) -> list[image_view.Shown]:
        """The images that a run has made, as one batch where there are several."""
        batch = live.id if len(live.made) > 1 else ""
        return [replace(shown, cost=cost, batch=batch) for shown in live.made]

    def _begun(self, stage: str, place: Place) -> dict[Any, Any]:
        return {
            self.tab.stage: stage,
            self.tab.problems: "{}",
            self.tab.queue: self._queue(place),
            self.tab.cancel: gr.Button(interactive=True),
        }

    def _ended(
        self,
        stage: str,
        fresh: Sequence[image_view.Shown],
        visit: Sequence[image_view.Shown],
        place: Place,
        problems: Mapping[str, str] = NONE,
        made: Recipe | None = None,
    ) -> dict[Any, Any]:
        """The page after a run, with the images that it made before those of the visit. made: the recipe, where all of
        it is made."""
        shown = [*fresh, *visit]  # all of them: in private they are what the visit may see of the history
        return {
            self.tab.stage: stage,
            self.tab.film: image_view.film(
                image_view.in_strip(shown, KEPT), "stage", -1 if made is None else 0
            ),
            self.tab.visit: shown,
            self.tab.kept: self._for_browser(fresh, made),
            self.tab.problems: json.dumps(dict(problems)),
            self.tab.queue: self._queue(place),
            self.tab.cancel: gr.Button(interactive=bool(self.state.live_runs.of(place))),
        }

    # the queue ------------------------------------------------------------------------------------------------------

    def _queue(self, place: Place) -> str:
        """The runs of this place that wait for the one in view."""
        return image_view.queue([(run.id, run.recipe) for run in self.state.live_runs.of(place)[1:]])

    def take_out(self, request: gr.Request, data: gr.EventData) -> str:
        """One of them is not wanted any more."""
        place, wanted = self.state.visits.place(request.session_hash), str((data._data or {}).get("id", ""))
        for run in self.state.live_runs.of(place):
            if run.id == wanted:
                self.state.live_runs.seen(run)
                run.cancel()
        return self._queue(place)

    def _for_browser(self, fresh: Sequence[image_view.Shown], made: Recipe | None) -> str:
        """What the browser keeps: the ids of new images; and the address of the recipe, once all of it is made."""
        ids = [shown.id for shown in fresh if shown.id]
        news: dict[str, Any] = {"images": self.state.visits.with_signatures("image", ids)}
        if made is not None:
            news["address"] = address.of_recipe(made)
        return json.dumps(news)

    def _at(self, field: str | None, message: str) -> dict[str, str]:
        """A problem at its field; nothing where the page has no such field."""
        return {field: message} if field is not None and field.partition(".")[0] in self.tab.fields else {}

    def _saved(self, image: Any, recipe: Recipe) -> image_view.Shown:
        """Into the history; where it cannot be kept, the image still reaches the page."""
        text = str(image.info.get("parameters", ""))
        saved = self.state.save(image, recipe)
        source = saved.address or data_uri(png_bytes(image))
        note = f"not saved: {saved.trouble}" if saved.trouble else ""
        return image_view.Shown(saved.id, source, recipe, text, note=note, attentive=has_attention(self.state, recipe))

    def stop(self, request: gr.Request) -> None:
        """Cancel the run of this page; whoever follows it then says where it stopped."""
        for run in self.state.live_runs.of(self.state.visits.place(request.session_hash))[:1]:
            run.cancel()
