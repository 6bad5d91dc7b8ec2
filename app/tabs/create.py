"""The tab "Create": words and settings in, images out, each step in view."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.catalog.prompts import surprise
from app.errors import error_message
from app.forms import image_size
from app.forms.examples import Example
from app.forms.stack import Stack, strip
from app.schema.recipe import LIMITS, SAMPLERS, SCHEDULES, Problem, Recipe, RecipeError, schedule_label
from app.schema.solvers import knob_field, knob_names
from app.service.state import AppState, seeded
from app.tabs import image_view, methods, number_fields  # noqa: F401  number fields hand on what was typed
from app.tabs.attention import Attention, in_visit
from app.tabs.generation import Generation
from app.tabs.listeners import DRAWER, LONG, RETURNED, SHORT
from app.tabs.prompt_fields import PromptFields
from app.tabs.restore_settings import Restorer
from app.tabs.solver_knobs import SolverKnobs
from app.tabs.variation import Variation
from common.joined_prompts import joined_prompts

#: The recipe's fields that have a control, in the order in which handlers get their values.
FIELDS = (
    "prompt", "negative", "sampler", "schedule", "steps", "cfg_scale", "seed", "count", "width", "height",
    "variation_seed", "variation_strength", "cfg_rescale", "cfg_start", "cfg_end", "afs", "stop_sigma", "clip_skip",
    "backbone", "methods", *map(knob_field, knob_names()),
)  # fmt: skip
#: What the page begins with: the fewest evaluations that lose nothing measurable on Still Life (docs/samplers.md).
DEFAULTS = Recipe(sampler="dpmpp_2m", schedule="flow_shift", steps=10)
SEEDS = ("seed", "variation_seed")
PROBLEMS = scripts.mount("field_problems")
KEPT = scripts.mount("visit", events=["arrive", "go", "settings"])
#: What is more than a name of other tools.
SCHEDULES_EXPLAINED = {
    "gits": "Noise levels with which few steps keep to the path of many (GITS), searched once for each number of steps",
    "ld3": "Noise levels learned so that few steps end where many do (LD3), once for each number of steps",
}
SAMPLERS_EXPLAINED = {"amed": "A small network, trained once on this model, says how far each step looks ahead (AMED)"}
REMEMBER = scripts.call("visit", "remember", FIELDS)
UNDO = (  # the page's script knows what the settings were
    '<div class="nw-acts"><button type="button" class="nw-quiet-button" data-settings="undo" disabled '
    'title="The settings as they were before the last change (Ctrl+Z)">Undo</button>'
    '<button type="button" class="nw-quiet-button" data-act="reset" '
    'title="All settings to the defaults of the model; prompts and methods stay">Reset settings</button></div>'
)
ASPECT = scripts.mount("server_buttons", "mountStage", ["aspect"])
SHAPES = (
    '<div class="nw-acts" role="group" aria-label="Aspect">'
    + "".join(
        f'<button type="button" class="nw-quiet-button nw-mono" data-act="aspect" data-aspect="{one}" '
        f'title="This aspect, at as many pixels as the model was trained on">{one}</button>'
        for one in image_size.ASPECTS
    )
    + '<button type="button" class="nw-quiet-button" data-act="aspect" data-aspect="swap" '
    'title="Width and height change places">Swap</button></div>'
)
TAKE_OUT = scripts.mount("server_buttons", "mountStage", ["take_out"])
RESET = scripts.mount("server_buttons", "mountStage", ["reset"])


class Create(Restorer):
    """The tab's components and what others may call: `outputs` and `fill` put a recipe into the controls."""

    fields: tuple[str, ...] = FIELDS

    def __init__(self, state: AppState):
        self.state = state
        self.generation = Generation(state, self)
        with gr.Column(elem_id="create"):
            self._compose()
            self._result()
            with gr.Column(elem_id="methods-column", min_width=0):
                self.methods = methods.editor()
                self.marks = methods.marks()
            self._settings()
        own = self.knobs.controls | self.variation.controls
        self.control = own | {name: getattr(self, name) for name in FIELDS if name not in own}
        self.controls = [self.control[name] for name in FIELDS]
        self.outputs = [*self.controls, self.restored]
        self._wire()

    # what is seen -------------------------------------------------------------------------------------------------

    def _compose(self) -> None:
        with gr.Column(elem_id="compose", min_width=0):
            self.texts = PromptFields(self.state)
            self.prompt, self.negative = self.texts.prompt, self.texts.negative
            with gr.Row(elem_id="generate-row"):
                self.generate = gr.Button("Generate", variant="primary", elem_id="generate", size="lg", min_width=0)
                self.cancel = gr.Button("Cancel", elem_id="cancel", interactive=False, size="lg", min_width=0)
                self.surprise = gr.Button("Surprise me", elem_id="surprise", size="lg", min_width=0)
            self.undo = gr.HTML(UNDO, elem_id="undo", js_on_load=RESET, apply_default_css=False)
            self.restored = gr.HTML("", elem_id="restored")

    def _result(self) -> None:
        with gr.Column(elem_id="result", min_width=0):
            self.stack = gr.HTML(self._strip(DEFAULTS, Stack()), elem_id="stack", apply_default_css=False)
            self.stage = gr.HTML(
                image_view.empty(), elem_id="stage", js_on_load=image_view.ACTS, apply_default_css=False
            )  # fmt: skip
            self.queue = gr.HTML("", elem_id="queue", js_on_load=TAKE_OUT, apply_default_css=False)
            self.film = gr.HTML("", elem_id="film", apply_default_css=False)
            self.attention = Attention(self.state, in_visit)
            self.problems = gr.HTML("{}", elem_id="problems", html_template="", js_on_load=PROBLEMS)
            self.kept = gr.HTML("", elem_id="visit-kept", html_template="", js_on_load=KEPT)  # what the browser keeps
            self.visit = gr.State([])

    def _settings(self) -> None:
        with gr.Column(elem_id="settings", min_width=0):
            self.backbone = gr.Dropdown(
                self.state.choices, value=self.state.id, label="Model", elem_id="backbone",
            )  # fmt: skip
            with gr.Row(elem_classes="nw-pair"):
                self.sampler = gr.Dropdown(
                    [(label, key) for key, label in SAMPLERS.items()], value=DEFAULTS.sampler,
                    label="Sampling method", elem_id="sampler", min_width=120,
                )  # fmt: skip
                self.schedule = gr.Dropdown(
                    schedule_choices(DEFAULTS.steps), value=DEFAULTS.schedule,
                    label="Schedule type", elem_id="schedule", min_width=120,
                )  # fmt: skip
            self.steps = self._slider("steps")
            self.cfg_scale = self._slider("cfg_scale")
            with gr.Row(elem_id="seed-row"):
                self.seed = gr.Textbox("-1", label="Seed", lines=1, max_lines=1, elem_id="seed", min_width=80)
                self.dice = gr.Button("Set seed to -1", elem_id="dice", elem_classes="nw-icon", min_width=40)
                self.recycle = gr.Button(
                    "Reuse the seed of the image in view", elem_id="recycle", elem_classes="nw-icon", min_width=40
                )  # fmt: skip
                self.count = gr.Number(
                    label="Batch count", value=1, precision=0, elem_id="count", min_width=80,
                )  # fmt: skip
            with gr.Row(elem_classes="nw-pair"):
                self.width = gr.Number(
                    label="Width", value=DEFAULTS.width, precision=0, elem_id="width", min_width=80
                )
                self.height = gr.Number(
                    label="Height", value=DEFAULTS.height, precision=0, elem_id="height", min_width=80
                )  # fmt: skip
            self.aspect = gr.HTML(SHAPES, elem_id="aspect", js_on_load=ASPECT, apply_default_css=False)
            with gr.Accordion("Advanced", elem_id="advanced", **DRAWER):
                self.variation = Variation()
                self.cfg_rescale = self._slider("cfg_rescale")
                self.cfg_start = self._slider("cfg_start")
                self.cfg_end = self._slider("cfg_end")
                which = "1: the last layer of CLIP's text encoder is read, 2: the one before"
                self.clip_skip = self._slider("clip_skip", which)
                self.knobs = SolverKnobs(DEFAULTS.sampler)
                with gr.Row(elem_classes="nw-pair"):
                    self.afs = gr.Checkbox(
                        label="Analytical first step", value=DEFAULTS.afs, elem_id="afs", min_width=120,
                        info="Among pure noise the answer is known without the network: one evaluation less (AFS)",
                    )  # fmt: skip
                    self.stop_sigma = gr.Number(
                        label=LIMITS["stop_sigma"].label, value=DEFAULTS.stop_sigma, elem_id="stop_sigma",
                        min_width=120, info="Where so much noise is left the run ends with its prediction. 0: never",
                    )  # fmt: skip
            with gr.Column(elem_id="restore-row"):
                self.restore = gr.UploadButton(
                    "Restore settings from an image", file_types=["image"], elem_id="restore", size="sm"
                )
                self.as_column = gr.Button("Add this stack as a column", elem_id="as-column", size="sm")

    def _slider(self, name: str, info: str | None = None) -> gr.Slider:
        limit = LIMITS[name]
        return gr.Slider(
            limit.low, limit.high, value=getattr(DEFAULTS, name), step=limit.step, label=limit.label, elem_id=name,
            buttons=[], info=info,
        )  # fmt: skip

    # what happens -------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        press = scripts.call("gradio", "generate")
        # the first of what hears of a change: Gradio lets each wait for the answer to the one before
        gr.on([control.change for control in self.controls], None, self.controls, None, js=REMEMBER, **SHORT)

        self.generate.click(
            self.generation.run, [*self.controls, self.visit], self.generation.outputs, trigger_mode="multiple",
            js=RETURNED, **LONG,
        )  # fmt: skip
        self.queue.take_out(self.generation.take_out, None, self.queue, **SHORT)
        self.cancel.click(self.generation.stop, None, None, **SHORT)
        self.surprise.click(surprise, None, self.prompt, **SHORT).then(None, None, None, js=press, **SHORT)
        self.stage.example(_text_of, None, self.prompt, **SHORT).then(None, None, None, js=press, **SHORT)
        self.stage.attempt(self.example, self.controls, self.outputs, **SHORT).then(None, None, None, js=press, **SHORT)
        self.stage.use(self.use, self.visit, self.outputs, **SHORT)
        self.stage.attention(
            self.attention.show, self.visit, self.attention.panel, **LONG
        )  # fmt: skip
        self.methods.example(self.example, self.controls, self.outputs, **SHORT)
        self.methods.attempt(self.example, self.controls, self.outputs, **SHORT).then(
            None, None, None, js=press, **SHORT
        )

        sides = [self.width, self.height]
        for asks in (self.aspect, self.methods):
            asks.aspect(self.shaped, [*sides, self.backbone], sides, **SHORT)
        self.undo.reset(self.reset, self.backbone, self.outputs, **SHORT)
        self.dice.click(lambda: "-1", None, self.seed, **SHORT)
        self.recycle.click(None, self.seed, self.seed, js=scripts.ask("film", "seedInView"), **SHORT)
        self.texts.listen(self.backbone)
        gr.on(
            [control.change for control in self.controls], self.restack, self.controls, [self.stack, self.marks],
            trigger_mode="always_last", **SHORT,
        )  # fmt: skip
        # Only what a person chooses brings the solver's defaults: restored settings bring their own values.
        self.sampler.input(self.knobs.chosen, self.sampler, list(self.knobs.controls.values()), **SHORT)
        self.steps.change(
            lambda steps: gr.Dropdown(choices=schedule_choices(steps)), self.steps, self.schedule,
            trigger_mode="always_last", **SHORT,
        )  # fmt: skip
        for chosen, explained in ((self.schedule, SCHEDULES_EXPLAINED), (self.sampler, SAMPLERS_EXPLAINED)):
            chosen.change(partial(_explained, explained), chosen, chosen, **SHORT)
        self.restore.upload(self.restore_from, self.restore, self.outputs, **SHORT)

    def recipe(self, *values: Any) -> tuple[Recipe, Stack]:
        """The recipe of the controls, and its cards; raises RecipeError. Seeds of -1 become drawn ones."""
        fields = dict(zip(FIELDS, values, strict=True))
        stack = Stack.read(fields.pop("methods"))
        fields["backbone"] = fields["backbone"] or self.state.id
        fields["sampler_knobs"] = SolverKnobs.taken(fields)
        drawn = [name for name in SEEDS if str("" if fields[name] is None else fields[name]).strip() in ("", "-1")]
        return seeded(Recipe.make(**{**fields, **dict.fromkeys(drawn, 0), "methods": stack.uses}), drawn), stack

    def recipe_of(self, event: dict[str, Any], visit: list[image_view.Shown]) -> Recipe | None:
        """The recipe of an image of this visit that the page names by its id; None where it is not in the strip."""
        return next((shown.recipe for shown in visit if shown.id == str(event.get("id", ""))), None)

    def check(self, *values: Any, visit_token: str = "") -> tuple[Recipe | None, dict[str, str]]:
        """The recipe of the controls, or what is wrong, field by field, in words."""
        recipe = None
        try:
            recipe, stack = self.recipe(*values)
            found = self._wrong(recipe, stack, visit_token)
        except RecipeError as error:
            found = error.problems
        problems: dict[str, str] = {}
        for problem in map(self._at_control, found):
            message = problem.message + (" Or -1, for a new one each time." if problem.field in SEEDS else "")
            problems.setdefault(problem.field, message)
        return (None if problems else recipe), problems

    @staticmethod
    def _at_control(problem: Problem) -> Problem:
        """At the prompt, where its own field has no control."""
        return problem if problem.field.partition(".")[0] in FIELDS else problem._replace(field="prompt")

    def _wrong(self, recipe: Recipe, stack: Stack, visit_token: str) -> list[Problem]:
        request = self.state.request(recipe, visit_token)
        # While the engine is being made, only what needs no torch: a handler must not wait for its import.
        known = self.state.model(recipe.backbone).engine(0) is not None
        problems = self.state.runs.problems(request) if known else request.missing
        return [stack.at(problem) for problem in methods.fitted(problems, recipe, self.state)]

    def _strip(self, recipe: Recipe, stack: Stack, wrong: dict[str, str] | None = None) -> str:
        model = self.state.model(recipe.backbone)
        return strip(model.name, recipe, stack, wrong, model.backbone)

    def restack(self, request: gr.Request, *values: Any) -> dict[Any, Any]:
        """The strip of chips with the formula, and what is to be said at the cards, for the controls as they stand."""
        visit_token = self.state.visit_token(request.session_hash)
        model = self.state.model(dict(zip(FIELDS, values, strict=True))["backbone"])
        try:
            recipe, stack = self.recipe(*values)
        except RecipeError as error:
            return {self.marks: methods.said([*map(self._at_control, error.problems)], Stack(), model, visit_token)}
        problems = [*map(self._at_control, self._wrong(recipe, stack, visit_token))]
        wrong = methods.at_cards(problems)
        said = methods.far_images(stack, model, lambda sha: self.state.image(sha, visit_token))
        said |= methods.missing_words(stack, joined_prompts(recipe.prompt)[0][0])
        return {
            self.stack: self._strip(recipe, stack, wrong),
            self.marks: methods.said(
                problems, stack, model, visit_token, self._unused(recipe, stack), recipe.steps, said
            ),
        }

    def _unused(self, recipe: Recipe, stack: Stack) -> list[Problem]:
        """What the run will not use of the recipe; [] while the network is being loaded, which imports torch."""
        if self.state.model(recipe.backbone).backbone is None:
            return []
        return [stack.at(problem) for problem in self.state.runs.unused(recipe)]

    def shaped(self, width: Any, height: Any, backbone: Any, data: gr.EventData) -> tuple[Any, Any]:
        """Width and height in the aspect that was chosen, or with their places changed."""
        aspect = str((data._data or {}).get("aspect", ""))
        if aspect == "swap":
            return height, width
        model = self.state.model(backbone)
        multiple = int(getattr(model.backbone, "size_multiple", 0) or 8)
        return image_size.of_aspect(aspect, model.default_size(), multiple)

    def reset(self, backbone: Any) -> dict[Any, Any]:
        """All settings but prompts, methods and model to the defaults, or to what the model was made for."""
        kept = ("prompt", "negative", "methods", "backbone", *self.knobs.controls)
        model = self.state.model(backbone)
        size, own = model.default_size(), model.made_for()
        values = {name: getattr(DEFAULTS, name) for name in FIELDS if name not in kept}
        values |= dict.fromkeys(SEEDS, "-1") | {"width": size, "height": size} | own
        words = f"The settings are those that {escape(model.name)} was made for." if own else ""
        return self.put(values, words or "The settings are at their defaults.")

    def example(self, data: gr.EventData, *values: Any) -> dict[Any, Any]:
        """An example for one method: in place of the stack, or for its card in it."""
        asked = data._data or {}
        given = dict(zip(FIELDS, values, strict=True))
        try:
            model, made, kept = methods.example(self.state, asked, given)
        except Exception as error:
            return self.leave(error_message(error))
        return self._example(model, made, kept, given["backbone"])

    def _example(self, model: str, made: Example, kept: Stack, now: str) -> dict[Any, Any]:
        settings = {"backbone": model, "methods": kept.json(), **made.settings}
        words = "An example is in the controls: a rendered scene and what is known of it."
        if model != now:
            words += f" {escape(self.state.model(model).name)} is used: it has what the method needs."
        return self.put(settings, words)


def schedule_choices(steps: Any) -> list[tuple[str, str]]:
    """(label, key) of every schedule; one that is found says for how many steps."""
    steps = int(steps) if isinstance(steps, (int, float)) else DEFAULTS.steps  # while the field is empty
    return [(schedule_label(key, steps), key) for key in SCHEDULES]


def _explained(words: Mapping[str, str], chosen: Any) -> Any:
    return gr.Dropdown(info=words.get(str(chosen), ""))


def _text_of(data: gr.EventData) -> str:
    return str((data._data or {}).get("text", ""))


def tab(state: AppState) -> Create:
    """Build the tab inside the page that is being built."""
    return Create(state)
