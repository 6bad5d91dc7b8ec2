"""A run as the page shows it: from a click on Generate, frame by frame, to the pictures in the strip."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from app.errors import error_message
from app.pages import stage
from app.pages.stack import hashes
from app.pages.studio import Studio, waiting
from app.runs import Cancelled, Failed, Finished, Made, Preparing, Progress, Queued, Recipe
from app.runs.pictures import png_bytes
from common.images import data_uri

KEPT = 24  # pictures in the strip of a visit


class Painter:
    """What the tab "Create" does on Generate and Cancel. The tab says what `check` and `unknown_note` are."""

    studio: Studio
    fields: Sequence[str]  # that have a control, where a problem can be said
    stage: gr.HTML
    film: gr.HTML
    visit: gr.State
    generate: gr.Button
    cancel: gr.Button
    surprise: gr.Button
    unknown: gr.HTML
    problems: gr.HTML

    def check(self, *values: Any, door: str = "") -> tuple[Recipe | None, dict[str, str]]:
        raise NotImplementedError

    def unknown_note(self, prompt: str, backbone: Any = None) -> str:
        raise NotImplementedError

    def paint(self, request: gr.Request, *values: Any) -> Iterator[dict[Any, Any]]:
        """One click on Generate: frames while the run goes on. Closing this generator cancels the run."""
        *fields, visit = values
        door = self.studio.door(request.session_hash)
        recipe, problems = self.check(*fields, door=door)
        if recipe is None:
            yield {self.problems: json.dumps(problems)}
            return
        model = self.studio.model(recipe.backbone)
        session = request.session_hash or ""
        size = (recipe.width, recipe.height)

        def frame(html: str) -> dict[Any, Any]:
            return {self.stage: html}

        def begin(html: str) -> dict[Any, Any]:
            note = self.unknown_note(recipe.prompt, recipe.backbone)
            return {self.stage: html, self.unknown: note, self.problems: "{}"} | self._buttons(busy=True)

        def end(
            html: str, fresh: Sequence[stage.Shown] = (), selected: int = -1, found: str = "{}"
        ) -> dict[Any, Any]:
            kept = [*fresh, *visit][:KEPT]
            film = stage.film(kept, "stage", selected)
            shown = {self.stage: html, self.film: film, self.visit: kept, self.problems: found}
            return shown | self._buttons(busy=False)

        run: Any = None
        try:
            yield begin(stage.waiting("Starting", size))
            for words in waiting(model):
                yield frame(stage.waiting(f"{model.name}: {words}", size))
            engine = model.engine(0)
            if engine is None:
                yield end(stage.trouble(model.trouble or "The model is not there.", size))
                return
            given = {sha: kept for sha in hashes(recipe.methods) if (kept := self.studio.keep(sha, door)) is not None}
            run = engine.submit(recipe, given)
            self.studio.live[session] = run
            fresh: list[stage.Shown] = []
            last: list[str] = []
            step = 0
            for event in run:
                match event:
                    case Queued(position=position):
                        words = "Starting" if position == 0 else f"Waiting: {position} before this"
                        if model.backbone is None:
                            words = f"{model.name}: {model.state()[1]}"
                        yield frame(stage.waiting(words, size))
                    case Preparing():
                        yield frame(stage.preparing(event, size))
                    case Progress():
                        last = [data_uri(p, "JPEG") if p is not None else "" for p in event.previews]
                        step = int(event.fraction * recipe.steps)  # the engine counts over all pictures
                        yield frame(stage.forming(last, step, recipe.steps, event.seconds_left, size, event.made))
                    case Made(picture=picture, recipe=one):
                        fresh.append(self._keep(picture, one))
                    case Finished(seconds=seconds, calls=calls):
                        fresh = [replace(shown, seconds=seconds, calls=calls) for shown in fresh]
                        yield end(stage.made(fresh[0]), fresh, 0)
                    case Failed(reason=reason, field=field):
                        found = json.dumps({field: reason}) if self._has(field) else "{}"
                        yield end(stage.trouble(reason, size), fresh, found=found)
                    case Cancelled():
                        words = f"Cancelled at step {step} of {recipe.steps}"
                        yield end(stage.stopped(words, size, last), fresh)
        except Exception as error:
            yield end(stage.trouble(error_message(error), size))
        finally:
            if run is not None:
                run.cancel()
            self.studio.live.pop(session, None)

    def _buttons(self, busy: bool) -> dict[Any, Any]:
        """While a run goes on it can be cancelled, and no other one be begun."""
        begin, stop = gr.Button(interactive=not busy), gr.Button(interactive=busy)
        return {self.generate: begin, self.surprise: begin, self.cancel: stop}

    def _has(self, field: str | None) -> bool:
        """Whether a problem can be said at this field."""
        return field is not None and field.partition(".")[0] in self.fields

    def _keep(self, picture: Any, recipe: Recipe) -> stage.Shown:
        """Into the history; where it cannot be kept (a full disk), the picture still reaches the page."""
        text = str(picture.info.get("parameters", ""))
        attentive = self._attentive(recipe)
        try:
            entry = self.studio.history.add(picture, recipe)
            source = self.studio.address(entry.id)
            return stage.Shown(str(entry.id), source, recipe, text, attentive=attentive)
        except Exception as error:
            source, note = data_uri(png_bytes(picture)), f"not kept: {error_message(error)}"
            return stage.Shown("", source, recipe, text, note=note, attentive=attentive)

    def _attentive(self, recipe: Recipe) -> bool:
        """Whether maps of attention can be had of such a picture."""
        backbone = self.studio.model(recipe.backbone).backbone
        return "attention" in getattr(backbone, "offers", ()) and hasattr(backbone, "words")

    def stop(self, request: gr.Request) -> None:
        """Cancel the run of this visit; its generator then says where it stopped."""
        run = self.studio.live.get(request.session_hash or "")
        if run is not None:
            run.cancel()
