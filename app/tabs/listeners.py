"""Arguments that Gradio gets of all tabs alike: listeners without progress or endpoints of its own; drawers."""

from __future__ import annotations

from typing import Any

from app import scripts

PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
#: Answered at once, past the queue.
SHORT: dict[str, Any] = {**PRIVATE, "queue": False}
#: A run: any number of visitors may wait for theirs, since the engine has a queue of its own.
LONG: dict[str, Any] = {**PRIVATE, "concurrency_limit": None}
#: js of what belongs to a visit: it waits until a page that opens is what it was before (assets/visit.js).
RETURNED = scripts.ask("visit", "whenReturned")
#: A part of the page that is closed at first. Gradio makes what is in a closed accordion only when it is opened, and an
#: answer that arrives just then undoes what a quick person has typed: so it is sent open, and the page closes it.
DRAWER: dict[str, Any] = {"open": True, "elem_classes": "nw-drawer"}
