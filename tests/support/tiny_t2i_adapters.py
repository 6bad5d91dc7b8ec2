"""Tiny T2I-Adapters for the tiny UNets."""

import torch
from diffusers import T2IAdapter

CHANNELS = {"full_adapter": (32, 64), "light_adapter": (32, 64), "full_adapter_xl": (32, 64, 64, 64)}
CELL = {"full_adapter": 2, "light_adapter": 2, "full_adapter_xl": 4}


def t2i_adapter(kind="full_adapter_xl", seed=0, channels=3):
    """kind: full and light ones fit `like_sd_1`, those of XL the usual tiny UNets, whose first block has no attention.
    With features as large as the UNet's own."""
    torch.manual_seed(seed)
    made = T2IAdapter(channels, list(CHANNELS[kind]), 1, CELL[kind], kind)
    for name, weights in made.named_parameters():
        torch.nn.init.normal_(weights, std=0.3 if name.endswith("bias") else 0.1)
    return made
