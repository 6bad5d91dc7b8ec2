"""Errors in words."""

from __future__ import annotations

import traceback


class NotLoaded(RuntimeError):
    """A network is not there: why, in words."""


class BeingFetched(OSError):
    """Nothing is known of a network yet: it comes from the Hugging Face Hub, and its run waits for it."""


def error_message(error: Exception) -> str:
    """What to say of an error on the page; the programmer's detail goes to the terminal."""
    if type(error).__module__.startswith("app."):  # RecipeError, Busy, HistoryError, ...: written to be read
        return str(error)
    traceback.print_exception(error)
    return f"Something unexpected happened ({type(error).__name__}). The terminal has the details; try again."
