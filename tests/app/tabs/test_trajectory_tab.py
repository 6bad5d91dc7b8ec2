"""The tab Trajectory without a browser: runs that are followed go on without their page, and are joined by the next."""

import json
import threading
from types import SimpleNamespace

import gradio as gr
import pytest

from app.forms import address, trajectory_form
from app.schema.recipe import Recipe
from backbones.exact import Mixture
from tests.support.page import opened_page

BEFORE, AFTER = SimpleNamespace(session_hash="before"), SimpleNamespace(session_hash="after a reload")
BASE = Recipe(backbone="exact", width=16, height=16, steps=6, prompt="red", seed=5)


@pytest.fixture
def tab(tmp_path):
    opened = opened_page(tmp_path)
    state = opened.state
    token = state.visit_token("before")
    for page in ("before", "after a reload"):
        state.visits.join(page, token, "the same tab of the browser")
    yield opened.paths
    state.model().engine(0).close()


@pytest.fixture
def gate(monkeypatch):
    """Closed, a job does not get further than its first news, and the network answers nobody: no run can end."""
    opens = threading.Event()
    frames, denoise = trajectory_form.TrajectoryJob.frames, Mixture.denoise

    def waiting(backbone, ask):
        opens.wait(20)
        return denoise(backbone, ask)

    def held(job, tick):
        yield {"busy": ["held"], "steps": 1, "of": 12, "first": ""}
        opens.wait(20)
        yield from frames(job, tick)

    monkeypatch.setattr(trajectory_form.TrajectoryJob, "frames", held)
    monkeypatch.setattr(Mixture, "denoise", waiting)
    return opens


def news(tab, frames):
    """What the board draws, one after the other."""
    return [json.loads(frame[tab.news]) for frame in frames if tab.news in frame]


def test_runs_under_way_are_joined_after_a_reload_and_their_end_is_kept(tab, gate):
    frames = tab._follow(trajectory_form.runs_of(BASE, "cfg_scale", "1, 4"), False, BEFORE)
    begun = next(frames)
    assert begun[tab.cancel].interactive and not begun[tab.go].interactive
    frames.close()  # the page is left
    again = tab.join(AFTER)
    assert next(again)[tab.cancel].interactive
    next(again)
    gate.set()
    *_, last = again
    (drawn,) = news(tab, [last])
    assert [run["label"] for run in drawn["runs"]] == ["CFG Scale 1", "CFG Scale 4"]
    assert last[tab.note] == "" and last[tab.go].interactive
    kept = json.loads(last[tab.create.kept])
    assert kept["address"] == address.of_trajectory(*kept["trajectories"][0]) and drawn["id"] in kept["address"]
    assert all(update == gr.skip() for update in next(tab.join(AFTER)).values()), "its end was shown"
    assert json.loads(tab.first(drawn["id"])[tab.news]) == drawn


def test_what_ended_while_no_page_was_there_is_shown_to_the_next(tab):
    frames = tab._follow(trajectory_form.runs_of(BASE, "", ""), False, BEFORE)
    next(frames)
    frames.close()
    (live,) = tab.state.live_trajectories.of(tab.state.visits.place("before"))
    *_, end = live.follow()
    assert "runs" in end and news(tab, tab.join(AFTER))[-1] == end


def test_a_second_one_takes_the_place_of_the_first_whose_end_is_not_shown(tab, gate):
    first = tab._follow(trajectory_form.runs_of(BASE, "", ""), False, BEFORE)
    next(first)
    second = tab._follow(trajectory_form.runs_of(BASE.but(prompt="blue"), "", ""), False, BEFORE)
    next(second)
    gate.set()
    assert not any("runs" in one or "stopped" in one for one in news(tab, first))
    assert news(tab, second)[-1]["prompt"] == "blue"


def test_cancel_reaches_it_from_the_page_that_came_back(tab, gate):
    frames = tab._follow(trajectory_form.runs_of(BASE.but(steps=150), "", ""), False, BEFORE)
    next(frames)
    frames.close()
    again = tab.join(AFTER)
    next(again)
    tab.stop(AFTER)
    gate.set()
    *_, last = again
    assert json.loads(last[tab.news]) == {"stopped": True} and "cancelled" in last[tab.note]
    assert last[tab.go].interactive and tab.create.kept not in last


def test_on_a_public_server_what_nobody_follows_ends_after_a_while(tab, gate):
    live = trajectory_form.LiveTrajectory(tab.state, [("long", BASE.but(steps=150))], False, "", patience=0.05)
    pages = live.follow()
    next(pages)
    pages.close()
    while not live._cancelled.is_set():
        threading.Event().wait(0.01)
    gate.set()
    assert list(live.follow())[-1] == {"stopped": True} and "cancelled" in live.trouble
