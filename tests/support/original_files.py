"""Tiny checkpoints of Stable Diffusion 1, 2 and XL as a folder and as one file in the original layout.

The names of the file are made here from those of diffusers, by the layout's own rules; `backbones.original_layout`
reads them the other way round.
"""

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.support import tiny

LAYERS = 1
SMALL = {"modelspec.resolution": "32x32"}  # in the header: not the family's usual size, which takes long
RESIDUAL = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
            "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in":
        "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2"}  # fmt: skip


def text(words, width: int, activation: str, projected: bool = False):
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=max(width // 64, 1), max_position_embeddings=words.model_max_length, hidden_act=activation,
        projection_dim=48, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    ))  # fmt: skip


def unet(kind: str, **more: object) -> UNet2DConditionModel:
    widths = (32, 64) if kind == "1" else (64, 128)
    down = ("DownBlock2D", "CrossAttnDownBlock2D") if kind == "xl" else ("CrossAttnDownBlock2D", "DownBlock2D")
    heads = {"attention_head_dim": 8} if kind == "1" else {"attention_head_dim": (1, 2), "use_linear_projection": True}
    if kind == "xl":
        heads |= dict(addition_embed_type="text_time", addition_time_embed_dim=8, transformer_layers_per_block=(1, 2),
                      projection_class_embeddings_input_dim=48 + 6 * 8)  # fmt: skip
    return UNet2DConditionModel(**{**dict(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=widths,
        layers_per_block=LAYERS, down_block_types=down,
        up_block_types=[one.replace("Down", "Up") for one in down[::-1]],
        cross_attention_dim=64 + 128 * (kind == "xl"), norm_num_groups=32), **heads, **more})  # fmt: skip


def save(home: Path, kind: str = "1", predicts: str = "epsilon", dtype: torch.dtype | None = None, **more: object
         ) -> tuple[Path, Path]:  # fmt: skip
    """A folder in diffusers' layout, and the file with the same weights. kind: "1", "2" or "xl". more: of the UNet."""
    torch.manual_seed(0)
    first, second = tiny.tokenizer(), tiny.tokenizer()
    second.pad_token = "!"
    vae = AutoencoderKL(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1,
                        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=32,
                        scaling_factor=0.13025 if kind == "xl" else 0.18215)  # fmt: skip
    parts = dict(vae=vae, unet=unet(kind, **more), scheduler=tiny.ddim(prediction_type=predicts, **tiny.LINEAR))
    if kind == "xl":
        pipe = StableDiffusionXLPipeline(
            **parts, tokenizer=first, text_encoder=text(first, 64, "quick_gelu"), tokenizer_2=second,
            text_encoder_2=text(second, 128, "gelu", projected=True), add_watermarker=False,
        )  # fmt: skip
    else:
        words = second if kind == "2" else first
        encoder = text(words, 64, "gelu" if kind == "2" else "quick_gelu")
        pipe = StableDiffusionPipeline(**parts, text_encoder=encoder, tokenizer=words, safety_checker=None,
                                       feature_extractor=None, requires_safety_checker=False)  # fmt: skip
    for part in (pipe.unet, pipe.vae):
        for values in part.parameters():  # no zeros and ones: each weight has to get to its own place
            torch.nn.init.normal_(values, std=0.05)
    pipe = pipe.to(dtype) if dtype else pipe
    pipe.save_pretrained(home / "folder")
    save_file(tensors(pipe, kind), home / f"sd{kind}.safetensors", metadata=SMALL)
    return home / "folder", home / f"sd{kind}.safetensors"


def tensors(pipe, kind: str) -> dict[str, torch.Tensor]:
    """Of the file."""
    found = of_unet(pipe.unet) | of_vae(pipe.vae)
    if kind == "2":
        found |= open_clip(pipe.text_encoder, "cond_stage_model.model.", more_layers=1)
        found["cond_stage_model.model.text_projection"] = torch.randn(64, 64)
    else:
        beginning = "conditioner.embedders.0." if kind == "xl" else "cond_stage_model."
        found |= {f"{beginning}transformer.text_model.{name.removeprefix('text_model.')}": value
                  for name, value in pipe.text_encoder.state_dict().items()}  # fmt: skip
        found[f"{beginning}transformer.text_model.embeddings.position_ids"] = torch.arange(16)[None]
    if kind == "xl":
        found |= open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
        projection = pipe.text_encoder_2.text_projection.weight
        found |= {"conditioner.embedders.1.model.text_projection": projection.T,
                  "conditioner.embedders.1.model.logit_scale": torch.tensor(1.0)}  # fmt: skip
    else:
        found["alphas_cumprod"] = torch.ones(1000)
    return {name: value.detach().contiguous().clone() for name, value in found.items()}


