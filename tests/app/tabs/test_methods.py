"""Methods on the page without a browser: the stack, the strip, what is said at the cards, examples, addresses."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

import backbones
from app.engine import method_checks as run_methods
from app.engine.planner import Encoder, plan
from app.forms import examples, stack
from app.forms.page_catalogue import catalogue
from app.forms.stack import Card, Stack
from app.routes import all_routes
from app.schema.method_inputs import Use
from app.schema.recipe import Problem, Recipe, RecipeError
from app.schema.this_machine import Here
from app.service import models
from app.service.state import AppState
from app.storage.image_files import content_hash
from app.storage.image_history import History
from app.tabs import attention, create, image_view, methods, solver_knobs
from conditioning.registry import FAMILIES, METHODS
from tests.support.doubles import recipe
from tests.support.full_methods import IMAGES, full

ORACLE = backbones.load("exact")
NASTY = "<script>alert(1)</script> \"' & onerror="
ME, OTHER = (SimpleNamespace(session_hash=name) for name in ("me", "other"))  # visits
IMAGE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8))


@pytest.fixture
def state(tmp_path):
    return AppState("exact", History(tmp_path))


def cards(*each):
    return Stack(cards=tuple(Card.model_validate(one) for one in each))


# the catalogue ------------------------------------------------------------------------------------------------------


def test_every_method_and_family_is_known_by_itself():
    book = json.loads(json.dumps(catalogue()))
    assert set(book["methods"]) == set(METHODS) and {f["key"] for f in book["families"]} == set(FAMILIES)
    assert sorted(name for family in book["families"] for name in family["methods"]) == sorted(METHODS)
    for name, one in book["methods"].items():
        assert {k["name"] for k in one["knobs"]} == set(METHODS[name].knobs)
        assert all(i["name"] not in run_methods.SHARED and i["ask"] for i in one["inputs"])
        assert one["link"].endswith(one["paper"]) and one["cost"] and one["summary"].endswith(".")
        assert one["family"] in {f["key"] for f in book["families"]} and "`" not in one["summary"]


def test_operators_know_their_parameters_and_every_default_lies_inside():
    book = {one["name"]: one["parameters"] for one in catalogue()["operators"]}
    assert [p["name"] for p in book["inpainting"]] == ["mask"]
    for parameters in book.values():
        for one in parameters:
            assert one["type"] == "mask" or one["low"] <= one["default"] <= one["high"]


def test_every_input_and_knob_says_what_to_give_in_words_that_are_not_code():
    for method in catalogue()["methods"].values():
        for one in [*method["inputs"], *method["knobs"]]:
            assert one["help"] and not [part for part in ("(B", "`", "cond of") if part in one["help"]], one


# the stack ----------------------------------------------------------------------------------------------------------


def test_muted_cards_stay_out_of_the_recipe_and_solo_leaves_the_others_out():
    one, two, three = {"name": "ilvr"}, {"name": "repaint"}, {"name": "composable"}
    assert [u.name for u in cards(one, {**two, "muted": True}, three).uses] == ["ilvr", "composable"]
    assert [u.name for u in cards(one, {**two, "solo": True}, three).uses] == ["repaint"]
    assert cards({**one, "solo": True, "muted": True}, two).uses == ()
    moved = cards({**one, "muted": True}, two, three).at(Problem("methods.1.inputs.also", "x"))
    assert moved.field == "methods.2.inputs.also"
    assert cards(one).at(Problem("width", "x")).field == "width"


def test_what_comes_from_the_page_is_checked():
    whole = cards(full("diffedit"), full("multidiffusion"), full("ddnm", eta=0.5))
    assert Stack.read(whole.json()) == whole and Stack.read("") == Stack() == Stack.read(())
    for text, field in [
        ("{", "methods"),
        ("x" * 500_000, "methods"),
        (json.dumps({"cards": [{"name": "ilvr", "inputs": {"reference": 3}}]}), "methods.0.inputs.reference"),
        (json.dumps({"cards": [{"name": "ilvr", "power": 3}]}), "methods.0.power"),
        (json.dumps({"cards": [{"name": "ilvr"}] * 99}), "methods"),
    ]:
        with pytest.raises(RecipeError) as caught:
            Stack.read(text)
        assert caught.value.problems[0].field == field


def test_a_recipe_comes_back_as_cards_without_what_is_not_here():
    whole = recipe(methods=[full("ilvr"), {"name": "telepathy"}])
    assert [card.name for card in Stack.of(whole).cards] == ["ilvr"]
    assert Stack.of(whole).uses == whole.methods[:1]


RUNNABLE = [n for n in METHODS if n != "cfg" and not run_methods.problems(recipe(methods=[full(n)]), ORACLE)]


@pytest.mark.parametrize("names", [*[(n,) for n in RUNNABLE], ("composable", "multidiffusion", "ilvr", "sdedit")])
def test_the_formula_is_what_is_composed(names):
    whole = recipe(methods=[full(name) for name in names if name in RUNNABLE])
    assert stack.formula(whole, ORACLE) == plan(whole, ORACLE, Encoder(ORACLE), IMAGES).formula
    unguided = whole.but(cfg_scale=1)
    assert stack.formula(unguided, ORACLE) == plan(unguided, ORACLE, Encoder(ORACLE), IMAGES).formula


def test_the_strip_shows_the_order_the_mute_and_the_trouble():
    shown = stack.strip("Net", recipe(methods=[{"name": "ilvr"}]), cards(
        {"name": "composable", "muted": True}, {"name": "ddnm"}, {"name": "ilvr", "knobs": {"detail": 4}}
    ), {"methods.1.inputs.measured": "missing"})  # fmt: skip
    order = [shown.index(word) for word in ("Net", "Composable", "CFG", "Euler", "DDNM", "ILVR", "ilvr(euler)")]
    assert order == sorted(order)
    assert shown.count("data-off") == 1 and shown.count("data-wrong") == 1 and "low-pass resolution 4" in shown


def test_nothing_from_outside_is_markup():
    nasty = Recipe.make(prompt=NASTY, methods=[{"name": "composable", "knobs": {"weight": NASTY}}])
    pages = [
        stack.strip(NASTY, nasty, Stack.of(nasty)), image_view.made(image_view.Shown("1", "", nasty, "")),
        attention.busy(NASTY), attention.note(NASTY),
        attention.view(
            attention.AttentionSheet([NASTY], [1.0], np.zeros((4, 4), "u1")), image_view.Shown("1", NASTY, nasty, ""),
        ),
    ]  # fmt: skip
    for html in pages:
        assert "<script" not in html and '" onerror=' not in html


# examples -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cfg"}))
def test_every_method_has_an_example_with_which_nothing_is_wrong(name):
    made = examples.example(name, 64)
    use = Use(**made.card.model_dump(include={"name", "knobs", "inputs"}))
    whole = Recipe.make(backbone="exact", **made.settings, methods=[use])
    assert not [p for p in run_methods.problems(whole, ORACLE) if p.field != "methods.0"]  # but what the oracle lacks
    assert set(use.hashes()) <= set(made.images) and (whole.prompt or whole.cfg_scale == 1)  # pixels read no prompt


def test_the_scene_of_the_examples_is_what_its_words_say():
    known = examples.ground_truth(128)
    red, blue = (
        np.asarray(known.image)[int((b.top + b.bottom) * 64), int((b.left + b.right) * 64)] for b in known.boxes
    )
    assert red[0] > 150 > 100 > red[2] and blue[2] > 150 > 110 > blue[0]
    assert known.boxes[0].right < known.boxes[1].left and [b.text for b in known.boxes] == list(examples.NAMES)
    covered = np.asarray(known.mask)[..., 0] > 127
    box = known.boxes[0]
    assert covered[int(box.top * 128) : int(box.bottom * 128), int(box.left * 128) : int(box.right * 128)].mean() > 0.7
    assert covered.mean() < 0.25


def test_an_example_sets_the_guidance_it_was_tried_with():
    assert {name: examples.example(name, 128).settings["cfg_scale"] for name in ("edict", "sdedit")} == {
        "edict": 1.0, "sdedit": 4.0,
    }  # fmt: skip


def test_an_example_takes_the_place_of_the_stack_or_run_arguments_its_card(state):
    now = {"backbone": "exact", "methods": cards({"name": "ilvr", "knobs": {"detail": 3}}, {"name": "panorama"}).json()}
    _, made, alone = methods.example(state, {"name": "ilvr", "alone": True}, now)
    assert [card.name for card in alone.cards] == ["ilvr"] and made.settings["prompt"]
    _, _, kept = methods.example(state, {"name": "ilvr", "alone": False}, now)
    assert [card.name for card in kept.cards] == ["ilvr", "panorama"]
    assert kept.cards[0].knobs == {"detail": 3} and all(map(state.image, kept.cards[0].hashes()))
    with pytest.raises(RecipeError, match="no method"):
        methods.example(state, {"name": "<b>"}, now)


def test_a_method_that_wants_pixels_brings_a_network_that_has_them(tmp_path):
    several = AppState("still-life", History(tmp_path))
    assert methods.fitting(several, ["pixels"], "still-life").id in ("still-life-pixels", "exact")
    assert methods.fitting(several, ["attention.self"], "still-life").id == "still-life"
    several.model("exact")._engine = SimpleNamespace(backbone=ORACLE)
    assert methods.fitting(several, ["pixels"], "exact").id == "exact"


# what is said -------------------------------------------------------------------------------------------------------


class Nothing(tuple):
    """A run without events."""

    def cancel(self):
        pass


@pytest.fixture
def tab(state):
    import gradio as gr

    with gr.Blocks():
        made = create.tab(state)
    model = state.model()
    model._engine = SimpleNamespace(
        backbone=ORACLE, status="ready", trouble=None, wait=lambda seconds: True,
        here=lambda: Here({"exact": ORACLE.revision}, tuple(METHODS)),
        submit=lambda one, inputs, watch=None: (made.submitted.append((one, inputs)), Nothing())[1],
    )  # fmt: skip
    model._thread = None
    model._there.set()
    made.submitted = []
    return made


def values(**change):
    usual = {name: getattr(create.DEFAULTS, name, None) for name in create.FIELDS}
    usual |= solver_knobs.defaults(create.DEFAULTS.sampler)
    usual |= {"backbone": "exact", "width": 64, "height": 64, "methods": ""}
    return list((usual | change).values())


def test_what_is_missing_is_said_at_the_card_and_starts_nothing(tab):
    text = cards({"name": "composable", "muted": True}, {"name": "ilvr", "knobs": {"detail": 999}}).json()
    stacked = tab.restack(ME, *values(methods=text))
    shown, marks = stacked[tab.stack], json.loads(stacked[tab.marks])
    assert set(marks["problems"]) == {"methods.1.inputs.reference", "methods.1.knobs.detail"}
    assert "999" in marks["problems"]["methods.1.knobs.detail"] and "pixels" in marks["offers"]
    assert shown.count("data-wrong") == 1
    frames = list(tab.generation.run(ME, *values(methods=text), []))
    assert len(frames) == 1 and set(json.loads(frames[0][tab.problems])) == set(marks["problems"]) and not tab.submitted


def test_a_method_that_the_network_cannot_run_names_one_that_can(tab):
    tab.state.models["still-life"] = models.Model("still-life")
    text = cards({"name": "perturbed_attention"}, {"name": "composable"}).json()
    found = json.loads(tab.restack(ME, *values(methods=text))[tab.marks])["problems"]
    assert "attention within the image" in found["methods.0"]
    assert found["methods.0"].endswith("Choose another Model: Still Life.")
    assert "another Model" not in found["methods.1.inputs.also"]


def test_a_network_without_words_says_so_once(tab, monkeypatch):
    assert "<b>moon</b>" in tab.texts.unknown_note("a moon disc", "exact")
    monkeypatch.setattr(tab.state.model(), "_wordless", True)
    said = tab.texts.unknown_note("a moon disc", "exact")
    assert "reads no words" in said and "moon" not in said


def test_what_cannot_be_read_is_said_too(tab):
    text = json.dumps({"cards": [{"name": "ilvr", "inputs": {"reference": 3}}]})
    assert "methods.0.inputs.reference" in json.loads(tab.restack(ME, *values(methods=text))[tab.marks])["problems"]


def test_a_run_gets_its_images_and_keeps_them(tab):
    sha = tab.state.take(IMAGE)
    text = cards({"name": "ilvr", "inputs": {"reference": sha}}).json()
    list(tab.generation.run(ME, *values(methods=text), []))
    ((made, inputs),) = tab.submitted
    assert made.methods[0].inputs == {"reference": sha} and content_hash(inputs[sha]) == sha
    assert tab.state.history.input(sha) is not None


def test_an_image_that_is_gone_is_asked_for(tab):
    text = cards({"name": "ilvr", "inputs": {"reference": "ab" * 32}}).json()
    recipe_, problems = tab.check(*values(methods=text))
    assert recipe_ is None and "Give it again" in problems["methods.0.inputs.reference"]
    whole = recipe(methods=[{"name": "ilvr", "inputs": {"reference": "ab" * 32}}])
    assert "1 of the images" in tab.fill(whole, "Here.")[tab.restored]


def test_a_restored_recipe_brings_its_cards(tab):
    whole = recipe(methods=[full("composable", weight="0:1, 0.5:0")])
    back = tab.fill(whole, "Here.")
    assert Stack.read(back[tab.methods]).uses == whole.methods and back[tab.backbone] == "exact"


# addresses ----------------------------------------------------------------------------------------------------------


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_images_come_in_through_the_visit_token_only(state):
    client = TestClient(Starlette(routes=all_routes(state)))
    ours = {"X-Nine-Ways": "1"}
    assert client.post("/inputs?visit_token=guess", content=png(IMAGE), headers=ours).status_code == 403
    assert client.post(f"/inputs?visit_token={state.visit_token('me')}", content=png(IMAGE)).status_code == 403
    got = client.post(f"/inputs?visit_token={state.visit_token('me')}", content=png(IMAGE), headers=ours).json()
    assert got["sha256"] == content_hash(IMAGE) and (got["width"], got["height"]) == (16, 16)
    back = client.get(f"/inputs/{got['sha256']}.png")
    assert content_hash(Image.open(io.BytesIO(back.content))) == got["sha256"]
    asked = {"fit": "pad", "width": 48, "height": 16}
    as_given = Image.open(io.BytesIO(client.get(f"/inputs/{got['sha256']}.png", params=asked).content))
    assert as_given.size == (48, 16) and content_hash(as_given.crop((16, 0, 32, 16))) == got["sha256"]
    as_mask = client.get(f"/inputs/{got['sha256']}.png", params={**asked, "under": "", "feather": 2})
    assert len(Image.open(io.BytesIO(as_mask.content)).getcolors()) > 2, "between black and white"
    for wrong in ({"width": 9999}, {"under": "", "grow": 1.5}, {"fit": "squeeze"}):
        assert client.get(f"/inputs/{got['sha256']}.png", params={**asked, **wrong}).status_code == 400
    assert client.get(f"/inputs/{'0' * 64}.png").status_code == 404
    assert client.get("/inputs/..%2f..%2fsecret.png").status_code == 404
    wrong = client.post(f"/inputs?visit_token={state.visit_token('me')}", content=b"no image", headers=ours).json()
    assert "no image" in wrong["error"]


def test_on_a_space_a_hash_opens_nothing_to_another_visit(state, tab, monkeypatch):
    client = TestClient(Starlette(routes=all_routes(state)))
    mine, theirs = state.visit_token("me"), state.visit_token("other")
    sha = client.post(f"/inputs?visit_token={mine}", content=png(IMAGE), headers={"X-Nine-Ways": "1"}).json()["sha256"]
    monkeypatch.setenv("NINE_WAYS_HISTORY", "shared")
    assert all(client.get(f"/inputs/{sha}.png{who}").status_code == 200 for who in ("", f"?visit_token={theirs}"))
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    assert client.get(f"/inputs/{sha}.png?visit_token={mine}").status_code == 200
    for visit_token in ("", theirs, mine[:-1], mine[:24], "\u00e9", f"{mine}&door={theirs}"):
        assert client.get(f"/inputs/{sha}.png", params={"visit_token": visit_token}).status_code == 404
    # nor through a recipe that names it, a degradation of it, or a restored file
    text = cards({"name": "ilvr", "inputs": {"reference": sha}}).json()
    assert tab.check(*values(methods=text), visit_token=mine)[1] == {}
    assert "not here" in tab.check(*values(methods=text), visit_token=theirs)[1]["methods.0.inputs.reference"]
    list(tab.generation.run(OTHER, *values(methods=text), []))
    assert not tab.submitted
    assert "image" not in ask(client, theirs, sha) and "image" in ask(client, mine, sha)
    whole = recipe(methods=[{"name": "ilvr", "inputs": {"reference": sha}}])
    assert "1 of the images" in tab.fill(whole, "Here.", visit_token=theirs)[tab.restored]
    # who gives the same image may see it; after the visit nobody may: it is nowhere on the disk
    list(tab.generation.run(ME, *values(methods=text), []))
    assert len(tab.submitted) == 1 and state.history.input(sha) is None
    assert state.receive(png(IMAGE), theirs)["sha256"] == sha and state.image(sha, theirs) is not None


def test_examples_are_for_everyone(state, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    _, made, _ = methods.example(state, {"name": "ilvr", "alone": True}, {"backbone": "exact", "methods": ""})
    assert made.images and all(state.image(sha, state.visit_token("other")) for sha in made.images)


# what is measured -----------------------------------------------------------------------------------------------------


def ask(client, visit_token, sha, name="super_resolution", size=64, **given):
    given = {"image": sha, "name": name, **given}
    question = {"method": "ddnm", "input": "measured", "given": given, "backbone": "exact"}
    question |= {"width": size, "height": size}
    answer = client.post(f"/measured?visit_token={visit_token}", json=question, headers={"X-Nine-Ways": "1"})
    assert answer.status_code == 200
    return answer.json()


def test_a_card_shows_what_is_measured(tab, state):
    client, token = TestClient(Starlette(routes=all_routes(state))), state.visit_token("me")
    sha = state.take(IMAGE.resize((64, 64)), token)
    four, two = (ask(client, token, sha, parameters={"factor": factor}) for factor in (4, 2))
    assert four["words"] == "Measured: 2 × 2 of 8 × 8 pixels." and four["image"] != two["image"]
    assert "noise of 0.2" in ask(client, token, sha, parameters={"factor": 2}, sigma_y=0.2)["words"]
    for wrong in ({"parameters": {"factor": 3}}, {"name": "inpainting"}, {"name": "<b>"}, {"sigma_y": -1}, {"size": 1}):
        assert set(ask(client, token, sha, **wrong)) == {"error"}
    assert set(ask(client, token, "ab" * 32)) == {"error"}
    assert client.post("/measured?visit_token=guess", content=b"{}", headers={"X-Nine-Ways": "1"}).status_code == 403
    assert "error" in client.post(f"/measured?visit_token={token}", content=b"{", headers={"X-Nine-Ways": "1"}).json()


def test_large_images_are_made_smaller_and_old_drafts_make_room(state, monkeypatch):
    from app.service import state as module

    assert state.receive(png(Image.new("RGB", (3000, 1500))))["width"] == 2048
    monkeypatch.setattr(module, "DRAFTS", 3 * 16 * 16 * 2)
    names = [state.take(Image.new("RGB", (16, 16), (i, 0, 0))) for i in range(4)]
    assert [state.image(name) is not None for name in names] == [False, False, True, True]


def test_the_page_can_ask_what_there_is(state, monkeypatch):
    monkeypatch.setattr(type(state.model()), "engine", lambda self, seconds=None: None)
    client = TestClient(Starlette(routes=all_routes(state)))
    assert set(client.get("/catalogue.json").json()["methods"]) == set(METHODS)


# attention ----------------------------------------------------------------------------------------------------------


def test_the_maps_begin_with_the_word_that_stands_out():
    sheet = np.zeros((3 * 4, 2 * 4), np.uint8)
    sheet[5, 6] = 255  # the second word at the last step
    maps = attention.AttentionSheet(["a", "red", "disc"], [1.0, 0.0], sheet)
    assert attention.first(maps) == 1
    html = attention.view(maps, image_view.Shown("1", "x.png", recipe(), ""))
    assert html.count('aria-pressed="true"') == 1 and 'data-rows="3" data-columns="2"' in html


def test_maps_are_offered_where_they_can_be_had():
    shown = image_view.Shown("7", "x.png", recipe(), "")
    assert "Attention maps" not in image_view.made(shown)
    attentive = image_view.Shown("7", "x.png", recipe(), "", attentive=True)
    assert 'data-act="attention" data-id="7"' in image_view.made(attentive)
