"""LoRA files into the folder that holds them, where the app serves a machine of one's own.

POST /loras?name=ink.safetensors        the file itself -> {"name", "size"} or {"error"}
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.service.state import AppState, private
from app.storage.disk_errors import is_full
from common.files import atomic_write
from common.text import size_said

LARGEST = 4 * 10**9  # bytes
NAME = re.compile(r"[\w][\w .()+,'&-]{0,120}\.safetensors")


class Refused(ValueError):
    """In words, for the field."""


def routes(state: AppState) -> list[Route]:
    """See the head of this file."""

    async def upload(request: Request) -> Response:
        # the header cannot be sent from another site without asking first, and the key of the visit is on our page only
        if not state.knows_visit(request.query_params.get("visit_token", "")) or "x-nine-ways" not in request.headers:
            return JSONResponse({"error": "The page is older than the app: load it once more."}, 403)
        try:
            path = _place(request.query_params.get("name", ""))
            return JSONResponse(await _kept(request, path))
        except Refused as error:
            return JSONResponse({"error": str(error)}, 400)
        except OSError as error:
            words = "The disk is full: delete something and try again." if is_full(error) else f"{error}."
            return JSONResponse({"error": words}, 500)

    return [Route("/loras", upload, methods=["POST"])]


def _place(name: str) -> Path:
    """Where a file of this name goes. Raises Refused."""
    from backbones import lora_files

    if private():
        raise Refused("Files are not taken here: whoever runs the app puts them into its folder of LoRA files.")
    if not name.endswith(".safetensors"):
        raise Refused(f"“{name[-60:]}” is no .safetensors file, and others are not read: a pickle (.pt, .ckpt) can run "
                      "code.")  # fmt: skip
    if not NAME.fullmatch(name):
        raise Refused("The name may have letters, digits, spaces and . ( ) + , ' & - _ in it: give it another one.")
    if name.removesuffix(".safetensors") in lora_files.names():
        raise Refused(f"“{name}” is here already: take it by its name, or give this one another.")
    return lora_files.folder() / name


async def _kept(request: Request, path: Path) -> dict[str, str]:
    """Written whole or not at all, and only where it is a LoRA file."""
    size, announced = 0, request.headers.get("content-length", "0")
    if announced.isdigit():
        _check_room(path, int(announced))
    with atomic_write(path) as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST:
                raise Refused(f"The file has more than {size_said(LARGEST)}.")
            await run_in_threadpool(file.write, chunk)
        file.flush()
        await run_in_threadpool(_check, Path(file.name), path.name)
    return {"name": path.stem, "size": size_said(size)}


def _check_room(path: Path, size: int) -> None:
    home = path.parent
    while not home.exists():
        home = home.parent
    free = shutil.disk_usage(home).free
    if size > LARGEST:
        raise Refused(f"The file has more than {size_said(LARGEST)}.")
    if size > free:
        raise Refused(f"The file has {size_said(size)}, and the disk {size_said(free)} left.")


def _check(part: Path, name: str) -> None:
    """Raises Refused for what is no LoRA file."""
    from backbones import lora_files

    try:
        found = lora_files.opened(part)
    except OSError as error:
        raise Refused(f"{error}.".replace(str(part), name)) from error
    if not any(layer.size for layer in found.layers):
        raise Refused(f"“{name}” is no LoRA file: none of its {len(found.shapes):,} tensors changes a layer.")
