"""Backbones whose state is the image itself: unconditional UNets in pixel space, Still Life's and DDPM's kind."""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import checkpoint
from backbones.checkpoint import CheckpointError
from backbones.clip_text import NoText
from backbones.coordinates import coordinates, coordinates_in
from backbones.engines import SMALL, EngineChoice, Graph, TorchEngine, choose, plan
from backbones.extensions import Extension
from backbones.latent import Inputs, LatentBackbone
from backbones.pipelines import IN_PIXELS
from samplers.protocol import Cond

FITS = IN_PIXELS.pipelines


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


def load(id: str, name: str | None = None) -> LatentBackbone:
    """From a folder or a Hub id, with the device and engine of `backbones.engines.plan`; name: in place of the id.

    Raises CheckpointError, an OSError, with what is wrong in words.
    """
    folder = checkpoint.locate(id, FITS)
    coordinates_in(folder, name or id)
    settings = plan(checkpoint.parameters(folder))
    pipe, revision = checkpoint.opened(folder, settings.dtype)
    return assembled(pipe, settings, name or id, revision)


def assembled(pipe: Any, plan: EngineChoice, id: str, revision: str) -> LatentBackbone:
    """pipe: a DDPMPipeline or DDIMPipeline, in the plan's dtype, frozen, in eval mode.

    Raises CheckpointError where the UNet takes anything but images.
    """
    config = pipe.unet.config
    check_unet(id, config)
    try:
        levels = coordinates(type(pipe.scheduler).__name__, pipe.scheduler.config)
    except ValueError as error:
        raise CheckpointError(f"{id}: {error}") from error
    network = Unconditional(pipe.unet.to(plan.device), plan, revision)
    parameters = sum(values.numel() for values in pipe.unet.parameters())
    return LatentBackbone(
        id, revision, plan.device, network, NoText(), Pixels(plan.device), levels,
        default_size=network.blocks.config.sample_size,
        size_multiple=network.blocks.patch * 2 ** (len(config.block_out_channels) - 1),
        quick=parameters <= SMALL or plan.device.type != "cpu",
    )  # fmt: skip


class Pixels:
    """The state is the image, (B, 3, H, W) in [-1, 1] where the backbone's images are in [0, 1]."""

    channels, factor = 3, 1
    offers = frozenset({"pixels"})

    def __init__(self, device: torch.device):
        self.device = device

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the state, in [-1, 1]. Raises ValueError for other shapes."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError(f"images are (B, 3, H, W): got {tuple(pixels.shape)}")
        return pixels.to(self.device, torch.float32) * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        """The state (B, 3, H, W) -> images in [0, 1]; gradients run through it where it is not clipped."""
        return (latents.to(self.device, torch.float32) / 2 + 0.5).clamp(0, 1)

    preview = decode


class Unconditional:
    """An unconditional UNet2DModel as a `backbones.latent.Network`. Keys of a cond are passed over.

    A network of 3 p^2 channels sees every p x p block of pixels as one cell, which is a permutation: white noise stays
    white.
    """

    offers = frozenset({"gradients"})

    def __init__(self, unet: Any, plan: EngineChoice, revision: str):
        self.blocks = Blocks(unet, math.isqrt(unet.config.in_channels // 3))
        self.engine = choose(self.blocks, plan, revision, PixelGraph)  # of plain asks
        self.torch = self.engine if isinstance(self.engine, TorchEngine) else TorchEngine(self.blocks, plan.rows)

    def read(self, cond: Cond, shape: Sequence[int]) -> Inputs:
        return {}

    def __call__(self, x: Tensor, t: Tensor, inputs: Inputs, edit: object | None = None, tape: bool = False) -> Tensor:
        """See `backbones.latent.Network`."""
        nothing = x.new_zeros(len(x), 0)
        if tape:
            return self.torch(x, t, nothing, {}, rows=min(self.torch.rows, 1))
        return self.engine(x, t, nothing, {})

    def extend(self, prefix: str, extension: Extension) -> None:
        raise ValueError("a network in pixels reads nothing beside the image")

    def check_controlnet(self, where: str) -> None:
        raise CheckpointError(f"the ControlNet {where} fits no network in pixels")

    def open_controlnets(self, wheres: Sequence[str]) -> tuple[Any, str]:
        raise CheckpointError(f"the ControlNet {', '.join(wheres)} fits no network in pixels")

    def read_map(self, where: str, shown: Tensor) -> Tensor:
        raise CheckpointError(f"the ControlNet {where} fits no network in pixels")


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
