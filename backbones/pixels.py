"""Backbones whose state is the image itself: unconditional UNets in pixel space, Still Life's and DDPM's kind."""

import math
import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import checkpoint
from backbones.checkpoint import CheckpointError
from backbones.coordinates import coordinates, coordinates_in
from backbones.engines import SMALL, EngineChoice, Graph, TorchEngine, choose, plan
from samplers.protocol import Ask

FITS = ("DDPMPipeline", "DDIMPipeline")


def check_unet(id: str, config: Mapping[str, Any]) -> None:
    """Raises CheckpointError where a UNet of this config takes anything but images."""
    channels, given = config.get("in_channels") or 0, config.get("out_channels")
    patch = math.isqrt(channels // 3)
    wants = [name for name in ("class_embed_type", "num_class_embeds") if config.get(name)]
    if (channels, given) != (3 * patch**2,) * 2 or not channels or wants:
        raise CheckpointError(
            f"{id}: its UNet takes {channels} channels, gives {given} and wants "
            f"{', '.join(wants) or 'nothing'} beside; what fits takes and gives images of 3 channels, or "
            "blocks of them (12, 48, ...), and wants nothing else"
        )
    if not config.get("sample_size"):
        raise CheckpointError(f"{id}: its unet/config.json gives no sample_size, the side of the images that it was "
                              "trained on: add it")  # fmt: skip


class PixelBackbone:
    """A checkpoint of an unconditional UNet2DModel as a `backbones.base.Backbone`; not for several threads at once.

    Its state is the image, (B, 3, H, W) in [-1, 1] where the backbone's images are in [0, 1]. It reads no prompt:
    `encode_prompt` gives an empty cond, and keys of another cond are passed over. A network of 3 p^2 channels sees
    every p x p block of pixels as one cell, which is a permutation: white noise stays white.
    """

    offers = frozenset({"gradients", "pixels"})
    tokens = 0

    def __init__(self, pipe: Any, plan: EngineChoice, id: str, revision: str):
        """pipe: a DDPMPipeline or DDIMPipeline, in the plan's dtype, frozen, in eval mode.

        Raises CheckpointError where the UNet takes anything but images.
        """
        self.id, self.revision, self.device = id, revision, plan.device
        config = pipe.unet.config
        check_unet(id, config)
        patch = math.isqrt(config.in_channels // 3)
        try:
            self.coordinates = coordinates(type(pipe.scheduler).__name__, pipe.scheduler.config)
        except ValueError as error:
            raise CheckpointError(f"{id}: {error}") from error
        self.sigmas = self.coordinates.sigmas  # (T,) ascending
        self.unet = Blocks(pipe.unet.to(plan.device), patch)
        self.engine = choose(self.unet, plan, revision, PixelGraph)  # of plain asks
        self.torch = self.engine if isinstance(self.engine, TorchEngine) else TorchEngine(self.unet, plan.rows)
        self.default_size = self.unet.config.sample_size
        self.size_multiple = patch * 2 ** (len(config.block_out_channels) - 1)
        parameters = sum(values.numel() for values in self.unet.parameters())
        self.quick = parameters <= SMALL or plan.device.type != "cpu"

    @classmethod
    def load(cls, id: str, name: str | None = None) -> "PixelBackbone":
        """From a folder or a Hub id, with the device and engine of `backbones.engines.plan`; name: in place of the id.

        Raises CheckpointError, an OSError, with what is wrong in words.
        """
        folder = checkpoint.locate(id, FITS)
        coordinates_in(folder, name or id)
        settings = plan(checkpoint.parameters(folder))
        pipe = checkpoint.open_pipeline(folder, settings.dtype)
        return cls(pipe, settings, name or id, checkpoint.revision(folder))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Pixels -> (3, H, W). Raises ValueError for a size that is no multiple of size_multiple."""
        if width <= 0 or height <= 0 or width % self.size_multiple or height % self.size_multiple:
            raise ValueError(f"{width} x {height} pixels: width and height are multiples of {self.size_multiple} "
                             f"with {self.id}")  # fmt: skip
        return 3, height, width

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Nothing, whatever the texts say."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError("encode_prompt takes a list of at least one text")
        return {}

    def denoise(self, ask: Ask) -> Tensor:
        """The x0 of every row (B, 3, H, W) float32. It has gradients only if ask.tape is not None."""
        x, sigma = ask.x.to(self.device, torch.float32), ask.sigma.to(self.device, torch.float32)
        nothing = x.new_zeros(len(x), 0)
        with torch.set_grad_enabled(ask.tape is not None):
            model_input, t = self.coordinates.enter(x, sigma)
            if ask.tape is not None:
                out = self.torch(model_input, t, nothing, {}, rows=min(self.torch.rows, 1))
            else:
                out = self.engine(model_input, t, nothing, {})
            return self.coordinates.leave(x, sigma, out)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the state, in [-1, 1]. Raises ValueError for other shapes."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError(f"images are (B, 3, H, W): got {tuple(pixels.shape)}")
        return pixels.to(self.device, torch.float32) * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        """The state (B, 3, H, W) -> images in [0, 1]; gradients run through it where it is not clipped."""
        return (latents.to(self.device, torch.float32) / 2 + 0.5).clamp(0, 1)

    preview = decode

    def unread(self, text: str) -> str:
        return ""  # it reads no prompt

    def unknown_words(self, text: str) -> list[str]:
        """All of them, in order and once each."""
        return list(dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower())))


class Blocks(nn.Module):
    """An unconditional UNet called as a text-to-image one is, on images (B, 3, H, W), p x p pixels to a cell."""

    def __init__(self, unet: Any, patch: int):
        super().__init__()
        self.unet, self.patch = unet, patch
        size = unet.config.sample_size if isinstance(unet.config.sample_size, int) else unet.config.sample_size[0]
        self.config = SimpleNamespace(sample_size=size * patch, in_channels=3)

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Mapping | None = None, return_dict: bool = False
    ) -> tuple[Tensor]:
        return (F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, self.patch), t, return_dict=False)[0], self.patch),)


class PixelGraph(Graph):
    names = ("x", "t")

    def __init__(self, blocks: Blocks):
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.blocks(x, t, x)[0]

    def example(self) -> tuple[Tensor, ...]:
        size = self.blocks.config.sample_size
        return torch.zeros(2, 3, size, size), torch.tensor([500.0, 100.0])
