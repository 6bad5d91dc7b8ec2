"""A batch as the stage shows it, its way into files and back after a reload, and what an image is compared with."""

import asyncio
import io
import re
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.engine.events import Finished
from app.routes import all_routes
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.storage.image_files import content_hash
from app.tabs import image_view
from tests.support.page import opened_page


def text_of(html):
    """What is read of it."""
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", html))


THREE = Recipe(prompt="a <b>cone</b>", backbone="exact", width=16, height=16, seed=5, count=3)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    page = opened_page(tmp_path_factory.mktemp("outputs"))
    model = page.state.model()
    model._thread = None
    model._there.set()
    return page


@pytest.fixture
def client(opened):
    return TestClient(Starlette(routes=all_routes(opened.state)))


def kept(opened, recipe, shade=0):
    """The images of a batch in the history: entries."""
    each = [recipe.one(i) for i in range(recipe.count)]
    size = (recipe.width, recipe.height)
    return [opened.state.history.add(Image.new("RGB", size, (40 * i, shade, 0)), one) for i, one in enumerate(each)]


def shown(opened, entries, batch="7"):
    return [image_view.Shown(str(one.id), opened.state.address(one.id), one.recipe, "", batch=batch) for one in entries]


def test_a_batch_is_a_grid_and_every_cell_has_its_thumbnail(opened):
    images = shown(opened, kept(opened, THREE))
    (other,) = shown(opened, kept(opened, THREE.one(2)), "")
    html, film = image_view.batch(images), image_view.film([*images, other], "x")
    assert "<b>cone" not in html and [f"Seed {seed}</span>" in html for seed in (5, 6, 7, 8)] == [True] * 3 + [False]
    cells = re.findall(r'class="nw-pick" data-of="([^"]+)"', html)
    assert cells == re.findall(r'data-of="([^"]+)"', re.sub(r'data-image="[^"]*"', "", film)) == ["7.0", "7.1", "7.2"]
    assert film.count('role="option"') == 5 and 'data-batch="7"' in film
    assert 'data-back="7"' in image_view.made(images[0]) and "data-back" not in image_view.made(other)
    unsaved = image_view.batch([*images[:2], image_view.Shown("", "data:x", THREE, "", note="not saved: full")])
    assert "data-save" in html and "data-save" not in unsaved and "not saved: full" in unsaved


def test_forming_images_of_a_batch_have_their_seeds_and_one_alone_is_no_button():
    each = [THREE.one(i) for i in range(3)]
    html = image_view.forming(["data:a", "", "data:c"], 1, 9, None, each)
    assert html.count("nw-pick") == 3 and "Seed 6" in html
    assert "nw-pick" not in image_view.forming(["a"], 1, 9, 2.0, each)
    varied = Recipe(variation_seed=8, variation_strength=0.5, count=2)
    assert "Variation 9" in image_view.forming(["a", "b"], 1, 9, None, [varied.one(0), varied.one(1)])


def test_what_a_batch_cost_stands_below_the_batch_and_not_below_each_image(opened):
    ended = Finished((), (THREE.one(0),), 12.0, 60, 60)
    cost = image_view.Cost.of(replace(ended, images=(None,) * 3))
    images = [replace(one, cost=cost) for one in shown(opened, kept(opened, THREE))]
    whole, one = (text_of(html) for html in (image_view.batch(images), image_view.made(images[0])))
    assert "12 s for the run of 3 images" in whole and "60 network evaluations in all" in whole
    assert "12 s" not in one and "evaluations" not in one
    alone = replace(images[0], cost=image_view.Cost.of(replace(ended, images=(None,))))
    assert "12 s for the run 60 network evaluations" in text_of(image_view.made(alone))


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "12 s for the run 60 network evaluations"),
        ({"own_seconds": 5.0, "shared": True}, "12 s for the run beside other runs, 5.0 s of them its own 60 network"),
        ({"own_seconds": 15.0, "shared": True, "remembered": 40},
         "12 s for the run beside other runs 60 network evaluations, 40 of them from memory"),
        ({"own_seconds": 5.0, "remembered": 1}, "12 s for the run 60 network evaluations, 1 of them from memory"),
    ],
)  # fmt: skip
def test_the_time_of_a_run_says_what_it_is_the_time_of(figures, words):
    """Other runs on the same machine, and evaluations that took no time as they were remembered."""
    cost = image_view.Cost.of(Finished((None,), (THREE.one(0),), 12.0, 60, 60, **figures))
    assert text_of(" ".join(cost.facts())).startswith(words)


def test_a_strip_does_not_cut_a_batch(opened):
    images = shown(opened, kept(opened, THREE))
    alone = shown(opened, kept(opened, THREE.one(0)), "")
    strip = [*alone, *images, *alone]
    assert [len(image_view.in_strip(strip, most)) for most in (1, 2, 3, 4, 5, 9)] == [1, 4, 4, 4, 5, 5]


def test_a_batch_comes_back_after_a_reload_and_by_its_address(opened):
    from app.forms import address

    entries = kept(opened, THREE, 90)
    ids = opened.state.visits.with_signatures("image", [str(one.id) for one in entries])
    now = SimpleNamespace(session_hash="now")
    back = opened.arrive(now, SimpleNamespace(_data={"images": [list(pair) for pair in ids]}))
    assert back[opened.create.stage].count("nw-pick") == 3 and back[opened.create.film].count('role="option"') == 4
    images = back[opened.create.visit]
    gone = opened.go(images, [], now, SimpleNamespace(_data={"address": address.of_recipe(THREE)}))
    assert gone[opened.create.stage].count("nw-pick") == 3
    alone = opened.go(images, [], now, SimpleNamespace(_data={"address": address.of_recipe(THREE.one(0))}))
    assert "nw-pick" not in alone[opened.create.stage]


