"""What sets one family of diffusion transformers apart from another, and what most of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbones import flow_times
from backbones.families.control import FamilyControls
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.pipelines import Networks
from backbones.token_attention import Attention

Config = Mapping[str, Any]  # of the transformer


REFERENCE = "reference."  # keys of a cond begin so, and end with the place of the image among them


@dataclass(frozen=True)
class Reading:
    """How much of a prompt is read: part: the tokenizer that decides it. tokens: at most, `around` of them before and
    after the prompt's own."""

    part: str
    tokens: int
    around: int


class Family(ABC):
    """One family. It has no state: what is loaded is handed to it.

    A prompt's row of a cond has "text" (1, L, D); of families whose texts differ in length, "length" (1,) as well,
    and rows of unlike lengths are filled up with zeros that the network never sees.
    """

    name: str  # as people call it
    networks: tuple[Networks, ...]  # those with its transformer
    patch: int = 2  # latents along a side of a token
    reads: frozenset[str] = frozenset({"text"})  # keys of a cond
    attention: tuple[Attention, ...] = ()  # its layers that edits see
    side: int = 1024  # pixels of a square image that it was trained on
    reading: Reading = Reading("tokenizer", 512, 0)
    words: tuple[tuple[str, str], ...] = (("text_encoder", "tokenizer"),)  # what reads the text, in its order
    references: bool = False  # whether it reads images as further tokens, "reference.0", "reference.1", ... of a cond
    inpaints: bool = False  # whether it reads a mask and the image around it, "c_concat" (B, 1 + C, h, w) of a cond
    guidance_keeps_length: bool = False  # see `backbones.base.Backbone`
    controls: FamilyControls | None = None  # its ControlNets
    guidance: float | None = None  # of a network that has its guidance scale as an input: what it reads without one

    @abstractmethod
    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        """One prompt -> its row, by the pipeline's own code."""

    @abstractmethod
    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        """The model's prediction, in its own coordinates, for x (B, C, h, w) at t (B,), 0 to 1 for a flow; inputs: what
        the family `reads`, (B, ...) in the model's dtype, and "guidance" (B,) where the model has that input."""

    def reading_of(self, config: Config, has_part: Callable[[str], bool]) -> Reading:
        """Of a checkpoint with a transformer of this config, and these parts."""
        return self.reading

    def has_guidance(self, config: Config) -> bool:
        """Whether the transformer of this config has its guidance scale as an input."""
        return self.guidance is not None and bool(config.get("guidance_embeds"))

    def reads_of(self, config: Config) -> frozenset[str]:
        """Keys of a cond that a transformer of this config reads."""
        more = {"guidance"} if self.has_guidance(config) else set()
        return self.reads | more | ({"c_concat"} if self.inpaints else set())

    def reads_pixels(self, config: Config) -> bool:
        """Whether a transformer of this config reads height and width of the image, as "pixels" (B, 2)."""
        return False

    def image_tokens(self, shape: tuple[int, int]) -> int:
        """Of latents (h, w)."""
        return (shape[0] // self.patch) * (shape[1] // self.patch)

    def shift(self, settings: Settings, tokens: int, steps: int) -> float:
        """The factor of the levels, for an image of so many tokens made in so many steps; settings: the scheduler's."""
        if settings.get("use_dynamic_shifting"):
            return flow_times.shift_by_size(settings, tokens)
        return float(settings.get("shift") or 1.0)

    def schedule(self, steps: int, settings: Settings, tokens: int) -> list[float] | None:
        """The levels that its own pipeline steps through: steps + 1, falling, the last 0.0. None where they are picked
        from those that it was trained at."""
        return flow_times.schedule(steps, settings, self.shift(settings, tokens, steps))


def packed(x: Tensor) -> Tensor:
    """Latents (B, C, h, w) -> tokens of 2 x 2 of them (B, h w / 4, 4 C), channels outermost."""
    return torch.nn.functional.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)


def unpacked(tokens: Tensor, shape: tuple[int, int]) -> Tensor:
    """The inverse of `packed`; shape: (h, w) of the latents."""
    h, w = shape
    return torch.nn.functional.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (h // 2, w // 2)), 2)


def references_of(inputs: Inputs) -> list[Tensor]:
    """The reference images among the inputs of a network, latents (B, C, h, w) each, in their order."""
    names = [name for name in inputs if name.startswith(REFERENCE)]
    return [inputs[name] for name in sorted(names, key=lambda name: int(name.removeprefix(REFERENCE)))]


def grid(h: int, w: int, axes: int, like: Tensor) -> Tensor:
    """Positions of h x w image tokens (h w, axes): row and column on the axes 1 and 2, zero on the others."""
    ids = like.new_zeros(h, w, axes)
    ids[..., 1] = torch.arange(h, device=like.device)[:, None]
    ids[..., 2] = torch.arange(w, device=like.device)
    return ids.flatten(0, 1)
