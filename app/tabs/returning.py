"""A page that opens goes on with what its browser kept: the visit with its images and comparisons, the settings, the
run under way, and what the address names. Back and Forward come here, too.

The browser's side is assets/visit.js.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from app.forms import address
from app.forms.stack import Stack
from app.schema.recipe import SAMPLERS, SCHEDULES, Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_history import HistoryError
from app.tabs import image_view
from app.tabs.attention import has_attention
from app.tabs.compare import Compare
from app.tabs.create import FIELDS, Create
from app.tabs.generation import KEPT
from app.tabs.listeners import LONG, SHORT
from app.tabs.notes import note
from app.tabs.solver_knobs import SolverKnobs

TAB_NAME = 40  # characters of the name that a tab of the browser gives itself


class Returning:
    """What the page does when it opens, and when its address changes."""

    def __init__(self, state: AppState, create: Create, compare: Compare, tabs: gr.Tabs):
        self.state, self.create, self.compare, self.tabs = state, create, compare, tabs
        shown = [tabs, *create.outputs, create.stage, *compare.outputs]
        opened = [*shown, create.film, create.visit, create.kept]
        back = create.kept.arrive(self.arrive, None, opened, **SHORT)
        back.then(create.restack, create.controls, [create.stack, create.marks], **SHORT)
        back.then(compare.join, [compare.id, compare.visit], compare.outputs, **LONG)
        back.then(create.generation.join, create.visit, create.generation.outputs, **LONG)
        create.kept.settings(self.put, None, create.outputs, trigger_mode="always_last", **SHORT)
        create.kept.go(self.go, [create.visit, compare.visit], shown, trigger_mode="always_last", **SHORT)

    def arrive(self, request: gr.Request, data: gr.EventData) -> dict[Any, Any]:
        """The page with what its browser kept, and for the browser, what of that is its own."""
        given = data._data or {}
        visits, session = self.state.visits, request.session_hash
        visits.join(session, str(given.get("visit_token") or ""), str(given.get("tab") or "")[:TAB_NAME])
        images = self._images(visits.signed_ids("image", given.get("images")))
        comparisons = [
            id
            for id in visits.signed_ids("comparison", given.get("comparisons"))
            if self.compare.store.get(id) is not None
        ]
        updates: dict[Any, Any] = {
            self.create.visit: images,
            self.create.film: image_view.film(images[:KEPT], "stage", 0),
            self.compare.visit: comparisons,
            self.create.kept: json.dumps(
                {
                    "visit_token": self.state.visit_token(session),
                    "images": visits.with_signatures("image", [shown.id for shown in images]),
                    "comparisons": visits.with_signatures("comparison", comparisons),
                    "all": True,
                }
            ),
        }
        if images:
            updates[self.create.stage] = image_view.made(images[0])
        settings = given.get("settings")
        if isinstance(settings, Mapping):
            updates |= self._settings(settings)
        return updates | self._at(str(given.get("address") or ""), images, comparisons, request)

    def go(
        self, images: list[image_view.Shown], comparisons: list[str], request: gr.Request, data: gr.EventData
    ) -> dict[Any, Any]:
        """Where Back, Forward or a link leads to."""
        return self._at(str((data._data or {}).get("address") or ""), images, comparisons, request)

    def put(self, data: gr.EventData) -> dict[Any, Any]:
        """Settings that the page had before, undone to."""
        settings = (data._data or {}).get("settings")
        words = "The last change is undone."
        return self._settings(settings if isinstance(settings, Mapping) else {}) | {self.create.restored: note(words)}

    # what was kept --------------------------------------------------------------------------------------------------

    def _images(self, ids: list[str]) -> list[image_view.Shown]:
        """The images of these ids that are still there."""
        found: list[image_view.Shown] = []
        for id in ids:
            if (entry := self.state.entry(id)) is None:
                continue
            text = ""
            try:
                if len(found) < KEPT:  # the others are not in the strip
                    with entry.image() as image:
                        text = str(image.info.get("parameters", ""))
            except HistoryError:
                continue
            attentive = has_attention(self.state, entry.recipe)
            shown = image_view.Shown(id, self.state.address(id), entry.recipe, text, image_view.cost_of(entry))
            found.append(replace(shown, attentive=attentive))
        return found

    def _settings(self, given: Mapping[str, Any]) -> dict[Any, Any]:
        """The controls as they stood, as far as they still can."""
        values = {name: given[name] for name in FIELDS if name in given and _can_be(name, given[name])}
        if values.get("backbone") not in self.state.models:
            values.pop("backbone", None)
        own = set(self.create.knobs.controls)
        of_solver = {name: values.pop(name) for name in own & set(values)}
        if "sampler" in values:
            values["sampler_knobs"] = SolverKnobs.taken({"sampler": values["sampler"], **of_solver})
        updates = self.create.put(values, "")
        return {component: update for component, update in updates.items() if component is not self.create.restored}

    # what the address names -----------------------------------------------------------------------------------------

    def _at(
        self, text: str, images: list[image_view.Shown], comparisons: list[str], request: gr.Request
    ) -> dict[Any, Any]:
        where = address.read(text)
        updates = {self.tabs: gr.Tabs(selected=where.tab)}
        id, signature = where.comparison
        if id:
            if signature and id in self.state.visits.signed_ids("comparison", [[id, signature]]):
                comparisons = [*comparisons, id]
            return updates | self.compare.open_kept(id, comparisons)
        try:
            recipe = where.recipe
        except RecipeError as error:
            return updates | self.create.leave(f"The settings of this link cannot be used. {error}")
        return updates | (self._recipe(recipe, images, request) if recipe is not None else {})

    def _recipe(self, recipe: Recipe, images: list[image_view.Shown], request: gr.Request) -> dict[Any, Any]:
        words = f"The settings of seed {recipe.seed} are in the controls."
        updates = self.create.fill(recipe, words, visit_token=self.state.visit_token(request.session_hash))
        wanted = address.of_recipe(recipe.one(0))
        for shown in images:
            if address.of_recipe(shown.recipe) == wanted:
                return updates | {self.create.stage: image_view.made(shown)}
        return updates


def _can_be(name: str, value: Any) -> bool:
    """Whether a control can hold this value: what is typed into a field may be wrong, but not what a list offers."""
    if name == "sampler":
        return value in SAMPLERS
    if name == "schedule":
        return value in SCHEDULES
    if name == "methods":
        try:
            Stack.read(value)
        except RecipeError:
            return False
        return isinstance(value, str)
    return isinstance(value, str | int | float | bool)
