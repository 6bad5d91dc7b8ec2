"""Text encoder and UNet of Still Life, trained together on the autoencoder's latents.

v-prediction on a variance-preserving schedule (linear betas 1e-4 to 0.02: practically zero signal at the end).
Noise levels are drawn where scenes take shape, ln sigma ~ N(0.4, 1.2) at 64 pixels and a factor of two higher at 128
(there the same noise hides half as much: Hoogeboom et al., "simple diffusion", 2023, section 2.1), every second
(at 128 pixels every fourth) uniformly over the schedule: what stands left and right is learnt from the high levels.
Four teachers (teachers.py) help the small network to bind words to things; all are dropped in the last fifth of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from backbones.engines import Graph, OpenVINOEngine
from training import data
from training.autoencoder import SHIPPED, settled_autoencoder
from training.loop import RUNS, averaged_network, best_device, grid, reduced
from training.teachers import BINS, CLASSES, PLACES, Teachers, places, relations_owned
from training.text import LENGTH, build_tokenizer, words

WIDTH = 192  # of the text
STEPS = 1000
EXAMPLES = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a large metal yellow torus on snow by day",
    "a small green cone in front of a large purple cylinder on tiles on an overcast day",
    "a big white ball and a little red pyramid on wood at night",
    "a small cyan cube behind a large orange sphere on sand at sunset",
    "a red cube, a green sphere and a blue cone on grass on a sunny day",
    "a large matte blue pyramid to the right of a large metal red cylinder on tiles by day",
    "a small yellow ball, a small purple ring, a small red cube and a small blue cone on sand by day",
)


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


def build_text_encoder() -> CLIPTextModel:
    tokenizer = build_tokenizer()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",  # faster backwards on the CPU than the fused kernel
        )
    )


class Network(nn.Module):
    """What is trained: text encoder and UNet, and the heads of the teachers."""

    def __init__(self) -> None:
        super().__init__()
        self.text = build_text_encoder()
        self.unet = build_unet()
        self.reads = nn.Linear(WIDTH, sum(CLASSES))
        self.reads_place = nn.Linear(WIDTH, sum(PLACES))
        self.sees = nn.Conv2d(128, 2 + sum(CLASSES), 1)
        self.reads_where = nn.Linear(WIDTH, 2 * BINS)
        self.placed = nn.ModuleList(nn.Conv2d(channels, 2 * BINS, 1) for channels in (192, 192, 192, 128))


def started() -> Network:
    """The network a run begins with: the last run at 64 pixels, else what the repository ships, else fresh."""
    network = Network()
    if (RUNS / "denoiser-64" / "last.pt").exists():
        fresh = {name: w.clone() for name, w in network.placed.state_dict(prefix="placed.").items()}
        network.load_state_dict(averaged_network("denoiser-64") | fresh)  # where padding shows differs with the size
    elif (SHIPPED / "unet").exists():
        network.text = CLIPTextModel.from_pretrained(SHIPPED / "text_encoder", dtype=torch.float32)
        network.unet = UNet2DConditionModel.from_pretrained(SHIPPED / "unet", torch_dtype=torch.float32)
    return network


def alphas() -> Tensor:
    """Cumulative signal level of the schedule, (1000,) float64."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64), 0)


def times_of(wanted: Tensor, sigmas: Tensor) -> Tensor:
    """Continuous times in [0, 999] at which ln sigma is as wanted (B,), between the levels of the schedule (1000,)."""
    levels = sigmas.log().to(wanted.device)
    above = torch.searchsorted(levels, wanted).clamp(1, STEPS - 1)
    low, high = levels[above - 1], levels[above]
    return above - 1 + ((wanted - low) / (high - low)).clamp(0, 1)


