"""The page's scripts: ES modules (app/assets/*.js) under one address that holds the hash of all of them.

Browsers keep what such an address gives for ever: a changed module has another one. All addresses are relative to the
page, so it does not matter under which path, host and protocol a proxy serves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "assets"
START = "page"  # loaded with the page; the others are what it and the components import


@cache
def modules() -> dict[str, bytes]:
    """Name -> text, as it was when the app began: what is served is what the hash was made of."""
    return {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.js"))}


@cache
def version() -> str:
    """The hash of all modules. They import one another by relative addresses, so they share it."""
    digest = hashlib.sha256()
    for name, text in modules().items():
        digest.update(name.encode() + b"\0" + text + b"\0")
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Where a module is served, relative to the page. Raises KeyError for one that is not there."""
    modules()[name]
    return f"assets/nine-ways-{version()}/{name}.js"


def head() -> str:
    """For the page's <head>. All modules load at once, not as one after the other finds out what it imports."""
    preloads = "".join(f'<link rel="modulepreload" href="{address(name)}">' for name in modules())
    return f'{preloads}<script type="module" src="{address(START)}"></script>'


def mount(name: str, function: str = "mount", events: Sequence[str] = ()) -> str:
    """js_on_load of a gr.HTML: gives the component to a function that a module exports.

    events: those that the module triggers. Gradio has listeners for the names that stand in this text, in quotes.
    """
    triggered = f"const events = {list(events)!r}; " if events else ""
    return triggered + _imported(name, f"{function}({{ element, props, trigger, watch }})")


def call(name: str, function: str, *first: Any) -> str:
    """js of an event: calls a function that a module exports, with these arguments first (plain JSON), and then the
    values of the event's inputs."""
    return f"(...values) => {{ {_imported(name, f'{function}({_listed(first)}...values)')} }}"


def ask(name: str, function: str, *first: Any) -> str:
    """js of an event: what a function that a module exports gives for these arguments (plain JSON) and the inputs."""
    where = f"new URL('{address(name)}', document.baseURI)"
    return f"async (...given) => (await import({where})).{function}({_listed(first)}...given)"


def _listed(first: Sequence[Any]) -> str:
    return "".join(f"{json.dumps(value)}, " for value in first)


def _imported(name: str, what: str) -> str:
    # relative addresses in such a text would be those of Gradio's own script
    return f"import(new URL('{address(name)}', document.baseURI)).then((module) => module.{what});"
