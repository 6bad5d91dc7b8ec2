"""A full disk: said in words, the image stays, nothing half-written stays behind."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.engine.events import Finished, Made
from app.storage.image_history import History, HistoryError
from tests.support.doubles import recipe


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small tmpfs here; the test below does it with a patched os.fsync")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def noisy(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (128, 128, 3), np.uint8))


def test_a_disk_that_run_arguments_up(tiny_disk: Path) -> None:
    history = History(tiny_disk)
    kept = 0
    with pytest.raises(HistoryError, match=r"The disk is full: .* MB are left") as caught:
        for seed in range(100):
            history.add(noisy(seed), recipe(seed=seed))
            kept += 1
    assert 5 < kept < 30
    assert "download it" in str(caught.value) or "listed later" in str(caught.value)
    assert not list(tiny_disk.rglob(".part-*"))
    whole = list((tiny_disk / "pictures").rglob("*.png"))
    assert kept <= len(whole) <= kept + 1 and all(Image.open(path).load() for path in whole)

    assert history.count() == kept  # still readable
    for entry in history.search(limit=4):
        assert history.delete(entry.id)
    assert history.count() == kept - 4
    assert history.add(noisy(1000), recipe(seed=1000)).recipe.seed == 1000, "what could be brought back makes room"
    assert History(tiny_disk).note is None


def test_a_disk_that_is_full_from_the_start(tiny_disk: Path) -> None:
    with pytest.raises(OSError), open(tiny_disk / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    history = History(tiny_disk)
    assert history.note is not None and ("The disk is full" in history.note or "cannot be used" in history.note)
    with pytest.raises(HistoryError, match="The disk is full"):
        history.add(noisy(0), recipe())
    (tiny_disk / "ballast").unlink()
    assert history.add(noisy(0), recipe()).path.exists() and history.count() == 1


def test_the_image_stays_on_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines) -> None:
    history = History(tmp_path)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    messages = []
    for event in engines().submit(recipe()):
        if isinstance(event, Made):
            with pytest.raises(HistoryError, match=r"The disk is full.*not saved: download it") as caught:
                history.add(event.image, event.recipe)
            messages.append(str(caught.value))
    assert isinstance(event, Finished) and event.images[0].size == (64, 64) and messages
    assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob(".part-*"))
    monkeypatch.undo()
    assert history.add(event.images[0], event.recipes[0])
