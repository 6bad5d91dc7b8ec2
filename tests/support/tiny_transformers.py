"""Tiny checkpoints of diffusion transformers of the real classes with random weights, saved by save_pretrained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import nn

from tests.support.tiny import WORDS, text_encoder, tokenizer

WIDTH = 32  # features of a word
LINEAR = dict(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }} {{ m['content'] }}<|im_end|>{% endfor %}assistant"
BY_SIZE = dict(base_image_seq_len=16, max_image_seq_len=256, base_shift=0.5, max_shift=1.15, use_dynamic_shifting=True)


def t5() -> tuple[Any, Any]:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((f"▁{word}", -1.0) for word in WORDS)]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz,.!"]
    words = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, additional_special_tokens=[])
    config = transformers.T5Config(vocab_size=len(pieces), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    return transformers.T5EncoderModel(config), words


def byte_tokenizer() -> Any:
    """A language model's, with a template for a chat."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    for special in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad"):
        vocab[f"<|{special}|>"] = len(vocab)
    words = transformers.Qwen2Tokenizer(vocab=vocab, merges=[])
    words.chat_template = TEMPLATE
    return words


def language(kind: str, layers: int = 3) -> tuple[Any, Any]:
    words = byte_tokenizer()
    text = dict(vocab_size=len(words), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=layers,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, head_dim=8)  # fmt: skip
    if kind.startswith("Qwen3VL"):
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
        vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=WIDTH,
                      deepstack_visual_indexes=[])  # fmt: skip
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision)
    elif kind.startswith("Qwen2_5_VL"):
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
        vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=WIDTH,
                      fullatt_block_indexes=[0])  # fmt: skip
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    elif kind.startswith("Gemma2"):
        config = transformers.Gemma2Config(**text)
    else:
        config = transformers.Qwen3Config(**text)
    return getattr(transformers, kind)(config), words


def kl(channels: int, **more: object) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=channels, sample_size=32,
        **{"scaling_factor": 0.3611, "shift_factor": 0.1159, **more},
    )  # fmt: skip


def qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.1, 2.0],
    )  # fmt: skip


def dc() -> Any:
    return diffusers.AutoencoderDC(
        latent_channels=4, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
        encoder_block_out_channels=(4, 8), decoder_block_out_channels=(4, 8), encoder_layers_per_block=(0, 1),
        decoder_layers_per_block=(0, 1), encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()),
        scaling_factor=0.5,
    )  # fmt: skip


def flow(**settings: object) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**settings)


def flux(guided: bool = True, **more: object) -> dict[str, Any]:
    heads = dict(attention_head_dim=8, num_attention_heads=4, axes_dims_rope=(2, 2, 4), **more)
    words = tokenizer()
    t5_text, t5_words = t5()
    return dict(
        transformer=diffusers.FluxTransformer2DModel(
            **{**dict(in_channels=16, num_layers=1, num_single_layers=1, joint_attention_dim=WIDTH,
                      pooled_projection_dim=WIDTH, guidance_embeds=guided), **heads}),
        vae=kl(4), text_encoder=text_encoder(words, WIDTH), tokenizer=words, text_encoder_2=t5_text,
        tokenizer_2=t5_words, scheduler=flow(shift=3.0, **BY_SIZE),
    )  # fmt: skip


def klein() -> dict[str, Any]:
    text, words = language("Qwen3ForCausalLM", layers=28)
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=32, layers_per_block=1,
    )  # fmt: skip
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    return dict(
        transformer=diffusers.Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=3 * WIDTH, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False),
        vae=vae, text_encoder=text, tokenizer=words, scheduler=flow(shift=3.0, use_dynamic_shifting=True),
    )  # fmt: skip


def qwen_image(**more: object) -> dict[str, Any]:
    text, words = language("Qwen2_5_VLForConditionalGeneration")
    return dict(
        transformer=diffusers.QwenImageTransformer2DModel(
            **{**dict(in_channels=16, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
                      joint_attention_dim=WIDTH, axes_dims_rope=(2, 2, 4)), **more}),
        vae=qwen_vae(), text_encoder=text, tokenizer=words, scheduler=flow(shift_terminal=0.02, **BY_SIZE),
    )  # fmt: skip


def z_image(**more: object) -> dict[str, Any]:
    text, words = language("Qwen3Model")
    return dict(
        transformer=diffusers.ZImageTransformer2DModel(
            **{**dict(in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
                      cap_feat_dim=WIDTH, axes_dims=[4, 4, 8], axes_lens=[1024, 64, 64]), **more}),
        vae=kl(4), text_encoder=text, tokenizer=words, scheduler=flow(shift=3.0),
    )  # fmt: skip


