"""The catalogue that is read without torch is what the registries say today."""

import subprocess
import sys

from app.catalog import FILE, catalogue
from app.catalog.generate import text, text_of_solvers
from app.schema import solvers
from conditioning.registry import METHODS
from conditioning.traits import TRAITS


def test_the_file_is_what_the_registries_say():
    again = "run python -m app.catalog.generate, and commit the files"
    assert FILE.read_text(encoding="utf-8") == text(), again
    assert solvers.FILE.read_text(encoding="utf-8") == text_of_solvers(), again


def test_one_run_is_enough_after_a_solver_has_gone(monkeypatch):
    """What the old file says of solvers is not read for the new one."""
    gone = solvers.SAMPLERS | {"gone": "Gone"}
    monkeypatch.setattr(solvers, "SAMPLERS", gone)
    assert "Gone" not in text()


def test_methods_say_their_traits():
    traits = {name: set(one["traits"]) for name, one in catalogue()["methods"].items()}
    assert traits == {name: set(one.traits) for name, one in METHODS.items()}
    assert set().union(*traits.values()) <= set(TRAITS)


def test_reading_it_imports_no_torch():
    code = "import sys; from app.catalog import catalogue; assert catalogue()['methods']; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_every_use_of_a_dropped_image_is_an_input_that_takes_one_and_choices_that_there_are():
    for use in catalogue()["image_uses"]:
        method = METHODS[use["method"]]
        assert method.inputs[use["input"]].kind in ("image", "map", "operator", "references")
        assert all(value in method.knobs[name].options for name, value in use["knobs"].items())
        assert set(method.needs) <= set(use["needs"])
