"""The data of runs that were followed step by step; signed, so that nobody can walk through the ids.

GET /trajectories/{id}/{sign}/trajectories.npz      all states and denoised predictions
GET /trajectories/{id}/{sign}/figures.csv           all figures of all steps
GET /opening/trajectory.json                        runs that came with the app, as the page draws them
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.forms import opening
from app.routes.answers import SAFE, gone, not_made, to_save
from app.service.state import AppState


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    async def file(request: Request) -> Response:
        id, sign, name = (request.path_params[key] for key in ("id", "sign", "name"))
        held = state.followed.get(id)
        if held is None or not state.signed(f"trajectory {id}", sign):
            return gone("This is no longer in memory: follow it again.")
        from app.trajectory import trajectory_json  # imports torch

        try:
            if name == "trajectories.npz":
                archive = await run_in_threadpool(trajectory_json.archive, held.runs)
                return to_save(archive, "application/octet-stream", name)
            if name == "figures.csv":
                return to_save((await run_in_threadpool(trajectory_json.table, held.runs)).encode(), "text/csv", name)
        except Exception as error:
            return not_made(error)
        return gone("There is no such file.")

    def stored(request: Request) -> Response:
        if not opening.PATH.is_file():
            return gone("There is no such file.")
        return FileResponse(opening.PATH, media_type="application/json", headers={"Cache-Control": "no-cache", **SAFE})

    return [Route("/trajectories/{id}/{sign}/{name}", file), Route("/opening/trajectory.json", stored)]
