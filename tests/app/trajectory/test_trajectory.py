"""Runs followed step by step: what is recorded is what the run did, and what is drawn is what was recorded."""

import csv
import io
import json
import math
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.engine import method_checks
from app.engine.engine import Engine
from app.forms import trajectory_form
from app.routes import all_routes
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_history import History
from app.trajectory import trajectory_json
from app.trajectory.recorder import Recording
from backbones import load
from conditioning.registry import METHODS
from samplers import SCHEDULES
from samplers.geometry import shape
from tests.support.doubles import recipe
from tests.support.full_methods import IMAGES, full

BASE = Recipe(backbone="exact", width=16, height=16, steps=6, cfg_scale=3.0, prompt="red", seed=5)


@pytest.fixture(scope="module")
def engine():
    made = Engine("exact")
    assert made.wait(60)
    yield made
    made.close()


def follow(engine, recipe, label="run"):
    recording = Recording(label, recipe)
    end = engine.submit(recipe, {}, recording).result()
    return trajectory_json.followed(recording, end.images[0], end.nfe, end.own_seconds), end


def test_the_record_is_the_run_and_changes_nothing_of_it(engine):
    one, end = follow(engine, BASE)
    plain = engine.submit(BASE, {}).result()
    assert np.array_equal(np.asarray(plain.images[0]), np.asarray(end.images[0])) and end.nfe == plain.nfe
    way, levels = one.trajectory, SCHEDULES["native"](6, engine.backbone.sigmas)
    torch.testing.assert_close(way.sigmas, torch.tensor(levels, dtype=torch.float64))
    s = way.sigmas.float().reshape(-1, 1, 1, 1, 1)
    euler = way.x0 + s[1:] / s[:-1] * (way.x[:-1] - way.x0)
    torch.testing.assert_close(way.x[1:], euler, atol=1e-4, rtol=1e-4)


def test_the_guidance_norm_is_the_distance_of_the_two_estimates(engine):
    one, _ = follow(engine, BASE)
    b, way = engine.backbone, one.trajectory
    red, null = b.encode_prompt(["red"]), b.encode_prompt([""])
    from samplers.protocol import Ask

    for n in (0, 3, 5):
        asks = (Ask(way.x[n], way.sigmas[n : n + 1].float(), cond) for cond in (red, null))
        c, u = (b.denoise(ask) for ask in asks)
        assert math.isclose(one.guidance_norms[n], float((c - u).square().mean().sqrt()), rel_tol=1e-3)
    alone, _ = follow(engine, BASE.model_copy(update={"cfg_scale": 1.0}))
    assert all(math.isnan(norm) for norm in alone.guidance_norms), "without guidance nobody asks for both"


def test_of_an_inversion_the_way_down_is_followed(engine):
    from PIL import Image

    from app.storage.image_files import content_hash

    image = Image.new("RGB", (16, 16), "red")
    uses = (Use(name="ddim_inversion", inputs={"source": content_hash(image), "source_prompt": "red"}),)
    recipe = BASE.model_copy(update={"methods": uses, "cfg_scale": 1.0})
    recording = Recording("inverted", recipe)
    end = engine.submit(recipe, {content_hash(image): image}, recording).result()
    way, _ = recording.descent()
    assert len(recording.steps) > len(way) and (way.sigmas.diff() < 0).all() and way.sigmas[-1] == 0
    torch.testing.assert_close(way.x[-1], recording.steps[-1].x)
    assert end.images


RUNNABLE = [n for n in METHODS if n != "cfg" and not method_checks.problems(recipe(methods=[full(n)]), load("exact"))]


@pytest.mark.parametrize("name", RUNNABLE)
def test_of_every_method_one_descent_is_followed_from_its_start(engine, name):
    """No preparation, and no window in the place of the state: from the highest level to 0, and where nothing is added
    on the way the levels fall and each state is Euler's step from the one before."""
    asked = recipe(methods=[full(name)], width=32 if name == "panorama" else 16, height=16, steps=6, cfg_scale=1.0)
    recording = Recording(name, asked)
    engine.submit(asked, IMAGES, recording).result()
    way, norms = recording.descent()
    assert way.x.shape[2:] == engine.backbone.latent_shape(asked.width, asked.height) and len(norms) == len(way)
    assert float(way.sigmas[0]) == pytest.approx(float(way.sigmas.max()), rel=1e-6) and way.sigmas[-1] == 0
    torch.testing.assert_close(way.x[-1], recording.steps[-1].x)
    if name in ("panorama", "null_text", "ddim_inversion", "direct_inversion"):
        s = way.sigmas.float().reshape(-1, 1, 1, 1, 1)
        assert (way.sigmas.diff() < 0).all()
        euler = way.x0 + s[1:] / s[:-1] * (way.x[:-1] - way.x0)
        torch.testing.assert_close(way.x[1:], euler, atol=1e-4, rtol=1e-4)


