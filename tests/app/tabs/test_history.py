"""History without a browser: what it finds and shows, what is done with several images, and who may do it."""

import io
import zipfile
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.forms.history_words import titles
from app.routes import all_routes
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import create, history, history_cards, image_view

VISIT = SimpleNamespace(session_hash="a visit")


@pytest.fixture(scope="module")
def kept_with():
    """The tab is made once; a test gives it a state of its own."""
    state = AppState("exact", History("/dev/null/nowhere"))
    with gr.Blocks():
        made = create.tab(state)
        with gr.Tabs() as tabs, gr.Tab("History") as own:
            return history.tab(state, made, tabs, own)


@pytest.fixture
def kept(kept_with, tmp_path):
    kept_with.state = AppState("exact", History(tmp_path))
    return kept_with


@pytest.fixture
def client(kept):
    return TestClient(Starlette(routes=all_routes(kept.state)))


def add(kept, **fields):
    return kept.state.history.add(Image.new("RGB", (16, 16), "red"), Recipe.make(backbone="exact", **fields))


def asks(**data):
    return SimpleNamespace(_data=data)


def visit_of(*entries):
    return [image_view.Shown(str(entry.id), "", entry.recipe, "") for entry in entries]


def test_people_find_methods_and_samplers_by_what_they_call_them():
    called = titles({"still-life": "Still Life"})
    wanted = {
        "semantic_guidance": "sega", "prompt_to_prompt": "prompt-to-prompt", "sdedit": "sdedit", "pigdm": "πgdm",
        "controlnet": "re-purposing", "ddim_inversion": "inversion", "dpmpp_2m": "dpm++", "ancestral": "euler a",
        "flow_shift": "shift", "still-life": "still",
    }  # fmt: skip
    for name, words in wanted.items():
        assert words in called[name].casefold(), (name, called[name])


def test_cards_show_their_methods_and_a_star(kept):
    add(kept, prompt="a cube", methods=[{"name": "ilvr"}, {"name": "cfg_of_tomorrow"}])
    entry = add(kept, prompt="a cone", seed=5)
    kept.state.history.favour(entry.id, True)
    plain, stacked = kept.page("", False, [], 0)[kept.grid].split("<li>")[1:]
    assert "ILVR + cfg_of_tomorrow" in stacked and "--nw-correction" in stacked and "nw-card-ways" not in plain
    assert 'aria-pressed="true"' in plain and 'aria-pressed="false"' in stacked and "seed 5, a cone" in plain
    only = kept.page("", True, [], 0)[kept.grid]
    assert "a cone" in only and "a cube" not in only and "a cube" in kept.page("-cone", False, [], 0)[kept.grid]
    assert "No favourite has" in kept.page("nothing", True, [], 0)[kept.grid]


def test_several_are_deleted_and_brought_back(kept):
    entries = [add(kept, prompt=f"number {i}", seed=i) for i in range(3)]
    ids = f"{entries[0].id} {entries[2].id}"
    after = kept.remove("", False, [], 0, asks(ids=ids))
    assert "2 images are deleted" in after[kept.grid] and f'data-undo="{ids}"' in after[kept.grid]
    assert after[kept.detail] == "" and "of 1" in after[kept.where]
    back = kept.undo("", False, [], 0, VISIT, asks(ids=ids))
    assert "of 3" in back[kept.where] and "number 0" in back[kept.detail] and "nw-undo" not in back[kept.grid]
    again = kept.undo("", False, [], 0, VISIT, asks(ids=ids + " 99 x"))
    assert "of 3" in again[kept.where], "what is back already stays, what never was is left out"
    assert "cannot be undone" in kept.undo("", False, [], 0, VISIT, asks(ids="99"))[kept.grid]


def test_favourites_are_made_from_the_card_the_detail_and_the_selection(kept):
    one, two = add(kept, prompt="one"), add(kept, prompt="two")
    after = kept.favourite("", False, [], 0, VISIT, asks(ids=f"{one.id} {two.id}", on="on", shown=str(one.id)))
    assert kept.state.history.count(favourites=True) == 2
    assert 'data-act="favourite"' in after[kept.detail] and 'data-on=""' in after[kept.detail]
    other = kept.favourite("", False, [], 0, VISIT, asks(ids=str(two.id), on="", shown=str(one.id)))
    assert kept.detail not in other and kept.state.history.count(favourites=True) == 1
    assert kept.detail in kept.favourite("", False, [], 0, VISIT, asks(id=str(one.id), on=""))


