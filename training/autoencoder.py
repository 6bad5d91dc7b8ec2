"""The autoencoder: 4x, four latent channels of unit scale, crisp edges.

AutoencoderTiny (the shape of TAESD) trained from scratch on crops of the renders: absolute error, error of the
colour (else two hues of one brightness share a code for long), error of the picture's gradients at three scales
(edges), a little noise on the latents (a smooth latent space without a KL term), and a pull of each latent channel
towards mean 0 and deviation 1. In a second piece the encoder stands still and only the decoder learns on, so networks
trained on the latents keep their meaning.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from training import data
from training.loop import RUNS, averaged_network, best_device, grid

CROP = 64
SHIPPED = Path(__file__).parent.parent / "backbones" / "still_life"


def build() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(2, 2, 1),
        latent_channels=4,
        upsampling_scaling_factor=2,
        scaling_factor=1.0,
    )


def settled_autoencoder() -> AutoencoderTiny:
    """The autoencoder that the denoisers are trained on: of the last run here, or else the one that is shipped.

    Raises FileNotFoundError where there is neither."""
    for name in ("autoencoder-decoder", "autoencoder"):
        if (RUNS / name / "last.pt").exists():
            network = build()
            network.load_state_dict(averaged_network(name))
            return network
    if (SHIPPED / "vae").exists():
        return AutoencoderTiny.from_pretrained(SHIPPED / "vae", torch_dtype=torch.float32)
    raise FileNotFoundError("No autoencoder yet: run `python -m training autoencoder --pictures 80000` first.")


class Autoencoder:
    rows, rate = 32, 2e-3

    def __init__(self, decoder_only: bool = False):
        torch.manual_seed(0)
        if best_device().type == "cuda":
            self.rows = 256
        self.name = "autoencoder-decoder" if decoder_only else "autoencoder"
        self.network: nn.Module = settled_autoencoder() if decoder_only else build()
        self.decoder_only = decoder_only
        self.pictures_on_disk = data.pictures("train")
        self.held_out = _tensor(data.pictures("validation")[:64])
        if decoder_only:
            self.network.encoder.requires_grad_(False)

    def batch(self, rng: np.random.Generator, device: torch.device) -> Tensor:
        """Crops of full pictures; every fifth batch whole pictures at half size, which the first stage trains on."""
        index = np.sort(rng.choice(len(self.pictures_on_disk), self.rows, replace=False))
        pixels = _tensor(self.pictures_on_disk[index]).to(device)
        if rng.random() < 0.2:
            return nn.functional.avg_pool2d(pixels, 2)
        # Crops lie around the middle of the picture more often than in the sky or the foreground.
        y = int(np.clip(rng.normal(38, 16), 0, data.SIZE - CROP))
        x = int(rng.integers(0, data.SIZE - CROP + 1))
        return pixels[:, :, y : y + CROP, x : x + CROP]

    def loss(self, network: nn.Module, batch: Tensor, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch * 2 - 1
        with torch.set_grad_enabled(not self.decoder_only):
            z = network.encoder(x.contiguous(memory_format=torch.channels_last)).float()
        y = network.decoder(z + 0.05 * torch.randn_like(z)).float()
        error = (y - x).abs().mean()
        edges = sum(_gradient_error(_down(y, s), _down(x, s)) for s in (1, 2, 4))
        unit = z.mean((0, 2, 3)).square().mean() + (z.var((0, 2, 3)) - 1).square().mean()
        colour = (_chroma(_down(y, 4)) - _chroma(_down(x, 4))).abs().mean()
        decibels = -10 * torch.log10((y - x).square().mean() / 4)
        total = error + 3 * colour + 0.3 * edges + 0.02 * unit
        return total, {"colour": colour.detach(), "mse_db": decibels.detach()}

    def check(self, network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        x = self.held_out.to(device) * 2 - 1
        with torch.no_grad():
            z = network.encoder(x).float()
            y = network.decoder(z).float().clamp(-1, 1)
        psnr = -10 * torch.log10((y - x).square().mean((1, 2, 3)) / 4)
        return {"psnr": psnr.mean().item(), "psnr_worst": psnr.min().item(), "latent_std": z.std().item()}

    def pictures(self, network: nn.Module) -> Image.Image:
        device = next(network.parameters()).device
        x = self.held_out[:8].to(device)
        with torch.no_grad():
            y = network.decoder(network.encoder(x * 2 - 1)).float() / 2 + 0.5
        return grid(torch.cat([x, y]), scale=2)


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255


def _down(x: Tensor, scale: int) -> Tensor:
    return x if scale == 1 else nn.functional.avg_pool2d(x, scale)


def _chroma(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 2, H, W): red against green, blue against both. What absolute error alone learns last."""
    r, g, b = x.unbind(1)
    return torch.stack([r - g, b - (r + g) / 2], 1)


def _gradient_error(y: Tensor, x: Tensor) -> Tensor:
    d = y - x
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
