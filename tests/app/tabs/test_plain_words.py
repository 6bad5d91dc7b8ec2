"""What settings do is said in words that need no paper."""

import re

from app.catalog import catalogue
from app.schema.solvers import KNOBS
from app.tabs import create
from app.tabs.introductions import INTRODUCTIONS
from tests.support.page import opened_page

TERMS = (
    "Langevin", "DDIM", "DDPM", "ODE", "SDE", "SNR", "GITS", "LD3", "AMED", "AFS", "UniC", r"t?AB\d", "gradients?",
    "derivatives?", "deterministic", "corrector", "predictor",
)  # fmt: skip


def test_of_every_knob_and_terms_of_papers_stand_in_brackets_behind_these_words():
    knobs = [knob for one in catalogue()["methods"].values() for knob in one["knobs"]]
    helps = {knob["label"]: knob["help"] for knob in knobs}
    helps |= {f"{solver}.{name}": knob.help for solver, own in KNOBS.items() for name, knob in own.items()}
    helps |= {**create.SCHEDULES_EXPLAINED, **create.SAMPLERS_EXPLAINED}
    assert len(helps) > 80
    for name, words in helps.items():
        plain = re.sub(r"\([^()]*\)", "", words)
        assert len(plain) > 10 and not re.search(rf"\b({'|'.join(TERMS)})\b", plain), f"{name}: {words}"


def test_settings_of_the_drawer_advanced_have_a_sentence(tmp_path):
    page = opened_page(tmp_path).create
    assert "one evaluation less (AFS)" in page.afs.info
    assert "the run ends with its prediction" in page.stop_sigma.info


def test_the_formula_and_the_unit_of_cost_are_explained_on_their_tabs():
    assert "ask is the network" in INTRODUCTIONS["create"].how
    assert "network evaluations (NFE): how often the network is asked" in INTRODUCTIONS["compare"].how
