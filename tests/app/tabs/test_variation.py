"""Variation seed and strength among the controls of Create."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest

import backbones
from app.schema.recipe import Recipe
from app.schema.this_machine import Here
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import create, solver_knobs
from tests.support.full_methods import full


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    state = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
    model = state.model()
    model._engine = SimpleNamespace(backbone=backbones.load("exact"), here=lambda: Here({"exact": ""}))
    model._there.set()
    model._thread = None
    with gr.Blocks():
        return create.tab(state)


def values(**change):
    usual = {name: getattr(create.DEFAULTS, name, None) for name in create.FIELDS}
    usual |= solver_knobs.defaults(create.DEFAULTS.sampler)
    usual |= {"seed": "7", "backbone": "exact", "methods": "", "variation_seed": "-1", "width": 64, "height": 64}
    return [*(usual | change).values()]


def test_minus_one_draws_a_variation_seed_where_one_acts(tab):
    plain, _ = tab.recipe(*values())
    assert (plain.seed, plain.variation_seed, plain.variation_strength) == (7, 0, 0)
    drawn = [tab.recipe(*values(variation_strength=0.2))[0] for _ in range(2)]
    assert all(one.seed == 7 and 0 <= one.variation_seed < 2**32 for one in drawn)
    assert drawn[0].variation_seed != drawn[1].variation_seed
    assert tab.recipe(*values(variation_seed="9", variation_strength=0.2))[0].variation_seed == 9


def test_what_cannot_be_and_what_does_nothing_is_said_at_the_field(tab):
    _, wrong = tab.check(*values(variation_seed="many", variation_strength=2))
    assert wrong["variation_seed"].endswith("Or -1, for a new one each time.") and "2 is out of" in wrong[
        "variation_strength"]  # fmt: skip
    idle = {"variation_seed": "3"}
    encoded = json.dumps({"cards": [full("ddim_inversion")]})
    without_noise = {"variation_strength": 0.4, "methods": encoded}
    for fields, words in ((idle, "a Variation strength of 0"), (without_noise, "DDIM inversion starts the run")):
        recipe, stack = tab.recipe(*values(**fields))
        said = {problem.field: problem.message for problem in tab._unused(recipe, stack)}
        assert words in said[next(iter(fields))]


def test_restored_settings_bring_their_variation_or_none(tab):
    seed, strength = (tab.control[name] for name in ("variation_seed", "variation_strength"))
    varied = tab.fill(Recipe(variation_seed=9, variation_strength=0.25, backbone="exact"), "")
    assert (varied[seed], varied[strength]) == (9, 0.25)
    plain = tab.fill(Recipe(backbone="exact"), "")
    assert (plain[seed], plain[strength]) == ("-1", 0)
    assert tab.reset("exact")[seed] == "-1"
