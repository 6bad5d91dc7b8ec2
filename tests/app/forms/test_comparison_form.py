"""The tab Compare behind the page: what is chosen becomes cells, files go out and come back, addresses are signed."""

import csv
import io
import json

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.comparison.spec import Axis, Change, Comparison
from app.comparison.store import ComparisonStore
from app.forms import axis_values, comparison_form, references
from app.forms.examples import shared_example
from app.forms.presets import READY
from app.routes import all_routes
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe, RecipeError
from app.service.state import AppState
from app.storage.image_files import ImageError
from world.scene import COLOURS, draw

BASE = Recipe(backbone="exact", width=16, height=16, steps=2, cfg_scale=1.0)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    from app.storage.image_history import History

    made = AppState("exact", History(tmp_path_factory.mktemp("outputs")))
    assert made.model().engine(60).wait(60)
    yield made
    made.model().engine(0).close()


@pytest.fixture(scope="module")
def done(state):
    """A comparison that has been made: (id, store, running)."""
    seeds = Axis(name="seed", values=tuple(Change(label=f"seed {n}", recipe={"seed": n}) for n in (1, 2)))
    steps = Axis(name="steps", values=tuple(Change(label=f"=steps {n}", recipe={"steps": n}) for n in (2, 0)))
    store = ComparisonStore(state.history.folder / "comparisons")
    id = store.add(Comparison(title="A <b>", base=BASE, axes=(seeds, steps)))
    one = comparison_form.runner_of(state, store, id)
    one.start()
    one.join(60)
    return id, store, one


def own(state, base, columns, axes, shelf=None):
    """An own comparison: methods among the columns are stacks that were added, each with what its example has."""
    added = []
    for name in columns:
        if name not in ("stack", "none"):
            made = shared_example(name, state.model(base.backbone).default_size())
            for image in made.images.values():
                state.take(image)
            use = Use(**made.card.model_dump(include={"name", "knobs", "inputs"}))
            added.append(base.model_copy(update={"methods": (use,)}))
    chosen = [name for name in columns if name in ("stack", "none")]
    return comparison_form.own(state, base, chosen, axes, shelf, added=added)[0]


# ---- what is chosen --------------------------------------------------------------------------------------------


def test_values_of_an_axis_are_read_as_they_are_written():
    assert [v.recipe for v in axis_values.axis_of("seed", "1, 2,3").values] == [{"seed": n} for n in (1, 2, 3)]
    assert [v.recipe for v in axis_values.axis_of("sampler", "Heun, euler").values] == [
        {"sampler": "heun"}, {"sampler": "euler"},
    ]  # fmt: skip
    other = axis_values.axis_of("sampler", "k_euler_a, DPM++ 2M Karras, uni_pc, DDIM")  # as other tools write them
    assert [v.recipe for v in other.values] == [
        {"sampler": "ancestral"}, {"sampler": "dpmpp_2m", "schedule": "karras"}, {"sampler": "unipc"},
        {"sampler": "euler", "schedule": "leading"},
    ]  # fmt: skip
    assert [v.label for v in other.values] == ["Euler a", "DPM++ 2M Karras", "UniPC", "Euler DDIM"]
    schedules = axis_values.axis_of("schedule", "Normal, Simple, SGM Uniform, ddim_uniform")
    assert [v.recipe["schedule"] for v in schedules.values] == ["linspace", "native", "sgm_uniform", "leading"]
    assert [v.recipe["prompt"] for v in axis_values.axis_of("prompt", "a, b | c").values] == ["a, b", "c"]
    assert [v.knobs for v in axis_values.axis_of("sdedit.strength", "0.5, 1").values] == [
        {"sdedit.strength": 0.5}, {"sdedit.strength": 1},
    ]  # fmt: skip


def test_a_value_longer_than_a_label_is_taken_whole():
    long = "a large red sphere to the left of a small blue cube on grass at sunset, " * 4
    (one,) = axis_values.axis_of("prompt", long).values
    assert one.recipe["prompt"] == long.strip() and one.label.startswith("a large red") and len(one.label) == 80
    two, three = axis_values.axis_of("prompt", f"{long} at night | {long} by day").values
    assert (two.label, three.label) == ("… at night", "… by day")
    assert two.recipe["prompt"].endswith("at night") and len(two.recipe["prompt"]) > 200
    lines = Change(label="a red sphere\non grass")
    assert lines.label == "a red sphere on grass"


