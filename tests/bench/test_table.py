"""The table of the benches: figures flat in JSON, what is skipped is said and left out."""

import json
from pathlib import Path

import pytest

from bench.table import Report


def test_figures_are_flat_and_skips_are_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "figures.json"
    with Report("bench.test", "What it does.\n\nMore.", arguments=["--quick", "--json", str(file)]) as report:
        assert report.quick and list(report.steps(range(3), "things")) == [0, 1, 2]
        report.figure("binding", 91.25, "binding right", "%", bar="at least 90", chance=12.5, ceiling=99.0)
        report.figure("nfe", 20, "NFE")
        report.skip("start_s", "cold start", "there is no app.py")
    assert json.loads(file.read_text()) == {
        "binding": 91.25, "binding_chance": 12.5, "binding_ceiling": 99.0, "nfe": 20
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "91.250 %" in out and "chance 12.500   ceiling 99.000   at least 90" in out
    assert "cold start" in out and "there is no app.py" in out


def test_what_was_measured_before_an_error_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    with pytest.raises(KeyError), Report("bench.test", arguments=["--json", str(file)]) as report:
        report.figure("one", 1.0, "one")
        raise KeyError("two")
    assert json.loads(file.read_text()) == {"one": 1.0}