def test_what_an_image_was_made_from_is_shown(kept):
    source, mask = (kept.state.history.keep_input(Image.new("RGB", (8, 8), shade)) for shade in ("blue", "white"))
    degraded = {"name": "inpainting", "image": source, "parameters": {"mask": mask}}
    box = {"left": 0, "top": 0, "right": 0.5, "bottom": 1, "text": "sky"}
    uses = [
        {"name": "repaint", "inputs": {"known": source, "mask": "f" * 64}},
        {"name": "ddnm", "inputs": {"measured": degraded}},
        {"name": "layout_guidance", "inputs": {"boxes": [box]}},
        {"name": "composable", "inputs": {"also": "a prompt is no image"}},
    ]  # fmt: skip
    recipe = Recipe.make(methods=uses)
    found = history_cards.given(recipe, lambda sha: None if sha == "f" * 64 else f"at/{sha}")
    assert [(one.label, one.source) for one in found] == [
        ("RePaint: Image", f"at/{source}"), ("RePaint: Mask", None),
        ("DDNM: Image before Inpainting", f"at/{source}"), ("DDNM: Mask", f"at/{mask}"),
        ("Layout guidance: Boxes", None),
    ]  # fmt: skip
    entry = add(kept, methods=uses)
    html = kept.open([], VISIT, asks(id=str(entry.id)))
    assert html.count("<figure") == 5 and "sky" in html and "not here any more" in html
    for address in {part.split('"')[0] for part in html.split('href="inputs/')[1:]}:
        assert TestClient(Starlette(routes=all_routes(kept.state))).get(f"/inputs/{address}").status_code == 200


def test_a_zip_has_the_images_that_were_asked_for(kept, client):
    entries = [add(kept, prompt=f"number {i}") for i in range(3)]
    addresses = [kept.state.address(entry.id) for entry in entries]
    answer = client.post("/pictures.zip", json=[*addresses[:2], addresses[0]])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == sorted(entry.path.name for entry in entries[:2])
        assert all(archive.read(entry.path.name) == entry.path.read_bytes() for entry in entries[:2])
    kept.state.history.delete(entries[0].id)
    assert "any more" in client.post("/pictures.zip", json=addresses[:1]).text
    assert client.post("/pictures.zip", content=b"{").status_code == 400
    assert client.post("/pictures.zip", json=[1]).status_code == 400
    assert client.post("/pictures.zip", json=["x"] * 500).status_code == 413


def test_in_private_nobody_reaches_another_visitors_images(kept, client, monkeypatch):
    mine, theirs = (add(kept, prompt=prompt) for prompt in ("mine", "theirs"))
    visit, wanted = visit_of(mine), asks(id=str(theirs.id), ids=str(theirs.id), on="on", shown=str(theirs.id))
    monkeypatch.setenv("NINE_WAYS_HISTORY", "shared")
    assert "theirs" in kept.page("", False, visit, 0)[kept.grid] and "theirs" in kept.open(visit, VISIT, wanted)

    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    pages = [kept.page(words, False, visit, 0) for words in ("", "-nothing", "mine")]
    pages += [kept.remove("", False, visit, 0, wanted), kept.favourite("", False, visit, 0, VISIT, wanted)]
    kept.state.history.delete(theirs.id)
    pages += [kept.undo("", False, visit, 0, VISIT, wanted)]
    for page in pages:
        shown = str(page.get(kept.grid, "")) + str(page.get(kept.detail, ""))
        assert "mine" in shown and "theirs" not in shown
    assert kept.state.history.get(theirs.id) is None, "another's delete cannot be undone"
    assert kept.state.history.restore(theirs.id).favourite is False
    assert "gone" in kept.open(visit, VISIT, wanted) and kept._shown(str(theirs.id), visit) is None
    assert kept.page("theirs", True, visit, 0)[kept.grid].count("<li>") == 0
    kept.remove("", False, visit, 0, wanted)
    assert kept.state.history.get(theirs.id) is not None

    signed, guessed = kept.state.address(mine.id), f"pictures/{theirs.id}/{'0' * 24}.png"
    swapped = kept.state.address(mine.id).replace(f"/{mine.id}/", f"/{theirs.id}/")
    with zipfile.ZipFile(io.BytesIO(client.post("/pictures.zip", json=[signed, guessed, swapped]).content)) as archive:
        assert archive.namelist() == [mine.path.name]
    assert client.post("/pictures.zip", json=[guessed, swapped, "../history.sqlite3"]).status_code == 404
