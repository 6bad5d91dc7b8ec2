"""The command line: the engine's images, bit for bit; every problem in words; exit codes; only what is missing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.__main__ import main
from app.comparison.store import ComparisonStore
from app.engine.engine import Engine
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.reading import images_in, read_comparison
from app.service.runs import Engines, Runs
from app.storage.image_files import content_hash, png_bytes
from tests.support import original_files

ROOT = Path(__file__).parents[3]
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
FIELDS = {"backbone": "exact", "width": 64, "height": 64, "steps": 3, "prompt": "red disc", "seed": 5}
ILVR = {"name": "ilvr", "inputs": {"reference": "photos/one.png"}, "knobs": {"detail": 2}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "outputs"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(png_bytes(IMAGE))
    return tmp_path


def command(capsys, *words):
    """Exit code, what stands on stdout, what stands on stderr."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def written(folder, name, **fields):
    path = folder / name
    path.write_text(json.dumps(fields))
    return path


def python(*words):
    """A process of its own, in the folder of the program."""
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


# ---- run ------------------------------------------------------------------------------------------------------------


def test_images_of_the_command_line_are_those_of_the_engine_bit_for_bit(folder, capsys):
    path = written(folder, "one.json", **FIELDS, count=2, methods=[ILVR])
    code, out, err = command(capsys, "run", path, "--out", folder / "made")
    assert code == 0 and err
    events = lines(out)
    assert events[-1]["event"] == "finished" and events[-1]["formula"] == "ilvr(euler) over cfg(ask)"
    sha = content_hash(IMAGE)
    recipe = Recipe.make(**FIELDS, count=2, methods=[{**ILVR, "inputs": {"reference": sha}}])
    engine = Engine("exact")
    try:
        finished = engine.submit(recipe, {sha: IMAGE}).result()
    finally:
        engine.close()
    files = [event["file"] for event in events if event["event"] == "image"]
    assert [Path(file).name for file in files] == ["one-5.png", "one-6.png"]
    for file, image, own in zip(files, finished.images, finished.recipes):
        with Image.open(file) as made:
            assert np.array_equal(np.asarray(made), np.asarray(image))
            assert read(made.info["parameters"]).recipe == own, "its metadata is the recipe that makes it again"
    assert (events[-1]["nfe"], events[-1]["rows"]) == (finished.nfe, finished.rows)


def test_a_recipe_is_refused_before_anything_is_loaded_with_all_its_problems(folder, capsys, monkeypatch):
    monkeypatch.setattr(Engine, "__init__", lambda self, id: pytest.fail("the model was loaded"))
    wrong = FIELDS | {"width": 63}
    path = written(folder, "wrong.json", **wrong, methods=[{"name": "ilvr", "inputs": {"reference": "nowhere.png"}}])
    code, out, err = command(capsys, "run", path, "--out", folder / "made")
    (refused,) = lines(out)
    assert code == 2 and refused["event"] == "refused" and not (folder / "made").exists()
    assert {one["field"] for one in refused["problems"]} == {"width", "methods.0.inputs.reference"}
    assert all(one["message"] in err for one in refused["problems"])
    code, out, _ = command(capsys, "run", folder / "nowhere.json", "--out", folder / "made")
    assert code == 2 and lines(out)[0]["problems"][0]["field"] == "file"


def test_a_run_that_fails_says_why(folder, capsys, monkeypatch):
    from backbones.exact import Mixture

    def fail(self, ask):
        raise RuntimeError("the lamp went out")

    monkeypatch.setattr(Mixture, "denoise", fail)
    code, out, err = command(capsys, "run", written(folder, "one.json", **FIELDS), "--out", folder / "made")
    assert code == 1 and "the lamp went out" in err
    assert lines(out)[-1]["event"] == "failed" and "the lamp went out" in lines(out)[-1]["message"]


def test_a_folder_that_cannot_be_written_is_a_failed_run(folder, capsys):
    (folder / "file").write_text("")
    code, out, err = command(capsys, "run", written(folder, "one.json", **FIELDS), "--out", folder / "file")
    assert code == 1 and err and lines(out)[-1]["event"] == "failed"


# ---- check ----------------------------------------------------------------------------------------------------------


def test_check_says_what_the_run_will_be(folder, capsys):
    path = written(folder, "one.json", **FIELDS, eta=0.5, methods=[ILVR])
    code, out, _ = command(capsys, "check", path)
    found = json.loads(out)
    assert code == 0 and found["problems"] == [] and [one["field"] for one in found["unused"]] == ["eta"]
    assert (found["formula"], found["nfe"], found["rows"]) == ("ilvr(euler) over cfg(ask)", 3, 6)
    code, out, err = command(capsys, "check", written(folder, "two.json", **FIELDS | {"steps": 0, "sampler": "magic"}))
    found = json.loads(out)
    assert code == 2 and {one["field"] for one in found["problems"]} == {"steps", "sampler"}
    assert found["nfe"] is None and all(one["message"] in err for one in found["problems"])


def test_check_says_what_is_assumed_of_a_single_file(folder, capsys):
    _, file = original_files.save(folder)
    path = written(folder, "one.json", **FIELDS | {"backbone": str(file)})
    code, out, _ = command(capsys, "check", path)
    (said,) = [one for one in json.loads(out)["unused"] if one["field"] == "backbone"]
    assert code == 0 and "read as epsilon" in said["message"] and "sd1.safetensors?v_prediction" in said["message"]
    written(folder, "one.json", **FIELDS | {"backbone": f"{file}?v_prediction"})
    code, out, _ = command(capsys, "check", path)
    assert code == 0 and not [one for one in json.loads(out)["unused"] if one["field"] == "backbone"]


