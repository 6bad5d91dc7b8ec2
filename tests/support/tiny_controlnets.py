"""Tiny ControlNets beside a tiny UNet."""

import diffusers
import torch
from diffusers import ControlNetModel

from tests.support.tiny_transformers import drawn


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


HEADS = dict(attention_head_dim=8, num_attention_heads=4)
OF_TRANSFORMERS = {  # kind of `tiny_transformers` -> a class of diffusers, and its config
    "flux-dev": ("FluxControlNetModel", dict(
        in_channels=16, num_layers=2, num_single_layers=1, joint_attention_dim=32, pooled_projection_dim=32,
        guidance_embeds=True, axes_dims_rope=(2, 2, 4), **HEADS)),
    "sd3": ("SD3ControlNetModel", dict(
        sample_size=16, in_channels=16, out_channels=16, num_layers=2, joint_attention_dim=32,
        caption_projection_dim=32, pooled_projection_dim=32, pos_embed_max_size=32, qk_norm="rms_norm", **HEADS)),
    "qwen-image": ("QwenImageControlNetModel", dict(
        in_channels=16, out_channels=4, num_layers=2, joint_attention_dim=32, axes_dims_rope=(2, 2, 4), **HEADS)),
    "z-image": ("ZImageControlNetModel", dict(
        control_layers_places=[0, 2], control_in_dim=4, dim=32, n_refiner_layers=1, n_heads=2, n_kv_heads=2)),
    "sana": ("SanaControlNetModel", dict(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=32,
        sample_size=16)),
}  # fmt: skip


def of_transformer(kind, seed, **more):
    """Drawn anew."""
    torch.manual_seed(seed)
    name, config = OF_TRANSFORMERS[kind]
    return drawn(getattr(diffusers, name)(**{**config, **more})).eval()


def union(seed, modes=6):
    """Of `tiny`'s UNet of SDXL."""
    torch.manual_seed(seed)
    made = diffusers.ControlNetUnionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), block_out_channels=(32, 64), layers_per_block=1,
        norm_num_groups=16, cross_attention_dim=80, attention_head_dim=4, conditioning_embedding_out_channels=(8, 16),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=96,
        use_linear_projection=True, transformer_layers_per_block=(1, 2),
        num_control_type=modes, num_trans_channel=32, num_trans_head=4, num_proj_channel=32,
    )  # fmt: skip
    return drawn(made).eval()
