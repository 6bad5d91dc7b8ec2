"""Where what can be made again is kept between starts."""

from pathlib import Path

import platformdirs
import pytest

from backbones.cache import cache_folder


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """A home of its own, on a system whose cache folders are elsewhere, as those of a Mac are."""
    monkeypatch.delenv("NINE_WAYS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "Library" / "Caches" / name)


def test_it_is_where_the_system_has_such_folders(tmp_path):
    assert cache_folder() == tmp_path / "Library" / "Caches" / "nine-ways"
    assert cache_folder().is_dir()


def test_a_folder_of_before_goes_on_being_used(tmp_path):
    before = tmp_path / ".cache" / "nine-ways"
    before.mkdir(parents=True)
    assert cache_folder() == before


def test_the_variable_has_the_say_and_empty_means_none(tmp_path, monkeypatch):
    (tmp_path / ".cache" / "nine-ways").mkdir(parents=True)
    monkeypatch.setenv("NINE_WAYS_CACHE", "~/mine")
    assert cache_folder() == Path(tmp_path / "mine") and cache_folder().is_dir()
    monkeypatch.setenv("NINE_WAYS_CACHE", "")
    assert cache_folder() is None


def test_one_that_cannot_be_made_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NINE_WAYS_CACHE", str(tmp_path / "file" / "below"))
    assert cache_folder() is None