def krea2() -> dict[str, Any]:
    text, words = language("Qwen3VLModel")
    return dict(
        transformer=diffusers.Krea2Transformer2DModel(
            in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=32, timestep_embed_dim=16, text_hidden_dim=WIDTH, num_text_layers=2,
            text_num_attention_heads=4, text_num_key_value_heads=4, text_intermediate_size=32,
            num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(2, 2, 4)),
        vae=qwen_vae(), text_encoder=text, tokenizer=words, scheduler=flow(**BY_SIZE),
        text_encoder_select_layers=(1, 2),
    )  # fmt: skip


def stable_diffusion_3(with_t5: bool = True, **more: object) -> dict[str, Any]:
    words = tokenizer()
    t5_text, t5_words = t5() if with_t5 else (None, None)
    return dict(
        transformer=diffusers.SD3Transformer2DModel(
            **{**dict(sample_size=16, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=8,
                      num_attention_heads=4, joint_attention_dim=WIDTH, caption_projection_dim=32,
                      pooled_projection_dim=32, pos_embed_max_size=32, qk_norm="rms_norm",
                      dual_attention_layers=(0,)), **more}),
        vae=kl(16), text_encoder=text_encoder(words, 16, projection=True), tokenizer=words,
        text_encoder_2=text_encoder(words, 16, projection=True), tokenizer_2=words, text_encoder_3=t5_text,
        tokenizer_3=t5_words, scheduler=flow(shift=3.0),
    )  # fmt: skip


def sana(**more: object) -> dict[str, Any]:
    text, words = language("Gemma2Model")
    return dict(
        transformer=diffusers.SanaTransformer2DModel(
            **{**dict(in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
                      num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
                      caption_channels=WIDTH, sample_size=16), **more}),
        vae=dc(), text_encoder=text, tokenizer=words,
        scheduler=DPMSolverMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"),
    )  # fmt: skip


def pixart(sample_size: int = 16) -> dict[str, Any]:
    text, words = t5()
    return dict(
        transformer=diffusers.PixArtTransformer2DModel(
            num_attention_heads=3, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
            cross_attention_dim=24, sample_size=sample_size, patch_size=2, caption_channels=WIDTH),
        vae=kl(4, scaling_factor=0.13, shift_factor=None), text_encoder=text, tokenizer=words,
        scheduler=DPMSolverMultistepScheduler(**LINEAR),
    )  # fmt: skip


KINDS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {  # -> pipeline, its parts
    "qwen-image": ("QwenImagePipeline", qwen_image),
    "z-image": ("ZImagePipeline", z_image),
    "flux2-klein": ("Flux2KleinPipeline", klein),
    "flux-dev": ("FluxPipeline", flux),
    "flux-schnell": ("FluxPipeline", lambda **more: flux(guided=False, **more)),
    "flux-kontext": ("FluxKontextPipeline", flux),
    "flux-fill": ("FluxFillPipeline", lambda: flux(in_channels=16 + 16 + 16, out_channels=16)),
    "krea2": ("Krea2Pipeline", krea2),
    "sd3": ("StableDiffusion3Pipeline", stable_diffusion_3),
    "sd3-without-t5": ("StableDiffusion3Pipeline", lambda: stable_diffusion_3(with_t5=False)),
    "sana": ("SanaPipeline", sana),
    "pixart-sigma": ("PixArtSigmaPipeline", pixart),
    "pixart-alpha": ("PixArtAlphaPipeline", lambda: pixart(sample_size=128)),
}


def pipeline_class(kind: str) -> Any:
    """diffusers' of one of KINDS."""
    return getattr(diffusers, KINDS[kind][0])


def drawn(network: nn.Module) -> nn.Module:
    """Every parameter drawn anew: many start at zero, and would hide the branch that they end."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.15).add_(1 if parameter.ndim == 1 and bool((parameter == 1).all()) else 0)
    return network


def save(folder: Path, kind: str, vae: Any = None, **more: object) -> Path:
    """A checkpoint of one of KINDS into the folder, drawn anew. vae: in place of its own. more: of its transformer's
    config."""
    torch.manual_seed(0)
    name, parts = KINDS[kind]
    pipe = getattr(diffusers, name)(**{**parts(**more), **({"vae": vae} if vae is not None else {})})
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            drawn(part)
    pipe.save_pretrained(folder)
    return folder
