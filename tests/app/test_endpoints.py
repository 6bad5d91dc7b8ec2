"""The named endpoints, by gradio_client against a running server on the exact mixture."""

from __future__ import annotations

import base64
import io
import json
import urllib.request

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image

from app.catalog import catalogue
from app.page import build, serve_options
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_history import History
from common.image_bytes import data_uri

RECIPE = {"prompt": "a red disc", "backbone": "exact", "width": 16, "height": 16, "steps": 4, "seed": 7, "count": 2}
KNOWN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
RESTORED = {"name": "ddnm", "inputs": {"measured": {
    "image": data_uri(KNOWN), "name": "super_resolution", "parameters": {"factor": 2}}}}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(client, state, address)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        state = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
        page = build(state)
        options = serve_options(state) | {"server_name": "127.0.0.1", "quiet": True}
        _, address, _ = page.launch(prevent_thread_lock=True, **options)
        yield Client(address, verbose=False, analytics_enabled=False), state, address
        page.close()
        if (engine := state.model().engine(0)) is not None:
            engine.close()


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        return answer.read()


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_there_are_four_and_no_listener_of_the_page_is_one(server):
    client, _, _ = server
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        "/generate", "/check", "/compare", "/methods"
    }  # fmt: skip


def test_methods_is_the_catalogue(server):
    client, _, _ = server
    assert client.predict(api_name="/methods") == json.loads(json.dumps(catalogue()))


def test_check_says_what_is_wrong_and_what_is_unused(server):
    client, _, _ = server
    good = client.predict(RECIPE | {"methods": [RESTORED], "eta": 0.5}, api_name="/check")
    assert good["problems"] == [] and {one["field"] for one in good["unused"]} == {"sampler", "eta"}
    assert good["formula"] == "ddnm over cfg(ask)" and good["nfe"] == 2 * RECIPE["steps"]
    bad = client.predict(RECIPE | {"steps": 0, "sampler": "magic"}, api_name="/check")
    assert {one["field"] for one in bad["problems"]} == {"steps", "sampler"} and bad["nfe"] is None


def test_generate_tells_its_way_and_gives_the_engines_images(server):
    client, state, address = server
    job = client.submit(RECIPE, api_name="/generate")
    last = job.result(60)
    events = [message["event"] for message in job.outputs()]
    assert events.count("image") == 2 and events[-1] == last["event"] == "finished"
    made = state.model().engine(0).submit(Recipe.make(**RECIPE)).result()
    assert last["nfe"] == made.nfe
    for uri, image in zip(last["images"], made.images, strict=True):
        assert np.array_equal(np.asarray(opened(uri)), np.asarray(image))
        assert read(opened(uri).info["parameters"]).exact
    first = next(message for message in job.outputs() if message["event"] == "image")
    kept = Image.open(io.BytesIO(fetched(f"{address}{first['address']}")))
    assert np.array_equal(np.asarray(kept), np.asarray(made.images[0]))


def test_generate_takes_images_and_refuses_in_words(server):
    client, _, _ = server
    assert client.predict(RECIPE | {"methods": [RESTORED]}, api_name="/generate")["event"] == "finished"
    lost = json.loads(json.dumps(RESTORED).replace(data_uri(KNOWN), "cat.png"))
    refused = client.predict(RECIPE | {"methods": [lost], "width": 17}, api_name="/generate")
    assert refused["event"] == "refused"
    assert {one["field"] for one in refused["problems"]} == {"width", "methods.0.inputs.measured"}
    other = client.predict(RECIPE | {"backbone": "elsewhere"}, api_name="/generate")
    assert other["event"] == "refused" and other["problems"][0]["field"] == "backbone"


def test_compare_makes_what_is_missing_and_serves_its_images(server):
    client, _, address = server
    values = [{"label": key, "recipe": {"sampler": key}} for key in ("euler", "heun")]
    spec = {"title": "Solvers", "base": RECIPE, "axes": [{"name": "Sampling method", "values": values}]}
    job = client.submit(spec, api_name="/compare")
    last = job.result(60)
    cells = [message for message in job.outputs() if message["event"] == "cell"]
    assert last["event"] == "finished" and last["made"] == last["done"] == len(cells) == 2
    assert all(Image.open(io.BytesIO(fetched(f"{address}{cell['address']}"))).size == (16, 16) for cell in cells)
    assert fetched(f"{address}{last['exports']['csv']}").count(b"\n") == 3
    assert client.predict(spec, api_name="/compare")["made"] == 0
    idle = spec | {"axes": [{"name": "Eta", "values": [{"label": f"{eta}", "recipe": {"eta": eta}} for eta in (0, 1)]}]}
    refused = client.predict(idle, api_name="/compare")
    assert refused["event"] == "refused" and "would be the same" in refused["problems"][0]["message"]
