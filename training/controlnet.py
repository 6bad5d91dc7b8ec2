"""ControlNets of Still Life (Zhang et al. 2023): depth and edges, learned from rendered ground truth beside the frozen
network.

A ControlNet here is a copy of the UNet's encoder without its attention: the text is the decoder's matter, and half the
size is saved. One run trains both: every row has a map of one kind, each kind has a channel of its own, and what is
shipped are two ControlNets that differ in their first layer. So the way into the decoder, which is most of what there
is to learn, is learned once. Half of the captions are empty, so that the map has to carry the meaning; noise levels lie
higher than the UNet's own, where scenes take shape. All is at 128 pixels: at 64 the UNet that is shipped is not at home
(v error 0.177 against 0.081), and what was learned first there was to mend that, with no look at the map.

    python -m training controlnet --images 60000       train, in pieces; after the UNet has changed, again
    python -m training.controlnet                        ship what was trained last
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from training.autoencoder import SHIPPED
from training.denoiser import STEPS, alphas, times_of
from training.latents import latents, shipped_autoencoder
from training.loop import averaged_network, best_device, grid, reduced
from training.maps import NAMES, maps
from training.text import plain_tokenizer, words

CONTROLNETS = SHIPPED.with_name(SHIPPED.name + "_controlnets")
SCENES = 24_000 if torch.cuda.is_available() else 8_000  # of the training split, with their maps
STEM = (16, 32, 64)  # widths of the map's own layers; one fewer than halvings of its size, as the autoencoder has
LEVELS = (1.2, 3.0, 8.0)  # sigmas of the held-out figures
FIRST = "controlnet_cond_embedding.conv_in.weight"  # (16, kinds of maps, 3, 3)


def build(unet: UNet2DConditionModel, channels: int) -> ControlNetModel:
    """A ControlNet that fits the UNet, with the UNet's weights where it has the same layers, and silent as yet.

    channels: of its map.
    """
    network = ControlNetModel(
        in_channels=unet.config.in_channels,
        conditioning_channels=channels,
        down_block_types=("DownBlock2D",) * len(unet.config.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        block_out_channels=unet.config.block_out_channels,
        layers_per_block=unet.config.layers_per_block,
        norm_num_groups=unet.config.norm_num_groups,
        cross_attention_dim=unet.config.cross_attention_dim,
        attention_head_dim=unet.config.attention_head_dim,
        conditioning_embedding_out_channels=STEM,
    )
    own, theirs = network.state_dict(), unet.state_dict()
    network.load_state_dict({name: theirs.get(name, value) for name, value in own.items()})
    # The way out is silent, which is enough. The map's way in, at first a zero behind layers that each take most of a
    # signal's size, is made as large as the features of the image: else the map is ignored for thousands of steps.
    for layer in network.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
            nn.init.zeros_(layer.bias)
    return network


def split(weights: dict[str, Tensor], condition: str) -> dict[str, Tensor]:
    """Of the network that reads both kinds of maps, the one that reads this kind."""
    channel = NAMES.index(condition)
    return {**weights, FIRST: weights[FIRST][:, channel : channel + 1]}


def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The network that reads all kinds, from those of each: their first layers, and the mean of the rest."""
    mean = {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0] if name != FIRST}
    return {**mean, FIRST: torch.cat([part[FIRST] for part in parts], 1)}