def test_what_is_drawn_of_two_runs(engine):
    unguided = BASE.model_copy(update={"cfg_scale": 1.0})
    runs = [follow(engine, unguided, "one")[0], follow(engine, BASE, "two")[0]]
    drawn = json.loads(json.dumps(trajectory_json.trajectories(runs, engine.backbone), allow_nan=False))
    one, two = drawn["runs"]
    assert one["apart"] is None and two["apart"]["x"][0] == 0 and two["apart"]["x"][-1] > 0
    assert len(one["figures"]["x_deviation_percent"]) == 7 and one["figures"]["x_deviation_percent"][0] == 0
    points = torch.tensor(drawn["paths"]["x"]["points"][0], dtype=torch.float64)
    assert points.shape == (7, 3)
    got, full = points.diff(dim=0).norm(dim=-1).sum(), float(shape.length(runs[0].trajectory.x)[0])
    assert 0.9 * full < got <= full * 1.001, "three axes hold nearly all of a path"
    strip = one["strips"]
    sheet = Image.open(io.BytesIO(b64decode(strip["x0"].partition(",")[2])))
    assert sheet.size == (strip["width"] * strip["count"], strip["height"]) and strip["count"] == 7


def test_a_strip_ends_with_the_image_itself(engine):
    """And not with a preview of the last latent."""
    way = follow(engine, BASE)[0].trajectory
    sheets = trajectory_json.strips(way, engine.backbone, Image.new("RGB", (64, 64), (0, 255, 0)))
    for name in ("x", "x0"):
        sheet = np.asarray(Image.open(io.BytesIO(b64decode(sheets[name].partition(",")[2]))), float)
        green = np.abs(sheet.reshape(64, -1, 64, 3) - (0, 255, 0)).mean((0, 2, 3)) < 20
        assert green.tolist() == [False] * (sheets["count"] - 1) + [True]


def test_runs_of_other_schedules_are_not_compared_step_by_step(engine):
    runs = [follow(engine, BASE)[0], follow(engine, BASE.model_copy(update={"steps": 4}))[0]]
    drawn = trajectory_json.trajectories(runs, engine.backbone)
    assert drawn["runs"][1]["apart"] is None and len(drawn["paths"]["x"]["points"]) == 2


def test_a_run_of_one_step_is_drawn_as_far_as_it_goes(engine):
    run, _ = follow(engine, BASE.model_copy(update={"steps": 1}))
    assert json.dumps(trajectory_json.trajectories([run], engine.backbone), allow_nan=False)


def test_the_files_hold_states_and_figures(engine):
    run, _ = follow(engine, BASE, '=1+1, "x"')
    with np.load(io.BytesIO(trajectory_json.archive([run, run]))) as archive:
        assert np.array_equal(archive["x_1"], run.trajectory.x.numpy()) and archive["sigmas_0"].shape == (7,)
    rows = list(csv.DictReader(io.StringIO(trajectory_json.table([run, run]))))
    assert len(rows) == 14 and rows[0]["run"] == '\'=1+1, "x"' and float(rows[0]["sigma"]) > float(rows[1]["sigma"])
    assert math.isclose(float(rows[0]["x_norm"]), float(run.trajectory.x[0].double().norm()), rel_tol=1e-4)


# ---- which runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", trajectory_form.READY)
def test_a_ready_one_is_a_few_runs(key):
    runs = trajectory_form.ready(Recipe(prompt="a red cube"), key)
    assert 2 <= len(runs) <= trajectory_form.MOST and len({label for label, _ in runs}) == len(runs)
    assert all(recipe.count == 1 for _, recipe in runs)


def test_with_and_without_the_condition():
    stack = (Use(name="perturbed_attention"),)
    runs = dict(trajectory_form.ready(Recipe(prompt="a red cube", methods=stack, negative="blue"), "condition"))
    assert runs["the whole stack"].methods and not runs["the prompt alone"].methods
    assert runs["the prompt alone"].prompt == "a red cube"
    none = runs["no condition"]
    assert not none.methods and none.prompt == none.negative == "" and none.cfg_scale == 1
    assert len(trajectory_form.ready(Recipe(prompt="a red cube"), "condition")) == 2


