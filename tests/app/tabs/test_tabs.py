"""The page without a browser: what it shows, what it refuses, and that it starts without torch."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

import backbones
from app.engine.events import Cancelled, Failed, Finished, Made, News, Progress, Queued
from app.forms import stack
from app.routes import all_routes
from app.schema.method_inputs import BoxValue
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_files import png_bytes
from app.storage.image_history import History
from app.tabs import create, image_view, solver_knobs
from common.image_bytes import data_uri

ROOT = Path(__file__).parents[3]
NASTY = "<script>alert(1)</script> \"' & onerror="


@pytest.fixture
def state(tmp_path):
    return AppState("exact", History(tmp_path))


class Oracle:
    """The exact backbone, with a word that it does not know."""

    default_size = 64

    def __getattr__(self, name):
        return getattr(backbones.load("exact"), name)

    def unknown_words(self, text):
        return [word for word in text.split() if word == "zebra"]


class Engine:
    """Plays a list of events, each as soon as a page looked, or at once where `unseen` is set; and waits for a
    threading.Event among them."""

    backbone = Oracle()
    status = "ready"
    trouble = None

    def __init__(self, *events):
        self.events, self.cancelled = events, 0
        self.looked, self.unseen = threading.Event(), threading.Event()

    def wait(self, seconds=None):
        return True

    def here(self):
        from app.schema.this_machine import Here

        return Here({"exact": "abc"})

    def submit(self, recipe, inputs=None, watch=None):
        self.recipe, self.inputs = recipe, inputs
        return self

    def cancel(self):
        self.cancelled += 1

    def show_previews(self, wanted):
        if wanted:
            self.looked.set()

    def __iter__(self):
        for event in self.events:
            if isinstance(event, threading.Event):
                event.wait(20)
                continue
            self.looked.clear()
            yield event
            while isinstance(event, News) and not self.unseen.is_set() and not self.looked.wait(0.01):
                pass


@pytest.fixture
def tab(state):
    with gr.Blocks():
        made = create.tab(state)

    def plays(*events):
        model = state.model()
        model._engine = Engine(*events)
        model._there.set()
        model._thread = None
        return model._engine

    made.plays = plays
    return made


VISIT = SimpleNamespace(session_hash="a visit")


def values(**change):
    usual = {name: getattr(create.DEFAULTS, name, None) for name in create.FIELDS}
    usual |= solver_knobs.defaults(create.DEFAULTS.sampler)
    usual |= {"seed": "-1", "backbone": "exact", "methods": ""}
    return [*(usual | change).values(), []]


def image(recipe=None):
    from app.schema.png_metadata import write

    made = Image.new("RGB", (16, 16), "red")
    made.info["parameters"] = write(recipe or Recipe())
    return made


def test_a_run_from_queue_to_image(tab):
    recipe = Recipe.make(prompt="a red sphere", seed=5)
    look = create_look()
    engine = tab.plays(
        Queued(2),
        Progress(1, 20, 3.0, (None,), None, 1),
        Progress(2, 20, 2.0, (look,), 0.9, 2),
        Made(0, image(recipe), recipe),
        Finished((image(recipe),), (recipe,), 1.2, 20, 40),
    )
    frames = list(tab.generation.run(VISIT, *values(prompt="a red sphere", seed=5)))
    shown = [frame[tab.stage] for frame in frames]
    assert "Starting" in shown[0] and frames[0][tab.problems] == "{}"
    assert any("2 before this" in html for html in shown)
    first, second = (html for html in shown if "<span>Step " in html)
    assert "data:image/jpeg" not in first
    assert "data:image/jpeg" in second and "0.9</span> s" in second
    assert 'data-state="done"' in shown[-1] and "pictures/1/" in shown[-1]
    assert "20</span> network evaluations" in shown[-1]
    assert frames[-1][tab.visit][0].recipe.seed == 5 and engine.recipe.seed == 5
    assert tab.state.history.count("") == 1


def test_a_visit_reaches_all_of_its_images_and_the_strip_shows_the_newest(tab, monkeypatch):
    from app.tabs import history

    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    visit: list[image_view.Shown] = []
    for seed in range(27):
        recipe = Recipe.make(seed=seed)
        tab.plays(Made(0, image(recipe), recipe), Finished((image(recipe),), (recipe,), 1.0, 1, 1))
        last = list(tab.generation.run(VISIT, *[*values(seed=seed)[:-1], visit]))[-1]
        visit = last[tab.visit]
    assert [shown.recipe.seed for shown in visit] == list(range(26, -1, -1))
    assert last[tab.film].count("<img") == 24
    with gr.Blocks():
        made = create.tab(tab.state)
        with gr.Tabs() as tabs, gr.Tab("History") as own:
            mine = history.tab(tab.state, made, tabs, own)
    assert "1 to 24 of 27" in mine.page("", False, visit, 0)[mine.where]
    assert "25 to 27 of 27" in mine.on("", False, visit, 0)[mine.where]
    oldest = SimpleNamespace(_data={"id": visit[-1].id})
    assert "gone" not in mine.open(visit, VISIT, oldest) and mine.recipe_of(oldest._data, visit).seed == 0


def create_look():
    import numpy as np

    return np.zeros((8, 8, 3), "uint8")


def test_minus_one_draws_a_seed_of_its_own(tab):
    engine = tab.plays(Cancelled())
    list(tab.generation.run(VISIT, *values()))
    first = engine.recipe.seed
    list(tab.generation.run(VISIT, *values()))
    assert 0 <= first < 2**32 and engine.recipe.seed != first


def test_a_page_that_was_left_finds_its_run_again(tab):
    """A reload: the run goes on meanwhile, its image is in the history, and the page that comes back shows it."""
    recipe = Recipe.make(seed=5)
    steps = [Progress(k, 20, 1.0, (None,), None, k) for k in range(20)]
    engine = tab.plays(*steps, Made(0, image(recipe), recipe), Finished((image(recipe),), (recipe,), 1.0, 20, 20))
    frames = tab.generation.run(VISIT, *values(seed=5))
    next(frames), next(frames), next(frames)
    frames.close()
    (live,) = tab.state.live_runs.of(tab.state.visits.place("a visit"))
    assert not engine.cancelled and live.ended is None
    again = tab.generation.join([], VISIT)
    shown = [next(again)[tab.stage] for _ in range(3)]
    assert 'data-state="running"' in shown[0] and "Step" in shown[2]
    again.close()
    engine.unseen.set()
    last = list(tab.generation.join([], VISIT))[-1]
    assert 'data-state="done"' in last[tab.stage] and [one.recipe.seed for one in last[tab.visit]] == [5]
    assert tab.state.history.count("") == 1
    (nothing,) = tab.generation.join([], VISIT)
    assert all(update == gr.skip() for update in nothing.values()), "its end was shown: nothing is left to join"
    assert json.loads(last[tab.kept])["images"] == [[last[tab.visit][0].id, tab.state.sign("image 1")]]


def test_a_second_run_waits_below_the_first_and_is_shown_after_it(tab):
    first, second, third = (Recipe.make(seed=seed, prompt=f"prompt {seed}") for seed in (1, 2, 3))
    gate = threading.Event()
    tab.plays(Progress(1, 20, 1.0, (None,), None, 1), gate, Made(0, image(first), first), finished(first))
    frames = tab.generation.run(VISIT, *values(seed=1))
    assert next(frames)[tab.queue] == ""
    next(frame for frame in frames if "<span>Step" in frame[tab.stage])
    for recipe in (second, third):
        tab.plays(Made(0, image(recipe), recipe), finished(recipe))
        (_, queued) = tab.generation.run(VISIT, *values(seed=recipe.seed, prompt=recipe.prompt))
    assert list(queued) == [tab.queue] and "prompt 2" in queued[tab.queue] and "prompt 3" in queued[tab.queue]
    waiting = tab.state.live_runs.of(tab.state.visits.place("a visit"))[2]
    left = tab.generation.take_out(VISIT, SimpleNamespace(_data={"id": waiting.id}))
    assert "prompt 2" in left and "prompt 3" not in left
    gate.set()
    *_, last = frames
    assert [one.recipe.seed for one in last[tab.visit]] == [2, 1] and last[tab.queue] == ""
    assert not last[tab.cancel].interactive


def finished(recipe):
    return Finished((image(recipe),), (recipe,), 1.0, 1, 1)


def test_cancel_reaches_the_run_of_its_visit_only(tab):
    engine = tab.plays(*(Progress(k, 20, 1.0, (None,), None, k) for k in range(20)))
    frames = tab.generation.run(VISIT, *values())
    next(frames), next(frames)
    tab.generation.stop(SimpleNamespace(session_hash="another"))
    assert not engine.cancelled
    tab.generation.stop(VISIT)
    assert engine.cancelled
    frames.close()


@pytest.mark.parametrize("end, word", [(Cancelled(), "Cancelled"), (Failed("The network gave NaN."), "NaN")])
def test_other_ends_free_the_buttons_and_say_why(tab, end, word):
    tab.plays(end)
    last = list(tab.generation.run(VISIT, *values()))[-1]
    assert word in last[tab.stage]
    assert not last[tab.cancel].interactive


def test_an_unexpected_error_becomes_a_sentence(tab, capsys):
    engine = tab.plays()
    engine.submit = lambda *given: 1 / 0
    last = list(tab.generation.run(VISIT, *values()))[-1]
    assert "ZeroDivisionError" in last[tab.stage] and "Traceback" not in last[tab.stage]
    assert not last[tab.cancel].interactive
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_still_shows_the_image(tab, monkeypatch):
    from app.storage.image_history import HistoryError

    def full(*a, **k):
        raise HistoryError("The disk is full.")

    monkeypatch.setattr(tab.state.history, "add", full)
    recipe = Recipe.make(seed=5)
    tab.plays(Made(0, image(recipe), recipe), Finished((image(recipe),), (recipe,), 1.0, 1, 1))
    html = list(tab.generation.run(VISIT, *values()))[-1][tab.stage]
    assert "data:image/png" in html and "The disk is full." in html


@pytest.mark.parametrize(
    "change, field",
    [({"width": 5}, "width"), ({"steps": 151}, "steps"), ({"cfg_start": 0.9, "cfg_end": 0.1}, "cfg_start")],
)
def test_trouble_names_its_field_and_starts_nothing(tab, change, field):
    engine = tab.plays()
    frames = list(tab.generation.run(VISIT, *values(**change)))
    assert len(frames) == 1 and field in json.loads(frames[0][tab.problems]) and not hasattr(engine, "recipe")


def test_what_the_backbone_cannot_do_is_said_too(tab):
    engine = tab.plays()
    frames = list(tab.generation.run(VISIT, *values(height=60)))
    assert "60" in json.loads(frames[0][tab.problems])["height"] and not hasattr(engine, "recipe")


def test_a_model_that_cannot_be_loaded_is_said(tab):
    tab.plays()
    model = tab.state.model()
    model._engine, model._trouble = None, "The model could not be loaded: no file."
    assert "no file" in list(tab.generation.run(VISIT, *values()))[-1][tab.stage]


def test_unknown_words_are_named(tab):
    tab.plays()
    note = tab.texts.unknown_note("a zebra")
    assert "zebra" in note and tab.texts.unknown_note("a sphere") == ""


# what comes back ----------------------------------------------------------------------------------------------------


def test_an_image_restores_and_the_upload_is_forgotten(tab, tmp_path):
    tab.plays()
    recipe = Recipe.make(prompt="a cube", seed=9, steps=7, backbone="exact", revision="another")
    file = tmp_path / "mine.png"
    from PIL.PngImagePlugin import PngInfo

    chunk = PngInfo()
    chunk.add_text("parameters", image(recipe).info["parameters"])
    image().save(file, pnginfo=chunk)
    back = tab.restore_from(str(file), VISIT)
    assert back[tab.steps] == 7 and back[tab.prompt] == "a cube"
    note = back[tab.restored]
    assert "mine.png" in note and "other weights" in note and not file.exists()


def test_a_file_that_is_no_image_is_said_at_the_field(tab, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"nothing")
    assert "nw-error" in tab.restore_from(str(file), VISIT)[tab.restored] and not file.exists()


# what is shown ------------------------------------------------------------------------------------------------------


def test_words_from_outside_are_escaped_everywhere():
    recipe = Recipe.make(prompt=NASTY, negative=NASTY)
    boxes = (BoxValue(left=0, top=0, right=1, bottom=1, text=NASTY),)
    given = (image_view.Given(NASTY, NASTY), image_view.Given(NASTY, None, boxes))
    shown = image_view.Shown(NASTY, NASTY, recipe, NASTY, image_view.Cost(1.0), NASTY, {NASTY: NASTY}, given=given)
    pages = [
        image_view.made(shown, favourite=True), image_view.film([shown, shown], "stage"), image_view.empty(),
        image_view.trouble(NASTY, (1, 1)), image_view.waiting(NASTY, (1, 1)), image_view.stopped(NASTY, (1, 1)),
        stack.strip(NASTY, recipe, stack.Stack()),
    ]  # fmt: skip
    for html in pages:
        assert "<script" not in html and '" onerror=' not in html


def test_durations_in_words():
    assert [image_view.duration(s) for s in (0.84, 12.3, 59.4, 72)] == ["0.8 s", "12 s", "59 s", "1 min 12 s"]


def test_the_formula_is_that_of_compose():
    compose = pytest.importorskip("conditioning.compose").compose
    from samplers import SAMPLERS

    for sampler, solver in SAMPLERS.items():
        recipe = Recipe.make(sampler=sampler)
        text = compose([("cfg", {"scale": 4.0})], solver.function, null={}, sigmas=[1.0, 0.0])[2]
        assert stack.formula(recipe) == text
        assert stack.formula(recipe.but(cfg_scale=1)) == compose([], solver.function)[2]


def test_the_strip_says_what_the_solver_is_told():
    recipe = Recipe.make(sampler="ancestral", schedule="gits", steps=8, eta=0.5, afs=True, stop_sigma=0.3)
    said = stack.strip("Still Life", recipe, stack.Stack())
    assert "GITS (8 steps), eta 0.5, analytical first step, to sigma 0.3<" in said
    assert "stopping_at(afs(ancestral), 0.3) over" in said
    assert "Karras, 8 steps<" in stack.strip(
        "Still Life", recipe.but(schedule="karras", eta=1, afs=False, stop_sigma=0), stack.Stack()
    )


def test_png_data_keeps_the_settings():
    import base64
    import io

    data = data_uri(png_bytes(image(Recipe.make(prompt="a cone")))).split(",")[1]
    assert "a cone" in Image.open(io.BytesIO(base64.b64decode(data))).info["parameters"]


# who may see what -----------------------------------------------------------------------------------------------------


def test_addresses_are_signed(state, tmp_path):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    entry = state.history.add(image(), Recipe())
    client = TestClient(Starlette(routes=all_routes(state)))
    good = state.address(entry.id)
    assert client.get(f"/{good}").headers["content-type"] == "image/png"
    assert client.get(f"/pictures/{entry.id}/{'0' * 24}.png").status_code == 404
    other = AppState("exact", History(tmp_path / "another folder"))
    assert client.get(f"/{other.address(entry.id)}").status_code == 404
    again = AppState("exact", History(state.history.folder))
    assert again.address(entry.id) == good, "after a restart it is still there"
    state.history.delete(entry.id)
    assert client.get(f"/{good}").status_code == 404
    for odd in ("x", "-1", "9" * 400, "../1"):
        assert state.entry(odd) is None
