"""A run as the page shows it: from a click on Generate, step by step, to the images in the strip."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import gradio as gr

from app.engine.events import Cancelled, Failed, Finished, Preparing, Progress, Queued
from app.errors import error_message
from app.forms import address
from app.schema.recipe import Recipe, RecipeError
from app.service.live_runs import LiveRun
from app.service.state import AppState, private, waiting
from app.storage.image_files import png_bytes
from app.tabs import image_view
from common.image_bytes import data_uri

KEPT = 24  # images in the strip of a visit
PATIENCE = 300.0  # seconds that a run goes on on a public server while nobody looks


class Tab(Protocol):
    """What a run needs of the tab that shows it. fields: those with a control, where a problem can be said."""

    fields: tuple[str, ...]
    stage: gr.HTML
    film: gr.HTML
    visit: gr.State
    kept: gr.HTML
    generate: gr.Button
    cancel: gr.Button
    surprise: gr.Button
    unknown: gr.HTML
    problems: gr.HTML

    def check(self, *values: Any, visit_token: str = "") -> tuple[Recipe | None, dict[str, str]]: ...
    def unknown_note(self, prompt: str, backbone: Any = None) -> str: ...


class Generation:
    """What Generate and Cancel do, and what a page does that finds a run of its visit under way."""

    def __init__(self, state: AppState, tab: Tab):
        self.state, self.tab = state, tab

    @property
    def outputs(self) -> list[Any]:
        """What `run` and `join` change."""
        tab = self.tab
        return [
            tab.stage, tab.film, tab.visit, tab.kept, tab.generate, tab.cancel, tab.surprise, tab.unknown, tab.problems,
        ]  # fmt: skip

    def run(self, request: gr.Request, *values: Any) -> Iterator[dict[Any, Any]]:
        """One click on Generate: updates of the page while the run goes on. Closing this generator leaves the run as it
        is: see `join`."""
        *fields, visit = values
        tab, visit_token = self.tab, self.state.visit_token(request.session_hash)
        recipe, problems = tab.check(*fields, visit_token=visit_token)
        if recipe is None:
            yield {tab.problems: json.dumps(problems)}
            return
        model = self.state.model(recipe.backbone)
        size = (recipe.width, recipe.height)
        note = tab.unknown_note(recipe.prompt, recipe.backbone)
        yield {tab.unknown: note} | self._begun(image_view.waiting("Starting", size))
        try:
            for words in waiting(model):
                yield {tab.stage: image_view.waiting(f"{model.name}: {words}", size)}
            run = self.state.runs.submit(self.state.request(recipe, visit_token, keep=True))
        except RecipeError as error:  # refused only now: before, the network was not known well enough
            refused = error.problems[0]
            stage = image_view.trouble(refused.message, size)
            yield self._ended(stage, [], visit, problems=self._at(refused.field, refused.message))
            return
        except Exception as error:
            yield self._ended(image_view.trouble(error_message(error), size), [], visit)
            return
        live = LiveRun(run, self._saved, PATIENCE if private() else None)
        self.state.live_runs.add(self.state.visits.place(request.session_hash), live)
        yield from self._followed(live, visit)

    def join(self, visit: list[image_view.Shown], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Follows the run of this visit that is under way, or shows what it made while no page was there."""
        live = self.state.live_runs.to_join(self.state.visits.place(request.session_hash))
        if live is None:
            yield {self.tab.stage: gr.skip()}  # where nothing comes, Gradio empties what `join` may change
            return
        size = (live.recipe.width, live.recipe.height)
        yield self._begun(image_view.waiting("Back at the run that is under way", size))
        yield from self._followed(live, visit)

    def _followed(self, live: LiveRun, visit: Sequence[image_view.Shown]) -> Iterator[dict[Any, Any]]:
        recipe, size = live.recipe, (live.recipe.width, live.recipe.height)
        last: list[str] = []
        step = 0
        for event in live.follow():
            match event:
                case Queued(position=position):
                    words = "Starting" if position == 0 else f"Waiting: {position} before this"
                    yield {self.tab.stage: image_view.waiting(words, size)}
                case Preparing():
                    yield {self.tab.stage: image_view.preparing(event, size)}
                case Progress():
                    last = [data_uri(p, "JPEG") if p is not None else "" for p in event.previews]
                    step = int(event.fraction * recipe.steps)  # the engine counts over all images
                    forming = image_view.forming(last, step, recipe.steps, event.seconds_left, size, event.made)
                    yield {self.tab.stage: forming}
                case Finished(seconds=seconds, nfe=nfe):
                    fresh = [replace(shown, seconds=seconds, nfe=nfe) for shown in live.made]
                    yield self._ended(image_view.made(fresh[0]), fresh, visit, made=recipe)
                case Failed(reason=reason, field=field):
                    at = self._at(field, reason)
                    yield self._ended(image_view.trouble(reason, size), live.made, visit, problems=at)
                case Cancelled():
                    words = f"Cancelled at step {step} of {recipe.steps}"
                    yield self._ended(image_view.stopped(words, size, last), live.made, visit)
        self.state.live_runs.seen(live)  # not where the page was left just before: another one sees it then

    def _begun(self, stage: str) -> dict[Any, Any]:
        return {self.tab.stage: stage, self.tab.problems: "{}"} | self._buttons(True)

    def _ended(
        self,
        stage: str,
        fresh: Sequence[image_view.Shown],
        visit: Sequence[image_view.Shown],
        problems: str = "{}",
        made: Recipe | None = None,
    ) -> dict[Any, Any]:
        """The page after a run, with the images that it made before those of the visit. made: the recipe, where all of
        it is made."""
        shown = [*fresh, *visit]  # all of them: in private they are what the visit may see of the history
        return {
            self.tab.stage: stage,
            self.tab.film: image_view.film(shown[:KEPT], "stage", -1 if made is None else 0),
            self.tab.visit: shown,
            self.tab.kept: self._for_browser(fresh, made),
            self.tab.problems: problems,
        } | self._buttons(False)

    def _for_browser(self, fresh: Sequence[image_view.Shown], made: Recipe | None) -> str:
        """What the browser keeps: the ids of new images; and the address of the recipe, once all of it is made."""
        ids = [shown.id for shown in fresh if shown.id]
        news: dict[str, Any] = {"images": self.state.visits.with_signatures("image", ids)}
        if made is not None:
            news["address"] = address.of_recipe(made)
        return json.dumps(news)

    def _buttons(self, busy: bool) -> dict[Any, Any]:
        """While a run goes on it can be cancelled, and no other one be begun."""
        begin, stop = gr.Button(interactive=not busy), gr.Button(interactive=busy)
        return {self.tab.generate: begin, self.tab.surprise: begin, self.tab.cancel: stop}

    def _at(self, field: str | None, message: str) -> str:
        """A problem at its field, as JSON; nothing where the page has no such field."""
        has = field is not None and field.partition(".")[0] in self.tab.fields
        return json.dumps({field: message} if has else {})

    def _saved(self, image: Any, recipe: Recipe) -> image_view.Shown:
        """Into the history; where it cannot be kept, the image still reaches the page."""
        text = str(image.info.get("parameters", ""))
        saved = self.state.save(image, recipe)
        source = saved.address or data_uri(png_bytes(image))
        note = f"not saved: {saved.trouble}" if saved.trouble else ""
        return image_view.Shown(saved.id, source, recipe, text, note=note, attentive=self.has_attention(recipe))

    def has_attention(self, recipe: Recipe) -> bool:
        """Whether attention maps of such an image can be shown."""
        backbone = self.state.model(recipe.backbone).backbone
        return "attention" in getattr(backbone, "offers", ()) and hasattr(backbone, "words")

    def stop(self, request: gr.Request) -> None:
        """Cancel the run of this page; whoever follows it then says where it stopped."""
        run = self.state.live_runs.at(self.state.visits.place(request.session_hash))
        if run is not None:
            run.cancel()