class Denoiser:
    rows, rate = 32, 5e-4

    def __init__(self, size: int):
        """size: pixels a side, 64 or 128."""
        self.size, self.name = size, f"denoiser-{size}"
        torch.manual_seed(0)
        self.network: nn.Module = started()
        if best_device().type == "cuda":
            self.rows, self.rate = 512, 1e-3
        if size == 128:
            self.rows, self.rate = self.rows // 2, 0.6 * self.rate
        self.autoencoder = settled_autoencoder().eval().requires_grad_(False)
        self.latents = latents(self.autoencoder, "train", size)
        self.masks = torch.from_numpy(np.array(data.instances("train")[: len(self.latents)]))
        self.words = words("train", len(self.latents))
        self.owners, self.links = relations_owned(self.words)
        self.where = places(self.masks.numpy())
        self.held_out = latents(self.autoencoder, "validation", size)[:512]
        self.held_out_words = words("validation", len(self.held_out))
        self.sigmas = ((1 - alphas()) / alphas()).sqrt().float()
        self.empty = torch.tensor(build_tokenizer()("", padding="max_length")["input_ids"])
        self.table: dict[str, Tensor] | None = None
        self.teachers = Teachers()

    # ------------------------------------------------------------------------------------------------ batches

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        """Rows of the training set, drawn, looked up and noised on the device."""
        table = self._on(device)
        draws = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        uniform = partial(torch.rand, self.rows, device=device, generator=draws)
        scene = torch.randint(len(table["z"]), (self.rows,), device=device, generator=draws)
        k = (uniform() * table["tokens"].shape[1]).long()
        drop = uniform() < 0.1
        z = table["z"][scene].float()
        return {
            "z": z,
            "noise": torch.randn(z.shape, device=device, generator=draws),
            "t": self._times(uniform),
            "tokens": torch.where(drop[:, None], table["empty"], table["tokens"][scene, k].long()),
            "owners": torch.where(drop[:, None], -1, table["owners"][scene, k].long()),
            "nouns": table["nouns"][scene, k].long(),
            "links": table["links"][scene, k].long(),
            "attributes": table["attributes"][scene].long(),
            "where": table["where"][scene].long(),
            "place": table["place"][scene].long(),
            "mask": table["mask"][scene].long(),
            "told": ~drop,
        }

    def _on(self, device: torch.device) -> dict[str, Tensor]:
        """The whole training set on the device, moved there once."""
        if self.table is None:
            w = self.words
            arrays = {
                "tokens": w.tokens,
                "owners": self.owners,
                "nouns": w.nouns,
                "links": self.links,
                "attributes": w.attributes,
                "where": self.where,
                "place": w.place,
            }
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            tensors |= {"z": self.latents, "mask": self.masks, "empty": self.empty}
            self.table = {name: tensor.to(device) for name, tensor in tensors.items()}
        return self.table

    def _times(self, uniform: Callable[[], Tensor]) -> Tensor:
        """Continuous times in [0, 999], interpolated in ln sigma; stratified, which lowers the variance for free."""
        jitter = uniform()
        u = (torch.arange(self.rows, device=jitter.device) + jitter) / self.rows
        wanted = torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)) * 1.2 + 0.4 + math.log(self.size / 64)
        t = times_of(wanted, self.sigmas)
        every = 2 if self.size == 64 else 4
        t[::every] = uniform()[::every] * (STEPS - 1)
        return t[uniform().argsort()]

    def _sigma(self, t: Tensor) -> Tensor:
        table = self.sigmas.log().to(t.device)
        low = t.floor().long().clamp(max=STEPS - 2)
        return torch.lerp(table[low], table[low + 1], t - low).exp()

    # ------------------------------------------------------------------------------------------------ losses

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        self.teachers.listen(network)
        text = network.text(batch["tokens"]).last_hidden_state
        sigma = self._sigma(batch["t"])
        squared = self._error(network.unet, batch, text, sigma)
        clear = batch["told"] / (1 + (sigma / 30) ** 2)  # the less of the scene can be seen, the less is asked
        read = self.teachers.reading(network, text, batch)
        look = self.teachers.looking(batch, clear)
        see = self.teachers.seeing(network, batch, torch.ones_like(sigma))
        place = self.teachers.placing(network)
        helpers = max(0.0, min(1.0, (1 - progress) / 0.2))  # off in the last fifth
        total = squared + helpers * (0.05 * read + 0.1 * look + 0.1 * see + 0.03 * place)
        parts = {"v": squared, "read": read, "look": look, "see": see, "place": place}
        return total, {name: part.detach() for name, part in parts.items()}

    def _error(self, unet: nn.Module, batch: dict[str, Tensor], text: Tensor, sigma: Tensor) -> Tensor:
        s = sigma[:, None, None, None]
        scale = (1 + s * s).rsqrt()
        x = scale * (batch["z"] + s * batch["noise"])
        v = scale * (batch["noise"] - s * batch["z"])
        out = unet(x.contiguous(memory_format=torch.channels_last), batch["t"], text).sample.float()
        return (out - v).square().mean()

    # ------------------------------------------------------------------------------------------------ checks

    @torch.no_grad()
    def check(self, network: nn.Module) -> dict[str, float]:
        """Held-out v error at six noise levels, with the true caption and with another scene's."""
        device = next(network.parameters()).device
        n, figures = 64, {}
        generator = torch.Generator().manual_seed(1)
        z = self.held_out[:n].float().to(device)
        noise = torch.randn(z.shape, generator=generator).to(device)
        tokens = torch.from_numpy(self.held_out_words.tokens[:n, 0].astype(np.int64)).to(device)
        total, swapped = 0.0, 0.0
        levels = (0.2, 0.6, 1.2, 2.5, 6.0, 20.0)
        with reduced(device):
            text = network.text(tokens).last_hidden_state
            for sigma in levels:
                t = torch.full((n,), float(torch.searchsorted(self.sigmas, sigma)), device=device)
                batch = {"z": z, "noise": noise, "t": t}
                error = self._error(network.unet, batch, text, self._sigma(t)).item()
                total += error / len(levels)
                if sigma in (1.2, 6.0):
                    swapped += self._error(network.unet, batch, text.roll(1, 0), self._sigma(t)).item() - error
                    figures[f"held_{sigma}"] = error
        return {"held_out": total, "caption_gain": swapped / 2, **figures}

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> Image.Image:
        return grid(
            sample(network, self.autoencoder, list(EXAMPLES) * 2, self.size, self.sigmas), scale=256 // self.size
        )


