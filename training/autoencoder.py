"""The autoencoder: 8x, sixteen latent channels of unit scale, pixels and latents exchanged by pixel shuffling.

diffusers' AutoencoderDC (Chen et al. 2024, arXiv 2410.10733) with residual blocks alone, from scratch, on crops of
renders that never come twice. Nearest upsampling followed by a convolution, as in AutoencoderKL and AutoencoderTiny,
cannot place an edge within a cell without help from far around; pixel shuffling can, and learns many times faster here.

What is descended, with x the image and y its reconstruction, both in [-1, 1]:
* |y - x|, and (y - x)^2, which weighs the few pixels of edges more;
* errors of the gradients at three scales, and of the colour at a quarter of the size;
* a pull of each latent channel towards mean 0 and deviation 1, and a little noise on the latents in place of a KL term;
* on every fourth batch the latents are shrunk, and have to decode to the shrunk image (EQ-VAE, Kouzelis et al. 2025,
  arXiv 2502.09509): latents that mean the same at every scale are easier to diffuse;
* from seven tenths of the run on, features of the network that reads depth and classes (a perceptual loss), and a
  critic of patches (hinge loss, Esser et al. 2021), both faded in.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fidelity.distances import edge_error
from training.loop import RUNS, averaged_network, best_device, grid
from training.muon import Muon
from training.renders import Pool, any_scene
from world.render import quantized, render
from world.scene import draw

CROP = 64
CHANNELS, FACTOR = 16, 8
NOISE = 0.03  # deviation of what is added to the latents in training
SHIPPED = Path(__file__).parent.parent / "backbones" / "still_life"
NEXT = SHIPPED.with_name("still_life_next")  # the one in training, until it takes the place of the shipped one


def build() -> AutoencoderDC:
    """The untrained network, 2.5 M parameters. The first stage has no layers: all work is done at half the image's size
    or below. Twice as wide it took four times as long for an image and learned no more from each (README.md)."""
    widths = (16, 32, 64, 128)
    network = AutoencoderDC(
        latent_channels=CHANNELS,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        encoder_layers_per_block=(0, 2, 4, 4),
        decoder_layers_per_block=(0, 2, 3, 3),
        encoder_qkv_multiscales=((),) * 4,
        decoder_qkv_multiscales=((),) * 4,
        scaling_factor=1.0,
    )
    # StableDiffusionPipeline reads the factor off this name, which AutoencoderDC itself has not.
    network.register_to_config(block_out_channels=widths)
    return network


def settled_autoencoder() -> AutoencoderDC:
    """The autoencoder that the denoisers are trained on: of the last run here, or else of the folder in training.

    Raises FileNotFoundError where there is neither."""
    if (RUNS / "autoencoder" / "last.pt").exists():
        network = Trained()
        network.load_state_dict(averaged_network("autoencoder"))
        return network.autoencoder
    if (NEXT / "vae").exists():
        return AutoencoderDC.from_pretrained(NEXT / "vae", torch_dtype=torch.float32)
    raise FileNotFoundError("No autoencoder yet: run `python -m training autoencoder --minutes 120` first.")


class Critic(nn.Sequential):
    """Images (B, 3, H, W) in [-1, 1] -> scores of overlapping patches of 22 pixels, high where they look rendered."""

    def __init__(self) -> None:
        super().__init__(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 48, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 96, 3, 2, 1),
            nn.GroupNorm(8, 96),
            nn.LeakyReLU(0.2),
            nn.Conv2d(96, 96, 3, 1, 1),
            nn.GroupNorm(8, 96),
            nn.LeakyReLU(0.2),
            nn.Conv2d(96, 1, 3, 1, 1),
        )


class Trained(nn.Module):
    """What is trained: the autoencoder, and the critic that only training has."""

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = build()
        self.critic = Critic()


class Autoencoder:
    name, rows, rate = "autoencoder", 16, 1.2e-3
    scenes_a_step = 1  # newly rendered

    def __init__(self) -> None:
        torch.manual_seed(0)
        device = best_device()
        if device.type == "cuda":
            self.rows, self.scenes_a_step = 128, 8  # scenes are drawn on the CPU
        self.network: nn.Module = Trained()
        if not (RUNS / self.name / "last.pt").exists() and (NEXT / "vae").exists():  # go on from what is kept
            self.network.autoencoder = settled_autoencoder()
        self.perceptual = _perception_model().to(device)
        entropy = int(np.random.SeedSequence().generate_state(1)[0])  # every piece of a run sees scenes of its own
        self.pool = Pool(any_scene, _pixels, capacity=6000, first=600, seed=entropy, device=device)
        self.held_out = render([draw("test", n) for n in range(64)]).rgb

    def optimiser(self, network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Optimizer:
        return Muon(network, rate, weight_decay)

    # ------------------------------------------------------------------------------------------------ batches

    def batch(self, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, float]:
        """Crops (B, 3, 64, 64) in [-1, 1], every eighth time whole images of a quarter the number; and to which part of
        their size the latents are shrunk (1: not at all)."""
        self.pool.renew(self.scenes_a_step)
        whole = rng.random() < 1 / 8
        index = torch.from_numpy(rng.integers(0, self.pool.size, self.rows // 4 if whole else self.rows // 2))
        x = self.pool.rows("rgb", index.to(device)).float() / 127.5 - 1
        if not whole:
            x = torch.cat([_crop(x, rng), _crop(x, rng)])
        if rng.random() < 0.3:  # colours that the world has not
            x = x[:, torch.from_numpy(rng.permutation(3)).to(device)]
        if rng.random() < 0.5:
            x = x.flip(3)
        scale = float(rng.choice((0.5, 0.75))) if rng.random() < 0.25 else 1.0
        return x.contiguous(memory_format=torch.channels_last), scale

    # ------------------------------------------------------------------------------------------------ losses

    def loss(
        self, network: nn.Module, batch: tuple[Tensor, float], progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x, scale = batch
        z = network.autoencoder.encoder(x).float()
        unit = z.mean((0, 2, 3)).square().mean() + (z.var((0, 2, 3)) - 1).square().mean()
        if scale < 1:
            z, x = shrunk(z, scale), shrunk(x, scale)
        y = network.autoencoder.decoder(z + NOISE * torch.randn_like(z)).float()
        d = y - x
        error = d.abs().mean() + 5 * d.square().mean()
        edges = sum(_gradient_error(_down(d, s)) for s in (1, 2, 4))
        colour = _chroma(_down(d, 4)).abs().mean()
        total = error + 3 * colour + 0.3 * edges + 0.02 * unit
        figures = {"colour": colour, "mse_db": -10 * torch.log10(d.square().mean() / 4), "unit": unit}
        late = min(1.0, max(0.0, (progress - 0.7) / 0.1))
        if late and scale == 1:
            features = self._feature_error(y, x)
            score, critic_loss = self._judged(network.critic, y, x)
            total = total + late * (0.1 * features + 0.01 * score) + critic_loss
            figures |= {"features": features, "score": score, "told_apart": critic_loss}
        return total, {name: value.detach() for name, value in figures.items()}

    def _feature_error(self, y: Tensor, x: Tensor) -> Tensor:
        ours = self.perceptual(y / 2 + 0.5).features[:3]
        with torch.no_grad():
            theirs = self.perceptual(x / 2 + 0.5).features[:3]
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([(a - b).abs().mean() / b.abs().mean() for a, b in pairs]).mean()

    def _judged(self, critic: nn.Module, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the autoencoder descends, through a critic that stands still, and what the critic does."""
        fixed = {name: p.detach() for name, p in critic.named_parameters()}
        score = -functional_call(critic, fixed, (y,)).float().mean()
        made, real = critic(y.detach()).float(), critic(x).float()
        return score, F.relu(1 + made).mean() + F.relu(1 - real).mean()

    # ------------------------------------------------------------------------------------------------ checks

    @torch.no_grad()
    def check(self, network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        x = self.held_out.to(device) * 2 - 1
        z = network.autoencoder.encoder(x).float()
        y = network.autoencoder.decoder(z).float().clamp(-1, 1)
        noisy = network.autoencoder.decoder(z + 0.1 * torch.randn_like(z)).float().clamp(-1, 1)
        psnr, psnr_noisy = (-10 * torch.log10((a - x).square().mean((1, 2, 3)) / 4) for a in (y, noisy))
        return {
            "psnr": psnr.mean().item(),
            "psnr_worst": psnr.min().item(),
            "edge_error": edge_error(y / 2 + 0.5, x / 2 + 0.5),
            "psnr_noise_0.1": psnr_noisy.mean().item(),
            "latent_std": z.std().item(),
        }

    @torch.no_grad()
    def preview(self, network: nn.Module) -> Image.Image:
        x = self.held_out[:8].to(next(network.parameters()).device)
        y = network.autoencoder.decoder(network.autoencoder.encoder(x * 2 - 1)).float() / 2 + 0.5
        return grid(torch.cat([x, y]), scale=2)


def shrunk(x: Tensor, scale: float) -> Tensor:
    """(B, C, H, W) at `scale` of its size, by averages."""
    return F.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)