class ControlNet:
    name, rows, rate = "controlnet", 8, 1e-3  # few rows: at some ten thousand images it is steps that are short

    def __init__(self) -> None:
        """Goes on from the ControlNets that are shipped, where there are some."""
        torch.manual_seed(0)
        if best_device().type == "cuda":
            self.rows = 128
        self.unet = UNet2DConditionModel.from_pretrained(SHIPPED / "unet", torch_dtype=torch.float32)
        self.unet.eval().requires_grad_(False)
        if best_device().type == "cpu":
            self.unet.set_attn_processor(AttnProcessor())  # quicker backwards there than the fused kernel
        self.network: nn.Module = build(self.unet, len(NAMES))
        if CONTROLNETS.exists():
            parts = [ControlNetModel.from_pretrained(CONTROLNETS / name, torch_dtype=torch.float32) for name in NAMES]
            self.network.load_state_dict(joined([part.state_dict() for part in parts]))
        self.text = CLIPTextModel.from_pretrained(SHIPPED / "text_encoder", dtype=torch.float32).eval()
        self.text.requires_grad_(False)
        self.autoencoder = shipped_autoencoder().eval().requires_grad_(False)
        z = latents(self.autoencoder, "train")
        self.empty = torch.tensor(plain_tokenizer()("", padding="max_length")["input_ids"])
        self.arrays = {
            "z": z[:SCENES],
            "maps": torch.from_numpy(np.array(maps("train", SCENES))),
            "tokens": torch.from_numpy(words("train", len(z)).tokens[:SCENES]),
            "empty": self.empty,
        }
        self.table: dict[str, Tensor] | None = None
        self.sigmas = ((1 - alphas()) / alphas()).sqrt().float()

    # ------------------------------------------------------------------------------------------------ batches

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        """Latents, noise, times, tokens and maps of some scenes, drawn and looked up on the device."""
        if self.table is None:
            self.table = {name: tensor.to(device) for name, tensor in self.arrays.items()}
        draws = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        uniform = partial(torch.rand, self.rows, device=device, generator=draws)
        scene = (uniform() * len(self.table["maps"])).long()
        caption = (uniform() * self.table["tokens"].shape[1]).long()
        tokens = self.table["tokens"][scene, caption].long()
        z = self.table["z"][scene].float()
        return {
            "z": z,
            "noise": torch.randn(z.shape, device=device, generator=draws),
            "t": self._times(uniform),
            "tokens": torch.where(uniform()[:, None] < 0.5, self.table["empty"], tokens),
            "map": shown(self.table["maps"][scene], (uniform() * len(NAMES)).long()),
        }

    def _times(self, uniform: Callable[[], Tensor]) -> Tensor:
        """Log-normal in sigma, stratified; every eighth uniform over the schedule."""
        jitter = uniform()
        u = (torch.arange(self.rows, device=jitter.device) + jitter) / self.rows
        t = times_of(torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)) * 1.2 + 1.5, self.sigmas)
        t[::8] = uniform()[::8] * (STEPS - 1)
        return t[uniform().argsort()]

    # ------------------------------------------------------------------------------------------------ losses

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        self._follow(batch["z"].device)
        with torch.no_grad():
            text = self.text(batch["tokens"]).last_hidden_state
        error = self._error(network, batch, text)
        return error, {"v": error.detach()}

    def _follow(self, device: torch.device) -> None:
        for part in (self.unet, self.text, self.autoencoder):
            part.to(device)

    def _error(self, network: nn.Module | None, batch: dict[str, Tensor], text: Tensor) -> Tensor:
        """Mean squared error of v; of the UNet alone without a network."""
        t = batch["t"].float()
        levels = self.sigmas.log().to(t.device)
        low = t.floor().long().clamp(max=STEPS - 2)
        s = torch.lerp(levels[low], levels[low + 1], t - low).exp()[:, None, None, None]
        scale = (1 + s * s).rsqrt()
        x = (scale * (batch["z"] + s * batch["noise"])).contiguous(memory_format=torch.channels_last)
        v = scale * (batch["noise"] - s * batch["z"])
        return (self._v(network, x, t, text, batch["map"]) - v).square().mean()

    def _v(self, network: nn.Module | None, x: Tensor, t: Tensor, text: Tensor, control: Tensor) -> Tensor:
        if network is None:
            return self.unet(x, t, text).sample.float()
        down, mid = network(x, t, text, control, return_dict=False)
        return self.unet(
            x, t, text, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample.float()

    # ------------------------------------------------------------------------------------------------ checks

    @torch.no_grad()
    def check(self, network: nn.Module) -> dict[str, float]:
        """Held-out v errors: of the UNet alone, with true maps, with other scenes' maps."""
        n, device = 16, next(network.parameters()).device
        self._follow(device)
        tokens = words("validation", 2000).tokens[:n, 0].astype(np.int64)
        with reduced(device):
            text = self.text(torch.from_numpy(tokens).to(device)).last_hidden_state
            z = latents(self.autoencoder, "validation")[:n].float().to(device)
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(device)
            control = held_maps(n).to(device)
            errors = []
            for sigma in LEVELS:
                t = torch.full((n,), float(torch.searchsorted(self.sigmas, sigma)), device=device)
                batch = {"z": z, "noise": noise, "t": t, "map": control}
                wrong = {**batch, "map": control.roll(len(NAMES), 0)}
                three = ((None, batch), (network, batch), (network, wrong))
                errors.append([self._error(net, one, text).item() for net, one in three])
        return dict(zip(("alone", "held_out", "another"), np.mean(errors, 0).tolist(), strict=True))

    @torch.no_grad()
    def preview(self, network: nn.Module) -> Image.Image:
        """Rows of eight, depth and edges in turn: maps, what is made from them and the captions, the renders."""
        n, device = 8, next(network.parameters()).device
        tokens = torch.from_numpy(words("validation", 2000).tokens[:n, 0].astype(np.int64))
        control = held_maps(n).to(device)
        made = self._sampled(network, control, tokens)
        ground_truth = self._decoded(latents(self.autoencoder, "validation")[:n].float().to(device))
        return grid(torch.cat([control.amax(1, keepdim=True).expand(-1, 3, -1, -1), made, ground_truth]), n)

    def _sampled(self, network: nn.Module, control: Tensor, tokens: Tensor, steps: int = 12) -> Tensor:
        device, b = control.device, len(control)
        times = torch.linspace(STEPS - 1, 0, steps + 1)[:-1].round().long()
        levels = torch.cat([self.sigmas[times], torch.zeros(1)]).to(device)
        side = control.shape[-1] // 4
        x = torch.randn(b, 4, side, side, generator=torch.Generator().manual_seed(0)).to(device) * levels[0]
        with reduced(device):
            text = self.text(torch.cat([tokens, self.empty.expand(b, -1)]).to(device)).last_hidden_state
            for i, t in enumerate(times.tolist()):
                s = levels[i]
                model_input = (x / (1 + s * s).sqrt()).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
                time = torch.full((2 * b,), float(t), device=device)
                c, u = self._v(network, model_input, time, text, control.repeat(2, 1, 1, 1)).chunk(2)
                x0 = (x / (1 + s * s).sqrt() - s * (u + 3.0 * (c - u))) / (1 + s * s).sqrt()
                x = x0 + levels[i + 1] / s * (x - x0)
        return self._decoded(x)

    def _decoded(self, z: Tensor) -> Tensor:
        return (self.autoencoder.decoder(z).float() / 2 + 0.5).clamp(0, 1)


def shown(both: Tensor, kinds: Tensor) -> Tensor:
    """Maps (B, 2, H, W) uint8 -> the same in [0, 1]; in each row the kind that is asked for (B,), the other zero."""
    return both.float() / 255 * F.one_hot(kinds, len(NAMES))[:, :, None, None]


def held_maps(count: int) -> Tensor:
    """Maps (N, 2, 128, 128) of held-out scenes, depth and edges in turn."""
    return shown(torch.from_numpy(np.array(maps("validation", count))), torch.arange(count) % len(NAMES))


def export() -> None:
    """Write the run's averaged weights beside the backbone, in half precision, as diffusers opens them."""
    unet = UNet2DConditionModel.from_pretrained(SHIPPED / "unet", torch_dtype=torch.float32)
    weights = averaged_network(ControlNet.name)
    for condition in NAMES:
        network = build(unet, 1)
        network.load_state_dict(split(weights, condition))
        folder = CONTROLNETS / condition
        for old in folder.glob("*.safetensors*"):
            old.unlink()
        network.half().save_pretrained(folder, max_shard_size="9MB")
        sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
        print(f"{folder}: {sum(sizes) / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.controlnet", description=__doc__.split("\n\n")[0])
    parser.parse_args()
    export()


if __name__ == "__main__":
    main()
