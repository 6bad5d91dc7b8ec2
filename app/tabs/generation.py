"""A run as the page shows it: from a click on Generate, step by step, to the images in the strip."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import gradio as gr

from app.engine.events import Cancelled, Failed, Finished, Made, Preparing, Progress, Queued
from app.errors import error_message
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState, waiting
from app.storage.image_files import png_bytes
from app.tabs import image_view
from common.image_bytes import data_uri

KEPT = 24  # images in the strip of a visit


class Tab(Protocol):
    """What a run needs of the tab that shows it. fields: those with a control, where a problem can be said."""

    fields: tuple[str, ...]
    stage: gr.HTML
    film: gr.HTML
    visit: gr.State
    generate: gr.Button
    cancel: gr.Button
    surprise: gr.Button
    unknown: gr.HTML
    problems: gr.HTML

    def check(self, *values: Any, visit_token: str = "") -> tuple[Recipe | None, dict[str, str]]: ...
    def unknown_note(self, prompt: str, backbone: Any = None) -> str: ...


class Generation:
    """What Generate and Cancel do."""

    def __init__(self, state: AppState, tab: Tab):
        self.state, self.tab = state, tab

    def run(self, request: gr.Request, *values: Any) -> Iterator[dict[Any, Any]]:
        """One click on Generate: updates of the page while the run goes on. Closing this generator cancels the run."""
        *fields, visit = values
        tab, visit_token = self.tab, self.state.visit_token(request.session_hash)
        recipe, problems = tab.check(*fields, visit_token=visit_token)
        if recipe is None:
            yield {tab.problems: json.dumps(problems)}
            return
        model = self.state.model(recipe.backbone)
        session = request.session_hash or ""
        size = (recipe.width, recipe.height)

        def show(html: str) -> dict[Any, Any]:
            return {tab.stage: html}

        def end(
            html: str, fresh: Sequence[image_view.Shown] = (), selected: int = -1, problems: str = "{}"
        ) -> dict[Any, Any]:
            shown = [*fresh, *visit]  # all of them: in private they are what the visit may see of the history
            film = image_view.film(shown[:KEPT], "stage", selected)
            return {tab.stage: html, tab.film: film, tab.visit: shown, tab.problems: problems} | self._buttons(False)

        run: Any = None
        try:
            note = tab.unknown_note(recipe.prompt, recipe.backbone)
            begun = {tab.unknown: note, tab.problems: "{}"} | self._buttons(True)
            yield show(image_view.waiting("Starting", size)) | begun
            for words in waiting(model):
                yield show(image_view.waiting(f"{model.name}: {words}", size))
            run = self.state.runs.submit(self.state.request(recipe, visit_token, keep=True))
            self.state.live[session] = run
            fresh: list[image_view.Shown] = []
            last: list[str] = []
            step = 0
            for event in run:
                match event:
                    case Queued(position=position):
                        words = "Starting" if position == 0 else f"Waiting: {position} before this"
                        yield show(image_view.waiting(words, size))
                    case Preparing():
                        yield show(image_view.preparing(event, size))
                    case Progress():
                        last = [data_uri(p, "JPEG") if p is not None else "" for p in event.previews]
                        step = int(event.fraction * recipe.steps)  # the engine counts over all images
                        yield show(image_view.forming(last, step, recipe.steps, event.seconds_left, size, event.made))
                    case Made(image=image, recipe=own):
                        fresh.append(self._saved(image, own))
                    case Finished(seconds=seconds, nfe=nfe):
                        fresh = [replace(shown, seconds=seconds, nfe=nfe) for shown in fresh]
                        yield end(image_view.made(fresh[0]), fresh, 0)
                    case Failed(reason=reason, field=field):
                        yield end(image_view.trouble(reason, size), fresh, problems=self._at(field, reason))
                    case Cancelled():
                        words = f"Cancelled at step {step} of {recipe.steps}"
                        yield end(image_view.stopped(words, size, last), fresh)
        except RecipeError as error:  # refused only now: before, the network was not known well enough
            refused = error.problems[0]
            yield end(image_view.trouble(refused.message, size), problems=self._at(refused.field, refused.message))
        except Exception as error:
            yield end(image_view.trouble(error_message(error), size))
        finally:
            if run is not None:
                run.cancel()
            self.state.live.pop(session, None)

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
        return image_view.Shown(saved.id, source, recipe, text, note=note, attentive=self._has_attention(recipe))

    def _has_attention(self, recipe: Recipe) -> bool:
        """Whether attention maps of such an image can be shown."""
        backbone = self.state.model(recipe.backbone).backbone
        return "attention" in getattr(backbone, "offers", ()) and hasattr(backbone, "words")

    def stop(self, request: gr.Request) -> None:
        """Cancel the run of this visit; its generator then says where it stopped."""
        run = self.state.live.get(request.session_hash or "")
        if run is not None:
            run.cancel()
