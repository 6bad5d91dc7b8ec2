"""Named endpoints of the page's server, for `gradio_client` and others: /generate, /check, /compare, /methods.

They stand on `app.service`, as the command line does. Images go in as data URIs or content hashes and come out as data
URIs, so that no path of either machine is in a message. docs/api.md has examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.forms import comparison_form
from app.schema.recipe import RecipeError
from app.service.state import AppState
from common.image_bytes import data_uri


def add_endpoints(state: AppState) -> None:
    """Adds the endpoints to the page that is being built. Nothing here imports torch before it is called."""

    def read(recipe: Any) -> Any:
        from app.service.reading import images_sent, read_recipe

        return read_recipe(json.dumps(recipe), images_sent(state.image))

    def methods() -> dict:
        """The catalogue: methods, operators, solvers and schedules."""
        from app.catalog import catalogue

        return dict(catalogue())

    def check(recipe: dict) -> dict:
        """What is wrong with a recipe, what its run leaves unused, how many network evaluations it makes."""
        return state.runs.check(read(recipe)).as_json()

    def generate(recipe: dict) -> Iterator[dict]:
        """Makes the images of a recipe: its events, the last of them with the images as data URIs."""
        yield from _answered(lambda: _generate(state, state.runs, read(recipe)))

    def compare(spec: dict) -> Iterator[dict]:
        """Makes a comparison, or what is missing of an equal one: a message for each cell, with the image's address."""
        from app.service.reading import images_sent, read_comparison

        yield from _answered(
            lambda: _compare(state, state.runs, *read_comparison(json.dumps(spec), images_sent(state.image)))
        )

    for function in (methods, check, generate, compare):
        gr.api(function, api_name=function.__name__, concurrency_limit=None)  # the engine has a queue of its own


def _answered(begin: Any) -> Iterator[dict[str, Any]]:
    """The messages; what is refused or cannot run is a message, too."""
    from app.engine.engine import Busy
    from app.service.messages import refused

    try:
        yield from begin()
    except RecipeError as error:
        yield refused(error.problems)
    except (Busy, RuntimeError) as error:
        yield {"event": "failed", "message": str(error), "field": None}


def _generate(state: AppState, runs: Any, request: Any) -> Iterator[dict[str, Any]]:
    from app.engine.events import Finished, Made
    from app.service.messages import as_json
    from app.storage.image_files import png_bytes

    for event in runs.submit(request):
        message = as_json(event)
        if isinstance(event, Made):
            saved = state.save(event.image, event.recipe)
            message["address"] = saved.address or None
            if saved.trouble:  # a full disk: the image itself reaches whoever asked
                message["message"] = saved.trouble
        if isinstance(event, Finished):
            message["images"] = [data_uri(png_bytes(image)) for image in event.images]
            message["recipes"] = [one.model_dump(mode="json") for one in event.recipes]
        yield message


def _compare(state: AppState, runs: Any, comparison: Any, images: Any) -> Iterator[dict[str, Any]]:
    from app.comparison.store import ComparisonStore
    from app.service.runs import follow, stored

    problems, notes = runs.comparison_problems(comparison, images)
    if problems:
        raise RecipeError(problems)
    store = ComparisonStore(state.history.folder / "comparisons")
    id, _ = stored(store, comparison, resume=True)
    stem = comparison_form.addresses(state, id)
    for message in follow(runs.comparison(id, comparison, store, images)):
        if message["event"] == "cell" and message["status"] == "done":
            message["address"] = f"{stem}/{message['key']}.png"
        if message["event"] == "finished":
            message |= {"notes": notes, "exports": comparison_form.exports(stem)}
        yield message
