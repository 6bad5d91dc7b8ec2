"""Adapters that people have as files: of one kind for one checkpoint, by the names that they have on the page.

Those of a checkpoint lie beside it, `dream_t2i_adapters/depth` with `dream` and with `dream.safetensors`; an
environment variable names a folder of more, for any checkpoints: of these a checkpoint has those that fit it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from backbones.checkpoint_files import CheckpointError
from backbones.extensions import Extension
from backbones.names import local
from backbones.single_file import origin

KEPT = 8  # answers of adapters that are asked once a run


class Adapters(Protocol):
    """Those of one kind that a backbone has."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def prefix(self) -> str:
        """Of the keys of cond by which an ask has what they add."""
        ...

    @property
    def extension(self) -> Extension:
        """Makes of a network the one that reads such keys."""
        ...

    def check(self, name: str) -> None:
        """Raises ValueError where there is none of that name or it does not fit, and `backbones.hub.NotFetched` where
        it has to be fetched first."""
        ...


def beside(
    folder: Path, kind: str, in_folder: Callable[[Path], Mapping[str, str]], fits: Callable[[str], bool],
    known: Mapping[str, str],
) -> dict[str, str]:  # fmt: skip
    """name -> where it is, for a checkpoint folder: those in `<checkpoint>_<kind>`, before those that fit of the folder
    that NINE_WAYS_<KIND> names, before those that are known of the Hub."""
    folder = origin(folder)
    own = in_folder(folder.with_name(f"{folder.name}_{kind}"))
    shared = os.environ.get(f"NINE_WAYS_{kind.upper()}")
    more = {name: where for name, where in in_folder(local(shared)).items() if fits(where)} if shared else {}
    return {**known, **more, **own}


def checked(id: str, title: str, name: str, there: Mapping[str, str], ready: Callable[[str], Any]) -> Any:
    """What `ready` says of one of these names. Raises ValueError, in words, where there is none, or it does not fit.

    id: of the backbone. title: what such an adapter is called.
    """
    if name not in there:
        raise ValueError(f"{id} has no {title} {name}: it has {', '.join(there) or 'none'}")
    try:
        return ready(there[name])
    except CheckpointError as error:
        raise ValueError(str(error)) from error


def names_of(backbone: Any) -> dict[str, tuple[str, ...]]:
    """The names of all adapters of a backbone, or of its outline, by what methods need."""
    there = {"controlnet": getattr(backbone, "controlnets", ()), **getattr(backbone, "adapters", {})}
    return {kind: tuple(getattr(one, "names", one)) for kind, one in there.items()}


class Answers:
    """The last KEPT answers to (a name, images): a curve over the steps makes its method anew for every ask."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], Any] = {}

    def of(self, name: str, images: list[Tensor], make: Callable[[], Any]) -> Any:
        """images: float, on the CPU or not; make: called where this was not asked before. Raises ValueError in place
        of its CheckpointError."""
        key = (name, *(digest_of(one) for one in images))
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except CheckpointError as error:
                raise ValueError(str(error)) from error
        self._kept[key] = found = self._kept.pop(key)
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)))
        return found


def digest_of(image: Tensor) -> str:
    """Of its shape and its numbers."""
    kept = image.detach().float().cpu().contiguous()
    return hashlib.sha256(repr(tuple(kept.shape)).encode() + kept.numpy().tobytes()).hexdigest()