def _perception_model() -> nn.Module:
    from backbones import guiding_networks

    return guiding_networks.load(SHIPPED, "perception_model").requires_grad_(False)


def _pixels(scenes: list, rendering) -> dict[str, Tensor]:
    return {"rgb": quantized(rendering.rgb)}


def _crop(x: Tensor, rng: np.random.Generator) -> Tensor:
    """One crop of all images: around the middle more often than in the sky or the foreground."""
    room = x.shape[2] - CROP
    top, left = int(np.clip(rng.normal(38, 16), 0, room)), int(rng.integers(0, room + 1))
    return x[:, :, top : top + CROP, left : left + CROP]


def _down(x: Tensor, scale: int) -> Tensor:
    return x if scale == 1 else F.avg_pool2d(x, scale)


def _chroma(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 2, H, W): red against green, blue against both. What absolute error alone learns last."""
    r, g, b = x.unbind(1)
    return torch.stack([r - g, b - (r + g) / 2], 1)


def _gradient_error(d: Tensor) -> Tensor:
    return d.diff(dim=3).abs().mean() + d.diff(dim=2).abs().mean()


def keep(folder: Path = NEXT) -> None:
    """python -m training.autoencoder: write the averaged weights of the run to `folder`/vae, in half precision."""
    network = settled_autoencoder().half()
    network.save_pretrained(folder / "vae", safe_serialization=True, max_shard_size="9MB")
    config = folder / "vae" / "config.json"
    content = json.loads(config.read_text())
    content.pop("_name_or_path", None)
    config.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    keep()
