"""Backbones: checkpoints behind one interface, `backbones.base.Backbone`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.embedded import EMBEDDED, PIXELS, STILL_LIFE

if TYPE_CHECKING:
    from backbones.base import Backbone  # imports torch
    from backbones.footprint import Footprint
    from backbones.hub import Tell

__all__ = ["EMBEDDED", "PIXELS", "STILL_LIFE", "fetch", "load"]
_LOADING = threading.Lock()


def load(
    id: str, name: str | None = None, tell: Tell = lambda done, total: None,
    make_room: Callable[[Footprint], object] = lambda needed: None,
) -> Backbone:  # fmt: skip
    """The backbone of that name: "still-life" and "still-life-pixels" (embedded), "exact" (the oracle), a local folder
    or file, or a Hub id. name: what it is called in place of that. tell: hears how many bytes of a Hub id are here, of
    how many that are fetched. make_room: called with what it will take before any weights are read; may raise.

    Raises what the loader raises, an OSError for a folder or Hub id without a model. From several threads they are
    fetched beside each other, and loaded one after the other: diffusers and transformers make weights under switches of
    the whole process, and two at once came out without any ("Cannot copy out of meta tensor").
    """
    if id == "exact":
        from backbones.exact import images

        return images()
    from backbones.footprint import footprint

    folder, kind = _located(id, tell)
    make_room(footprint(folder))
    with _LOADING:
        return _loaders()[kind].load(str(folder), name or id)


def fetch(id: str, tell: Tell = lambda done, total: None) -> None:
    """Of an id of the Hub what is not here yet; of any other nothing. Raises as `load` does."""
    from backbones import single_file
    from backbones.names import hub_file, hub_place

    if id not in EMBEDDED and (hub_file(id.partition("?")[0]) or (single_file.place(id) is None and hub_place(id))):
        _located(id, tell)


def _loaders() -> dict[str, Any]:
    """Pipeline class -> the module that loads it."""
    from backbones import diffusion_transformer, pixels, stable_diffusion  # diffusers is slow to import

    return {fit: module for module in (stable_diffusion, pixels, diffusion_transformer) for fit in module.FITS}


def _located(id: str, tell: Tell) -> tuple[Path, str]:
    """The folder of a checkpoint, and the class of its pipeline."""
    from backbones import checkpoint

    loaders = _loaders()

    def check_configs(kind: str, folder: Path) -> None:
        if hasattr(loaders[kind], "check_configs"):
            loaders[kind].check_configs(folder, id)

    place = str(EMBEDDED[id].folder) if id in EMBEDDED else id
    folder = checkpoint.locate(place, tuple(loaders), tell, check_configs)
    return folder, checkpoint.check(folder, tuple(loaders))["_class_name"]
