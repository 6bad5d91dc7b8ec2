"""Results of Trajectory on disk."""

import pytest

from app.trajectory import store
from app.trajectory.store import TrajectoryStore


def test_what_is_kept_is_found_by_another_process(tmp_path):
    TrajectoryStore(tmp_path).keep("0123456789ab", {"runs": [1.5]}, {"figures.csv": b"run"})
    there = TrajectoryStore(tmp_path)
    assert there.drawn("0123456789ab") == {"runs": [1.5]}
    assert there.file("0123456789ab", "figures.csv").read_bytes() == b"run"
    assert there.file("0123456789ab", "trajectories.npz") is None and there.drawn("0123456789ac") is None


@pytest.mark.parametrize("id", ["", "..", "../secret", "0123456789AB", "0123456789ab/.."])
def test_an_id_leads_nowhere_else(tmp_path, id):
    there = TrajectoryStore(tmp_path / "trajectories")
    (tmp_path / "drawn.json").write_text("{}")
    (tmp_path / "figures.csv").write_text("")
    assert there.drawn(id) is None and there.file(id, "figures.csv") is None
    with pytest.raises(ValueError, match="give an id"):
        there.keep(id, {}, {})


def test_other_files_are_not_kept_nor_given(tmp_path):
    there = TrajectoryStore(tmp_path)
    with pytest.raises(ValueError, match=r"figures\.csv"):
        there.keep("0123456789ab", {}, {"x.py": b""})
    there.keep("0123456789ab", {}, {})
    assert there.file("0123456789ab", "drawn.json") is None


def test_half_a_result_and_a_damaged_one_are_none(tmp_path):
    there = TrajectoryStore(tmp_path)
    (tmp_path / "0123456789ab").mkdir()
    assert there.drawn("0123456789ab") is None
    for damaged in ("{", "[]"):
        (tmp_path / "0123456789ab" / "drawn.json").write_text(damaged)
        assert there.drawn("0123456789ab") is None


def test_of_many_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "KEPT", 3)
    there, ids = TrajectoryStore(tmp_path), [f"0123456789a{n}" for n in range(5)]
    for id in ids:
        there.keep(id, {}, {})
    assert [id for id in ids if there.drawn(id) is not None] == ids[2:]
