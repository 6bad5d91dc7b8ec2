"""Answers that several addresses give: files of images, things to save, and that there is nothing."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, PlainTextResponse, Response

from app.errors import error_message

SAFE = {"X-Content-Type-Options": "nosniff"}


def gone(words: str = "There is no such image.") -> Response:
    """404, in words."""
    return PlainTextResponse(words, 404)


def not_made(error: Exception) -> Response:
    """500, in words."""
    return PlainTextResponse(f"This file could not be made. {error_message(error)}", 500)


def image_file(path: Path, kind: str = "png", cache: str = "private, max-age=86400, immutable") -> Response:
    """The file of an image."""
    return FileResponse(path, media_type=f"image/{kind}", headers={"Cache-Control": cache, **SAFE})


def to_save(body: bytes, kind: str, name: str) -> Response:
    """A file that the browser saves under this name."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **SAFE}
    return Response(body, media_type=kind, headers=headers)
