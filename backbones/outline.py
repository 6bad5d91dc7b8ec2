"""What is known of a checkpoint before its weights are read: from the JSON files of its folder alone, in milliseconds.

A recipe is checked against an outline as it is against the loaded backbone, so that a refusal needs no network of 7 GB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from backbones import (
    checkpoint,
    controlnets,
    diffusion_transformer,
    guiding_networks,
    ip_adapters,
    pixels,
    single_file,
    stable_diffusion,
    t2i_adapters,
    text_length,
    transformer,
    unet,
    unet_config,
)
from backbones.autoencoder import latents_of
from backbones.base import check_size
from backbones.checkpoint_files import CheckpointError
from backbones.checkpoint_files import config as config_of
from backbones.clip_text import LEARNED_ALL
from backbones.coordinates import coordinates_in
from backbones.embedded import EMBEDDED
from backbones.families import FAMILIES
from backbones.families.family import Family, Reading
from backbones.learned_words import LearnedWords
from backbones.names import hub_place, local
from common.weighted_text import plain
from samplers.schedules import native

#: What the configs of transformers call the features of a token of their text.
TEXT = ("joint_attention_dim", "cap_feat_dim", "text_hidden_dim", "caption_channels")


@dataclass(frozen=True, eq=False)
class Outline:
    """Of a backbone: the fields of `backbones.base.Backbone` that do not depend on its weights, and its `offers`.

    channels, factor: of its latents, whose sides are the image's divided by `factor` (pixels: 3 and 1).
    features: of a token of its text (0: it reads no prompt). tokens: the length of a text. controlnets: the names of
    its ControlNets; adapters: of its other adapters, by what methods need.
    """

    id: str
    offers: frozenset[str]
    sigmas: Tensor  # (T,) ascending
    default_size: int  # pixels
    size_multiple: int  # pixels
    channels: int
    factor: int = 1
    features: int = 0
    tokens: int = 0
    controlnets: tuple[str, ...] = ()
    adapters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path | None = None  # of its files
    reads_chunks: bool = False  # see `backbones.base.Backbone`
    learned_words: LearnedWords | None = None  # likewise
    clip_skips: int = 1  # likewise
    weighs_words: bool | None = None  # see `backbones.base.Backbone`
    note: str = ""  # what was assumed of the checkpoint, in words

    def levels(self, width: int, height: int) -> Tensor:
        """The noise levels (T,) of an image of so many pixels, ascending."""
        return self.sigmas

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """The levels that a run goes through where no other schedule is chosen: steps + 1, falling, the last 0.0."""
        return native(steps, self.levels(width, height))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Pixels -> (C, h, w). Raises ValueError for a size that is no multiple of size_multiple."""
        check_size(self.id, self.size_multiple, width, height)
        return self.channels, height // self.factor, width // self.factor

    def unread(self, text: str) -> str:
        """The end of a prompt that its text encoder has no place for; "" where it reads all of it."""
        if not self.tokens or self.folder is None or self.reads_chunks:
            return ""
        return text_length.unread(text_length.tokenizer_in(self.folder), plain(text), self.tokens)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """See `backbones.base.Backbone`."""
        if not self.tokens or self.folder is None:
            return 0, 0
        tokenizer = text_length.tokenizer_in(self.folder)
        if self.learned_words is not None:
            return text_length.count_in_chunks(tokenizer, text, self.learned_words)
        return text_length.count_tokens(tokenizer, text, self.tokens)


@dataclass(frozen=True, eq=False, kw_only=True)
class TransformerOutline(Outline):
    """Of a diffusion transformer. settings: of its scheduler."""

    family: Family
    reading: Reading
    settings: Mapping[str, Any]

    @property
    def patch(self) -> int:
        """Latents along a side of a token."""
        return self.family.patch

    @property
    def guidance_keeps_length(self) -> bool:
        """See `backbones.base.Backbone`."""
        return self.family.guidance_keeps_length

    def levels(self, width: int, height: int) -> Tensor:
        """See `backbones.diffusion_transformer.TransformerBackbone`."""
        return diffusion_transformer.levels(self.family, self.settings, self.sigmas, self._shape(width, height))

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """See `backbones.diffusion_transformer.TransformerBackbone`."""
        return diffusion_transformer.schedule(
            self.family, self.settings, self.sigmas, self._shape(width, height), steps
        )

    def _shape(self, width: int, height: int) -> tuple[int, int]:
        return height // self.factor, width // self.factor

    def unread(self, text: str) -> str:
        """The end of a prompt that its text encoder has no place for; "" where it reads all of it."""
        if self.folder is None:
            return ""
        tokenizer = text_length.tokenizer_in(self.folder, self.reading.part)
        return text_length.unread(tokenizer, plain(text), self.tokens, self.reading.around)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """See `backbones.base.Backbone`."""
        if self.folder is None:
            return 0, 0
        tokenizer = text_length.tokenizer_in(self.folder, self.reading.part)
        return text_length.count_tokens(tokenizer, text, self.tokens, self.reading.around)


