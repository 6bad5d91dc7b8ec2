"""Text encoder and UNet of Still Life, trained together on the autoencoder's latents of renders that never end.

v-prediction on a variance-preserving schedule (linear betas 1e-4 to 0.02: practically zero signal at the end).
Noise levels are drawn where scenes take shape, every fourth uniformly over the schedule: what stands left and right is
learned from the high levels. Teachers (teachers.py) help the small network to bind words to things and to know what a
solid is; they fall silent in the last fifth of a run. Matrices are stepped by Muon.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from training.autoencoder import CHANNELS, FACTOR, NEXT, settled_autoencoder
from training.latents import encoder
from training.loop import best_device, grid, reduced
from training.muon import Muon
from training.renders import SIZE, Pool
from training.scene_arrays import map_arrays, scene_arrays
from training.teachers import WIDTH, Heads, Teachers, placed_layers
from training.text import LENGTH, build_tokenizer
from world.render import Rendering, quantized, render
from world.scene import COLOURS, Scene, draw, random_scene

STEPS = 1000
SIDE = SIZE // FACTOR  # latents a side
CENTRE, SPREAD = 0.9, 1.2  # of ln sigma
EXAMPLES = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a large metal yellow torus on snow by day",
    "a small green cone in front of a large purple cylinder on tiles on an overcast day",
    "a big white ball and a little red pyramid on wood at night",
    "a small cyan cube behind a large orange sphere on sand at sunset",
    "two pink cubes and a huge black donut. it is noon. the ground is covered in snow.",
    "a large matte blue pyramid to the right of a large metal red cylinder on tiles by day",
    "On the lawn, a grey pole between a brown box and a tiny white ball, no cone",
)


def build_unet() -> UNet2DConditionModel:
    """Attention at both sizes, 16 x 16 and 8 x 8: methods that read or replace it need maps fine enough for a solid."""
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(96, 192),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
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
        widths = tuple(layer.proj_out.out_features if isinstance(layer.proj_out, nn.Linear) else
                       layer.proj_out.out_channels for layer in placed_layers(self.unet))  # fmt: skip
        self.heads = Heads(widths, self.unet.config.block_out_channels[0])


def started() -> Network:
    """The network a run begins with: what lies in training, else a fresh one."""
    network = Network()
    if (NEXT / "unet").exists():
        network.text = CLIPTextModel.from_pretrained(NEXT / "text_encoder", dtype=torch.float32)
        network.unet = UNet2DConditionModel.from_pretrained(NEXT / "unet", torch_dtype=torch.float32)
    return network


def scheduler() -> DDIMScheduler:
    """The schedule of `alphas`, as a pipeline is given it."""
    return DDIMScheduler(
        num_train_timesteps=STEPS,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def alphas() -> Tensor:
    """Cumulative signal level of the schedule, (1000,) float64."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64), 0)


def times_of(wanted: Tensor, sigmas: Tensor) -> Tensor:
    """Continuous times in [0, 999] at which ln sigma is as wanted (B,), between the levels of the schedule (1000,)."""
    levels = sigmas.log().to(wanted.device)
    above = torch.searchsorted(levels, wanted).clamp(1, STEPS - 1)
    low, high = levels[above - 1], levels[above]
    return above - 1 + ((wanted - low) / (high - low)).clamp(0, 1)


def training_scene(rng: np.random.Generator) -> Scene:
    """A scene without the pairs of colour and shape that are held out, of all colours that the world has; more often
    than by chance with several solids of a kind, which captions count."""
    return random_scene(rng, int(rng.choice(4, p=(0.25, 0.35, 0.25, 0.15))) + 1, alike=0.2)


