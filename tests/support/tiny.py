"""Tiny checkpoints of the real classes with random weights, saved by diffusers' own save_pretrained."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = "a the red blue large small sphere cube on grass".split()
LINEAR = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SCHEDULERS = {
    "eps": lambda: ddim(prediction_type="epsilon", **LINEAR),
    "v": lambda: ddim(prediction_type="v_prediction", **LINEAR),
    "zero": lambda: ddim(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
                         set_alpha_to_one=True, **LINEAR),
    "flow": lambda: FlowMatchEulerDiscreteScheduler(shift=1.0),
}  # fmt: skip


def ddim(**config: object) -> DDIMScheduler:
    return DDIMScheduler(**{"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **config})


def tokenizer(length: int = 16, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's byte-level BPE whose merges make whole tokens of WORDS. pad: "!" as of SD 2 and SDXL's second one."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:  # from the right, so that no two words share a first half
            pair = (pieces[-2], pieces[-1])
            if pair not in merges:
                merges.append(pair)
            pieces[-2:] = ["".join(pair)]
    tokens = [*alphabet, *(one + "</w>" for one in alphabet), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    own = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    own.model_max_length, own.pad_token = length, pad
    return own


def text_encoder(words: CLIPTokenizer, width: int, projection: bool = False) -> CLIPTextModel:
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return kind(CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=words.model_max_length, projection_dim=width,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    ))  # fmt: skip


def unet(text: int, **more: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(**{
        **dict(sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
               down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
               up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=text, attention_head_dim=4,
               norm_num_groups=16), **more})  # fmt: skip


def vae(kind: str = "kl") -> AutoencoderKL | AutoencoderTiny | AutoencoderDC:
    if kind == "dc":
        made = AutoencoderDC(latent_channels=4, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
                             encoder_block_out_channels=(4, 8), decoder_block_out_channels=(4, 8),
                             encoder_layers_per_block=(0, 1), decoder_layers_per_block=(0, 1),
                             encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()),
                             scaling_factor=0.5)  # fmt: skip
        made.register_to_config(block_out_channels=(4, 8))  # what StableDiffusionPipeline reads, as Still Life's has
        return made
    if kind == "tiny":
        return AutoencoderTiny(encoder_block_out_channels=(8,) * 3, decoder_block_out_channels=(8,) * 3,
                               num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1))  # fmt: skip
    return AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=8,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, scaling_factor=0.18215, sample_size=32,
    )  # fmt: skip


def save(
    folder: Path,
    kind: str = "eps",
    autoencoder: str = "kl",
    dtype: torch.dtype | None = None,
    places: int = 16,
    **options: object,
) -> Path:
    """A checkpoint of kind "eps", "v", "zero", "flow" or "xl" into the folder, or one for inpainting, "eps-inpaint" or
    "xl-inpaint", or for editing, "eps-pix2pix" or "xl-pix2pix", or a latent consistency model, "eps-lcm"; places: of
    the text encoder; options: of save_pretrained."""
    torch.manual_seed(0)
    words, others = tokenizer(places), tokenizer(places, "!")
    kind, _, task = kind.partition("-")
    channels = {"inpaint": {"in_channels": 9}, "pix2pix": {"in_channels": 8},
                "lcm": {"time_cond_proj_dim": 32}}.get(task, {})  # fmt: skip
    if kind == "xl":
        first, second = text_encoder(words, 32), text_encoder(words, 48, projection=True)
        net = unet(
            80, addition_embed_type="text_time", addition_time_embed_dim=8, use_linear_projection=True,
            projection_class_embeddings_input_dim=48 + 6 * 8, transformer_layers_per_block=(1, 2), **channels,
        )  # fmt: skip
        family = {"inpaint": StableDiffusionXLInpaintPipeline, "pix2pix": StableDiffusionXLInstructPix2PixPipeline}.get(
            task, StableDiffusionXLPipeline
        )
        pipe = family(vae=vae(autoencoder), text_encoder=first, text_encoder_2=second,
                                         tokenizer=words, tokenizer_2=others, unet=net, scheduler=SCHEDULERS["eps"](),
                                         add_watermarker=False)  # fmt: skip
    else:
        family = {"inpaint": StableDiffusionInpaintPipeline, "lcm": LatentConsistencyModelPipeline,
                  "pix2pix": StableDiffusionInstructPix2PixPipeline}.get(task, StableDiffusionPipeline)  # fmt: skip
        pipe = family(vae=vae(autoencoder), text_encoder=text_encoder(words, 32),
                      tokenizer=others if kind == "v" else words,
                                       unet=unet(32, **channels),
                      scheduler=LCMScheduler(**LINEAR) if task == "lcm" else SCHEDULERS[kind](), safety_checker=None,
                                       feature_extractor=None, requires_safety_checker=False)  # fmt: skip
    (pipe.to(dtype) if dtype else pipe).save_pretrained(folder, **options)
    return folder
