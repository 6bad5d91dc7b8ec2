"""LoRA and LyCORIS files: where they are, what is in them, and which of their layers a network has.

All of it by names and headers, so that a refusal comes at once; weights are read by `lora_network`. Safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any

from backbones import lora_family, lora_layers, lora_names, pipelines, single_file
from backbones.checkpoint import digest
from backbones.checkpoint_files import PICKLES, SINGLE_FILE, CheckpointError, header, shapes, weights
from backbones.lora_names import Target
from common.text import one_line

KEY = "lora."  # the begin of the keys of cond by which an ask has a file: "lora.<hash>" (B,), its weight
OWN = Path(__file__).with_name("still_life_loras")  # those that come with the program
Shapes = Mapping[str, tuple[int, ...]]
#: part -> (folders of a checkpoint, of which it has one; their library; classes that files have layers for, or any).
NETWORKS = {
    "network": (("unet", "transformer"), "diffusers", ()),
    "te1": (("text_encoder",), "transformers", pipelines.CLIP + pipelines.CLIP_PROJECTED),
    "te2": (("text_encoder_2",), "transformers", pipelines.CLIP + pipelines.CLIP_PROJECTED),
}
SCALES = re.compile(r"(scale_weight|scaled_fp8|weight_scale(_inv)?|scale_inv|input_scale)$")
_NO_LAYER = "embedding"  # the end of modules that have a weight and no branch


def folder() -> Path:
    """Where the files are: $NINE_WAYS_LORAS, else `loras` in the folder that the app was started in."""
    return Path(os.environ.get("NINE_WAYS_LORAS") or "loras").expanduser()


def names() -> dict[str, Path]:
    """The files there and in folders below, and OWN, by their names without suffix; of two of one name the second has
    that of its folder before it."""
    found: dict[str, Path] = {}
    for home in (folder(), OWN):
        for file in sorted(home.rglob("[!.]*.safetensors")):  # not one that is still being written
            name = file.stem if file.stem not in found else file.relative_to(home).with_suffix("").as_posix()
            found.setdefault(name, file)
    return found


def find(name: str) -> Path:
    """Raises CheckpointError where there is none of that name, with what there is."""
    known = names()
    if name in known:
        return known[name]
    home = folder()
    pickled = next((one for one in sorted(home.rglob("*")) if one.suffix in PICKLES and one.stem == name), None)
    if pickled is not None:
        raise CheckpointError(f"{pickled.name} is a pickle, which can run code when it is read: get or save it as "
                              f"{name}.safetensors")  # fmt: skip
    near = get_close_matches(name, known, 1)
    there = f"did you mean {near[0]}?" if near else f"there are {one_line(', '.join(known), 200)}" if known else \
        "it holds none"  # fmt: skip
    raise CheckpointError(f"the folder {home.name} holds no LoRA file “{name}”: {there}")


@dataclass(frozen=True)
class Layer:
    """One layer of a file. part, name: see `lora_names`. keys: role -> key of the tensor. alpha: where the file says it
    beside the tensors; root: whether it is divided by the root of the rank."""

    part: str
    name: str
    keys: Mapping[str, str]
    size: tuple[int, int] | None  # (rows, numbers a row) of the weight that it changes
    alpha: float | None = None
    root: bool = False


@dataclass(frozen=True, eq=False)
class LoraFile:
    """shapes: of its tensors by key. unread: keys that are of no kind that is read here. digest: of its content."""

    path: Path
    digest: str
    layers: tuple[Layer, ...]
    shapes: Shapes
    unread: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Of cond."""
        return f"{KEY}{self.digest[:16]}"

    @cached_property
    def tensors_digest(self) -> str:
        """The sha256 of what follows the header, by which A1111 and kohya's trainers know a file: the same whatever is
        written beside the tensors."""
        with self.path.open("rb") as stream:
            stream.seek(8 + int.from_bytes(stream.read(8), "little"))
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def hashes(self) -> tuple[str, ...]:
        """All that tools know it by: of its tensors, that which its trainer wrote down, of the whole file."""
        return self.tensors_digest, self.about.get("sshs_model_hash", ""), self.digest

    @property
    def made_for(self) -> str:
        """The family of networks that it was trained for, in words; "" where nothing tells it."""
        return lora_family.made_for(self.shapes, self.about)