def test_a_grid_as_png_has_all_images_and_the_settings_of_the_batch(opened, client, monkeypatch):
    entries = kept(opened, THREE)
    addresses = [opened.state.address(one.id) for one in entries]
    answer = client.post("/pictures.png", json=addresses)
    assert "nine-ways-5-grid.png" in answer.headers["content-disposition"]
    sheet = Image.open(io.BytesIO(answer.content))
    assert sheet.size == (32, 32) and [sheet.getpixel(at)[0] for at in ((0, 0), (20, 0), (0, 20))] == [0, 40, 80]
    found = read(sheet.info["parameters"])
    assert found.exact and found.recipe == THREE
    monkeypatch.setattr("app.routes.of_the_stage.MAX_PIXELS", 16 * 16)
    small = Image.open(io.BytesIO(client.post("/pictures.png", json=addresses).content))
    assert small.width * small.height <= 16 * 16
    mixed = client.post("/pictures.png", json=[addresses[2], addresses[0]]).content
    assert read(Image.open(io.BytesIO(mixed)).info["parameters"]).recipe == THREE.one(2)
    assert client.post("/pictures.png", json=["x"] * 65).status_code == 413
    assert client.post("/pictures.png", json=[addresses[0].replace("/", "/9", 1)]).status_code == 404
    assert client.post("/pictures.png", content=b"[3]").status_code == 400


def test_what_an_image_was_made_from_is_compared_with_it(opened, client):
    state = opened.state
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8))
    sha = state.history.keep_input(source)
    assert sha == content_hash(source)
    (entry,) = kept(opened, THREE.one(0).but(methods=[{"name": "sdedit", "inputs": {"source": sha}}]))
    (image,) = shown(opened, [entry], "")
    html = image_view.made(image)
    (address,) = re.findall(r'data-before="([^"]+)"', html)
    assert "Compare with the source" in html and "data-before" not in image_view.made(
        image_view.Shown("", "data:x", entry.recipe, "")
    )
    answer = client.get(f"/{address}")
    assert Image.open(io.BytesIO(answer.content)).size == (16, 16) and answer.headers["content-type"] == "image/png"
    assert client.get(f"/{address.replace('source', 'other')}").status_code == 404
    assert client.get(f"/{address.replace(f'/{entry.id}/', '/1/')}").status_code == 404, "signed for another image"
    lost = THREE.one(0).but(methods=[{"name": "sdedit", "inputs": {"source": "f" * 64}}])
    (image,) = shown(opened, kept(opened, lost), "")
    answer = client.get("/" + re.findall(r'data-before="([^"]+)"', image_view.made(image))[0])
    assert answer.status_code == 404 and "not here any more" in answer.text


def test_in_private_a_source_is_seen_by_its_own_visit_only(opened, client, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    token = opened.state.visit_token("mine")
    sha = opened.state.take(Image.new("RGB", (16, 16), "blue"), token)
    (entry,) = kept(opened, THREE.one(0).but(methods=[{"name": "sdedit", "inputs": {"source": sha}}]))
    address = f"/{opened.state.address(entry.id).removesuffix('.png')}/before/0.source.png"
    assert client.get(f"{address}?visit_token={token}").status_code == 200
    other = opened.state.visit_token("another")
    assert [client.get(one).status_code for one in (address, f"{address}?visit_token={other}")] == [404, 404]


def test_a_source_that_was_not_given_is_made(opened, client, monkeypatch):
    edits = {"name": "prompt_to_prompt", "inputs": {"source_prompt": "a red cube"}}
    (entry,) = kept(opened, THREE.one(0).but(methods=[edits]))
    asked = []

    def submit(request):
        asked.append(request.recipe)
        return SimpleNamespace(result=lambda: SimpleNamespace(images=[Image.new("RGB", (16, 16), "red")]))

    monkeypatch.setattr(type(opened.state), "runs", SimpleNamespace(submit=submit))
    address = f"/{opened.state.address(entry.id).removesuffix('.png')}/before/0.source_prompt.png"
    assert Image.open(io.BytesIO(client.get(address).content)).getpixel((0, 0)) == (255, 0, 0)
    assert [(one.prompt, one.methods) for one in asked] == [("a red cube", ())]


def test_a_source_that_nobody_waits_for_is_not_made_to_its_end(opened, monkeypatch):
    edits = {"name": "prompt_to_prompt", "inputs": {"source_prompt": "a red cube"}}
    (entry,) = kept(opened, THREE.one(0).but(methods=[edits]))
    begun, cancelled, sent = threading.Event(), threading.Event(), []

    def result():
        begun.set()
        assert cancelled.wait(30), "the run goes on though whoever asked has gone"
        raise RuntimeError("The run was cancelled.")

    run = SimpleNamespace(result=result, cancel=cancelled.set)
    monkeypatch.setattr(type(opened.state), "runs", SimpleNamespace(submit=lambda request: run))
    path = f"/{opened.state.address(entry.id).removesuffix('.png')}/before/0.source_prompt.png"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}

    async def receive():
        return {"type": "http.disconnect"} if begun.is_set() else {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    asyncio.run(Starlette(routes=all_routes(opened.state))(scope, receive, send))
    assert cancelled.is_set() and sent[0]["status"] == 500