def of_unet(network) -> dict[str, torch.Tensor]:
    attends = [one.startswith("Cross") for one in network.config.up_block_types]
    layers, state = network.config.layers_per_block, network.state_dict()
    return {f"model.diffusion_model.{_in_unet(name, layers, attends)}": value for name, value in state.items()}


def of_controlnet(network, beginning: str = "control_model.") -> dict[str, torch.Tensor]:
    layers, blocks = network.config.layers_per_block, len(network.controlnet_cond_embedding.blocks)

    def named(name: str) -> str:
        stem, _, end = name.rpartition(".")
        if found := re.fullmatch(r"controlnet_cond_embedding\.(?:conv_(in|out)|blocks\.(\d+))", stem):
            place = {"in": 0, "out": 2 * (blocks + 1)}.get(found[1], 2 * (int(found[2] or 0) + 1))
            return f"input_hint_block.{place}.{end}"
        if found := re.fullmatch(r"controlnet_down_blocks\.(\d+)", stem):
            return f"zero_convs.{found[1]}.0.{end}"
        return f"middle_block_out.0.{end}" if stem == "controlnet_mid_block" else _in_unet(name, layers, [])

    return {beginning + named(name): value for name, value in network.state_dict().items()}


def of_vae(network) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in network.state_dict().items():
        linear = ".attentions." in name and value.ndim == 2
        place = f"first_stage_model.{_in_vae(name, len(network.config.block_out_channels))}"
        found[place] = value[:, :, None, None] if linear else value
    return found


def _in_unet(name: str, layers: int, attends: list[bool]) -> str:
    """layers: residual blocks of a level. attends: of the levels upwards, whether they have attention."""
    stem, _, last = name.rpartition(".")
    if stem in ENDS:
        return f"{ENDS[stem]}.{last}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", stem):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{RESIDUAL.get(found[3], found[3])}.{last}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", stem)
    block, part, layer, rest = int(found[2]), found[3], int(found[4]), found[5]
    first = block * (layers + 1) + (1 if found[1] == "down" else 0)
    side = "input_blocks" if found[1] == "down" else "output_blocks"
    if part == "downsamplers":
        return f"{side}.{first + layers}.0.op.{last}"
    if part == "upsamplers":  # after the attention, where the level has one
        return f"{side}.{first + layers}.{2 if attends[block] else 1}.conv.{last}"
    return f"{side}.{first + layer}.{1 if part == 'attentions' else 0}.{RESIDUAL.get(rest, rest)}.{last}"


def _in_vae(name: str, levels: int) -> str:
    name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda at: f"decoder.up.{levels - 1 - int(at[1])}", name)
    for ours, theirs in (
        ("encoder.down_blocks.", "encoder.down."), (".resnets.", ".block."), ("mid_block.block.0", "mid.block_1"),
        ("mid_block.block.1", "mid.block_2"), ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"), ("mid_block.attentions.0.to_", "mid.attn_1."),
        ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out"), ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name


def open_clip(encoder, beginning: str, more_layers: int = 0) -> dict[str, torch.Tensor]:
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"], "ln_final.bias": state["final_layer_norm.bias"],
    }  # fmt: skip
    layers = encoder.config.num_hidden_layers
    for i in range(layers + more_layers):
        ours, theirs = f"encoder.layers.{min(i, layers - 1)}", f"transformer.resblocks.{i}"
        for end in ("weight", "bias"):
            stacked = [state[f"{ours}.self_attn.{one}_proj.{end}"] for one in "qkv"]
            found[f"{theirs}.attn.in_proj_{end}"] = torch.cat(stacked)
            for a, b in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                         ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                found[f"{theirs}.{b}.{end}"] = state[f"{ours}.{a}.{end}"]
    return {beginning + name: value for name, value in found.items()}
