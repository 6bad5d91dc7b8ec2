"""What is there before torch is: the tree of the taxonomy, the command line's list of methods, and the page.

One process of its own for all of them, in this order: each imports more than the one before.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conditioning.registry import METHODS

ROOT = Path(__file__).parents[2]
CODE = """
import contextlib, io, json, sys
heavy = lambda: [name for name in ("torch", "diffusers") if name in sys.modules]
from app.tabs import taxonomy, taxonomy_panels, tree
taxonomy._side(), taxonomy_panels.waiting()
found = {"tree": heavy()}
from app.__main__ import main
said = io.StringIO()
with contextlib.redirect_stdout(said):
    found["code"] = main(["methods"])
found |= {"methods": heavy(), "said": said.getvalue()}
import app.page
from app.service.state import AppState
app.page.build(AppState("exact"))
print(json.dumps(found | {"page": heavy()}))
"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("what", ["tree", "methods", "page"])
def test_it_is_made_without_torch(found, what):
    assert found[what] == []


def test_methods_of_the_command_line_is_the_catalogue(found):
    book = json.loads(found["said"])
    assert found["code"] == 0 and set(book["methods"]) == set(METHODS) and book["solvers"] and book["schedules"]
