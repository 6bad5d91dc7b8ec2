"""The pixel-space network of the same world: an unconditional UNet on 64 x 64 images in [-1, 1].

For the methods that reason about pixels and their noise (DDRM, SNIPS, DPS, ...), on the same schedule as Still Life,
with v-prediction. It takes no text: the encoder it would share is trained on with every Still Life, which would leave
this network behind, and its methods are stated for unconditional networks.

Full resolution is what costs on a CPU, so the network sees every 2 x 2 block of pixels as one cell of 12 channels: a
permutation of the image, in which white noise stays white. It sees twice as many images a second for it.
Noise levels are drawn lower than for latents, ln sigma ~ N(-0.4, 1.4): neighbouring pixels agree, so the same noise
hides less. Every image is also seen mirrored, which is a scene of this world as well.

    python -m training.pixels                 the trained network -> backbones/still_life_pixels/
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMPipeline, UNet2DModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from backbones import PIXELS
from training import data
from training.denoiser import STEPS, alphas, scheduler, times_of
from training.loop import averaged_network, best_device, grid, reduced

SIZE, PATCH = 64, 2


def build_unet() -> UNet2DModel:
    return UNet2DModel(
        sample_size=SIZE // PATCH,
        in_channels=3 * PATCH**2,
        out_channels=3 * PATCH**2,
        block_out_channels=(48, 96, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=32,
        norm_num_groups=8,
    )


def started() -> UNet2DModel:
    """The network a run begins with: what the repository ships, else fresh."""
    if (PIXELS / "unet").exists():
        return UNet2DModel.from_pretrained(PIXELS / "unet", torch_dtype=torch.float32)
    return build_unet()


def plain_attention(unet: nn.Module) -> None:
    """Plain products: on the CPU the fused kernel's backward pass takes several times as long at these sizes."""
    for module in unet.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(AttnProcessor())


def predicted(unet: nn.Module, x: Tensor, t: Tensor) -> Tensor:
    """The network on images: (B, 3, h, w) -> (B, 3, h, w) float32."""
    blocks = F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last)
    return F.pixel_shuffle(unet(blocks, t).sample.float(), PATCH)


class PixelDenoiser:
    name, rows, rate = "denoiser-pixels", 8, 5e-4

    def __init__(self) -> None:
        torch.manual_seed(0)
        unet = started()
        self.network: nn.Module = unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if best_device().type == "cuda":
            self.rows, self.rate = 128, 1e-3
        else:
            plain_attention(unet)
        self.images_ = small("train")
        self.held_out = small("validation")[:128]
        self.sigmas = ((1 - alphas()) / alphas()).sqrt().float()

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        """x0 (B, 3, 64, 64) in [-1, 1], noise alike, t (B,) continuous times in [0, 999]."""
        self.images_ = self.images_.to(device)  # once: the whole set stands on the device
        draws = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        uniform = partial(torch.rand, self.rows, device=device, generator=draws)
        x0 = _signed(self.images_[(uniform() * len(self.images_)).long()])
        x0 = torch.where(uniform()[:, None, None, None] < 0.5, x0.flip(-1), x0)
        u = (torch.arange(self.rows, device=device) + uniform()) / self.rows  # stratified: lowers the variance for free
        t = times_of(torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)) * 1.4 - 0.4, self.sigmas)
        t[::8] = uniform()[::8] * (STEPS - 1)
        return {"x0": x0, "noise": torch.randn(x0.shape, device=device, generator=draws), "t": t}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self._error(network, batch["x0"], batch["noise"], batch["t"]), {}

    def _error(self, network: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        table = self.sigmas.log().to(t.device)
        low = t.floor().long().clamp(max=STEPS - 2)
        s = torch.lerp(table[low], table[low + 1], t - low).exp()[:, None, None, None]
        scale = (1 + s * s).rsqrt()
        model_input = scale * (x0 + s * noise)
        out = predicted(network, model_input, t)
        return (out - scale * (noise - s * x0)).square().mean()

    @torch.no_grad()
    def check(self, network: nn.Module) -> dict[str, float]:
        """Held-out v error over six noise levels, and at each."""
        device = next(network.parameters()).device
        x0 = _signed(self.held_out).to(device)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1)).to(device)
        figures = {}
        for sigma in (0.05, 0.2, 0.6, 2.0, 6.0, 20.0):
            t = torch.full((len(x0),), float(torch.searchsorted(self.sigmas, sigma)), device=device)
            with reduced(device):
                figures[f"held_{sigma}"] = self._error(network, x0, noise, t).item()
        return {"held_out": sum(figures.values()) / len(figures), **figures}

    @torch.no_grad()
    def preview(self, network: nn.Module) -> Image.Image:
        """16 images by 25 Euler steps, for looking at."""
        device = next(network.parameters()).device
        times = torch.linspace(STEPS - 1, 0, 26)[:-1].round().long()
        levels = [*self.sigmas[times].tolist(), 0.0]
        x = torch.randn(16, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).to(device) * levels[0]
        for i, t in enumerate(times.tolist()):
            s, scale = levels[i], (1 + levels[i] ** 2) ** -0.5
            with reduced(device):
                v = predicted(network, scale * x, torch.full((16,), float(t), device=device))
            x0 = (scale**2 * x - s * scale * v).clamp(-1, 1)
            x = x0 + levels[i + 1] / s * (x - x0)
        return grid(x / 2 + 0.5, scale=2)


def _signed(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def small(split: str) -> Tensor:
    """A split's images averaged to 64 pixels a side, (N, 64, 64, 3) uint8; made once and kept beside the renders."""
    path = data.folder(split) / "rgb_64.npy"
    done = int((data.folder(split) / "done").read_text())
    if not path.exists() or len(np.load(path, mmap_mode="r")) != done:
        full = np.load(data.folder(split) / "rgb.npy", mmap_mode="r")[:done]
        pieces = []
        for start in range(0, done, 256):
            rows = torch.from_numpy(np.array(full[start : start + 256])).permute(0, 3, 1, 2).float()
            rows = F.avg_pool2d(rows, data.SIZE // SIZE).round().byte()
            pieces.append(rows.permute(0, 2, 3, 1).contiguous().numpy())
        np.save(path, np.concatenate(pieces))
    return torch.from_numpy(np.load(path))


def export(folder: Path) -> None:
    """Write the averaged weights as a DDIMPipeline folder, in half precision."""
    unet = build_unet()
    unet.load_state_dict(averaged_network(PixelDenoiser.name))
    pipeline = DDIMPipeline(unet=unet, scheduler=scheduler()).to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    print(f"{folder}: {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M parameters, {size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.pixels", description=export.__doc__)
    parser.add_argument("--to", type=Path, default=PIXELS)
    export(parser.parse_args().to)


if __name__ == "__main__":
    main()