def outline(id: str, name: str | None = None) -> Outline:
    """Of an embedded backbone other than the oracle, which has no weights; of a local folder; or of an id of the Hub
    that was fetched before: no network is asked. name: what it is called in place of the id.

    Raises CheckpointError, an OSError, in words where there is no such checkpoint, or it is one of another kind.
    """
    folder = (EMBEDDED[id].folder if id in EMBEDDED else None) or _fetched(id)
    kind = checkpoint.check(folder, (*stable_diffusion.FITS, *pixels.FITS, *diffusion_transformer.FITS))[
        "_class_name"
    ]
    id = name or id
    sigmas = coordinates_in(folder, id).sigmas
    try:
        return (_of_transformer if kind in diffusion_transformer.FITS else _of_unet)(id, folder, kind, sigmas)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CheckpointError(f"{id}: a config.json of it lacks {error}") from error


def _of_unet(id: str, folder: Path, kind: str, sigmas: Tensor) -> Outline:
    """Raises KeyError, TypeError or IndexError where a config lacks something."""
    config = config_of(folder, "unet")
    pixels.check_unet(id, config) if kind in pixels.FITS else unet_config.check(folder)
    size = config["sample_size"] if isinstance(config["sample_size"], int) else config["sample_size"][0]
    stages = len(config["block_out_channels"])
    if kind in pixels.FITS:
        patch = math.isqrt(config["in_channels"] // 3)
        offers = pixels.Unconditional.offers | pixels.Pixels.offers
        return Outline(id, offers, sigmas, size * patch, patch * 2 ** (stages - 1), channels=3)
    channels, factor = _latents(folder)
    guiding = {name for name in guiding_networks.NETWORKS if guiding_networks.has(folder, name)}
    offers = unet.offers(config, channels) | guiding
    beside = tuple(controlnets.beside(folder, config))
    settings = SimpleNamespace(**config)
    adapters = {
        "t2i adapter": tuple(t2i_adapters.beside(folder, settings, factor)),
        "ip adapter": tuple(ip_adapters.beside(folder, settings)),
    }
    offers |= {"controlnet"} if beside else set()
    offers |= {kind for kind, names in adapters.items() if names}
    texts = [config_of(folder, part) for part in ("text_encoder", "text_encoder_2") if (folder / part).is_dir()]
    tokens = int(texts[0].get("max_position_embeddings", 77))
    in_chunks = len(texts) > 1 or int(texts[0].get("vocab_size", 49408)) >= LEARNED_ALL
    widths = tuple(int(text.get("hidden_size", 512)) for text in texts)
    learned = LearnedWords(id, folder, widths, tokens - text_length.ENDS) if in_chunks else None
    multiple = unet.size_multiple(factor, stages, checkpoint.parameters(folder))
    return Outline(
        id, offers, sigmas, size * factor, multiple, channels, factor,
        int(config["cross_attention_dim"]), tokens, beside, adapters, folder, in_chunks,
        learned, int(texts[0].get("num_hidden_layers", 12)) if learned and len(texts) == 1 else 1,
        weighs_words=True, note=single_file.note(folder),
    )  # fmt: skip


def _of_transformer(id: str, folder: Path, kind: str, sigmas: Tensor) -> TransformerOutline:
    """Raises KeyError, TypeError or IndexError where a config lacks something."""
    family, config = FAMILIES[kind], config_of(folder, "transformer")
    channels, factor = _latents(folder)
    reading = family.reading_of(config, lambda part: (folder / part).is_dir())
    beside = tuple(diffusion_transformer.beside(folder, family, config))
    offers = transformer.offers(family, config) | ({"controlnet"} if beside else set())
    return TransformerOutline(
        id, offers, sigmas, family.side, factor * family.patch, channels, factor,
        features=next(int(config[name]) for name in TEXT if name in config), tokens=reading.tokens, folder=folder,
        controlnets=beside, weighs_words=False, family=family, reading=reading,
        settings=diffusion_transformer.settings_in(folder),
    )  # fmt: skip


def _latents(folder: Path) -> tuple[int, int]:
    """(channels, pixels to a latent) of the autoencoder in a folder."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return latents_of(index["vae"][1], config_of(folder, "vae"))


def _fetched(id: str) -> Path:
    """A folder as it is; what stands for a single file; of an id of the Hub the folder in the cache of this machine."""
    if folder := single_file.folder_of(id):
        return folder
    place = hub_place(id)
    if place is None:
        return local(id).resolve()
    if (cached := checkpoint.cached(place)) is None:
        words = f"{place} has not been fetched from the Hugging Face Hub yet: a run of it does that, or `hf download`"
        raise CheckpointError(words)
    return cached
