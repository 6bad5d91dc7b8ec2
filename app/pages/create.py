"""The tab "Create": words and settings in, pictures out, each step in view."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.pages import stage
from app.pages.studio import EXAMPLES, Studio, seeded, surprise, waiting
from app.runs import (
    Cancelled,
    Failed,
    Finished,
    Made,
    Progress,
    Queued,
    Recipe,
    RecipeError,
    differences,
    here,
)
from app.runs.recipe import LIMITS, SAMPLERS, SCHEDULES

#: The recipe's fields that have a control, in the order in which handlers get their values.
FIELDS = (
    "prompt", "negative", "sampler", "schedule", "steps", "cfg_scale", "seed", "count", "width", "height",
    "cfg_rescale", "cfg_start", "cfg_end",
)  # fmt: skip
KEPT = 24  # pictures in the strip of a visit
DEFAULTS = Recipe()
PROBLEMS = "watch('value', () => window.nineWays?.problems(JSON.parse(props.value || '{}')));"


class Create:
    """The tab's components and what others may call: `outputs` and `fill` put a recipe into the controls."""

    def __init__(self, studio: Studio):
        self.studio = studio
        with gr.Column(elem_id="create"):
            self._compose()
            self._result()
            self._settings()
        self.controls = [getattr(self, name) for name in FIELDS]
        self.outputs = [*self.controls, self.restored]
        self._wire()

    # what is seen -------------------------------------------------------------------------------------------------

    def _compose(self) -> None:
        with gr.Column(elem_id="compose"):
            self.prompt = gr.Textbox(
                label="Prompt", lines=3, max_lines=8, elem_id="prompt", placeholder=EXAMPLES[0],
            )  # fmt: skip
            self.unknown = gr.HTML(elem_id="unknown")
            self.negative = gr.Textbox(
                label="Negative prompt", lines=1, max_lines=4, elem_id="negative",
                placeholder="What should not be there",
            )  # fmt: skip
            with gr.Row(elem_id="generate-row"):
                self.generate = gr.Button("Generate", variant="primary", elem_id="generate", size="lg", min_width=96)
                self.cancel = gr.Button("Cancel", elem_id="cancel", interactive=False, size="lg", min_width=72)
                self.surprise = gr.Button("Surprise me", elem_id="surprise", size="lg", min_width=96)

    def _result(self) -> None:
        with gr.Column(elem_id="result"):
            self.stack = gr.HTML(self._stack(DEFAULTS), elem_id="stack", apply_default_css=False)
            self.stage = gr.HTML(
                stage.empty(EXAMPLES), elem_id="stage", js_on_load=stage.ACTS, apply_default_css=False
            )  # fmt: skip
            self.film = gr.HTML("", elem_id="film", apply_default_css=False)
            self.problems = gr.HTML("{}", elem_id="problems", html_template="", js_on_load=PROBLEMS)
            self.visit = gr.State([])

    def _settings(self) -> None:
        with gr.Column(elem_id="settings"):
            with gr.Row(elem_classes="nw-pair"):
                self.sampler = gr.Dropdown(
                    [(label, key) for key, label in SAMPLERS.items()], value=DEFAULTS.sampler,
                    label="Sampling method", elem_id="sampler", min_width=120,
                )  # fmt: skip
                self.schedule = gr.Dropdown(
                    [(label, key) for key, label in SCHEDULES.items()], value=DEFAULTS.schedule,
                    label="Schedule type", elem_id="schedule", min_width=120,
                )  # fmt: skip
            self.steps = self._slider("steps")
            self.cfg_scale = self._slider("cfg_scale")
            with gr.Row(elem_id="seed-row"):
                self.seed = gr.Number(label="Seed", value=-1, precision=0, elem_id="seed", min_width=100)
                self.dice = gr.Button("Set seed to -1", elem_id="dice", elem_classes="nw-icon", min_width=40)
                self.recycle = gr.Button(
                    "Reuse seed from last generation", elem_id="recycle", elem_classes="nw-icon", min_width=40
                )  # fmt: skip
                self.count = gr.Number(
                    label="Batch count", value=1, precision=0, elem_id="count", min_width=80,
                )  # fmt: skip
            with gr.Row(elem_classes="nw-pair"):
                self.width = gr.Number(label="Width", value=DEFAULTS.width, precision=0, elem_id="width", min_width=80)
                self.height = gr.Number(
                    label="Height", value=DEFAULTS.height, precision=0, elem_id="height", min_width=80
                )  # fmt: skip
            with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                self.cfg_rescale = self._slider("cfg_rescale")
                self.cfg_start = self._slider("cfg_start")
                self.cfg_end = self._slider("cfg_end")
            with gr.Column(elem_id="restore-row"):
                self.restore = gr.UploadButton(
                    "Restore settings from a picture", file_types=["image"], elem_id="restore", size="sm"
                )
                self.restored = gr.HTML("", elem_id="restored")

    def _slider(self, name: str) -> gr.Slider:
        limit = LIMITS[name]
        return gr.Slider(
            limit.low, limit.high, value=getattr(DEFAULTS, name), step=limit.step, label=limit.label, elem_id=name,
            buttons=[],
        )  # fmt: skip

    # what happens -------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        light: dict[str, Any] = {**quiet, "queue": False}
        press = "() => document.querySelector('button#generate, #generate button')?.click()"

        self.generate.click(
            self.paint, [*self.controls, self.visit],
            [self.stage, self.film, self.visit, self.generate, self.cancel, self.surprise, self.unknown, self.problems],
            concurrency_limit=None, **quiet,
        )  # fmt: skip
        self.cancel.click(self.stop, None, None, **light)
        self.surprise.click(surprise, None, self.prompt, **light).then(None, None, None, js=press, **light)
        self.stage.example(_text_of, None, self.prompt, **light).then(None, None, None, js=press, **light)
        self.stage.use(self.use, self.visit, self.outputs, **light)

        self.dice.click(lambda: -1, None, self.seed, **light)
        self.recycle.click(lambda visit: visit[0].recipe.seed if visit else -1, self.visit, self.seed, **light)
        self.prompt.change(self.unknown_note, self.prompt, self.unknown, trigger_mode="always_last", **light)
        for control in (self.sampler, self.schedule, self.steps, self.cfg_scale, self.cfg_start, self.cfg_end):
            control.change(self.restack, self.controls, self.stack, trigger_mode="always_last", **light)
        self.restore.upload(self.restore_from, self.restore, self.outputs, **light)

    def recipe(self, *values: Any) -> Recipe:
        """The recipe of the controls; raises RecipeError. A seed of -1 becomes a drawn one."""
        fields = dict(zip(FIELDS, values, strict=True))
        seed = fields.pop("seed")
        drawn = seed is None or seed == -1
        return seeded(Recipe.make(backbone=self.studio.id, seed=0 if drawn else seed, **fields), -1 if drawn else seed)

    def check(self, *values: Any) -> tuple[Recipe | None, dict[str, str]]:
        """The recipe of the controls, or what is wrong, field by field, in words."""
        recipe, found = None, []
        try:
            recipe = self.recipe(*values)
            engine = self.studio.engine(0)
            found = engine.check(recipe) if engine is not None else []
        except RecipeError as error:
            found = error.problems
        problems: dict[str, str] = {}
        for problem in found:
            problems.setdefault(problem.field if problem.field in FIELDS else "prompt", problem.message)
        return (None if problems else recipe), problems

    def paint(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """One click on Generate: frames while the run goes on. Closing this generator cancels the run."""
        *fields, visit = values
        recipe, problems = self.check(*fields)
        if recipe is None:
            yield *([gr.skip()] * 7), json.dumps(problems)
            return
        session = request.session_hash or ""
        size = (recipe.width, recipe.height)

        def frame(html: str) -> tuple[Any, ...]:
            return html, *([gr.skip()] * 7)

        def begin(html: str) -> tuple[Any, ...]:
            off, on = gr.Button(interactive=False), gr.Button(interactive=True)
            return html, gr.skip(), gr.skip(), off, on, off, self.unknown_note(fields[0]), "{}"

        def end(html: str, fresh: Sequence[stage.Shown] = (), selected: int = -1, found: str = "{}") -> tuple[Any, ...]:
            kept = [*fresh, *visit][:KEPT]
            on, off = gr.Button(interactive=True), gr.Button(interactive=False)
            return html, stage.film(kept, "stage", selected), kept, on, off, on, gr.skip(), found

        run: Any = None
        try:
            yield begin(stage.waiting("Starting", size))
            for words in waiting(self.studio):
                yield frame(stage.waiting(f"{self.studio.name}: {words}", size))
            engine = self.studio.engine(0)
            if engine is None:
                yield end(stage.trouble(self.studio.trouble or "The model is not there.", size))
                return
            run = engine.submit(recipe)
            self.studio.live[session] = run
            fresh: list[stage.Shown] = []
            last: list[str] = []
            step = 0
            for event in run:
                match event:
                    case Queued(position=position):
                        words = "Starting" if position == 0 else f"Waiting: {position} before this"
                        if self.studio.backbone is None:
                            words = f"{self.studio.name}: {self.studio.state()[1]}"
                        yield frame(stage.waiting(words, size))
                    case Progress():
                        last = [stage.data_uri(p) if p is not None else "" for p in event.previews]
                        step = int(event.fraction * recipe.steps)  # the engine counts over all pictures
                        yield frame(stage.forming(last, step, recipe.steps, event.seconds_left, size, event.made))
                    case Made(picture=picture, recipe=one):
                        fresh.append(self._keep(picture, one))
                    case Finished(seconds=seconds):
                        fresh = [replace(shown, seconds=seconds) for shown in fresh]
                        yield end(stage.made(fresh[0]), fresh, 0)
                    case Failed(reason=reason, field=field):
                        found = json.dumps({field: reason}) if field in FIELDS else "{}"
                        yield end(stage.trouble(reason, size), fresh, found=found)
                    case Cancelled():
                        words = f"Cancelled at step {step} of {recipe.steps}"
                        yield end(stage.stopped(words, size, last), fresh)
        except Exception as error:
            yield end(stage.trouble(_plain(error), size))
        finally:
            if run is not None:
                run.cancel()
            self.studio.live.pop(session, None)

    def _keep(self, picture: Any, recipe: Recipe) -> stage.Shown:
        """Into the history; where it cannot be kept (a full disk), the picture still reaches the page."""
        text = str(picture.info.get("parameters", ""))
        try:
            entry = self.studio.history.add(picture, recipe)
            return stage.Shown(str(entry.id), self.studio.address(entry.id), recipe, text)
        except Exception as error:
            return stage.Shown("", stage.data_uri(picture, "PNG"), recipe, text, note=f"not kept: {_plain(error)}")

    def stop(self, request: gr.Request) -> None:
        """Cancel the run of this visit; its generator then says where it stopped."""
        run = self.studio.live.get(request.session_hash or "")
        if run is not None:
            run.cancel()

    def unknown_note(self, prompt: str) -> str:
        """Words that the network has never read, pointed out under the field."""
        found = self.studio.unknown(prompt)
        if not found:
            return ""
        words = ", ".join(
            f"<b>{escape(word)}</b>" + (f" (perhaps {escape(near)}?)" if near else "") for word, near in found[:8]
        )
        what = "This word is" if len(found) == 1 else "These words are"
        return f'<p class="nw-note nw-warn" role="status">{what} new to {escape(self.studio.name)}: {words}</p>'

    def _stack(self, recipe: Recipe) -> str:
        return stage.stack(self.studio.name, recipe, stage.formula(recipe))

    def restack(self, *values: Any) -> Any:
        """The strip of chips and the formula for the controls as they stand."""
        try:
            return self._stack(self.recipe(*values))
        except RecipeError:
            return gr.skip()

    # settings that come back --------------------------------------------------------------------------------------

    def fill(self, recipe: Recipe, words: str, notes: list[str] | tuple[str, ...] = ()) -> list[Any]:
        """Updates for `outputs`: the recipe in the controls, and below what was restored and what differs."""
        notes = [*notes, *differences(recipe, here(self.studio.engine(0)))]
        listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
        what = f"{escape(words)} What differs:<ul>{listed}</ul>" if notes else f"{escape(words)} Nothing differs."
        note = f'<div class="nw-note" role="status">{what}</div>'
        return [*(getattr(recipe, name) for name in FIELDS), note]

    def keep(self, words: str) -> list[Any]:
        """Updates for `outputs` that leave the controls and say why."""
        return [*([gr.skip()] * len(FIELDS)), f'<div class="nw-note nw-error" role="alert">{escape(words)}</div>']

    def use(self, visit: list[stage.Shown], data: gr.EventData) -> list[Any]:
        """Settings of a picture on the stage, back into the controls."""
        wanted = str((data._data or {}).get("id", ""))
        shown = next((s for s in visit if s.id == wanted), None)
        if shown is None:
            return self.keep("This picture is no longer in the strip. Find it in History.")
        return self.fill(shown.recipe, f"The settings of seed {shown.recipe.seed} are in the controls.")

    def restore_from(self, path: str | None) -> list[Any]:
        """A dropped or chosen picture: its recipe into the controls."""
        from app.runs.parameters import read
        from app.runs.pictures import PictureError, open_upload

        if not path:
            return self.keep("No picture was given.")
        name = Path(path).name
        try:
            upload = open_upload(path)
        except PictureError as error:
            return self.keep(f"{name}: {error}")
        finally:
            _forget(path)
        if not upload.parameters:
            return self.keep(
                f"{name} holds no settings. Give a png as Nine Ways, or another program that writes a `parameters` "
                "text, saved it."
            )
        reading = read(upload.parameters)
        if reading.recipe is None:
            return self.keep(" ".join([f"The settings in {name} could not be read.", *reading.notes]))
        words = f"The settings of {name} are in the controls."
        return self.fill(reading.recipe, words, [*upload.notes, *reading.notes])


def _text_of(data: gr.EventData) -> str:
    return str((data._data or {}).get("text", ""))


def _plain(error: Exception) -> str:
    """An error in words; the programmer's detail goes to the terminal."""
    if type(error).__module__.startswith("app."):  # RecipeError, Busy, HistoryError, ...: written to be read
        return str(error)
    traceback.print_exception(error)
    return f"Something unexpected happened ({type(error).__name__}). The terminal has the details; try again."


def _forget(path: str) -> None:
    """Uploads are read once and not kept."""
    try:
        os.remove(path)
    except OSError:
        pass


def tab(studio: Studio) -> Create:
    """Build the tab inside the page that is being built."""
    return Create(studio)
