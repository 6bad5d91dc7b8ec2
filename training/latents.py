"""From images to latents, quickly: what denoisers and the networks beside them are trained on."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from backbones.engines import Graph, OpenVINOEngine
from training import data
from training.autoencoder import SHIPPED
from training.loop import best_device, reduced


def shipped_autoencoder() -> AutoencoderTiny:
    """The shipped pipeline's own autoencoder, for what is trained beside its UNet: ControlNets and the classifier."""
    return AutoencoderTiny.from_pretrained(SHIPPED / "vae", torch_dtype=torch.float32)


class EncoderGraph(Graph):
    """The encoder of an autoencoder alone: images in [-1, 1] -> latents."""

    names = ("x",)

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.encoder = autoencoder.encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def example(self) -> tuple[Tensor, ...]:
        return (torch.zeros(2, 3, data.SIZE, data.SIZE),)


def encoder(autoencoder: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Images (B, 3, H, W) in [-1, 1] -> latents, in bf16; on the CPU in OpenVINO, twice as fast as torch at this."""
    if device.type == "cpu" and find_spec("openvino"):
        return OpenVINOEngine(EncoderGraph(autoencoder), "", "bf16").run
    network = autoencoder.to(device).encoder

    @torch.no_grad()
    def encode(x: Tensor) -> Tensor:
        with reduced(device):
            return network(x.to(device).contiguous(memory_format=torch.channels_last)).float()

    return encode


@torch.no_grad()
def latents(autoencoder: nn.Module, split: str) -> Tensor:
    """Latents of the renders of a split that lie on disk, (N, C, h, w) float16, made once."""
    pixels = data.images(split)
    channels = autoencoder.config.latent_channels
    path = data.folder(split) / f"latents_{channels}_{len(pixels)}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    encode, made = encoder(autoencoder, best_device()), []
    for start in range(0, len(pixels), 128):
        x = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 128])).permute(0, 3, 1, 2).float()
        made.append(encode(x / 127.5 - 1).half().cpu())
        print(f"\rlatents of {split}: {start + len(x)} of {len(pixels)}", end="", flush=True)
    print()
    out = torch.cat(made)
    np.save(path, out.numpy())
    return out