def opened(path: Path) -> LoraFile:
    """By its header. Raises CheckpointError where it is damaged."""
    stat = path.stat()
    return _opened(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _opened(path: Path, size: int, changed: int) -> LoraFile:
    head = header(path)
    found, about = head.shapes, head.said
    layers: dict[tuple[str, str], dict[str, str]] = {}
    unread = []
    for key in found:
        one = lora_names.named(key)
        if one is None:
            unread.append(key)
        else:
            layers.setdefault((one.part, one.layer), {})[one.role] = key
    peft = _settings_of_peft(about)
    made = tuple(
        Layer(part, name, keys, lora_layers.size({role: found[key] for role, key in keys.items()}),
              *(peft.alpha(part, name) if peft and "alpha" not in keys else (None, False)))
        for (part, name), keys in layers.items()
    )  # fmt: skip
    return LoraFile(path, digest(path), made, found, tuple(unread), about)


@dataclass(frozen=True)
class Fit:
    """Of a file and a network. acting: layers with what they act in. idle: the others, but for those that a file has
    twice: once for the network's own layers, and once for what these were together."""

    file: LoraFile
    acting: tuple[tuple[Layer, Target], ...]
    idle: tuple[Layer, ...]

    def words(self, name: str) -> str:
        """How many of its layers act, and which do not. name: of the file."""
        total, left = len(self.acting) + len(self.idle), len(self.file.unread)
        if not self.idle:
            said = f"all {total} layers of “{name}” act"
        else:
            parts = [(sum(one.part == part for one in self.idle), label) for part, label in lora_names.PARTS.items()]
            where = ", ".join(f"{n} in {label}" for n, label in parts if n)
            said = f"{len(self.acting)} of the {total} layers of “{name}” act, not {where} ({self._idle()})"
        if left:
            said += f". {left} of its tensors {'is' if left == 1 else 'are'} of a kind that is not read here, as " \
                    f"{self.file.unread[0]}"  # fmt: skip
        return said

    def _idle(self) -> str:
        """Some of the layers that do not act."""
        order = list(lora_names.PARTS)
        some = sorted(self.idle, key=lambda one: (order.index(one.part), one.name))[:2]
        return ", ".join(one.name for one in some) + (", ..." if len(self.idle) > 2 else "")


def fit(file: LoraFile, networks: Mapping[str, Shapes]) -> Fit:
    """networks: part -> module -> the shape of its weight."""
    known = {part: lora_names.layers(part, modules) for part, modules in networks.items()}
    acting: list[tuple[Layer, Target]] = []
    idle: list[Layer] = []
    targets = [(layer, known.get(layer.part, {}).get(layer.name)) for layer in file.layers]
    alone = {(one.part, to.modules[0]) for one, to in targets if to is not None and len(to.modules) == 1}
    for layer, to in targets:
        if to is not None and len(to.modules) > 1 and all((layer.part, module) in alone for module in to.modules):
            continue
        if to is not None and _fits(layer, to, networks[layer.part], file.shapes):
            acting.append((layer, to))
        else:
            idle.append(layer)
    return Fit(file, tuple(acting), tuple(idle))


def _fits(layer: Layer, to: Target, network: Shapes, tensors: Shapes) -> bool:
    """tensors: of the file, by key."""
    shapes = [network[module] for module in to.modules]
    rows, columns = sum(shape[0] for shape in shapes), {prod(shape[1:]) for shape in shapes}
    if layer.size is None or {layer.size[1]} != columns or layer.size[0] != rows:
        return False
    by_column = "dora_scale" in layer.keys and prod(tensors[layer.keys["dora_scale"]]) != rows
    if by_column and len(shapes) > 1:  # the magnitudes are of columns as long as all of these together
        return False
    return ("w_norm" in layer.keys) == (len(shapes[0]) == 1)


def checked(name: str, id: str, checkpoint: Path) -> Fit:
    """Of the file of that name and the networks of a checkpoint folder. id: of the backbone, for messages.

    Raises CheckpointError where the file cannot be had, or no layer of it acts.
    """
    found = _fit_in(opened(find(name)), checkpoint)
    if any(SCALES.search(key) for key in found.file.unread):
        raise CheckpointError(f"“{name}” has weights of 8 bits with scales beside them, which are not read here: get "
                              "it in 16 bits")  # fmt: skip
    other = lora_family.another(found.file.shapes, shapes_in(checkpoint).get("network", {}))
    if other or not found.acting:
        family = found.file.made_for
        unread = found.file.unread[:1]
        why = f"it seems to be made for {family}" if family else \
            f"its tensors ({unread[0]}, ...) are of a kind that is not read here" if unread else \
            "what it was made for cannot be told from it"  # fmt: skip
        what = "is no file for" if found.acting else "has no layer that"
        raise CheckpointError(f"“{name}” {what} {id}{'' if found.acting else ' has'}: {why}. Choose a model of that "
                              "family, or another file")  # fmt: skip
    return found


@lru_cache(maxsize=256)
def _fit_in(file: LoraFile, checkpoint: Path) -> Fit:
    return fit(file, shapes_in(checkpoint))


@lru_cache(maxsize=16)
def shapes_in(checkpoint: Path) -> Mapping[str, Shapes]:
    """The layers of a checkpoint folder's networks, as `fit` takes them, by the headers of its files."""
    index = json.loads((checkpoint / "model_index.json").read_text(encoding="utf-8"))
    found = {}
    for part, (places, library, classes) in NETWORKS.items():
        place = next((one for one in places if (checkpoint / one).is_dir()), None)
        if place is None or (classes and index.get(place, [None, None])[1] not in classes):
            continue
        files = weights(checkpoint, place, library).files
        if files[0].name == SINGLE_FILE:
            found[part] = of_weights(single_file.shapes_of(checkpoint, place))
        else:
            found[part] = of_weights({name: shape for file in files for name, shape in shapes(file).items()})
    return found


def of_weights(tensors: Shapes) -> Shapes:
    """Module -> the shape of its weight, of tensors by their names."""
    modules = {name.removesuffix(".weight"): shape for name, shape in tensors.items() if name.endswith(".weight")}
    return {name: shape for name, shape in modules.items() if not name.endswith(_NO_LAYER)}


# ---- what peft writes beside the tensors ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Peft:
    settings: Mapping[str, Any]  # "unet.lora_alpha", "unet.alpha_pattern", ...

    def alpha(self, part: str, layer: str) -> tuple[float | None, bool]:
        """(alpha, whether by the root of the rank) of a layer."""
        prefixes = {"network": ("unet", "transformer"), "te1": ("text_encoder",), "te2": ("text_encoder_2",),
                    "te3": ("text_encoder_3",)}[part]  # fmt: skip
        said = {key: self.settings[f"{prefix}.{key}"] for key in ("lora_alpha", "alpha_pattern", "use_rslora")
                for prefix in prefixes if f"{prefix}.{key}" in self.settings}  # fmt: skip
        pattern = said.get("alpha_pattern") or {}
        own = [value for name, value in pattern.items()
               if f"_{layer}".endswith(f"_{lora_names.flattened(name)}")]  # fmt: skip
        alpha = own[0] if own else said.get("lora_alpha")
        return None if alpha is None else float(alpha), bool(said.get("use_rslora"))


def _settings_of_peft(about: Mapping[str, str]) -> _Peft | None:
    try:
        settings = json.loads(about.get("lora_adapter_metadata", ""))
    except ValueError:
        return None
    return _Peft(settings) if isinstance(settings, dict) else None
