"""The drawer "Make your own" of Compare: columns with their inputs in view, axes with values, the cost before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.comparison.spec import Comparison
from app.comparison.store import ComparisonStore
from app.errors import error_message
from app.forms import axis_values, columns, comparison_form, references
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState
from app.tabs.create import Create
from app.tabs.listeners import DRAWER, RETURNED, SHORT
from app.tabs.notes import failure, note

ADDED = scripts.mount("server_buttons", "mountColumns", ["act"])
AXES = (("rows", "Rows", "seed", "0, 1"), ("tabs", "Tabs of grids", "", ""))
MOST_ADDED = 32
RANGES = "0, 1-5, 0:1:0.25"  # short enough for a phone


class OwnComparison:
    """Its components; `inputs` are what `made` takes after the request."""

    def __init__(self, state: AppState, create: Create, store: ComparisonStore):
        self.state, self.create, self.store = state, create, store
        with gr.Accordion("Make your own", elem_id="compare-own", **DRAWER):
            self.list = gr.HTML("", elem_id="added-columns", js_on_load=ADDED, apply_default_css=False)
            self.columns = gr.Dropdown(
                comparison_form.column_choices(), value=[], multiselect=True, label="Columns", elem_id="columns",
                info="Methods get the inputs of Create's stack. For others press “Add this stack as a column” there",
            )  # fmt: skip
            self.axes: list[Any] = []
            self.pickers: list[Any] = []
            for name, label, kind, values in AXES:
                with gr.Row(elem_classes="nw-pair"):
                    self.axes += [
                        gr.Dropdown(
                            axis_values.axis_choices(), value=kind, label=label, elem_id=name, min_width=120,
                            allow_custom_value=True,
                        ),
                        gr.Textbox(
                            value=values, label="Values, comma-separated", elem_id=f"{name}-values", min_width=120,
                            placeholder=RANGES,
                        ),
                    ]  # fmt: skip
                self.pickers.append(
                    gr.Dropdown([], multiselect=True, label="Pick values", elem_id=f"{name}-picker", visible=False)
                )
            with gr.Column(elem_id="compare-images"):
                self.give = gr.UploadButton(
                    "Own images as rows", file_types=["image"], file_count="multiple", size="sm"
                )  # fmt: skip
            self.cost = gr.HTML("", elem_id="compare-cost", apply_default_css=False)
            self.make = gr.Button("Compare", variant="primary", elem_id="compare-make")
        self.shelf = gr.State({})  # images given as references: name -> content hash
        self.added = gr.State([])  # the columns that were added, recipes as JSON
        self.editing = gr.State(None)  # the place of the one that is in Create
        self.inputs = [self.added, self.shelf, self.columns, *self.axes, *create.controls]
        names = (f"{name}{part}" for name, *_ in AXES for part in ("", "_values"))
        #: What the browser keeps of this drawer beside the added columns and the images: name -> control.
        self.fields: dict[str, Any] = {"columns_chosen": self.columns, **dict(zip(names, self.axes))}

    def wire(self, tabs: gr.Tabs, own: gr.Tab) -> None:
        self.tabs = tabs
        listed = [self.list, self.added, self.editing, self.create.kept]
        kept = [self.added, self.editing]
        self.create.as_column.click(
            self.add, [*kept, *self.create.controls], [*listed, self.create.restored], js=RETURNED, **SHORT
        )  # fmt: skip
        self.list.act(self.act, kept, [*listed, *self.create.outputs, tabs], **SHORT)
        for place, picker in enumerate(self.pickers):
            kind, values = self.axes[2 * place : 2 * place + 2]
            kind.change(self.pickable, kind, [picker, values], **SHORT)
            picker.input(lambda chosen: ", ".join(chosen), picker, values, **SHORT)
        gr.on(
            [self.columns.change, self.added.change, *(one.change for one in self.axes), own.select],
            self.estimate, self.inputs, self.cost, trigger_mode="always_last", **SHORT,
        )  # fmt: skip

    # columns ----------------------------------------------------------------------------------------------------------

    def add(
        self, request: gr.Request, added: list[str], editing: int | None, *fields: Any
    ) -> dict[Any, Any]:  # fmt: skip
        """The controls of Create as a column: a further one, or in place of the one that is being edited."""
        visit_token = self.state.visit_token(request.session_hash)
        recipe, problems = self.create.check(*fields, visit_token=visit_token)
        if recipe is None:
            return self.create.leave(next(iter(problems.values())))
        if len(added) >= MOST_ADDED and editing is None:
            return self.create.leave(f"There are {MOST_ADDED} columns already: take one out in Compare.")
        one = recipe.model_copy(update={"count": 1}).to_json()
        is_change = editing is not None and editing < len(added)
        added = [one if place == editing else old for place, old in enumerate(added)] if is_change else [*added, one]
        place = f"Column {(editing or 0) + 1} is changed."
        words = place if is_change else f"This stack is column {len(added)} of Compare."
        wrong = columns.unfitting(recipe)
        return self._listed(added, visit_token) | {self.create.restored: note(escape(" ".join([words, *wrong])))}

    def act(
        self, request: gr.Request, added: list[str], editing: int | None, data: gr.EventData
    ) -> dict[Any, Any]:  # fmt: skip
        """Edit, duplicate or remove one of the columns."""
        event = data._data or {}
        place, what = int(event.get("place", -1)), event.get("column")
        visit_token = self.state.visit_token(request.session_hash)
        if not 0 <= place < len(added):
            return self._listed(added, visit_token)
        if what == "edit":
            words = f"Column {place + 1} is in the controls; “Add this stack as a column” puts it back."
            filled = self.create.fill(Recipe.from_json(added[place]), words, visit_token=visit_token)
            return self._listed(added, visit_token, place) | filled | {self.tabs: gr.Tabs(selected="create")}
        if what == "copy":
            added = [*added[: place + 1], added[place], *added[place + 1 :]]
        else:
            added = [old for at, old in enumerate(added) if at != place]
        return self._listed(added, visit_token)

    def _listed(self, added: list[str], visit_token: str, editing: int | None = None) -> dict[Any, Any]:
        html, kept = self._html(added, visit_token, editing), json.dumps({"columns": added})
        return {self.added: added, self.editing: editing, self.list: html, self.create.kept: kept}

    def _html(self, added: list[str], visit_token: str, editing: int | None) -> str:
        recipes = [Recipe.from_json(one) for one in added]
        return columns.shown(recipes, lambda sha: self.state.image(sha, visit_token), editing)

    # what a browser kept ----------------------------------------------------------------------------------------------

    def columns_again(self, given: Mapping[str, Any], visit_token: str) -> dict[Any, Any]:
        """The columns that were added, as far as they can still be read; nothing where none are given."""
        if not isinstance(given.get("columns"), list):
            return {}
        return self._listed([one for one in given["columns"] if _is_recipe(one)][:MOST_ADDED], visit_token)

    def fields_again(self, given: Mapping[str, Any], visit_token: str) -> dict[Any, Any]:
        """What else stood in this drawer: axes with their values, and the images that are still there."""
        shelf = given.get("shelf")
        shelf = shelf if isinstance(shelf, Mapping) else {}
        shelf = {name: sha for name, sha in shelf.items() if self.state.image(str(sha), visit_token) is not None}
        found: dict[Any, Any] = {self.shelf: shelf}
        for name, component in self.fields.items():
            if component is not self.columns and isinstance(given.get(name), str):
                found[component] = given[name]
        chosen, possible = given.get("columns_chosen"), {key for _, key in self.choices()}
        if isinstance(chosen, list):
            found[self.columns] = [one for one in chosen if one in possible]
        return found

    def choices(self) -> list[tuple[str, str]]:
        """What a column may be; methods only once the registry is there, which imports torch."""
        return comparison_form.column_choices(self.state.model().backbone is not None)

    # axes -------------------------------------------------------------------------------------------------------------

    def pickable(self, kind: Any) -> tuple[Any, Any]:
        """The names that the values of an axis may have, to be picked; the field for others where there are none."""
        models = [(str(label), str(id)) for label, id in self.state.choices]
        names = axis_values.values_of(str(kind or ""), models)
        hint = "a | b" if kind in axis_values.BY_BARS else RANGES
        label = "Values, with | between" if kind in axis_values.BY_BARS else "Values, comma-separated"
        return gr.Dropdown(choices=names, value=[], visible=bool(names)), gr.Textbox(placeholder=hint, label=label)

    def take_images(self, request: gr.Request, files: Any, shelf: dict[str, str]) -> tuple[dict[str, str], str]:
        """Images that a person gives, on the shelf; and what to say. Raises in words."""
        shelf = references.given(self.state, files or [], shelf, self.state.visit_token(request.session_hash))
        return shelf, f"{len(shelf)} {'image is' if len(shelf) == 1 else 'images are'} there for the rows."

    # made -------------------------------------------------------------------------------------------------------------

    def made(self, request: gr.Request, *values: Any) -> tuple[Comparison, str]:
        """The comparison of what was chosen, and what is to be said beside it. Raises RecipeError in words."""
        made, notes = self._chosen(request, *values)
        said = comparison_form.checked(self.state, made, self.state.visit_token(request.session_hash))
        return made, " ".join([*notes, said]).strip()

    def _chosen(self, request: gr.Request, *values: Any) -> tuple[Comparison, list[str]]:
        added, shelf, chosen, rows, rows_values, tabs, tabs_values, *fields = values
        recipe, _ = self.create.recipe(*fields)
        axes = ((rows, rows_values), (tabs, tabs_values))
        visit_token = self.state.visit_token(request.session_hash)
        return comparison_form.own(
            self.state, recipe, chosen, axes, shelf, visit_token, [Recipe.from_json(one) for one in added]
        )

    def estimate(self, request: gr.Request, *values: Any) -> str:
        """What it will cost, before it is begun; or why it cannot be made."""
        if self.state.model().backbone is None:
            return ""  # a handler does not wait for torch
        try:
            made, notes = self._chosen(request, *values)
            visit_token = self.state.visit_token(request.session_hash)
            words = comparison_form.cost_before(self.state, made, self.store, visit_token)
        except RecipeError as error:
            return failure(escape(error_message(error)))
        return note(escape(" ".join([words, *notes])))


def _is_recipe(text: Any) -> bool:
    try:
        Recipe.from_json(text)
    except (RecipeError, TypeError):
        return False
    return True
