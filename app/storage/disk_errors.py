"""What errors of files and of SQLite mean."""

from __future__ import annotations

import errno
import sqlite3


def is_full(error: BaseException | None) -> bool:
    """Whether it says that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and code(error) == sqlite3.SQLITE_FULL


def code(error: sqlite3.Error) -> int | None:
    """SQLite's own code of an error, such as SQLITE_FULL."""
    found = getattr(error, "sqlite_errorcode", None)
    return None if found is None else found & 0xFF
