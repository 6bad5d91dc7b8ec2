"""Files that version 0.1 wrote still open, say what they said, and give the same images on the same weights."""

import hashlib
import json
import shutil
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.comparison.spec import Comparison, key_of
from app.comparison.store import ComparisonStore
from app.comparison.task import Task
from app.engine.engine import Engine
from app.forms import comparison_form
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_files import content_hash, open_upload
from app.storage.image_history import History

WRITTEN = Path(__file__).parents[1] / "fixtures" / "written_by_0_1"
MADE = json.loads((WRITTEN / "made.json").read_text())
RECIPES = sorted(MADE)
TASK = json.loads(Task().model_dump_json())  # of before, nothing was said of it
COMPARISONS = {"Solvers by steps": "samplers", "Restored": "restoration"}
#: Root mean square, in steps of 8 bits. On one CPU images agree bit for bit; with torch, oneDNN and MKL held to other
#: instruction sets (SSE, AVX2) they differ by 0.03 at most, and by 0.15 where the search of LD3 enlarges the rounding.
TOLERANCE = {name: 0.1 for name in MADE} | {"schedule_of_ld3": 0.5}
#: What the solvers of these files did then, when eta was a field of every recipe and the rest could not be set.
KNOBS = {"deis": {"order": 3}, "ipndm": {"order": 4}, "lms": {"order": 4}, "unipc": {"order": 3, "corrector": True},
         "sa_solver": {"tau": 1.0, "order": 3, "corrector_order": 3}}  # fmt: skip
WITH_ETA = ("ancestral", "dpmpp_2m_sde")
BY_MACHINE = ("revision", "versions")  # empty until a machine has made the image


def recipe_json(name):
    return (WRITTEN / "recipes" / f"{name}.json").read_text()


def image_of(name, index=0):
    return WRITTEN / MADE[name]["images"][index]


def fields_of(recipe):
    """As the app writes them: a number that turned into text, or a box into a list, is a difference."""
    return json.loads(recipe.to_json())


def renamed(written):
    """The same JSON by the names of now."""
    if isinstance(written, list):
        return [renamed(value) for value in written]
    if not isinstance(written, dict):
        return written
    names = {"picture": "image", "truth": "ground_truth"}
    return {names.get(name, name): renamed(value) for name, value in written.items()}


def as_now(written):
    """The same recipe in schema 2: the solver with its knobs, the image of a degradation by that name."""
    written = renamed(written)
    name, eta = written["sampler"], written["eta"]
    knobs = {"eta": eta} if name in WITH_ETA else KNOBS.get(name, {})
    return {"schema": 2} | without(written, "eta") | {"sampler": {"name": name, "knobs": knobs}}


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


@pytest.fixture
def history(tmp_path):
    """A copy: opening a history may write to its index."""
    shutil.copytree(WRITTEN / "history", tmp_path / "history")
    opened = History(tmp_path / "history")
    yield opened
    opened.close()


# ---- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_said(name):
    written = json.loads(recipe_json(name))
    assert fields_of(Recipe.from_json(recipe_json(name))) == as_now(written)


@pytest.mark.parametrize("name", RECIPES)
def test_the_text_of_an_image_gives_the_very_recipe(name):
    reading = read((WRITTEN / "recipes" / f"{name}.txt").read_text())
    assert (reading.exact, reading.notes) == (True, ())
    assert fields_of(reading.recipe) == as_now(json.loads(recipe_json(name)))


@pytest.mark.parametrize("name", RECIPES)
def test_the_readable_settings_alone_give_what_they_can_say(name):
    """A text whose exact recipe was cut off, as some sites do."""
    text, exact, _ = (WRITTEN / "recipes" / f"{name}.txt").read_text().partition(', Nine Ways: "{')
    assert exact, "the text ends with the exact recipe"
    written, reading = as_now(json.loads(recipe_json(name))), read(text)
    assert not reading.exact
    said = ("prompt", "negative", "width", "height", "sampler", "schedule", "steps", "cfg_scale", "cfg_rescale",
            "cfg_start", "cfg_end", "seed")  # fmt: skip
    assert {key: fields_of(reading.recipe)[key] for key in said} == {key: written[key] for key in said}


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_carries_its_recipe(name):
    for index in range(len(MADE[name]["images"])):
        upload = open_upload(image_of(name, index))
        reading = read(upload.parameters)
        assert (reading.exact, reading.notes) == (True, ())
        found, written = fields_of(reading.recipe), as_now(json.loads(recipe_json(name)))
        own = {"seed": (written["seed"] + index) % 2**32, "count": 1}  # of this image alone
        assert without(found, *BY_MACHINE) == without(written, *BY_MACHINE) | own
        assert found["revision"] and found["versions"]["nine-ways"] == "0.1.0" and found["versions"]["device"] == "cpu"
        assert upload.image.size == (written["width"], written["height"])


