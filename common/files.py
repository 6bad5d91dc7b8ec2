"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".part-"  # how the name of a file begins that is still being written


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write to, which appears at `path` when the block ends without an error.

    It is written under another name beside it (with the same ending, in a folder that is made where it is missing),
    brought to the disk and renamed: at no moment does `path` hold half a file, and after an error nothing is left.
    Raises OSError (ENOSPC where the disk is full).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}{path.suffix}")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """`atomic_write` of a text, in UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())