@torch.no_grad()
def sample(
    network: nn.Module,
    autoencoder: nn.Module,
    captions: list[str],
    size: int,
    sigmas: Tensor,
    steps: int = 20,
    scale: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Euler steps with guidance, for the grids of training only: (B, 3, size, size) in [0, 1]."""
    device = next(network.parameters()).device
    ids = build_tokenizer()([*captions, ""], padding="max_length", return_tensors="pt")["input_ids"].to(device)
    b = len(captions)
    times = torch.linspace(STEPS - 1, 0, steps + 1)[:-1].round().long()
    levels = torch.cat([sigmas[times], torch.zeros(1)]).to(device)
    x = torch.randn(b, 4, size // 4, size // 4, generator=torch.Generator().manual_seed(seed)).to(device) * levels[0]
    with reduced(device):
        text = network.text(ids).last_hidden_state
        text = torch.cat([text[:b], text[b:].expand(b, -1, -1)])
        for i, t in enumerate(times.tolist()):
            s = levels[i]
            given = (x / (1 + s * s).sqrt()).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            v = network.unet(given, torch.full((2 * b,), float(t), device=device), text).sample.float()
            c, u = v.chunk(2)
            v = u + scale * (c - u)
            x0 = (x / (1 + s * s).sqrt() - s * v) / (1 + s * s).sqrt()
            x = x0 + levels[i + 1] / s * (x - x0)
        return (autoencoder.to(device).decoder(x).float() / 2 + 0.5).clamp(0, 1)


class EncoderGraph(Graph):
    """The encoder of an AutoencoderTiny alone: pictures in [-1, 1] -> latents."""

    names = ("x",)

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.encoder = autoencoder.encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def example(self) -> tuple[Tensor, ...]:
        return (torch.zeros(2, 3, data.SIZE, data.SIZE),)


def _encoder(autoencoder: nn.Module) -> Callable[[Tensor], Tensor]:
    """Pictures (B, 3, H, W) in [-1, 1] -> latents, in bf16; on the CPU in OpenVINO, twice as fast as torch at this."""
    device = best_device()
    if device.type == "cpu" and find_spec("openvino"):
        return OpenVINOEngine(EncoderGraph(autoencoder), "", "bf16").run
    encoder = autoencoder.to(device).encoder

    def encode(x: Tensor) -> Tensor:
        with reduced(device):
            return encoder(x.to(device).contiguous(memory_format=torch.channels_last))

    return encode


@torch.no_grad()
def latents(autoencoder: nn.Module, split: str, size: int) -> Tensor:
    """Latents of a split's pictures at `size` pixels, (N, 4, size / 4, size / 4) float16, made once."""
    pixels = data.pictures(split)
    path = data.folder(split) / f"latents_{size}_{len(pixels)}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    encode, made = _encoder(autoencoder), []
    for start in range(0, len(pixels), 128):
        x = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 128])).permute(0, 3, 1, 2).float() / 255
        if size != data.SIZE:
            x = F.avg_pool2d(x, data.SIZE // size)
        made.append(encode(x * 2 - 1).half().cpu())
        print(f"\rlatents of {split} at {size}: {start + len(x)} of {len(pixels)}", end="", flush=True)
    print()
    out = torch.cat(made)
    np.save(path, out.numpy())
    return out