def test_check_loads_no_weights_and_starts_no_server(tmp_path):
    path = written(tmp_path, "one.json", prompt="a red cube", steps=4)
    code = """if True:
        import sys, safetensors, safetensors.torch
        def refuse(*_, **__): raise AssertionError("weights were read")
        safetensors.safe_open = safetensors.torch.load_file = refuse
        from app.__main__ import main
        code = main(["check", sys.argv[1]])
        known = ("diffusers", "transformers", "gradio", "starlette", "openvino")
        print([name for name in known if name in sys.modules], file=sys.stderr)
        sys.exit(code)"""
    done = python("-c", code, str(path))
    assert done.returncode == 0 and json.loads(done.stdout)["nfe"] == 4
    assert done.stderr.strip() == "[]"


# ---- compare --------------------------------------------------------------------------------------------------------


def axis(name, *values):
    return {"name": name, "values": [{"label": f"{name} {value}", "recipe": {name: value}} for value in values]}


def test_a_comparison_resumed_makes_only_what_is_missing(folder, capsys):
    stacks = {"name": "method", "values": [{"label": "none", "methods": []}, {"label": "ILVR", "methods": [ILVR]}]}
    path = written(folder, "spec.json", base=FIELDS, axes=[stacks, axis("seed", 1, 2)], ground_truth="photos/one.png")
    code, out, _ = command(capsys, "compare", path, "--out", folder / "made")
    *cells, end = lines(out)
    assert code == 0 and (end["made"], end["done"], end["failed"]) == (4, 4, 0)
    assert all("psnr" in one["result"]["figures"] and Path(one["file"]).is_file() for one in cells)
    first = {one["file"]: Path(one["file"]).read_bytes() for one in cells}
    gone = Path(cells[0]["file"])
    gone.unlink()
    untouched = {file: Path(file).stat().st_mtime_ns for file in first if file != str(gone)}
    code, out, _ = command(capsys, "compare", path, "--out", folder / "made", "--resume")
    *_, end = lines(out)
    assert code == 0 and (end["made"], end["done"]) == (1, 4)
    assert {file: Path(file).stat().st_mtime_ns for file in untouched} == untouched
    with Image.open(gone) as again:
        (folder / "first.png").write_bytes(first[str(gone)])
        with Image.open(folder / "first.png") as before:
            assert np.array_equal(np.asarray(again), np.asarray(before))
    code, out, _ = command(capsys, "compare", path, "--out", folder / "made", "--resume")
    assert code == 0 and lines(out)[-1]["made"] == 0
    code, out, _ = command(capsys, "compare", path, "--out", folder / "made")
    assert lines(out)[-1]["made"] == 4 and len(list(ComparisonStore(folder / "made").all())) == 2


def test_cells_that_cannot_be_are_said_and_the_others_are_made(folder, capsys):
    path = written(folder, "spec.json", base=FIELDS, axes=[axis("steps", 2, 0), axis("width", 64, 63)])
    code, out, err = command(capsys, "compare", path, "--out", folder / "made")
    *cells, end = lines(out)
    assert code == 1 and (end["made"], end["done"], end["failed"]) == (1, 1, 3)
    failed = [one for one in cells if one["status"] == "failed"]
    assert len(failed) == 3 and all(one["message"] in err for one in failed)


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"base": FIELDS, "axes": [axis("steps", 0)]}, {"axes"}),
        ({"base": FIELDS | {"width": 63}, "axes": [axis("steps", 2)]}, {"width"}),
        ({"base": FIELDS, "axes": [axis("eta", 0.1, 0.2)]}, {"axes"}),  # Euler has no eta: two equal images
        ({"base": FIELDS, "axes": [axis("seed", *range(100)), axis("steps", *range(1, 101))]}, {"axes"}),
        (
            {"base": FIELDS | {"steps": 0}, "axes": [axis("seed", 1)], "ground_truth": "no.png"},
            {"base.steps", "ground_truth"},
        ),
        ({"base": FIELDS}, {"axes"}),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(spec, fields, folder, capsys):
    code, out, err = command(capsys, "compare", written(folder, "spec.json", **spec), "--out", folder / "made")
    (refused,) = lines(out)
    assert code == 2 and {one["field"] for one in refused["problems"]} == fields
    assert all(one["message"] in err for one in refused["problems"]) and not (folder / "made").exists()


def test_the_document_shows_what_the_commands_say(tmp_path, capsys):
    shown = re.findall(r"```json\n(.+?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.S)
    plain, restored, checked, compared = map(json.loads, shown)
    (tmp_path / "cat.png").write_bytes(png_bytes(IMAGE))
    assert json.loads(command(capsys, "check", written(tmp_path, "one.json", **restored))[1]) == checked
    assert json.loads(command(capsys, "check", written(tmp_path, "two.json", **plain))[1])["problems"] == []
    comparison, _ = read_comparison(json.dumps(compared), images_in(tmp_path))
    assert Runs(Engines()).comparison_problems(comparison, {}) == ([], [])
