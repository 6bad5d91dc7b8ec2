"""The data of runs that were followed step by step; signed, so that nobody can walk through the ids.

GET /trajectories/{id}/{sign}/trajectories.npz      all states and denoised predictions
GET /trajectories/{id}/{sign}/figures.csv           all figures of all steps
GET /opening/trajectory.json                        runs that came with the app, as the page draws them
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.forms import opening
from app.routes.answers import SAFE, gone
from app.service.state import AppState


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    def file(request: Request) -> Response:
        id, sign, name = (request.path_params[key] for key in ("id", "sign", "name"))
        path = state.trajectories.file(id, name) if state.signed(f"trajectory {id}", sign) else None
        if path is None:
            return gone("There is no such file: follow these runs again.")
        return FileResponse(path, filename=name, headers=SAFE)

    def stored(request: Request) -> Response:
        if not opening.PATH.is_file():
            return gone("There is no such file.")
        return FileResponse(opening.PATH, media_type="application/json", headers={"Cache-Control": "no-cache", **SAFE})

    return [Route("/trajectories/{id}/{sign}/{name}", file), Route("/opening/trajectory.json", stored)]