def test_the_history_lists_every_image_with_its_recipe(history):
    assert history.note is None, "nothing had to be repaired"
    entries = {entry.path.relative_to(history.folder).as_posix(): entry for entry in history.search(limit=100)}
    wanted = [file.removeprefix("history/") for name in RECIPES for file in MADE[name]["images"]]
    assert sorted(entries) == sorted(wanted)
    for file, entry in entries.items():
        in_the_image = read(open_upload(WRITTEN / "history" / file).parameters).recipe
        assert fields_of(entry.recipe) == fields_of(in_the_image)
        assert entry.seconds > 0 and entry.made > 1.7e9
    assert history.count("direct_inversion") == history.count("yellow 3") == 1
    assert history.count("exact") == 4


def test_the_history_of_before_takes_favourites_and_undo_and_0_1_still_opens_it(history):
    one, two, *_ = history.search(limit=100)
    assert history.favour(one.id, True) and history.delete(two.id)
    assert history.restore(two.id) == two and history.count(favourites=True) == 1
    assert history.count("-exact") == history.count() - 4 and history.count("euler") > 0
    history.close()
    with sqlite3.connect(history.folder / "history.sqlite3") as index:  # 0.1 puts an index with other columns aside
        assert {row[1] for row in index.execute("PRAGMA table_info(pictures)")} == {
            "id", "file", "made", "seconds", "words", "recipe"
        }  # fmt: skip


def test_the_inputs_of_every_recipe_lie_beside_the_history(history):
    hashes = {sha for name in RECIPES for use in Recipe.from_json(recipe_json(name)).methods for sha in use.hashes()}
    assert len(hashes) == 4
    assert all(content_hash(history.input(sha)) == sha for sha in hashes)


def test_comparisons_open_with_their_cells_and_votes(history):
    kept = ComparisonStore(history.folder / "comparisons")
    found = {comparison.title: (id, comparison, count) for id, comparison, count in kept.all()}
    assert found.keys() == COMPARISONS.keys()
    for title, (id, comparison, count) in found.items():
        written = json.loads((WRITTEN / "comparisons" / f"{COMPARISONS[title]}.json").read_text())["comparison"]
        now = {"base": as_now(written["base"]), "task": TASK}
        assert json.loads(comparison.model_dump_json()) == renamed(written) | now
        cells = {cell.key: cell for cell in comparison.cells()}
        assert count == len(cells), "every cell is known by the key that it was kept under: nothing is made again"
        for key, cell in cells.items():
            result = kept.result(id, key)
            assert result.nfe > 0 and result.rows > 0 and result.seconds > 0 and result.formula
            in_the_image = read(open_upload(kept.image(id, key)).parameters).recipe
            assert without(fields_of(in_the_image), *BY_MACHINE) == without(fields_of(cell.recipe), *BY_MACHINE)
        labels = [value.label for value in comparison.axes[0].values]
        pairs = ((0, 1), (0, 2), (1, 2), (2, 0))
        assert kept.votes(id) == [(labels[better], labels[worse]) for better, worse in pairs]
    id, comparison, _ = found["Restored"]
    assert any({"psnr", "ssim"} <= set(kept.result(id, cell.key).figures) for cell in comparison.cells())


@pytest.mark.parametrize("title", COMPARISONS)
def test_a_comparison_file_opens_and_brings_its_images(title, tmp_path):
    state = AppState("exact", History(tmp_path))
    path = WRITTEN / "comparisons" / f"{COMPARISONS[title]}.json"
    comparison, note = comparison_form.from_file(state, path)
    written = json.loads(path.read_text())
    now = {"base": as_now(written["comparison"]["base"]), "task": TASK}
    assert json.loads(comparison.model_dump_json()) == renamed(written["comparison"]) | now
    assert set(comparison.hashes()) == set(written["pictures"])
    assert len(comparison.hashes()) == (2 if title == "Restored" else 0)
    assert all(content_hash(state.image(sha)) == sha for sha in comparison.hashes())
    assert "missing" not in note and "damaged" not in note


