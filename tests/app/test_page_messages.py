"""What is really sent to the page's scripts has the types that they are checked against."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from app import page_messages
from app.comparison.spec import Axis, Change, Comparison
from app.comparison.store import ComparisonStore
from app.forms import comparison_form, trajectory_form
from app.forms.page_catalogue import catalogue
from app.forms.stack import Stack
from app.schema.png_metadata import write
from app.schema.recipe import Problem, Recipe
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import methods

BASE = Recipe(backbone="exact", width=16, height=16, steps=2, cfg_scale=1.5, prompt="red")


def check(kind, message):
    """As it arrives: through JSON, which makes lists of tuples and knows no nan."""
    TypeAdapter(kind).validate_json(json.dumps(message, allow_nan=False))


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    made = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
    assert made.model().engine(60).wait(60)
    yield made
    made.model().engine(0).close()


def test_the_catalogue():
    check(page_messages.Catalogue, catalogue())


def test_what_is_said_at_the_cards(state):
    message = methods.said([Problem("methods.0", "wrong")], Stack(), state.model(), state.visit_token("session"))
    check(page_messages.Marks, json.loads(message))


def test_uploads(state, tmp_path):
    from PIL import Image

    from app.storage.image_files import png_bytes

    check(page_messages.Uploaded, state.receive(png_bytes(Image.new("RGB", (8, 8))), state.visit_token("session")))
    own = state.receive(png_bytes(Image.new("RGB", (8, 8)), write(BASE)), state.visit_token("session"))
    check(page_messages.Uploaded, own)
    assert own["settings"] == "red · Euler, 2 steps, seed 0"
    check(page_messages.Uploaded, state.receive(b"no image", state.visit_token("session")))


def test_a_comparison_whole_in_parts_and_after_a_vote(state, tmp_path):
    seeds = Axis(name="seed", values=tuple(Change(label=f"seed {n}", recipe={"seed": n}) for n in (1, 2)))
    steps = Axis(name="steps", values=tuple(Change(label=f"{n} steps", recipe={"steps": n}) for n in (2, 0)))
    store = ComparisonStore(tmp_path)
    one = comparison_form.runner_of(state, store, store.add(Comparison(title="t", base=BASE, axes=(seeds, steps))))
    check(page_messages.WholeComparison, comparison_form.update(state, store, one, -1))  # nothing is made yet
    one.start()
    one.join(60)
    store.vote(one.id, "seed 1", "seed 2")
    check(page_messages.WholeComparison, comparison_form.update(state, store, one, -1))
    check(page_messages.ComparisonNews, comparison_form.update(state, store, one, 0))
    check(page_messages.ComparisonVotes, {"id": one.id, "votes": comparison_form.ratings(one, store, None)})


def test_runs_under_way_and_done(state):
    token = state.visit_token("session")
    job = trajectory_form.TrajectoryJob(state, trajectory_form.ready(BASE, "guidance"), False, token)
    frames = list(job.frames(0.01))
    for frame in frames:
        check(page_messages.TrajectoryProgress, frame)
    check(page_messages.Trajectories, trajectory_form.result(state, job, "session"))


def test_a_message_with_more_or_less_than_that_is_refused():
    good = {"busy": ["a"], "steps": 1, "of": 2}
    check(page_messages.TrajectoryProgress, good)
    for wrong in ({**good, "more": 1}, {"busy": ["a"], "steps": 1}, {**good, "steps": "many"}):
        with pytest.raises(ValidationError):
            check(page_messages.TrajectoryProgress, wrong)