class Denoiser:
    name, rows, rate = "denoiser", 32, 1e-3
    captions, scenes_a_step = 2, 4  # of each scene; newly rendered

    def __init__(self) -> None:
        torch.manual_seed(0)
        device = best_device()
        if device.type == "cuda":
            self.rows, self.scenes_a_step = 512, 64
        self.network: nn.Module = started()
        self.autoencoder = settled_autoencoder().eval().requires_grad_(False)
        self.encode = encoder(self.autoencoder, device)
        self.rng = np.random.default_rng()  # of captions; those of scenes are the pool's
        entropy = int(np.random.SeedSequence().generate_state(1)[0])  # every piece of a run sees scenes of its own
        first = 16_000 if device.type == "cuda" else 1_500
        self.pool = Pool(training_scene, self._arrays, capacity=32_000, first=first, seed=entropy, device=device)
        held_out = [draw("validation", n, tuple(COLOURS)) for n in range(64)]
        self.held_out = self._arrays(held_out, render(held_out, SIZE, device))
        self.sigmas = ((1 - alphas()) / alphas()).sqrt().float()
        self.empty = torch.tensor(build_tokenizer()("", padding="max_length")["input_ids"])
        self.teachers = Teachers()

    def optimiser(self, network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Optimizer:
        return Muon(network, rate, weight_decay, is_matrix=lambda name, p: "embedding" not in name)

    # ------------------------------------------------------------------------------------------------ batches

    def _arrays(self, scenes: list[Scene], rendering: Rendering) -> dict[str, Tensor]:
        pixels = quantized(rendering.rgb) / 127.5 - 1
        arrays = scene_arrays(scenes, self.rng, self.captions) | map_arrays(rendering)
        arrays["z"] = self.encode(pixels).half()
        return {name: rows.to(pixels.device) for name, rows in arrays.items()}

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        """Scenes of the pool with one of their captions each, every tenth without, and noise."""
        self.pool.renew(self.scenes_a_step)
        draws = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        uniform = partial(torch.rand, self.rows, device=device, generator=draws)
        scene = (uniform() * self.pool.size).long()
        caption = (uniform() * self.captions).long()
        batch = {}
        for name, table in self.pool.tables.items():
            of_captions = name in ("tokens", "owners", "ends", "alone", "links", "subjects")
            values = table[scene, caption] if of_captions else table[scene]
            batch[name] = values if values.dtype == torch.bool else values.float() if name == "z" else values.long()
        batch["captioned"] = uniform() >= 0.1
        batch["tokens"] = torch.where(batch["captioned"][:, None], batch["tokens"], self.empty.to(device))
        batch["owners"] = batch["owners"] * batch["captioned"][:, None]
        batch["noise"] = torch.randn(batch["z"].shape, device=device, generator=draws)
        batch["t"] = self._times(uniform)
        return batch

    def _times(self, uniform: Callable[[], Tensor]) -> Tensor:
        """Continuous times in [0, 999], interpolated in ln sigma; stratified, which lowers the variance for free."""
        jitter = uniform()
        u = (torch.arange(self.rows, device=jitter.device) + jitter) / self.rows
        t = times_of(torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)) * SPREAD + CENTRE, self.sigmas)
        t[::4] = uniform()[::4] * (STEPS - 1)
        return t[uniform().argsort()]

    def _sigma(self, t: Tensor) -> Tensor:
        table = self.sigmas.log().to(t.device)
        low = t.floor().long().clamp(max=STEPS - 2)
        return torch.lerp(table[low], table[low + 1], t - low).exp()

    # ------------------------------------------------------------------------------------------------ losses

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        helpers = max(0.0, min(1.0, (1 - progress) / 0.2))  # off in the last fifth
        self.teachers.listen(network.unet)
        text = network.text(batch["tokens"]).last_hidden_state
        sigma = self._sigma(batch["t"])
        squared = self._error(network.unet, batch, text, sigma)
        clear = batch["captioned"] / (1 + (sigma / 30) ** 2)  # the less of the scene can be seen, the less is asked
        read = self.teachers.reading(network.heads, text, batch)
        look = self.teachers.looking(batch, clear)
        surface = self.teachers.surfaces(network.heads, batch)
        place = self.teachers.placing(network.heads)
        total = squared + helpers * (0.05 * read + 0.1 * look + 0.05 * surface + 0.02 * place)
        parts = {"v": squared, "read": read, "look": look, "surface": surface, "place": place}
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
        figures = {}
        z = self.held_out["z"].float()
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(device)
        total, swapped, levels = 0.0, 0.0, (0.2, 0.6, 1.2, 2.5, 6.0, 20.0)
        with reduced(device):
            text = network.text(self.held_out["tokens"][:, 0].long()).last_hidden_state
            for sigma in levels:
                t = torch.full((len(z),), float(torch.searchsorted(self.sigmas, sigma)), device=device)
                batch = {"z": z, "noise": noise, "t": t}
                error = self._error(network.unet, batch, text, self._sigma(t)).item()
                total += error / len(levels)
                figures[f"held_{sigma}"] = error
                if sigma in (1.2, 6.0):
                    swapped += self._error(network.unet, batch, text.roll(1, 0), self._sigma(t)).item() - error
        return {"held_out": total, "caption_gain": swapped / 2, **figures}

    @torch.no_grad()
    def preview(self, network: nn.Module) -> Image.Image:
        return grid(sample(network, self.autoencoder, list(EXAMPLES) * 2, self.sigmas), scale=2)


@torch.no_grad()
def sample(
    network: nn.Module,
    autoencoder: nn.Module,
    captions: list[str],
    sigmas: Tensor,
    steps: int = 20,
    scale: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Euler steps with guidance, for the grids of training only: (B, 3, 128, 128) in [0, 1]."""
    device = next(network.parameters()).device
    ids = build_tokenizer()([*captions, ""], padding="max_length", return_tensors="pt")["input_ids"].to(device)
    b = len(captions)
    times = torch.linspace(STEPS - 1, 0, steps + 1)[:-1].round().long()
    levels = torch.cat([sigmas[times], torch.zeros(1)]).to(device)
    x = torch.randn(b, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).to(device) * levels[0]
    with reduced(device):
        text = network.text(ids).last_hidden_state
        text = torch.cat([text[:b], text[b:].expand(b, -1, -1)])
        for i, t in enumerate(times.tolist()):
            s = levels[i]
            rows = (x / (1 + s * s).sqrt()).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            v = network.unet(rows, torch.full((2 * b,), float(t), device=device), text).sample.float()
            c, u = v.chunk(2)
            v = u + scale * (c - u)
            x0 = (x / (1 + s * s).sqrt() - s * v) / (1 + s * s).sqrt()
            x = x0 + levels[i + 1] / s * (x - x0)
        return (autoencoder.to(device).decoder(x).float() / 2 + 0.5).clamp(0, 1)
