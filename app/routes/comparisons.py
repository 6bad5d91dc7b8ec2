"""Images of a comparison's cells, and the comparison as a file; signed, so that nobody can walk through the ids.

GET /comparisons/{id}/{sign}/{key}.png          a cell
GET /comparisons/{id}/{sign}/export.{kind}      all of it: png, html, csv, json
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.comparison.store import ComparisonStore
from app.forms import comparison_form
from app.routes.answers import gone, image_file, not_made, to_save
from app.service.state import AppState
from common.image_bytes import encoded

TYPES = {"png": "image/png", "html": "text/html", "csv": "text/csv", "json": "application/json"}


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    def store() -> ComparisonStore:
        return ComparisonStore(state.history.folder / "comparisons")

    def may(request: Request) -> bool:
        return state.signed(f"comparison {request.path_params['id']}", request.path_params["sign"])

    def cell(request: Request) -> Response:
        try:
            path = store().image(request.path_params["id"], request.path_params["key"]) if may(request) else None
        except ValueError:
            path = None
        return image_file(path) if path is not None and path.is_file() else gone()

    async def export(request: Request) -> Response:
        if not may(request):
            return gone("There is no such comparison.")
        id, kind = request.path_params["id"], request.path_params["kind"]
        try:
            body = await run_in_threadpool(exported, state, store(), id, kind)
        except Exception as error:
            return not_made(error)
        return gone("There is no such file.") if body is None else to_save(body, TYPES[kind], f"comparison-{id}.{kind}")

    return [
        Route("/comparisons/{id}/{sign}/export.{kind}", export),
        Route("/comparisons/{id}/{sign}/{key}.png", cell),
    ]


def exported(state: AppState, store: ComparisonStore, id: str, kind: str) -> bytes | None:
    """A comparison as a file of this kind; None where there is no such comparison or kind."""
    from app.comparison import export, html_export  # imports torch

    one = comparison_form.runner_of(state, store, id)
    if one is None or kind not in TYPES:
        return None
    results = export.results_of(store, id, one.comparison)
    if kind == "png":
        return encoded(export.sheet(store, id, one.comparison, results, one.images))
    if kind == "html":
        return html_export.page(store, id, one.comparison, results, one.images).encode()
    if kind == "csv":
        return export.table(one.comparison, results).encode()
    return comparison_form.to_file(one, state).encode()
