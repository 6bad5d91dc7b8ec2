"""A tiny unconditional checkpoint in pixel space."""

import torch
from diffusers import DDIMPipeline, DDPMScheduler, UNet2DModel

from tests.support.tiny import ddim


def save_pixels(folder, patch=1, pipeline=DDIMPipeline, **config):
    """A checkpoint of a UNet that takes images and nothing else, patch x patch pixels as one cell; its folder."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16, in_channels=3 * patch**2, out_channels=3 * patch**2, block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1, attention_head_dim=8, norm_num_groups=8, **config,
    )  # fmt: skip
    scheduler = ddim(prediction_type="v_prediction", steps_offset=0)
    pipeline(unet=unet, scheduler=scheduler if pipeline is DDIMPipeline else DDPMScheduler()).save_pretrained(folder)
    return str(folder)
