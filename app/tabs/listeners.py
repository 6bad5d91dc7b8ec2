"""Arguments of every event listener of the page: Gradio shows no progress of its own, and makes no endpoint of them."""

from __future__ import annotations

from typing import Any

PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
#: Answered at once, past the queue.
SHORT: dict[str, Any] = {**PRIVATE, "queue": False}
#: A run: any number of visitors may wait for theirs, since the engine has a queue of its own.
LONG: dict[str, Any] = {**PRIVATE, "concurrency_limit": None}
