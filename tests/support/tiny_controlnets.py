"""Tiny ControlNets beside a tiny UNet."""

import torch
from diffusers import ControlNetModel


def controlnet(unet, seed, channels=3):
    """With the UNet's encoder, and convolutions that are not zero any more."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(8, 16), conditioning_channels=channels
    )
    for part in (network.controlnet_down_blocks, network.controlnet_mid_block, network.controlnet_cond_embedding):
        for weights in part.parameters():
            torch.nn.init.normal_(weights, std=0.1)
    return network
