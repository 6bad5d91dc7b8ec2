"""What is declared of the embedded networks before they are loaded is what they are."""

import subprocess
import sys
from pathlib import Path

import pytest

import backbones
from backbones.embedded import EMBEDDED

PRESENT = [id for id, one in EMBEDDED.items() if one.present]


@pytest.mark.parametrize("id", PRESENT)
def test_a_declaration_is_true(id, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    loaded, declared = backbones.load(id), EMBEDDED[id]
    assert loaded.id == id
    assert loaded.default_size == declared.default_size
    assert ("pixels" in loaded.offers) is declared.in_pixels


def test_the_oracle_needs_no_weights_and_a_folder_without_them_is_not_present(tmp_path):
    assert EMBEDDED["exact"].present
    assert not type(EMBEDDED["exact"])("Gone", tmp_path, 64).present


def test_declarations_are_read_without_torch():
    code = "import sys, backbones.embedded; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60).returncode == 0
