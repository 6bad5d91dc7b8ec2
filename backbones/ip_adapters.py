"""IP-Adapters of a UNet (Ye et al. 2023, arXiv 2308.06721): `.safetensors` files as their authors publish them, with
the image encoder that they were trained with in a folder `image_encoder` beside them, or those of the Hub.

Those of a checkpoint lie beside it, `dream_ip_adapters/ip-adapter_sd15.safetensors`; $NINE_WAYS_IP_ADAPTERS is a folder
of more. See `backbones.adapter_files`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from backbones import adapter_files, hub
from backbones.checkpoint import check_loaded, digest, quiet
from backbones.checkpoint_files import PICKLES, CheckpointError, weights
from backbones.controlnets import FAMILIES
from backbones.extensions import Extension
from backbones.hub import NotFetched
from backbones.ip_adapter_layers import ENCODERS, Kind, Layers, WithImages, kind_of, layers_of, projection
from backbones.names import hub_file

H94, WITH_H, WITH_G = "h94/IP-Adapter", "models/image_encoder", "sdxl_models/image_encoder"
OF_SD_1 = {  # name -> path of the file at the authors' place on the Hub, and of its encoder
    name: (f"models/{name}.safetensors", WITH_H)
    for name in ("ip-adapter_sd15", "ip-adapter-plus_sd15", "ip-adapter-plus-face_sd15", "ip-adapter-full-face_sd15")
}
OF_SD_XL = {"ip-adapter_sdxl": ("sdxl_models/ip-adapter_sdxl.safetensors", WITH_G)} | {
    name: (f"sdxl_models/{name}.safetensors", WITH_H)
    for name in ("ip-adapter_sdxl_vit-h", "ip-adapter-plus_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h")
}
KNOWN = {"Stable Diffusion 1": OF_SD_1, "Stable Diffusion XL": OF_SD_XL}
ENCODER_OF = {path: encoder for those in KNOWN.values() for path, encoder in those.values()}
KIND = "ip_adapters"
PREFIX = "ip_adapter:"  # of keys of cond, see `ip_adapter_layers.WithImages`
ENCODER, CONFIG, FILE = "image_encoder", "config.json", "model.safetensors"
KEPT = 2  # adapters that are kept opened


class Found(NamedTuple):
    """An adapter that fits: its file, what it is, and the folder of its image encoder."""

    file: Path
    kind: Kind
    encoder: Path


def beside(folder: Path, config: Any) -> dict[str, str]:
    """name -> file or path on the Hub, for a checkpoint folder and its UNet's config (attributes)."""
    known = {name: f"{H94}/{path}" for name, (path, _) in KNOWN.get(_family(config), {}).items()}
    return adapter_files.beside(folder, KIND, _in_folder, lambda where: not _misfit(Path(where), config), known)


def _in_folder(home: Path) -> dict[str, str]:
    """Files there, and a folder below as in the authors' own (models, sdxl_models); pickles, which are refused when
    they are asked for, where there is nothing else of their name. What has a config beside it is another network."""
    kinds = [sorted(PICKLES), [".safetensors"]]
    return {one.stem: str(one) for ends in kinds for one in sorted([*home.glob("*"), *home.glob("*/*")])
            if one.suffix in ends and one.is_file() and not (one.parent / CONFIG).exists()}  # fmt: skip


def _family(config: Any) -> str:
    return FAMILIES.get((config.cross_attention_dim, tuple(config.block_out_channels)), ("", {}))[0]


def _misfit(file: Path, config: Any) -> str:
    """Why it does not go with a UNet of this config, in words; "" where it does."""
    if file.suffix in PICKLES:
        return f"{file} is a pickle, which can run code when it is read: get it as .safetensors"
    try:
        kind = kind_of(file)
    except CheckpointError as error:
        return str(error)
    own = tuple(width for _, width in layers_of(config))
    if (kind.text, kind.layers) == (config.cross_attention_dim, own):
        return ""
    made_for = next((name for (text, _), (name, _) in FAMILIES.items() if text == kind.text), "another network")
    return (f"the IP-Adapter {file} was made for {made_for} (a text of {kind.text} features, {len(kind.layers)} "
            f"layers), and this network has {config.cross_attention_dim} and {len(own)}: take one that was trained for "
            f"{_family(config) or 'this one'}")  # fmt: skip


