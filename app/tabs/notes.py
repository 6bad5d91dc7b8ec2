"""Short notes on the page. `html`: words from outside are escaped by the caller."""

from __future__ import annotations


def note(html: str) -> str:
    """What is good to know."""
    return f'<div class="nw-note" role="status">{html}</div>'


def warning(html: str) -> str:
    """What may not be as expected."""
    return f'<div class="nw-note nw-warn" role="status">{html}</div>'


def failure(html: str) -> str:
    """What did not work, and what to do."""
    return f'<div class="nw-note nw-error" role="alert">{html}</div>'
