"""A damaged index is put aside, said so, and built anew from the images."""

import os
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from app.storage.image_history import History, HistoryError
from tests.support.doubles import recipe


def filled(folder: Path, n: int = 40) -> list[int]:
    history = History(folder)
    for i in range(n):
        history.add(Image.new("RGB", (16, 16), (i, 0, 0)), recipe(seed=i, prompt="a red disc " + "word " * 50))
    seeds = [entry.recipe.seed for entry in history.search(limit=n)]
    history.close()
    return seeds


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "text":
        path.write_text("this is not a database at all\n" * 50)
    elif kind == "zeros":
        path.write_bytes(bytes(len(data)))
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "pages":
        path.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    elif kind == "other schema":
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE pictures(id INTEGER, name TEXT)")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize("kind", ["text", "zeros", "cut", "pages", "other schema", "empty", "missing"])
def test_damaged_before_the_start(tmp_path: Path, kind: str) -> None:
    seeds = filled(tmp_path)
    before = History(tmp_path)
    ids = {entry.id for entry in before.search(limit=99)}
    before.close()
    damage(tmp_path / "history.sqlite3", kind)
    history = History(tmp_path)
    assert not ids & {entry.id for entry in history.search(limit=99)}, "an address of before names no other image"
    assert [entry.recipe.seed for entry in history.search(limit=99)] == seeds
    assert history.count("red") == len(seeds)
    aside = list(tmp_path.glob("history.damaged-*.sqlite3"))
    if kind in ("empty", "missing"):
        assert history.note is None and not aside
    else:
        assert history.note is not None and aside[0].name in history.note and "built anew" in history.note
    history.close()
    assert History(tmp_path).note is None  # said once


def test_damaged_while_it_is_open(tmp_path: Path) -> None:
    seeds = filled(tmp_path)
    history = History(tmp_path)
    history.search()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"history.sqlite3{ending}").unlink(missing_ok=True)
    data = (tmp_path / "history.sqlite3").read_bytes()
    with open(tmp_path / "history.sqlite3", "r+b") as file:  # in place, under the open connection
        file.write(b"\xff" * len(data))
    history.close()
    assert [entry.recipe.seed for entry in history.search(limit=99)] == seeds
    assert history.note is not None and "built anew" in history.note
    assert history.add(Image.new("RGB", (8, 8)), recipe(seed=99)).recipe.seed == 99


def test_a_damaged_image_beside_good_ones(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    victim = sorted((tmp_path / "pictures").rglob("*.png"))[1]
    victim.write_bytes(victim.read_bytes()[:30])
    (tmp_path / "history.sqlite3").unlink()
    assert [entry.recipe.seed for entry in History(tmp_path).search()] == [2, 0]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file" / "outputs")
    assert history.note is not None and "cannot be used" in history.note
    with pytest.raises(HistoryError, match="not saved"):
        history.add(Image.new("RGB", (8, 8)), recipe())
    with pytest.raises(HistoryError):
        history.search()


def test_another_program_holds_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 1)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
    history = History(tmp_path)
    with connect(tmp_path / "history.sqlite3") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match=r"Another program holds .* will be listed later"):
            history.add(Image.new("RGB", (8, 8)), recipe(seed=5))
        other.rollback()
    other.close()
    assert not list(tmp_path.glob("history.damaged*")) and History(tmp_path).count() == 2
