"""Files written whole or not at all."""

import os

import pytest

from common.files import UNFINISHED, atomic_write, write_text


def test_a_file_appears_when_it_is_whole_and_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "image.png"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        (part,) = path.parent.iterdir()
        assert part.name.startswith(UNFINISHED) and part.suffix == ".png"
        file.write(b" and half")
    assert path.read_bytes() == b"half and half" and list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "text.json"
    write_text(path, "before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"after")
        raise KeyboardInterrupt
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["text.json"]


def test_a_text_is_written_in_utf_8_and_replaces_the_one_before(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "σ × 2")
    assert (tmp_path / "a").read_bytes() == "σ × 2".encode()
