"""Where what can be made again is kept between starts."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path | None:
    """Where what can be made again is kept between starts: $NINE_WAYS_CACHE, else the user's cache folder.

    None where that cannot be written, or the variable is set and empty.
    """
    own = os.environ.get("NINE_WAYS_CACHE")
    if own == "":
        return None
    try:
        folder = Path(own).expanduser() if own else _usual_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def _usual_cache_folder() -> Path:
    """As the system has it; where there is ~/.cache/nine-ways, which version 0.1 had on every system, that one."""
    before = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nine-ways"
    return before if before.is_dir() else platformdirs.user_cache_path("nine-ways", appauthor=False)