def test_labels_of_an_axis_are_told_apart():
    """Votes and figures are kept by them."""
    cut = [Change(label="the same words " * 9 + end, recipe={"seed": n}) for n, end in enumerate("abc")]
    axis = Axis(name="prompt", values=(*cut, Change(label="other")))
    labels = [value.label for value in axis.values]
    assert len(set(labels)) == 4 and [label[-2:] for label in labels[1:3]] == [" 2", " 3"]
    assert [value.recipe for value in axis.values] == [{"seed": 0}, {"seed": 1}, {"seed": 2}, {}]
    assert Axis.model_validate_json(axis.model_dump_json()) == axis


@pytest.mark.parametrize("kind, text, words", [
    ("seed", " , ", "there are no values"), ("colour", "1", "no axis"),
    ("seed", ", ".join(map(str, range(101))), "101 values are too many. Give at most 100"),
])  # fmt: skip
def test_what_cannot_be_an_axis_is_said(kind, text, words):
    with pytest.raises(RecipeError, match=words):
        axis_values.axis_of(kind, text)


def test_the_cost_before_it_is_images_evaluations_and_the_time_that_those_before_it_took(state, done):
    id, store, one = done
    seeds = Axis(name="seed", values=tuple(Change(label=str(n), recipe={"seed": n}) for n in range(50)))
    next = Comparison(base=BASE.model_copy(update={"steps": 40}), axes=(seeds,))
    words = "50 images · 2000 network evaluations (NFE)"
    empty = ComparisonStore(store.folder.parent / "no comparisons yet")
    assert comparison_form.cost_before(state, next, empty) == f"{words}; the time is known after the first ones."
    results = [result for cell in one.cells if (result := store.result(id, cell.key)) is not None]
    each = sum(result.seconds for result in results) / sum(result.nfe for result in results)
    said = comparison_form.cost_before(state, next, store)
    assert said == f"{words} · about {comparison_form.duration(2000 * each)}."
    other = Comparison(base=next.base.model_copy(update={"backbone": "still-life"}), axes=(seeds,))
    assert comparison_form.cost_before(state, other, store).endswith("; the time is known after the first ones.")
    ways = ("native", "gits")
    tuned = Axis(name="schedule", values=tuple(Change(label=one, recipe={"schedule": one}) for one in ways))
    said = comparison_form.cost_before(state, next.model_copy(update={"axes": (tuned,)}), store)
    assert said.startswith("2 images · more than 40 network evaluations")


def test_columns_are_the_stack_no_method_and_stacks_that_were_added(state):
    base = BASE.but(methods=(Use(name="perturbed_attention"),))
    made = own(state, base, ["stack", "none", "ilvr"], [("seed", "0, 1"), ("", "")])
    assert [len(value.methods or ()) for value in made.axes[0].values] == [1, 0, 1]
    assert made.size == 6 and all(state.image(sha) is not None for sha in made.hashes())


def test_other_scenes_as_reference_inputs(state):
    made = own(state, BASE, ["ilvr"], [("scene", "3, 5"), ("", "")])
    cells = made.cells()
    given = [cell.recipe.methods[0].inputs["reference"] for cell in cells]
    assert len(set(given)) == 2 and [cell.task.ground_truth for cell in cells] == given
    assert all(state.image(sha) is not None for sha in made.hashes()) and len({c.recipe.prompt for c in cells}) == 2
    with pytest.raises(RecipeError, match="not a scene number"):
        own(state, BASE, ["ilvr"], [("scene", "3, x")])


def test_boxes_words_and_prompts_move_with_the_scene(state):
    from app.forms.examples import AFTER, WORDS

    excite = Use(name="attend_and_excite", inputs={"words": WORDS})
    base = BASE.model_copy(update={"prompt": AFTER, "methods": (excite,)})
    made = own(state, base, ["stack", "layout_guidance", "sdedit"], [("scene", "3, 5"), ("", "")])
    words, layouts, edits = ([c for c in made.cells() if c.place[0] == i] for i in range(3))
    boxes = [cell.recipe.methods[0].inputs["boxes"] for cell in layouts]
    assert boxes[0] != boxes[1]
    for number, cell in zip((3, 5), layouts):
        names = [f"a {s.size} {s.colour} {s.shape}" for s in draw("test", number).solids]
        assert {box.text for box in cell.recipe.methods[0].inputs["boxes"]} <= set(names)
    for cell in words:
        looked_for = cell.recipe.methods[0].inputs["words"].split(", ")
        assert all(word in cell.recipe.prompt for word in looked_for)
    assert any(cell.recipe.methods[0].inputs["words"] != WORDS for cell in words)
    for number, cell in zip((3, 5), edits):  # an edit stays one: the prompt is that of the scene after it
        old = [solid.colour for solid in draw("test", number).solids]
        assert set(cell.recipe.prompt.split()) & (set(COLOURS) - set(old))


# ---- own images as references ---------------------------------------------------------------------------------


