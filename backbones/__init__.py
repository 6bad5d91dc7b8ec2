"""Backbones: checkpoints behind one interface, `backbones.base.Backbone`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from backbones.embedded import EMBEDDED, PIXELS, STILL_LIFE

if TYPE_CHECKING:
    from backbones.base import Backbone  # imports torch

__all__ = ["EMBEDDED", "PIXELS", "STILL_LIFE", "load"]
_LOADING = threading.Lock()


def load(id: str, name: str | None = None) -> Backbone:
    """The backbone of that name: "still-life" and "still-life-pixels" (embedded), "exact" (the oracle), a local folder,
    or a Hub id. name: what it is called in place of that.

    Raises what the loader raises, an OSError for a folder or Hub id without a model. From several threads they are
    loaded one after the other: diffusers and transformers make weights under switches of the whole process, and two
    at once came out without any ("Cannot copy out of meta tensor").
    """
    with _LOADING:
        return _loaded(id, name or id)


def _loaded(id: str, name: str) -> Backbone:
    if id == "exact":
        from backbones.exact import images

        return images()
    from backbones import checkpoint, diffusion_transformer, pixels, stable_diffusion  # diffusers is slow to import

    path = EMBEDDED[id].folder if id in EMBEDDED else id
    loaders = {fit: module for module in (stable_diffusion, pixels, diffusion_transformer) for fit in module.FITS}
    folder = checkpoint.locate(str(path), tuple(loaders))
    return loaders[checkpoint.check(folder, tuple(loaders))["_class_name"]].load(str(folder), name)
