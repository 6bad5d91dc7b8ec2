"""How much memory a checkpoint will take, by its configs and the headers of its weights, before any are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from backbones import checkpoint, single_file
from backbones.checkpoint_files import SINGLE_FILE, config, weights
from backbones.engines import SMALL, EngineChoice, plan
from backbones.memory import GIGABYTE
from backbones.pipelines import BY_PIPELINE

ROOM = 2 * GIGABYTE  # beside the weights, for the tensors of an image under way
ROOM_OF_SMALL = GIGABYTE // 4  # the same for networks of up to SMALL parameters


@dataclass(frozen=True)
class Footprint:
    """parts: part of the pipeline -> bytes of its weights in the dtype in which it runs. room: bytes beside them, for
    an image under way, by rule of thumb."""

    device: torch.device
    parts: Mapping[str, int]
    room: int

    @property
    def total(self) -> int:
        """Bytes, with all parts on the device."""
        return sum(self.parts.values()) + self.room


def footprint(folder: Path, settings: EngineChoice | None = None) -> Footprint:
    """Of a checkpoint folder that passed `checkpoint.check`. settings: how it will run; None: as `engines.plan` has
    it."""
    count = checkpoint.parameters(folder)
    settings = settings or plan(count)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    has_unet, parts = "unet" in index, {}
    for part, classes in BY_PIPELINE[index["_class_name"]].parts.items():
        if not classes or index.get(part) in (None, [None, None]):
            continue
        wide = has_unet and part == "vae" and config(folder, part).get("force_upcast", True)
        copies = 2 if part == "unet" and settings.later else 1  # torch's and OpenVINO's
        parts[part] = _numbers(folder, part, index[part][0]) * (4 if wide else settings.dtype.itemsize) * copies
    return Footprint(settings.device, parts, ROOM_OF_SMALL if count <= SMALL else ROOM)


def _numbers(folder: Path, part: str, library: str) -> int:
    files = weights(folder, part, library)
    if files.files[0].name == SINGLE_FILE:
        return sum(prod(shape) for shape in single_file.shapes_of(folder, part).values())
    return files.parameters