def test_runs_that_would_be_the_same_without_a_prompt_are_refused_and_one_alone_is_followed():
    for base, refused in ((Recipe(), ("guidance", "condition")), (Recipe(prompt="a", negative="a"), ("guidance",))):
        for key in trajectory_form.READY:
            if key in refused:
                with pytest.raises(RecipeError, match="Write a prompt there first"):
                    trajectory_form.ready(base, key)
            else:
                assert trajectory_form.ready(base, key)
    assert trajectory_form.ready(Recipe(methods=(Use(name="perturbed_attention"),)), "condition")
    for key in trajectory_form.READY:  # a click of someone who has written nothing is not refused
        base, words = trajectory_form.with_prompt(Recipe(), key)
        assert trajectory_form.ready(base, key) and (base.prompt in words) and bool(words) is bool(base.prompt)
        assert trajectory_form.with_prompt(Recipe(prompt="mine"), key) == (Recipe(prompt="mine"), "")
    assert [len(trajectory_form.of_image(Recipe(prompt=words))) for words in ("", "a red cube")] == [1, 2]


@pytest.mark.parametrize(
    "along, values, words",
    [("seed", "1,2,3,4,5,6,7", "too many"), ("steps", "4, 0", "out of range"), ("seed", "", "no values"),
     ("colour", "1", "no axis")],
)  # fmt: skip
def test_what_cannot_be_followed_is_said(along, values, words):
    with pytest.raises(RecipeError, match=words):
        trajectory_form.runs_of(Recipe(), along, values)


def test_going_tells_how_far_it_is_and_its_files_are_signed(tmp_path):
    state = AppState("exact", History(tmp_path))
    try:
        going = trajectory_form.TrajectoryJob(state, trajectory_form.runs_of(BASE, "cfg_scale", "1, 4"), False, "")
        frames = list(going.frames(0.0))
        assert frames[-1]["steps"] == frames[-1]["of"] == 12 and frames[-1]["busy"] == ["CFG Scale 1", "CFG Scale 4"]
        drawn = trajectory_form.result(state, going, "me")
        client = TestClient(Starlette(routes=all_routes(state)))
        found = client.get("/" + drawn["files"]["csv"])
        assert found.status_code == 200 and "attachment" in found.headers["content-disposition"]
        _, id, sign, _ = drawn["files"]["npz"].split("/")
        assert client.get(f"/trajectories/{id}/{sign}/trajectories.npz").content[:2] == b"PK"
        assert client.get(f"/trajectories/{id}/{'0' * len(sign)}/figures.csv").status_code == 404
        assert client.get(f"/trajectories/{id}/{sign}/drawn.json").status_code == 404
        anew = AppState("exact", History(tmp_path))  # as after a restart
        assert anew.trajectories.drawn(id) == json.loads(json.dumps(drawn))
        again = TestClient(Starlette(routes=all_routes(anew))).get("/" + drawn["files"]["csv"])
        assert again.content == found.content and again.headers["content-type"].startswith("text/csv")
        state.trajectories.folder = tmp_path / "no folder"
        state.trajectories.folder.touch()
        shown = trajectory_form.result(state, going, "me")
        assert shown["runs"] and shown["files"] is None and "not kept" in going.troubles[-1]
    finally:
        state.model().engine(0).close()


def test_a_run_that_fails_is_said_and_the_others_are_shown(tmp_path):
    state = AppState("exact", History(tmp_path))
    try:
        bad = BASE.model_copy(update={"methods": (Use(name="ddim_inversion", inputs={"source": "0" * 64}),)})
        going = trajectory_form.TrajectoryJob(state, [("good", BASE), ("bad", bad)], False, "")
        list(going.frames(0.0))
        assert going.troubles and going.troubles[0].startswith("bad: ")
        assert [run["label"] for run in trajectory_form.result(state, going, "me")["runs"]] == ["good"]
        alone = trajectory_form.TrajectoryJob(state, [("bad", bad)], False, "")
        list(alone.frames(0.0))
        with pytest.raises(trajectory_form.Stopped, match="bad: "):
            trajectory_form.result(state, alone, "me")
    finally:
        state.model().engine(0).close()


def test_what_is_found_before_the_runs_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_CACHE", str(tmp_path))
    state = AppState("exact", History(tmp_path))
    base = Recipe(prompt="a red disc", backbone="exact", width=64, height=64, steps=4, schedule="gits")
    try:
        going = trajectory_form.TrajectoryJob(state, [("4 steps", base), ("6 steps", base.but(steps=6))], False, "")
        frames = list(going.frames(0.0))
        searched = [frame for frame in frames if "Finding the schedule GITS" in frame["first"]]
        assert searched[-1]["steps"] > 6 and {frame["of"] for frame in searched} == {60}, (
            "of the search, not of the runs"
        )
        assert frames[-1]["steps"] == frames[-1]["of"] == 10
        assert not frames[-1]["first"] and all(going.ends)
        assert [len(one.steps) for one in going.recordings] == [4, 6], "the search is not part of what is followed"
    finally:
        state.model().engine(0).close()
