"""The key by which a server signs addresses of images: kept with the images, so that they are valid after a restart."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE = "signing.key"
SIZE = 16  # bytes


def signing_key(folder: Path) -> bytes:
    """The key of the images in a folder, made where there is none yet: 16 bytes that only the owner of the folder can
    read. Where the folder cannot be written, a key for this process alone."""
    fresh = secrets.token_bytes(SIZE)
    path = folder / FILE
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(fresh)
        return fresh
    except FileExistsError:
        pass
    except OSError:
        return fresh
    try:
        kept = path.read_bytes()
    except OSError:
        return fresh
    return kept if len(kept) == SIZE else fresh  # one that was cut off by a full disk is of no use
