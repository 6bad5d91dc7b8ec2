"""The settings of the solver on the page: shown where it has them, taken into the recipe, and brought back."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest

from app.schema.recipe import Recipe, RecipeError
from app.schema.solvers import KNOBS, knob_field
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import create, solver_knobs

VISIT = SimpleNamespace(session_hash="a visit")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """No test of these changes it."""
    with gr.Blocks():
        return create.tab(AppState("exact", History(tmp_path_factory.mktemp("history"))))


def values(sampler, **knobs):
    usual = {name: getattr(create.DEFAULTS, name, None) for name in create.FIELDS}
    usual |= solver_knobs.defaults(sampler) | {knob_field(name): value for name, value in knobs.items()}
    return [*(usual | {"sampler": sampler, "backbone": "exact", "methods": ""}).values()]


def shown(updates, tab):
    fields = {component: field for field, component in tab.knobs.controls.items()}
    return {fields[one].rpartition(".")[2]: new["value"] for one, new in updates.items() if new.get("visible")}


@pytest.mark.parametrize("sampler", list(KNOBS))
def test_a_solver_shows_its_own_knobs_at_their_defaults(tab, sampler):
    assert shown(tab.knobs.chosen(sampler), tab) == {name: knob.default for name, knob in KNOBS[sampler].items()}


def test_the_page_begins_with_the_knobs_of_its_solver(tab):
    visible = {field.rpartition(".")[2] for field, control in tab.knobs.controls.items() if control.visible}
    assert visible == set(KNOBS[create.DEFAULTS.sampler])


def test_a_run_takes_the_knobs_of_its_solver_and_no_others(tab):
    recipe, _ = tab.recipe(*values("churn", s_churn=10, eta=0.5))
    assert recipe.sampler_knobs == {name: knob.default for name, knob in KNOBS["churn"].items()} | {"s_churn": 10}
    assert tab.recipe(*values("euler", eta=0.5))[0].sampler_knobs == {}


def test_a_knob_out_of_range_is_said_at_its_control(tab):
    with pytest.raises(RecipeError):
        tab.recipe(*values("ancestral", eta=7))
    _, problems = tab.check(*values("ancestral", eta=7))
    assert list(problems) == ["sampler.knobs.eta"] and problems["sampler.knobs.eta"].startswith(
        "Eta: 7 is out of range"
    )
    assert tab.control["sampler.knobs.eta"].elem_id == "sampler.knobs.eta"
    (frame,) = tab.generation.run(VISIT, *values("ancestral", eta=7), [])
    assert "sampler.knobs.eta" in json.loads(frame[tab.problems])


def test_restored_settings_bring_their_own_knobs(tab):
    back = tab.fill(Recipe.make(sampler="ancestral", sampler_knobs={"eta": 0.25}, backbone="exact"), "Here.")
    updates = {one: back[one] for one in tab.knobs.controls.values()}
    assert back[tab.sampler] == "ancestral" and shown(updates, tab) == {"eta": 0.25}
    before = Recipe.make(sampler="dpmpp_2m_sde", eta=0.5, backbone="exact")  # as version 0.1 wrote it
    updates = {one: tab.fill(before, "Here.")[one] for one in tab.knobs.controls.values()}
    assert shown(updates, tab) == {"eta": 0.5}