@pytest.fixture
def shelf(state, tmp_path):
    paths = []
    for name, colour in (("red, one.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (24, 16), colour).save(tmp_path / name)
        paths.append(tmp_path / name)
    return references.given(state, paths, {}, "")


def test_own_images_stand_for_every_image_that_the_columns_take(state, shelf):
    made = own(state, BASE, ["none", "ilvr", "dps"], [("image", ", ".join(shelf))], shelf)
    cells = made.cells()
    assert list(shelf) == ["red  one", "blue"] and len(cells) == 6
    for row, sha in enumerate(shelf.values()):
        none, ilvr, dps = cells[3 * row : 3 * row + 3]
        assert ilvr.recipe.methods[0].inputs["reference"] == sha == ilvr.task.source
        (measured,) = dps.recipe.methods[0].inputs.values()
        assert measured.image == sha and not none.recipe.methods
    assert all(state.image(sha) is not None for sha in made.hashes())


def test_of_an_own_image_the_map_of_edges_is_found_and_masks_stay(state, shelf):
    use = shared_example("controlnet", 16).card
    edges = Use(name="controlnet", inputs={"edges": use.inputs["edges"]})
    painted = Use(**shared_example("blended_latent", 16).card.model_dump(include={"name", "knobs", "inputs"}))
    base = BASE.model_copy(update={"methods": (painted, edges)})
    made = own(state, base, ["stack"], [("image", "blue")], shelf)
    (cell,) = made.cells()
    swapped, controlled = cell.recipe.methods
    assert swapped.inputs["mask"] == painted.inputs["mask"] and shelf["blue"] in swapped.inputs.values()
    found = state.image(controlled.inputs["edges"])
    assert controlled.inputs["edges"] not in shelf.values() and found.size == (24, 16)
    assert max(high for _, high in found.getextrema()) == 0, "an image of one colour has no edges"


@pytest.mark.parametrize(
    "columns, text, words",
    [(["ilvr"], "green", "No image 'green'"), (["none"], "blue", "No column takes an image"),
     (["controlnet"], "blue", "finished map of depth")],
)  # fmt: skip
def test_what_own_images_cannot_be_is_said(state, shelf, columns, text, words):
    with pytest.raises(RecipeError, match=words):
        own(state, BASE, columns, [("image", text)], shelf)


def test_two_files_of_one_name_are_two_rows_and_the_same_image_is_one(state, tmp_path):
    paths = []
    for folder, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "image.png")
        Image.new("RGB", (24, 16), colour).save(paths[-1])
    shelf = references.given(state, paths[:2], {}, "")
    assert list(shelf) == ["image", "image 2"] and len(set(shelf.values())) == 2
    assert references.given(state, paths, shelf, "") == shelf
    made = own(state, BASE, ["ilvr"], [("image", ", ".join(shelf))], shelf)
    assert [value.label for value in made.axes[1].values] == ["image", "image 2"]
    assert [cell.task.source for cell in made.cells()] == list(shelf.values())


def test_an_own_image_that_is_none_is_said(state, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        references.given(state, [tmp_path / "a.png"], {}, "")


@pytest.mark.parametrize("key", READY)
def test_a_ready_one_has_cells_that_can_be_and_its_images_are_held(state, key):
    made = comparison_form.ready(state, key)
    assert made.size >= 6 and not any(cell.problem for cell in made.cells())
    assert all(state.image(sha) is not None for sha in made.hashes())


def test_an_unknown_ready_one_is_said(state):
    with pytest.raises(RecipeError, match="no comparison 'x'"):
        comparison_form.ready(state, "x")


def test_in_private_an_image_that_the_visit_gave_opens_for_its_comparison_only(tmp_path, monkeypatch):
    from PIL import Image

    from app.schema.method_inputs import Use
    from app.storage.image_history import History

    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    state = AppState("exact", History(tmp_path))
    store, visit_token = ComparisonStore(tmp_path / "comparisons"), state.visit_token("somebody")
    sha = state.take(Image.new("RGB", (8, 8), "red"), visit_token)
    stack = (Use(name="ilvr", inputs={"reference": sha}),)
    comparison = Comparison(base=BASE, axes=(Axis(name="method", values=(Change(label="ilvr", methods=stack),)),))
    assert sha in comparison_form.runner_of(state, store, store.add(comparison), visit_token).images
    another = state.visit_token("another")
    assert sha not in comparison_form.runner_of(state, store, store.add(comparison), another).images


# ---- what the page gets -------------------------------------------------------------------------------------


def test_the_whole_and_then_what_changes(state, done):
    _, store, one = done
    whole = comparison_form.update(state, store, one, -1)
    assert json.dumps(whole, allow_nan=False)
    assert len(whole["cells"]) == 4 and whole["count"]["done"] == 2 and whole["count"]["failed"] == 2
    reasons = [state.get("reason", "") for state in whole["states"].values()]
    assert any("out of range" in reason for reason in reasons)
    later = comparison_form.update(state, store, one, one.wait(0, 0))
    assert later["states"] == {} and "cells" not in later


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_comparison_file_comes_back_the_same_and_says_what_differs(state, done, tmp_path):
    _, _, one = done
    given = json.loads(comparison_form.to_file(one, state))
    file = tmp_path / "c.json"
    file.write_text(json.dumps(given))
    comparison, words = comparison_form.from_file(state, file)
    assert comparison == one.comparison and "Nothing differs here" in words
    file.write_text(json.dumps({**given, "versions": {"torch": "0.1"}, "models": {"exact": "other"}}))
    _, words = comparison_form.from_file(state, file)
    assert "Made with torch 0.1" in words and "other weights" in words


def test_its_images_travel_with_it(state, tmp_path):
    made = own(state, BASE, ["ilvr"], [])
    store = ComparisonStore(state.history.folder / "comparisons")
    one = comparison_form.runner_of(state, store, store.add(made))
    file = tmp_path / "c.json"
    file.write_text(comparison_form.to_file(one, state))
    other = AppState("exact", type(state.history)(tmp_path / "elsewhere"))
    comparison, words = comparison_form.from_file(other, file)
    assert all(other.image(sha) is not None for sha in comparison.hashes()) and "missing" not in words


@pytest.mark.parametrize("text", ["", "[1", "{}", '{"kind": "nine-ways-comparison", "comparison": {"axes": 3}}'])
def test_other_files_are_refused_in_words(state, tmp_path, text):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(RecipeError) as refused:
        comparison_form.from_file(state, file)
    assert not any(word in str(refused.value) for word in ("Input should", "Field required", "valid"))


@pytest.fixture(scope="module")
def client(state):
    with TestClient(Starlette(routes=all_routes(state))) as made:
        yield made


def test_images_and_exports_open_by_their_signed_address_only(state, done, client):
    id, store, one = done
    whole = comparison_form.update(state, store, one, -1)
    made = [state["image"] for state in whole["states"].values() if state["status"] == "done"]
    assert all(client.get(f"/{address}").headers["content-type"] == "image/png" for address in made)
    sign = made[0].split("/")[2]
    assert client.get(f"/{made[0].replace(sign, 'x' * len(sign))}").status_code == 404
    assert client.get(f"/comparisons/{id}/{sign}/export.exe").status_code == 404
    assert client.get(f"/comparisons/../{sign}/export.csv").status_code == 404


def test_exports_hold_every_cell(state, done, client):
    _, store, one = done
    links = comparison_form.update(state, store, one, -1)["exports"]
    lines = list(csv.DictReader(io.StringIO(client.get(f"/{links['csv']}").text)))
    assert len(lines) == 4 and [line["network evaluations"] for line in lines] == ["2", "2", "", ""]
    assert lines[0]["steps"] == "'=steps 2", "no spreadsheet takes it for a formula"
    page = client.get(f"/{links['html']}").text
    assert page.count("data:image/png") == 2 and "A &lt;b&gt;" in page and "http" not in page.split("<pre>")[0]
    assert client.get(f"/{links['png']}").content[:4] == b"\x89PNG"
    assert json.loads(client.get(f"/{links['json']}").text)["kind"] == comparison_form.KIND


@pytest.mark.parametrize("prompt", ["a red sphere\non grass", "a\r\n\tred\u2028sphere\n", "x" * 2000, ""])
def test_a_prompt_of_several_lines_can_be_exported_as_an_image(state, client, prompt):
    store = ComparisonStore(state.history.folder / "comparisons")
    axes = (axis_values.axis_of("prompt", f"{prompt}|red") if prompt else comparison_form.axis_of("seed", "0, 1"),)
    id = store.add(Comparison(title=f"Two {prompt[:80]}", base=BASE.but(prompt=prompt), axes=axes))
    one = comparison_form.runner_of(state, store, id)
    links = comparison_form.update(state, store, one, -1)["exports"]
    for kind in links:
        assert client.get(f"/{links[kind]}").status_code == 200, kind


def test_an_export_that_fails_says_so(state, done, client, monkeypatch):
    from app.comparison import export

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "sheet", full)
    _, store, one = done
    answer = client.get(f"/{comparison_form.update(state, store, one, -1)['exports']['png']}")
    assert answer.status_code == 500 and answer.text.startswith("This file could not be made. ")