def test_an_axis_over_eta_is_one_over_the_knob_of_the_solvers():
    base = {"sampler": "euler", "eta": 0.5, "backbone": "exact"}
    samplers = [{"label": name, "recipe": {"sampler": name}} for name in ("ancestral", "dpmpp_2m_sde", "euler")]
    etas = [{"label": f"Eta {eta}", "recipe": {"eta": eta}} for eta in (0.0, 0.25)]
    axes = [{"name": "Sampling method", "values": samplers}]
    alone = Comparison.read(json.dumps({"base": base, "axes": axes}))
    knobs = [cell.recipe.sampler_knobs for cell in alone.cells()]
    assert knobs == [{"eta": 0.5}, {"eta": 0.5}, {}], "the eta of the base was that of every solver"
    for both in ([*axes, {"name": "Eta", "values": etas}], [{"name": "Eta", "values": etas}, *axes]):
        comparison = Comparison.read(json.dumps({"base": base, "axes": both}))
        cells = {(cell.recipe.sampler, cell.recipe.sampler_knobs.get("eta")) for cell in comparison.cells()}
        expected = {(name, eta) for name in ("ancestral", "dpmpp_2m_sde") for eta in (0.0, 0.25)} | {("euler", None)}
        assert cells == expected
        assert Comparison.read(comparison.model_dump_json()).cells() == comparison.cells()


def test_cells_that_were_kept_with_another_eta_are_found():
    """Their key was a hash of the fields as they were then."""
    written = json.loads(recipe_json(next(name for name in RECIPES if json.loads(recipe_json(name))["eta"] != 1)))
    fields = json.dumps(without(written, *BY_MACHINE), sort_keys=True)
    assert key_of(Recipe.make(**written)) == hashlib.sha256(fields.encode()).hexdigest()[:32]
    changed = Recipe.make(**written | {"eta": 0.9})
    assert key_of(changed) != key_of(Recipe.make(**written))


# ---- what is made ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine():
    """Of a backbone, once each: torch in float32 as the images were made, whatever is quicker here."""
    started = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        patch.setenv("NINE_WAYS_CACHE", "")  # schedules are tuned here and now

        @cache
        def start(id):
            made = Engine(id)
            started.append(made)
            assert made.wait(120), made.status
            return made

        yield start
    for made in started:
        made.close()


def difference(images, others):
    """Root mean square over all images, in steps of 8 bits."""
    a, b = (np.stack([np.asarray(image.convert("RGB"), np.float64) for image in some]) for some in (images, others))
    return float(np.sqrt(((a - b) ** 2).mean()))


def made_again(recipe, engine):
    inputs = {sha: Image.open(WRITTEN / "history" / "inputs" / f"{sha}.png")
              for use in recipe.methods for sha in use.hashes()}  # fmt: skip
    return engine(recipe.backbone).submit(recipe, inputs).result().images


def stored(name, engine):
    """(recipe, its images), skipped where the network here is another one."""
    images = [Image.open(image_of(name, index)) for index in range(len(MADE[name]["images"]))]
    recipe = Recipe.from_json(recipe_json(name))
    before, now = read(images[0].info["parameters"]).recipe.revision, engine(recipe.backbone).backbone.revision
    if now != before:
        pytest.skip(f"{recipe.backbone} has other weights ({now}) than the image was made with ({before})")
    return recipe, images


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_image_that_it_gave(name, engine):
    recipe, images = stored(name, engine)
    assert difference(made_again(recipe, engine), images) < TOLERANCE[name]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain", {"cfg_rescale": 0.25}),
        ("stopped_early", {"afs": False}),
        ("edited_by_prompt_to_prompt", {"prompt_to_prompt": {"keep": 0.3}}),
        ("restored_by_dps", {"dps": {"zeta": 2.2}}),
        ("layout_of_a_reference", {"ilvr": {"end": 0.8}}),
    ],
)
def test_the_tolerance_is_narrower_than_one_changed_setting(name, changes, engine):
    recipe, images = stored(name, engine)
    methods = [use.model_copy(update={"knobs": use.knobs | changes[use.name]}) if use.name in changes else use
               for use in recipe.methods]  # fmt: skip
    fields = {field: value for field, value in changes.items() if field in Recipe.model_fields}
    changed = made_again(recipe.but(**fields, methods=tuple(methods)), engine)
    assert difference(changed, images) > 2 * TOLERANCE[name]
