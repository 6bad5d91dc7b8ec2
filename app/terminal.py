"""What the terminal says of the app: where its page is, where its images are, and when the network is ready."""

from __future__ import annotations

from collections.abc import Callable

from app.service.state import AppState, private, waiting


def report(state: AppState, url: str, say: Callable[[str], None], patience: float = 3600) -> None:
    """Says where, and then waits, at most `patience` seconds, until the network is there or cannot be."""
    model = state.model()
    say(f"Nine Ways: {url}")
    kept = "Each visit sees its own images; all are" if private() else "Images are"
    say(f"{kept} kept in {state.history.folder}")
    if state.history.note:
        say(state.history.note)
    say(f"{model.name}: loading")
    for _ in waiting(model, patience):
        pass
    kind, words = model.state()
    say(f"{model.name}: ready" if kind == "ready" else words if kind == "failed" else f"{model.name}: {words}")
