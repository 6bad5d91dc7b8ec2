"""Images of the history, and inputs of methods in both directions.

GET  /pictures/{entry_id}/{sign}.png     an image of the history
POST /pictures.zip                       several of them: a list of such addresses as JSON -> a zip
GET  /inputs/{sha}.png                   an input image, by its content hash; with fit, width and height as a run
                                         of that size gets it; with under, the image that it masks, as a mask
POST /inputs                             an upload -> {"sha256", "width", "height", "notes", "settings"} or {"error"}
POST /measured                           what an operator makes of an image -> {"image", "words"} or {"error"}
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from app.forms.observations import measured
from app.routes.answers import SAFE, gone, image_file
from app.schema.method_inputs import MaskEdge
from app.schema.recipe import LIMITS
from app.service.state import AppState
from app.storage.image_history import Entry
from common.fitting import FITS, fitted, fitted_mask, with_edge
from common.image_bytes import encoded

LARGEST_UPLOAD = 32 * 2**20  # bytes
LARGEST_QUESTION = 2**20  # bytes of what is asked about a degradation
MOST_IN_ZIP = 400  # images
AS_ZIP = {"Content-Disposition": 'attachment; filename="nine-ways.zip"'}
IN_MEMORY = 16 * 2**20  # bytes of a zip; a larger one waits on the disk


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    def of_history(request: Request) -> Response:
        entry_id = request.path_params["entry_id"]
        if not state.signed(entry_id, request.path_params["sign"]):
            return gone()
        entry = state.entry(entry_id)
        if entry is None or not os.path.isfile(entry.path):
            return gone("The image is gone: its file was deleted.")
        return image_file(entry.path)

    async def zipped(request: Request) -> Response:
        entries = await entries_asked(state, request, MOST_IN_ZIP)
        if isinstance(entries, Response):
            return entries
        paths = [entry.path for entry in entries]
        return StreamingResponse(_zip(paths), media_type="application/zip", headers={**SAFE, **AS_ZIP})

    def input_image(request: Request) -> Response:
        # shared: who knows the hash knows the image, or its recipe. Private: a hash alone opens nothing
        visit_token = request.query_params.get("visit_token", "")
        image = state.image(request.path_params["sha"], visit_token)
        if image is None:
            return gone()
        try:
            image = as_fitted(image, request.query_params, lambda sha: state.image(sha, visit_token))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        headers = {"Cache-Control": "private, max-age=3600", **SAFE}
        return Response(encoded(image), media_type="image/png", headers=headers)

    async def posted(request: Request, answer: Callable[[bytes, str], dict[str, Any]], largest: int) -> Response:
        # the header cannot be sent from another site without asking first, and the door is on our page only
        visit_token = request.query_params.get("visit_token", "")
        if not state.knows_visit(visit_token) or "x-nine-ways" not in request.headers:
            return JSONResponse({"error": "The page is older than the app: load it once more."}, 403)
        data = b""
        async for chunk in request.stream():
            data += chunk
            if len(data) > largest:
                return JSONResponse({"error": f"The file has more than {largest >> 20} MB."}, 413)
        return JSONResponse(await run_in_threadpool(answer, data, visit_token))

    async def upload(request: Request) -> Response:
        return await posted(request, state.receive, LARGEST_UPLOAD)

    async def measure(request: Request) -> Response:
        return await posted(request, partial(measured, state), LARGEST_QUESTION)

    return [
        Route("/pictures/{entry_id}/{sign}.png", of_history),
        Route("/pictures.zip", zipped, methods=["POST"]),
        Route("/inputs/{sha}.png", input_image),
        Route("/inputs", upload, methods=["POST"]),
        Route("/measured", measure, methods=["POST"]),
    ]


def as_fitted(image: Image.Image, asked: Mapping[str, str], find: Callable[[str], Image.Image | None]) -> Image.Image:
    """An input as a run gets it: asked has "fit", "width", "height", and for a mask "under", the hash of the image that
    it lies on or "", "grow" and "feather". The image itself where no fit is asked for. Raises ValueError, in words."""
    fit = asked.get("fit")
    if fit is None:
        return image
    limits, sides = (LIMITS["width"], LIMITS["height"]), (asked.get("width", ""), asked.get("height", ""))
    if fit not in FITS or not all(s.isdigit() and 1 <= int(s) <= limit.high for s, limit in zip(sides, limits)):
        raise ValueError(f"Give fit as one of {', '.join(FITS)}, width and height in pixels, at most {limits[0].high}.")
    size = (int(sides[0]), int(sides[1]))
    if "under" not in asked:
        return fitted(image, size, fit)
    under = find(asked["under"])
    edge = MaskEdge.model_validate({name: asked[name] for name in ("grow", "feather") if name in asked})
    return with_edge(fitted_mask(image, size, under.size if under is not None else None, fit), edge.grow, edge.feather)


async def entries_asked(state: AppState, request: Request, most: int) -> list[Entry] | Response:
    """What a JSON list of addresses in a request names, at least one entry; or the answer, in words, that it cannot be
    had."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_QUESTION:
            break
    try:
        addresses = json.loads(data)
        assert isinstance(addresses, list) and all(isinstance(one, str) for one in addresses)
    except (ValueError, AssertionError):
        return PlainTextResponse("Give a JSON list of addresses of images.", 400)
    if len(addresses) > most:
        return PlainTextResponse(f"{len(addresses)} images are asked for; one file takes {most}.", 413)
    entries = await run_in_threadpool(signed_entries, state, addresses)
    return entries or gone("None of these images is here any more.")


def signed_entries(state: AppState, addresses: Sequence[str]) -> list[Entry]:
    """Those of these addresses, each once; without those that are gone, or that this process did not give."""
    found: dict[int, Entry] = {}
    for address in addresses:
        parts = re.fullmatch(r"pictures/(\d{1,19})/([0-9a-f]+)\.png", address)
        if parts is None or not state.signed(parts[1], parts[2]):
            continue
        entry = state.entry(parts[1])
        if entry is not None and os.path.isfile(entry.path):
            found[entry.id] = entry
    return list(found.values())


def _zip(paths: Sequence[Path]) -> Iterator[bytes]:
    """A zip of these files, in pieces. They are packed as they are: PNGs do not get smaller."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in paths:
                try:
                    archive.write(path, path.name)
                except FileNotFoundError:  # deleted in this moment
                    continue
        file.seek(0)
        while piece := file.read(2**18):
            yield piece
