"""Of images in view: what they were made from; those of a batch on one sheet.

GET  /pictures/{entry_id}/{sign}/before/{key}.png    what a method was given, as large as the result, or the source that
                                                     it makes itself, by a run: see app/forms/before_after.py
POST /pictures.png                                   several images on one sheet, a list of their addresses as JSON. Its
                                                     settings are those of the batch, where they are one
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.engine.events import shape_of_sheet, sheet
from app.forms.batches import batch_of
from app.forms.before_after import image_before, source_recipe
from app.routes.answers import SAFE, gone, not_made, to_save
from app.routes.images import entries_asked
from app.schema import png_metadata
from app.schema.recipe import LIMITS
from app.service.state import LOADING, AppState
from app.storage.image_files import MAX_PIXELS, png_bytes
from app.storage.image_history import Entry, HistoryError
from common.image_bytes import encoded

if TYPE_CHECKING:  # it imports torch
    from app.engine.engine import Run

LOOKS = 0.2  # seconds between two looks at whether somebody still waits


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    async def before(request: Request) -> Response:
        entry_id, visit_token = request.path_params["entry_id"], request.query_params.get("visit_token", "")
        entry = state.entry(entry_id) if state.signed(entry_id, request.path_params["sign"]) else None
        if entry is None:
            return gone()
        await run_in_threadpool(state.model().engine, LOADING)  # whose thread imports torch, once for all
        recipe, key = entry.recipe, request.path_params["key"]
        try:
            if (source := source_recipe(recipe, key)) is not None:
                source = source.but(backbone=state.same(recipe) or recipe.backbone)
                asked = await run_in_threadpool(state.request, source, visit_token)
                shown = await made_for(request, await run_in_threadpool(state.runs.submit, asked))
            else:
                images = (await run_in_threadpool(state.request, recipe, visit_token)).images
                shown = await run_in_threadpool(image_before, recipe, key, images)
        except KeyError:
            return gone("What it was made from is not here any more.")
        except Exception as error:
            return not_made(error)
        headers = {"Cache-Control": "private, max-age=3600", **SAFE}
        return Response(await run_in_threadpool(encoded, shown), media_type="image/png", headers=headers)

    async def grid(request: Request) -> Response:
        entries = await entries_asked(state, request, int(LIMITS["count"].high))
        if isinstance(entries, Response):
            return entries
        try:
            data = await run_in_threadpool(sheet_of, entries)
        except HistoryError as error:
            return gone(str(error))
        return to_save(data, "image/png", f"nine-ways-{entries[0].recipe.seed}-grid.png")

    return [
        Route("/pictures.png", grid, methods=["POST"]),
        Route("/pictures/{entry_id}/{sign}/before/{key}.png", before),
    ]


async def made_for(request: Request, run: Run) -> Image.Image:
    """The image of a run, which is cancelled once nobody waits for the answer. Raises RunError where there is none."""
    result = asyncio.ensure_future(run_in_threadpool(run.result))
    while not result.done():
        await asyncio.wait({result}, timeout=LOOKS)
        if not result.done() and await request.is_disconnected():
            run.cancel()
    return result.result().images[0]


def sheet_of(entries: Sequence[Entry]) -> bytes:
    """A PNG with all these images, smaller where it would have more pixels than are read back, and with the settings of
    the batch, else of the first of them. Raises HistoryError where one is gone."""
    recipes = [entry.recipe for entry in entries]
    images = [entry.image().convert("RGB") for entry in entries]
    width, height = max(one.width for one in images), max(one.height for one in images)
    columns, rows = shape_of_sheet(len(images), width, height)
    smaller = (MAX_PIXELS / (columns * width * rows * height)) ** 0.5
    if smaller < 1:
        images = [one.resize((int(one.width * smaller), int(one.height * smaller))) for one in images]
    whole = sheet(tuple(np.asarray(one) for one in images))
    assert whole is not None
    return png_bytes(Image.fromarray(whole), png_metadata.write(batch_of(recipes) or recipes[0]))
