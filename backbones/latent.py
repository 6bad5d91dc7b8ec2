"""A backbone put together of its parts: a network, what encodes prompts, what makes images of latents and back."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from backbones import guiding_networks, lora_files
from backbones.adapter_files import Adapters
from backbones.base import check_size
from backbones.checkpoint_files import CheckpointError
from backbones.coordinates import Coordinates
from backbones.extensions import Extension
from backbones.learned_words import LearnedWords
from backbones.lora_network import AdaptedText, WithLoras, branches
from backbones.openvino_later import OpenVINOLater
from backbones.prompts import Prompts, TextEncoder
from samplers.protocol import Ask, Cond
from samplers.schedules import native

ADAPTED = 4  # sets of LoRA files with which prompts are read, kept
Inputs = dict[str, Tensor]  # of a network beside x and t, each (B, ...)


class Network(Protocol):
    """A denoising network, in the coordinates that it was trained in."""

    offers: frozenset[str]  # of `conditioning.registry.NEEDS`, what can be done with its inside
    engine: Any  # what answers plain asks: see `backbones.engines`

    def read(self, cond: Cond, shape: Sequence[int]) -> Inputs:
        """What it takes of a cond, on its device; shape: of x. Raises ValueError for a cond that it does not read, or
        that lacks what it wants."""
        ...

    def __call__(self, x: Tensor, t: Tensor, inputs: Inputs, edit: object | None = None, tape: bool = False) -> Tensor:
        """Its prediction for x (B, C, h, w) at timesteps t (B,), float32. edit: in it for this call only. tape: whether
        gradients run through it."""
        ...

    def extend(self, prefix: str, extension: Extension) -> None:
        """See `LatentBackbone.extend`."""
        ...

    def check_controlnet(self, where: str) -> None:
        """Raises CheckpointError where one does not fit, or there are none for its kind; NotFetched (`backbones.hub`)
        where it has to be fetched first."""
        ...

    def open_controlnets(self, wheres: Sequence[str]) -> tuple[Any, str]:
        """Those of an ask as one (`backbones.controls.Controls`), and a hash of it. Raises CheckpointError where one
        does not fit, or there are none for its kind."""
        ...

    def read_map(self, where: str, shown: Tensor) -> Tensor:
        """A map (B, 3, H, W) in [0, 1] as the ControlNet there reads it, (B, C, h, w)."""
        ...


class Images(Protocol):
    """Between images (B, 3, H, W) in [0, 1] and latents (B, channels, H / factor, W / factor)."""

    channels: int
    factor: int
    offers: frozenset[str]

    def encode(self, pixels: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...

    def preview(self, x0: Tensor) -> Tensor: ...


@dataclass(eq=False)
class LatentBackbone:
    """A checkpoint as a `backbones.base.Backbone`; not for several threads at once."""

    id: str
    revision: str
    device: torch.device
    network: Network
    text: TextEncoder
    images: Images
    coordinates: Coordinates
    default_size: int  # pixels
    size_multiple: int  # pixels
    quick: bool = True
    folder: Path = field(default_factory=Path)  # of the checkpoint, where it was loaded from one
    controlnets: dict[str, str] = field(default_factory=dict)  # name -> folder or Hub id of what fits
    adapters: Mapping[str, Adapters] = field(default_factory=dict)  # by what methods need: "t2i adapter"
    note: str = ""  # what was assumed of the checkpoint, in words
    later: OpenVINOLater | None = None  # a quicker engine, being made
    placed: str = ""  # which of its weights are on the device, in words; "": all (`offload`)

    def __post_init__(self) -> None:
        self.sigmas = self.coordinates.sigmas  # (T,) ascending
        self.tokens, self.weighs_words = self.text.tokens, self.text.weighs_words
        beside = {name for name in guiding_networks.NETWORKS if guiding_networks.has(self.folder, name)}
        self.offers = self.network.offers | self.images.offers | beside
        self.offers |= {"controlnet"} if self.controlnets else set()
        self.offers |= {kind for kind, one in self.adapters.items() if one.names}
        for one in self.adapters.values():
            self.extend(one.prefix, one.extension)  # first, so that those below call it: LoRA files change its queries
        self._prompts = Prompts(self.text)
        self._loras: dict[str, lora_files.LoraFile] = {}  # by their keys of cond
        self._adapted: dict[Any, LatentBackbone] = {}  # by the LoRA files in its text encoders

    @property
    def reads_chunks(self) -> bool:
        """See `backbones.base.Backbone`."""
        return self.text.reads_chunks

    @property
    def learned_words(self) -> LearnedWords | None:
        """See `backbones.base.Backbone`."""
        return self.text.learned_words

    @property
    def clip_skips(self) -> int:
        """See `backbones.base.Backbone`."""
        return self.text.clip_skips

    def between_runs(self) -> None:
        """For whoever makes runs, while none is under way: takes up an engine that became ready."""
        if self.later is not None and self.later.take():
            self.later = None

    @property
    def engine(self) -> Any:
        """What answers plain asks."""
        return self.network.engine

    @cached_property
    def perception_model(self) -> guiding_networks.PerceptionModel:
        """What reads its images. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "perception_model", self.device)

    @cached_property
    def classifier(self) -> guiding_networks.Classifier:
        """What reads its noisy latents. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "classifier", self.device)

    @cached_property
    def contrastive(self) -> guiding_networks.Contrastive:
        """What reads its images beside a text. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "contrastive", self.device)

    def warm_up(self) -> None:
        """Compiles and allocates what the first image of the default size needs: one call of each part."""
        x = torch.zeros(1, *self.latent_shape(self.default_size, self.default_size))
        x0 = self.denoise(Ask(x, torch.ones(1), self.encode_prompt([""])))
        self.decode(x0)
        self.preview(x0)

    def extend(self, prefix: str, extension: Extension) -> None:
        """From now on an ask may have keys of cond that begin with `prefix`, (B, ...) each.

        Such an ask is answered by extension(network, its keys) in place of the network. What that returns is called as
        a UNet is and finds those tensors in `added_cond_kwargs`, which must not reach the UNet; it has the UNet's
        `config`, the examples that `engines.UNetGraph` wants in `more`, and in `key` a hash of what it adds. Asks
        without such keys go the same way as before, bit for bit. The same prefix again changes nothing.
        """
        self.network.extend(prefix, extension)

    def check_controlnet(self, name: str) -> None:
        """Before a run: raises ValueError where there is none of that name in `controlnets`, or it does not fit, and
        `backbones.hub.NotFetched` where it has to be fetched first."""
        where = self._where(name)
        try:
            self.network.check_controlnet(where)
        except CheckpointError as error:
            raise ValueError(str(error)) from error

    def controls(self, names: Sequence[str]) -> tuple[Any, str]:
        """The ControlNets of these names in `controlnets` as one (`backbones.controls.Controls`), and a hash of it.
        Raises ValueError where there is none."""
        return self.network.open_controlnets([self._where(name) for name in names])

    def read_map(self, name: str, shown: Tensor) -> Tensor:
        """A map (B, 3, H, W) in [0, 1] as the ControlNet of that name reads it, (B, C, h, w): as it is, or its latents.
        Raises ValueError where there is none."""
        return self.network.read_map(self._where(name), shown)

    def _where(self, name: str) -> str:
        if name not in self.controlnets:
            raise ValueError(f"{self.id} has no ControlNet {name}: it has {', '.join(self.controlnets) or 'none'}")
        return self.controlnets[name]

    def adapters_of(self, kind: str) -> Any:
        """What it has of such adapters (`adapter_files.Adapters`). kind: of `conditioning.registry.NEEDS`. Raises
        ValueError where its network has no place for them."""
        if kind not in self.adapters:
            raise ValueError(f"{self.id} has no {kind}")
        return self.adapters[kind]

    def lora(self, name: str) -> str:
        """Opens a LoRA file: the key of cond, (B,), by which an ask has it at that weight. name: see `lora_files`.

        Raises CheckpointError where it cannot be had, and where no layer of it is one of this backbone.
        """
        file = lora_files.checked(name, self.id, self.folder).file
        self._loras[file.key] = file
        self.extend(lora_files.KEY, partial(WithLoras, files=self._loras))
        return file.key

    def reading_with(self, loras: Mapping[str, float]) -> "LatentBackbone":
        """This backbone, which reads prompts with LoRA files in its text encoders; itself where none has layers there.

        loras: key, as `lora` gives it -> weight.
        """
        weights = tuple(sorted((key, weight) for key, weight in loras.items() if weight))
        if weights not in self._adapted:
            encoders = getattr(self.text, "encoders", {})
            weighed = [(branches(self._loras[key], encoders), weight) for key, weight in weights]
            weighed = [(made, weight) for made, weight in weighed if made]
            other = copy.copy(self) if weighed else self
            if weighed:
                other._prompts = Prompts(AdaptedText(self.text, weighed))
            while len(self._adapted) >= ADAPTED:
                self._adapted.pop(next(iter(self._adapted)))
            self._adapted[weights] = other
        return self._adapted[weights]

    def levels(self, width: int, height: int) -> Tensor:
        """The noise levels (T,) of an image of so many pixels, ascending."""
        return self.sigmas

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """The levels that a run goes through where no other schedule is chosen: steps + 1, falling, the last 0.0."""
        return native(steps, self.levels(width, height))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Pixels -> (C, h, w). Raises ValueError for a size that is no multiple of size_multiple."""
        check_size(self.id, self.size_multiple, width, height)
        return self.images.channels, height // self.images.factor, width // self.images.factor

    def encode_prompt(self, texts: Sequence[str], clip_skip: int = 1) -> dict[str, Tensor]:
        """B texts -> the cond of B rows. Each text is encoded on its own, once. clip_skip: up to `clip_skips`."""
        return self._prompts.encode(texts, clip_skip)

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """The words of one text, in order, each with the places of its tokens; tokens (L,) as in a cond."""
        return self.text.words(tokens)

    def parts(self, length: int) -> list[tuple[int, int]]:
        """See `backbones.base.Backbone`."""
        return self.text.parts(length)

    def between_marks(self, tokens: Tensor) -> Tensor:
        """See `backbones.base.Backbone`."""
        return self.text.between_marks(tokens)

    def denoise(self, ask: Ask) -> Tensor:
        """The x0 of every row (B, C, h, w) float32. It has gradients only if ask.tape is not None.

        An edit is in the network for this call only. Raises ValueError for a cond that this network does not read or
        that lacks what it wants.
        """
        x, sigma = ask.x.to(self.device, torch.float32), ask.sigma.to(self.device, torch.float32)
        inputs = self.network.read(ask.cond, x.shape)
        with torch.set_grad_enabled(ask.tape is not None):
            seen, t = self.coordinates.enter(x, sigma)
            out = self.network(seen, t, inputs, ask.edit, ask.tape is not None)
            return self.coordinates.leave(x, sigma, out)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w) of unit scale."""
        return self.images.encode(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> images (B, 3, H, W) in [0, 1]; gradients run through it."""
        return self.images.decode(latents)

    def preview(self, x0: Tensor) -> Tensor:
        """The cheap decode: (B, C, h, w) -> (B, 3, H, W) in [0, 1]."""
        return self.images.preview(x0)

    def unread(self, text: str) -> str:
        """The end of a text that its text encoder has no place for, from the begin of a word; "" where it reads all."""
        return self.text.unread(text)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """See `backbones.base.Backbone`."""
        return self.text.count_tokens(text)

    def unknown_words(self, text: str) -> list[str]:
        """Words of the text, in order and once each, that it never learned."""
        return self.text.unknown_words(text)
