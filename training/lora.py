"""A LoRA file of Still Life (Hu et al. 2021), as an example of the method: it makes night of every scene.

    python -m training.lora      writes backbones/still_life_loras/night.safetensors; some minutes on a CPU

The frozen network is its own teacher, as for concept sliders (Gandikota et al. 2023, arXiv 2311.12092, Eq. 7, with a
scale of 1): beside a caption that does not speak of the light, the network with the branches is to predict what the
network without them predicts beside the same caption "at night". Every tenth caption is empty on both sides, so that
guidance goes on from a prediction that is not moved. The states are renders of night scenes under noise.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.latent import LatentBackbone
from backbones.lora_layers import LowRank
from backbones.lora_network import acting
from world.captions import SKY_WORDS, describe
from world.render import render
from world.scene import random_scene

SHIPPED = Path(__file__).parent.parent / "backbones" / "still_life"
FILE = SHIPPED.with_name(SHIPPED.name + "_loras") / "night.safetensors"
RANK, ROWS, RATE, SCENES = 4, 4, 3e-3, 96
ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


def branches(unet: nn.Module, draws: torch.Generator) -> dict[str, tuple[nn.Module, LowRank]]:
    """Silent ones, beside every linear layer of its attention, by the layers' names."""
    made = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear) and name.endswith(ATTENTION):
            down = torch.randn(RANK, layer.in_features, generator=draws) / layer.in_features**0.5
            tensors = {"down": down, "up": torch.zeros(layer.out_features, RANK)}
            made[name] = layer, LowRank({role: one.requires_grad_() for role, one in tensors.items()})
    return made


def material(b: LatentBackbone, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
    """Latents (N, C, h, w) of night scenes, and captions that do not speak of the light."""
    scenes = [replace(random_scene(rng, int(rng.integers(1, 4))), sky="night") for _ in range(SCENES)]
    images = torch.cat([render([one], b.default_size).rgb for one in scenes])
    texts = []
    for one in scenes:
        text = describe(one, rng).text
        for phrase in SKY_WORDS["night"]:
            text = text.replace(phrase, "")
        texts.append(" ".join(text.strip(" ,").split()))
    return b.encode_image(images), texts


def train(steps: int) -> None:
    os.environ["NINE_WAYS_ENGINE"] = "torch"
    from backbones import load

    rng, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)
    b = load("still-life")
    assert isinstance(b, LatentBackbone)
    unet = b.network.unet  # type: ignore[attr-defined]
    made = branches(unet, draws)
    weights = [one for _, branch in made.values() for one in branch.buffers()]
    optimiser = torch.optim.AdamW(weights, RATE, weight_decay=0.0)
    latents, texts = material(b, rng)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 20, 2 * (steps - step) / steps)
        at = rng.integers(0, SCENES, ROWS)
        captions = ["" if rng.random() < 0.1 else texts[i] for i in at]
        sigma = (torch.randn(ROWS, generator=draws) * 1.3 + 1.0).exp().clamp(0.05, 80)
        x = latents[at] + sigma[:, None, None, None] * torch.randn(latents[at].shape, generator=draws)
        seen, t = b.coordinates.enter(x, sigma)
        plain, night = (b.encode_prompt(some)["text"] for some in (
            captions, [one and f"{one} at night" for one in captions]))  # fmt: skip
        with torch.no_grad():
            wanted = unet(seen, t, night).sample
        with acting([(list(made.values()), torch.ones(1))]):
            loss = (unet(seen, t, plain).sample - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step + 1} of {steps}: {loss.item():.4f}", flush=True)
    tensors = {
        f"unet.{name}.lora_{letter}.weight": one.detach().half().contiguous()
        for name, (_, branch) in made.items() for letter, one in (("A", branch.down), ("B", branch.up))
    }  # fmt: skip
    FILE.parent.mkdir(exist_ok=True)
    save_file(tensors, FILE, metadata={"format": "pt", "modelspec.title": "night"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m training.lora")
    parser.add_argument("--steps", type=int, default=240)
    train(parser.parse_args().steps)
