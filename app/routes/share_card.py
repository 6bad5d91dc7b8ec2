"""What a link to the page looks like where it is shared, and before its scripts have run: title, words, picture, icon.

Gradio writes its own name and picture into the page's head; this puts the app's in their place.

GET /card.webp      the picture
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.routes.answers import image_file

TITLE = "Nine Ways"
WORDS = "Conditional image synthesis with diffusion models: nine ways to say what you want, side by side."
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "ways.webp"
_META = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


def routes() -> list[Route]:
    """See the head of this file."""

    def picture(request: Request) -> Response:
        return image_file(PICTURE, "webp", "public, max-age=86400")

    return [Route("/card.webp", picture)]


def tags(base: str) -> str:
    """For the head of the page. base: the address of the app, with a slash at its end."""
    shared = {"title": TITLE, "description": WORDS, "type": "website", "url": base, "image": f"{base}card.webp"}
    og = "".join(f'<meta property="og:{key}" content="{escape(value)}">' for key, value in shared.items())
    icon = '<link rel="icon" type="image/svg+xml" href="favicon.ico">'
    return f'<title>{TITLE}</title>{icon}<meta name="description" content="{escape(WORDS)}">{og}' + (
        '<meta name="twitter:card" content="summary_large_image">'
    )


def with_tags(page: bytes, base: str) -> bytes:
    """A page with these tags in the place of Gradio's."""
    return _META.sub(b"", page).replace(b"</head>", tags(base).encode() + b"</head>", 1)


class ShareCard:
    """ASGI middleware: HTML pages get the tags; everything else goes through as it comes."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        begun: dict[str, Any] = {}  # the head of an HTML answer, until its body is there
        body = bytearray()

        async def through(message: Any) -> None:
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if kind.startswith("text/html"):
                    begun.update(message)
                    return
            elif begun and message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                page = with_tags(bytes(body), _address(scope))
                MutableHeaders(raw=begun["headers"])["content-length"] = str(len(page))
                await send(dict(begun))
                await send({"type": "http.response.body", "body": page})
                return
            await send(message)

        await self.app(scope, receive, through)


def _address(scope: Any) -> str:
    """Of the app as its visitors see it, also behind a proxy that says so."""
    headers = Headers(raw=scope["headers"])
    protocol = headers.get("x-forwarded-proto", scope.get("scheme", "http")).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "localhost")).split(",")[0].strip()
    return f"{protocol}://{host}{scope.get('root_path', '').rstrip('/')}/"
