"""What is known of methods, as JSON and as example images.

GET /catalogue.json                      methods, operators and more, for the page's scripts
GET /taxonomy/examples/{name}.webp       what a method makes of its example
GET /taxonomy/given/{name}.webp          what its example is given
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.forms import tiles
from app.forms.page_catalogue import catalogue
from app.routes.answers import gone, image_file
from app.service.state import AppState
from app.tabs import taxonomy_panels


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    def methods(request: Request) -> Response:
        return JSONResponse(catalogue(), headers={"Cache-Control": "no-cache"})

    def example(request: Request) -> Response:
        folder, name = request.path_params["folder"], request.path_params["name"]
        kept = {"examples": taxonomy_panels.EXAMPLES, "given": tiles.GIVEN}
        if folder not in kept or not re.fullmatch(r"[a-z0-9_-]+", name):
            return gone()
        path = kept[folder] / f"{name}.webp"
        if not path.is_file():
            return gone()
        return image_file(path, "webp", "max-age=3600")

    return [Route("/catalogue.json", methods), Route("/taxonomy/{folder}/{name}.webp", example)]