class IPAdapters:
    """Those that a UNet has. An image is read once a run: its tokens are kept."""

    prefix = PREFIX

    def __init__(self, id: str, folder: Path, unet: Any, device: torch.device, dtype: torch.dtype):
        """id, folder: of the checkpoint. unet: its UNet2DConditionModel."""
        self.id, self.folder, self.config, self.device, self.dtype = id, folder, unet.config, device, dtype
        self.there = beside(folder, unet.config)
        self.names = tuple(self.there)
        self.blocks = tuple(block for block, _ in layers_of(unet.config))  # of each layer: "up_blocks.0.attentions.1"
        self.levels = range(len(unet.config.block_out_channels))  # how often the image can be halved, from 0
        self._answers = adapter_files.Answers()
        self._encoder: tuple[Path, Any] | None = None  # the last one
        self._files: dict[str, Found] = {}  # by their hashes
        self._opened: dict[str, Layers] = {}

    def check(self, name: str) -> None:
        """See `adapter_files.Adapters`."""
        self._ready(name)

    def tokens(self, name: str, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Of all images, (1, 3, S, S) in [0, 1] each: what the prompt and what the negative prompt has, (1, T, D).

        The latter are of nothing: features of zero, or those of a black image in the encoder's own coordinates, as in
        the authors' code. Raises ValueError where there is none of that name or it does not fit; what `check` raises.
        """
        found = self._ready(name)
        return self._answers.of(self._hash(found), list(images), lambda: self._read(found, images))

    def keys(self, name: str, tokens: Tensor, weights: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """The further keys of an ask. tokens: (1, T, D). weights: (1, layers). mask: (B, 1, h, w) in [0, 1], of the
        latents: where the images act."""
        key = self._hash(self._ready(name))
        made = {f"{PREFIX}tokens:{key}": tokens, f"{PREFIX}weights:{key}": weights}
        if mask is not None:
            h, w = mask.shape[-2:]
            for level in self.levels:
                made[f"{PREFIX}mask{level}:{key}"] = F.adaptive_avg_pool2d(mask.float(), (h, w)).flatten(2).mT
                h, w = (h + 1) // 2, (w + 1) // 2  # as the UNet halves
        return made

    @property
    def extension(self) -> Extension:
        """See `adapter_files.Adapters`."""
        return self._extended

    def _extended(self, network: Any, keys: tuple[str, ...]) -> WithImages:
        opened = {key: self._open(key) for key in {one.rpartition(":")[2] for one in keys}}
        return WithImages(network, PREFIX, keys, opened)

    def _hash(self, found: Found) -> str:
        key = digest(found.file)[:16]
        self._files[key] = found
        return key

    def _open(self, key: str) -> Layers:
        if key not in self._opened:
            found = self._files[key]
            self._opened[key] = Layers(found.file, found.kind, self.device, self.dtype, key)
        while len(self._opened) > KEPT:
            self._opened.pop(next(iter(self._opened)))
        return self._opened[key]

    def _ready(self, name: str) -> Found:
        return adapter_files.checked(self.id, "IP-Adapter", name, self.there, self._found)

    def _found(self, where: str) -> Found:
        """Raises CheckpointError and NotFetched."""
        there = hub_file(where)
        file = Path(where)
        if there is not None:
            place, path = there
            files = [path, *(f"{ENCODER_OF[path]}/{name}" for name in (CONFIG, FILE))]
            homes = [hub.cached(place, one) for one in files]
            if None in homes:
                raise NotFetched(place, f"the IP-Adapter {where} with its image encoder",
                                 lambda tell: hub.fetch(hub.look(place), files, tell))  # fmt: skip
            file = Path(homes[0] or "") / path
        if wrong := _misfit(file, self.config):
            raise CheckpointError(wrong)
        kind = kind_of(file)
        return Found(file, kind, self._encoder_of(file, kind))

    def _encoder_of(self, file: Path, kind: Kind) -> Path:
        """The folder of the first image encoder near a file that it was made for. Raises CheckpointError."""
        others = []
        for folder in dict.fromkeys(_encoders(file, self.folder)):
            widths = _widths(folder)
            if widths[1 if kind.pooled else 0] == kind.width:
                return folder
            name = ENCODERS.get(widths, "one")
            others.append(f"{folder} is {name} of {widths[0]} and {widths[1]} pooled features")
        if others:
            raise CheckpointError(f"the IP-Adapter {file} was made for an image encoder of {kind.encoder}, and "
                                  f"{others[0]}: put the folder of that one beside it")  # fmt: skip
        raise CheckpointError(f"the IP-Adapter {file} reads images by an encoder of {kind.encoder}, which is not "
                              f"here: put the folder of that encoder beside it, as {ENCODER}/ with {CONFIG} and "
                              f"{FILE}")  # fmt: skip

    @torch.no_grad()
    def _read(self, found: Found, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        from transformers import CLIPImageProcessor

        encoder = self._load(found.encoder)
        size = int(encoder.config.image_size)
        reader = CLIPImageProcessor(size=size, crop_size=size)
        pixels = reader([_picture(one) for one in images], return_tensors="pt").pixel_values
        pixels = pixels.to(self.device, self.dtype)
        project = projection(found.file, found.kind, self.device, self.dtype)
        if found.kind.pooled:
            pooled = encoder(pixels).image_embeds
            features = pooled, torch.zeros_like(pooled)
        else:
            features = tuple(encoder(one, output_hidden_states=True).hidden_states[-2]
                             for one in (pixels, torch.zeros_like(pixels)))  # fmt: skip
        seen, nothing = (project(one).float().flatten(0, 1)[None] for one in features)
        return seen, nothing

    def _load(self, folder: Path) -> Any:
        from transformers import CLIPVisionModelWithProjection

        if self._encoder is None or self._encoder[0] != folder:
            self._encoder = None  # not two of them at once
            try:
                with quiet():
                    encoder, found = CLIPVisionModelWithProjection.from_pretrained(
                        folder, dtype=self.dtype, use_safetensors=True, output_loading_info=True, local_files_only=True,
                        variant=weights(folder.parent, folder.name, "transformers").variant or None,
                    )  # fmt: skip
            except CheckpointError:
                raise
            except Exception as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise CheckpointError(f"the image encoder {folder} could not be loaded: {lines[0]}") from error
            check_loaded(f"the image encoder {folder}", encoder, found)
            self._encoder = folder, encoder.to(self.device).eval().requires_grad_(False)
        return self._encoder[1]


def _picture(image: Tensor) -> Image.Image:
    """(1, 3, H, W) in [0, 1] -> 8 bits a channel, as the encoder's own reader takes it."""
    array = (image[0].permute(1, 2, 0).float().cpu().clamp(0, 1) * 255).round()
    return Image.fromarray(array.numpy().astype(np.uint8))


def _encoders(file: Path, checkpoint: Path) -> Iterator[Path]:
    """Folders of image encoders near an adapter's file, the nearest first; then that of the checkpoint."""
    home = file.parent
    near = [home / file.stem / ENCODER, home / ENCODER, *sorted(home.glob("*")), home.parent / ENCODER,
            *sorted(home.parent.glob(f"*/{ENCODER}")), checkpoint / ENCODER]  # fmt: skip
    return (one for one in near if _widths(one) != (0, 0))


def _widths(folder: Path) -> tuple[int, int]:
    """(hidden, pooled) of an image encoder; (0, 0) where a folder holds none."""
    try:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if said["model_type"] == "clip_vision_model":
            return int(said.get("hidden_size", 768)), int(said.get("projection_dim", 512))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return 0, 0
