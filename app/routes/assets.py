"""The page's scripts.

GET /assets/nine-ways-{version}/{name}.js        a module, for ever the same
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import scripts
from app.routes.answers import SAFE, gone

FOR_EVER = "public, max-age=31536000, immutable"


def routes() -> list[Route]:
    """See the head of this file. They stand before Gradio's own /assets, which they leave alone."""

    def module(request: Request) -> Response:
        text = scripts.modules().get(request.path_params["name"])
        if text is None or request.path_params["version"] != scripts.version():
            return gone("This page is older than the app: reload it.")
        return Response(text, media_type="text/javascript", headers={"Cache-Control": FOR_EVER, **SAFE})

    return [Route("/assets/nine-ways-{version}/{name}.js", module)]
