"""A page that opens goes on with what its browser kept: the visit with its images, comparisons and trajectories, the
settings, the run under way, and what the address names. Back and Forward come here, too.

The browser's side is assets/visit.js: what goes into controls, and the tab, are handed to it, which leaves alone what a
person has changed before the answer was there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from app import scripts
from app.forms import address
from app.forms.batches import batches
from app.forms.stack import Stack
from app.schema.recipe import LIMITS, SAMPLERS, SCHEDULES, Recipe, RecipeError
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
from app.tabs.trajectory import TrajectoryTab

SIGNED = ("images", "comparisons", "trajectories")  # of `VisitNews`: ids, each with its signature
TAB_NAME = 40  # characters of the name that a tab of the browser gives itself


class Returning:
    """What the page does when it opens, and when its address changes."""

    def __init__(self, state: AppState, create: Create, compare: Compare, paths: TrajectoryTab, tabs: gr.Tabs):
        self.state, self.create, self.compare, self.paths, self.tabs = state, create, compare, paths, tabs
        #: Controls that the browser keeps beside those of Create, and that undo does not reach.
        self.beside = {**compare.own.fields, **paths.fields}
        self.fields = {**dict(zip(FIELDS, create.controls)), **self.beside}
        own = [compare.own.added, compare.own.editing, compare.own.list]
        shown = [*dict.fromkeys([create.restored, create.stage, *compare.outputs, *paths.outputs])]
        opened = [*shown, *own, create.film, create.visit, compare.own.shelf, compare.own.columns]
        back = create.kept.arrive(self.arrive, None, opened, **SHORT)
        self.placed = self._placed(back)
        back.then(compare.join, [compare.id, compare.visit], compare.outputs, **LONG)
        back.then(create.generation.join, create.visit, create.generation.outputs, **LONG)
        back.then(paths.join, None, paths.outputs, **LONG)
        undone = [create.kept, create.restored, *own]
        self._placed(create.kept.settings(self.put, compare.own.added, undone, trigger_mode="always_last", **SHORT))
        seen = [create.visit, compare.visit]
        self._placed(create.kept.go(self.go, seen, shown, trigger_mode="always_last", **SHORT))
        gr.on([one.change for one in self.beside.values()], None, self.controls, None, js=self.remember, **SHORT)

    @property
    def controls(self) -> list[Any]:
        """What `remember` takes: those beside Create's."""
        return list(self.beside.values())

    @property
    def begin(self) -> str:
        """js of the page's load: what the controls hold before anybody has changed them."""
        return scripts.call("visit", "begin", {name: control.value for name, control in self.fields.items()})

    @property
    def remember(self) -> str:
        """js that keeps these, of their changes and of the page's load."""
        return scripts.call("visit", "rememberBeside", list(self.beside))

    def _placed(self, answered: Any) -> Any:
        """After an answer, what it says of tab and controls, as far as a person has not changed them meanwhile."""
        place = scripts.ask("visit", "place", list(self.fields))
        controls = list(self.fields.values())
        return answered.then(None, [self.create.kept, *controls], [self.tabs, *controls], js=place, **SHORT)

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
        followed = visits.signed_ids("trajectory", given.get("trajectories"))
        trajectories = [id for id in followed if self.state.trajectories.drawn(id) is not None]
        visit_token, own = self.state.visit_token(session), self.compare.own
        news = {
            "visit_token": visit_token,
            "images": visits.with_signatures("image", [shown.id for shown in images]),
            "comparisons": visits.with_signatures("comparison", comparisons),
            "trajectories": visits.with_signatures("trajectory", trajectories),
            "all": True,
        }
        updates: dict[Any, Any] = {
            self.create.visit: images,
            self.create.film: image_view.film(image_view.in_strip(images, KEPT), "stage", 0),
            self.compare.visit: comparisons,
            **self.paths.again(trajectories),
        }
        if images:
            updates[self.create.stage] = _in_view(images[0], images)
        settings = given.get("settings")
        settings = settings if isinstance(settings, Mapping) else {}
        updates |= own.fields_again(settings, visit_token)
        known = [name for name in self.paths.fields if _can_be(name, settings.get(name))]
        updates |= {self.beside[name]: settings[name] for name in known}
        if not given.get("linked"):
            updates |= self._settings(settings)
        columns = own.columns_again({"columns": [], **settings}, visit_token)
        found = self._at(str(given.get("address") or ""), images, comparisons, request)
        return self._sent(updates, columns, found, **news) | {own.columns: gr.Dropdown(choices=own.choices())}

    def go(
        self, images: list[image_view.Shown], comparisons: list[str], request: gr.Request, data: gr.EventData
    ) -> dict[Any, Any]:
        """Where Back, Forward or a link leads to."""
        return self._sent(self._at(str((data._data or {}).get("address") or ""), images, comparisons, request))

    def put(self, added: list[str], request: gr.Request, data: gr.EventData) -> dict[Any, Any]:
        """Settings that the page had before, undone to. added: the columns of Compare before that."""
        settings = (data._data or {}).get("settings")
        settings = settings if isinstance(settings, Mapping) else {}
        columns = self.compare.own.columns_again(settings, self.state.visit_token(request.session_hash))
        words, now = "The last change is undone.", columns.get(self.compare.own.added, added)
        if now != added:
            words += f" {len(now)} {'column is' if len(now) == 1 else 'columns are'} added to Compare."
        return self._sent(self._settings(settings), columns, {self.create.restored: note(words)})

    def _sent(self, *updates: Mapping[Any, Any], **news: Any) -> dict[Any, Any]:
        """These updates, of which the page's script gets those of tab and controls; and with them these news for it and
        those that stand in the updates."""
        names = {component: name for name, component in self.fields.items()}
        sent: dict[Any, Any] = {}
        for update in updates:
            for name, value in json.loads(update.get(self.create.kept, "{}")).items():
                before = [one for one in news.get(name, ()) if list(one) not in value] if name in SIGNED else ()
                news[name] = [*value, *before] if name in SIGNED else value
            sent |= update
        news["fields"] = {names[one]: _plain(one, sent.pop(one)) for one in list(sent) if one in names}
        if self.tabs in sent:
            news["tab"] = sent.pop(self.tabs)
        return sent | {self.create.kept: json.dumps(news)}

    # what was kept --------------------------------------------------------------------------------------------------

    def _images(self, ids: list[str]) -> list[image_view.Shown]:
        """The images of these ids that are still there."""
        found: list[image_view.Shown] = []
        for id in ids:
            if (entry := self.state.entry(id)) is None:
                continue
            text = ""
            try:
                if len(found) < KEPT + LIMITS["count"].high:  # the others are not in the strip
                    with entry.image() as image:
                        text = str(image.info.get("parameters", ""))
            except HistoryError:
                continue
            attentive = has_attention(self.state, entry.recipe)
            shown = image_view.Shown(id, self.state.address(id), entry.recipe, text, image_view.cost_of(entry))
            found.append(replace(shown, attentive=attentive))
        numbers = batches([shown.recipe for shown in found])
        several = {number for number in numbers if numbers.count(number) > 1}
        return [
            replace(shown, batch=f"kept {number}" if number in several else "") for shown, number in zip(found, numbers)
        ]

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
        updates: dict[Any, Any] = {self.tabs: where.tab}
        id, signature = where.comparison
        if id:
            if signature and id in self.state.visits.signed_ids("comparison", [[id, signature]]):
                comparisons = [*comparisons, id]
            return updates | self.compare.open_kept(id, comparisons)
        followed, signature = where.trajectory
        if followed:
            is_known = followed in self.state.visits.signed_ids("trajectory", [[followed, signature]])
            return updates | self.paths.open_kept(followed, is_known)
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
                alone = recipe.count == 1
                return updates | {self.create.stage: image_view.made(shown) if alone else _in_view(shown, images)}
        return updates


def _plain(component: Any, update: Any) -> Any:
    """An update of a control as the page gets it."""
    if not isinstance(update, dict):
        return component.postprocess(update)
    return update | ({"value": component.postprocess(update["value"])} if "value" in update else {})


def _in_view(shown: image_view.Shown, images: list[image_view.Shown]) -> str:
    """An image on the stage, with the batch that it is the first of."""
    batch = [one for one in images if one.batch and one.batch == shown.batch]
    return image_view.batch(batch) if batch and batch[0] is shown else image_view.made(shown)


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
