"""The layout in which Stable Diffusion 1, 2 and XL were published: every network in one file.

By the names and shapes of its tensors alone: diffusers' configs of its parts, and which tensor becomes which of
diffusers' weights. What the file is stands in `single_file`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backbones.checkpoint_files import UNET

Shapes = Mapping[str, tuple[int, ...]]  # of the tensors of a file, by name
CONTROLNET = "control_model."  # begins the names of a ControlNet's tensors, but in some files
AUTOENCODERS = ("first_stage_model.", "vae.")  # as the parts of a file are named: all their tensors begin so
CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")  # in the names of transformers
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")  # in those of OpenCLIP
HEAD = 64  # width of an attention head, but for UNets of Stable Diffusion 1, which have 8 heads at each level
TIME_XL = 256  # features of each of the six sizes that SDXL's networks read
LATENT_SCALE, LATENT_SCALE_XL = 0.18215, 0.13025

ENDS = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip
RESIDUAL = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
IN_AUTOENCODER = (
    ("mid.block_1.", "mid_block.resnets.0."), ("mid.block_2.", "mid_block.resnets.1."),
    ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."),
    ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."), ("mid.attn_1.", "mid_block.attentions.0.to_"),
    ("nin_shortcut", "conv_shortcut"), ("norm_out", "conv_norm_out"),
    (".downsample.", ".downsamplers.0."), (".upsample.", ".upsamplers.0."), (".block.", ".resnets."),
)  # fmt: skip
IN_OPEN_CLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight", "ln_final.bias": "final_layer_norm.bias",
}  # fmt: skip
IN_LAYER = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
UNREAD = ("loss.", "model_ema.")  # of an autoencoder: what only its training needed
BUFFERS = ("embeddings.position_ids", "logit_scale", "attn_mask")  # ends of names of what is no weight of an encoder


@dataclass(frozen=True)
class Source:
    """A tensor of the file that becomes a weight. third: of three that are stacked in it, this one (0 to 2)."""

    name: str
    third: int | None = None
    transposed: bool = False

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Of the weight, where the file has these shapes."""
        whole = shapes[self.name]
        if self.third is not None:
            return (whole[0] // 3, *whole[1:])
        return whole[::-1] if self.transposed else whole


Sources = dict[str, Source]  # by the name of the weight in diffusers or transformers


def first_of(beginnings: tuple[str, ...], shapes: Shapes) -> str:
    """The one of these that names of tensors begin with; "" where there is none."""
    return next((one for one in beginnings if any(name.startswith(one) for name in shapes)), "")


def within(shapes: Shapes, beginning: str) -> dict[str, tuple[int, ...]]:
    """The tensors of one part, by their names without its beginning."""
    return {name.removeprefix(beginning): shape for name, shape in shapes.items() if name.startswith(beginning)}


# ---- the UNet --------------------------------------------------------------------------------------------------------


def levels(unet: Shapes) -> list[list[int]]:
    """Of a UNet, `within` its part: for each level its input blocks, without the first and those that scale down."""
    found: list[list[int]] = [[]]
    for i in range(1, len({name.split(".")[1] for name in unet if name.startswith("input_blocks.")})):
        if f"input_blocks.{i}.0.op.weight" in unet:
            found.append([])
        else:
            found[-1].append(i)
    return found


def unet_config(unet: Shapes) -> dict[str, Any]:
    """diffusers' config of a UNet, `within` its part. Without its sample_size, and of the XL kind without
    addition_time_embed_dim: these are no shapes of it. Raises KeyError or IndexError where it is none of this
    layout."""
    found = _downwards(unet)
    up = [one.replace("Down", "Up") for one in reversed(found["down_block_types"])]
    outputs = {"out_channels": unet["out.2.weight"][0], "up_block_types": up}
    return {"_class_name": "UNet2DConditionModel", **found, **outputs}


def controlnet_config(net: Shapes) -> dict[str, Any]:
    """diffusers' config of a ControlNet, `within` its part. Raises KeyError or IndexError as `unet_config`."""
    last = max(int(name.split(".")[1]) for name in net if name.startswith("input_hint_block."))
    found = _downwards(net)
    if "addition_embed_type" in found:
        found["addition_time_embed_dim"] = TIME_XL
    return {
        "_class_name": "ControlNetModel", **found,
        "conditioning_channels": net["input_hint_block.0.weight"][1],
        "conditioning_embedding_out_channels": [net[f"input_hint_block.{i}.weight"][0] for i in range(0, last, 4)],
    }  # fmt: skip


def _downwards(unet: Shapes) -> dict[str, Any]:
    """Of the half that a UNet and its ControlNets have."""
    blocks = levels(unet)
    channels = [unet[f"input_blocks.{level[0]}.0.out_layers.3.weight"][0] for level in blocks]
    depths = [_depth(unet, f"input_blocks.{level[0]}.1.") for level in blocks]
    inside = next(name for name in unet if name.endswith("attn2.to_k.weight"))
    linear = len(next(shape for name, shape in unet.items() if name.endswith(".proj_in.weight"))) == 2
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    found = {
        "in_channels": unet["input_blocks.0.0.weight"][1], "block_out_channels": channels,
        "layers_per_block": len(blocks[0]), "down_block_types": down,
        "cross_attention_dim": unet[inside][1], "use_linear_projection": linear,
        "attention_head_dim": [width // HEAD for width in channels] if linear else 8,  # heads, whatever its name says
        "transformer_layers_per_block": [depth or 1 for depth in depths],
    }  # fmt: skip
    if "label_emb.0.0.weight" in unet:
        wide = unet["label_emb.0.0.weight"][1]
        found |= {"addition_embed_type": "text_time", "projection_class_embeddings_input_dim": wide}
    return found


def _depth(unet: Shapes, beginning: str) -> int:
    """Transformer layers of a block; 0 where it has no attention."""
    layers = {name.removeprefix(beginning).split(".")[1] for name in unet
              if name.startswith(f"{beginning}transformer_blocks.")}  # fmt: skip
    return len(layers)


def unet_sources(unet: Shapes, beginning: str = UNET) -> Sources:
    """Of a UNet or a ControlNet, by the names of diffusers; tensors whose names are none of this layout have their own.
    beginning: of its names in the file."""
    layers = len(levels(unet)[0]) + 1
    hints = [int(name.split(".")[1]) for name in unet if name.startswith("input_hint_block.")]
    last = f"input_hint_block.{max(hints, default=0)}"
    return {_in_controlnet(name, last) or _in_unet(name, layers) or name: Source(beginning + name) for name in unet}


def _in_controlnet(name: str, last: str) -> str:
    """What a UNet has none of. last: of the layers that read the map."""
    stem, _, end = name.rpartition(".")
    if stem in ("input_hint_block.0", last):
        return f"controlnet_cond_embedding.{'conv_out' if stem == last else 'conv_in'}.{end}"
    found = re.fullmatch(r"(input_hint_block|zero_convs|middle_block_out)\.(\d+)(?:\.0)?", stem)
    if found is None:
        return ""
    i = int(found[2])
    return {
        "input_hint_block": f"controlnet_cond_embedding.blocks.{i // 2 - 1}.{end}",
        "zero_convs": f"controlnet_down_blocks.{i}.{end}", "middle_block_out": f"controlnet_mid_block.{end}",
    }[found[1]]  # fmt: skip


def _in_unet(name: str, layers: int) -> str:
    stem, _, last = name.rpartition(".")
    if stem in ENDS:
        return f"{ENDS[stem]}.{last}"
    if not (found := re.fullmatch(r"(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d+)\.)?(.+)", stem)):
        return ""
    where, i, place, rest = found[1], int(found[2]), found[3], found[4]
    if where == "middle_block":
        rest = f"{place}.{rest}" if place else rest
        attention = f"mid_block.attentions.0.{rest}.{last}"
        return attention if i == 1 else _residual(f"mid_block.resnets.{i // 2}", rest, last)
    block, layer = divmod(i - 1 if where == "input_blocks" else i, layers)
    side = f"{'down' if where == 'input_blocks' else 'up'}_blocks.{block}"
    if rest in ("op", "conv"):
        return f"{side}.{'downsamplers' if rest == 'op' else 'upsamplers'}.0.conv.{last}"
    attention = f"{side}.attentions.{layer}.{rest}.{last}"
    return _residual(f"{side}.resnets.{layer}", rest, last) if place == "0" else attention


def _residual(block: str, rest: str, last: str) -> str:
    return f"{block}.{RESIDUAL[rest]}.{last}" if rest in RESIDUAL else ""


# ---- the autoencoder -------------------------------------------------------------------------------------------------


def vae_config(vae: Shapes, scale: float) -> dict[str, Any]:
    """diffusers' config of an AutoencoderKL, `within` its part. Raises KeyError where it is none of this layout."""
    count = 1 + max(int(name.split(".")[2]) for name in vae if name.startswith("encoder.down."))
    layers = {name.split(".")[4] for name in vae if name.startswith("encoder.down.0.block.")}
    return {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": vae["decoder.conv_out.weight"][0],
        "block_out_channels": [vae[f"encoder.down.{i}.block.0.conv2.weight"][0] for i in range(count)],
        "down_block_types": ["DownEncoderBlock2D"] * count, "up_block_types": ["UpDecoderBlock2D"] * count,
        "layers_per_block": len(layers), "latent_channels": vae["decoder.conv_in.weight"][1], "norm_num_groups": 32,
        "scaling_factor": scale,
    }  # fmt: skip


def vae_sources(vae: Shapes, beginning: str) -> Sources:
    """By the names of diffusers. beginning: of AUTOENCODERS."""
    count = 1 + max(int(name.split(".")[2]) for name in vae if name.startswith("encoder.down."))
    found = {}
    for name in vae:
        if name.startswith(UNREAD):
            continue
        new = re.sub(r"^decoder\.up\.(\d+)", lambda at: f"decoder.up_blocks.{count - 1 - int(at[1])}", name)
        new = re.sub(r"^encoder\.down\.", "encoder.down_blocks.", new)
        for old, ours in IN_AUTOENCODER:
            new = new.replace(old, ours)
        found[new] = Source(beginning + name)
    return found


# ---- the text encoders -----------------------------------------------------------------------------------------------


def clip_config(text: Shapes) -> dict[str, Any]:
    """transformers' config of a CLIP text encoder, `within` its part and in the names of `clip_sources`."""
    hidden = text["embeddings.token_embedding.weight"][1]
    return _text_config(
        text["embeddings.token_embedding.weight"], text["embeddings.position_embedding.weight"][0],
        text["encoder.layers.0.mlp.fc1.weight"][0], _layers(text, "encoder.layers."), "quick_gelu", hidden,
    )  # fmt: skip


def open_clip_config(text: Shapes, projected: bool) -> dict[str, Any]:
    """transformers' config of OpenCLIP's text encoder, `within` its part. projected: SDXL's, with the pooled text; else
    Stable Diffusion 2's, which reads the last layer but one, and is without the last."""
    layers = _layers(text, "transformer.resblocks.")
    return _text_config(
        text["token_embedding.weight"], text["positional_embedding"][0],
        text["transformer.resblocks.0.mlp.c_fc.weight"][0], layers if projected else layers - 1, "gelu",
        text["text_projection"][1] if "text_projection" in text else text["token_embedding.weight"][1],
    )  # fmt: skip


def _layers(text: Shapes, beginning: str) -> int:
    return len({name.removeprefix(beginning).split(".")[0] for name in text if name.startswith(beginning)})


def _text_config(
    embedding: tuple[int, ...], places: int, inner: int, layers: int, activation: str, pooled: int
) -> dict[str, Any]:
    words, hidden = embedding
    return {
        "model_type": "clip_text_model", "vocab_size": words, "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": max(hidden // HEAD, 1), "max_position_embeddings": places,
        "hidden_act": activation, "projection_dim": pooled, "layer_norm_eps": 1e-5,
        "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1,
    }  # fmt: skip


def clip_sources(text: Shapes, beginning: str) -> Sources:
    """By the names of transformers without "text_model.", which its releases have or have not."""
    return {name.removeprefix("text_model."): Source(beginning + name) for name in text if not name.endswith(BUFFERS)}


def open_clip_sources(text: Shapes, beginning: str, projected: bool) -> Sources:
    """By the same names. projected: as in `open_clip_config`."""
    last = _layers(text, "transformer.resblocks.") - (0 if projected else 1)
    return {new: source for name in text for new, source in _in_open_clip(name, beginning, last, projected)}


def _in_open_clip(name: str, beginning: str, layers: int, projected: bool) -> Iterator[tuple[str, Source]]:
    whole = beginning + name
    if name == "text_projection":
        if projected:
            yield "text_projection.weight", Source(whole, transposed=True)
    elif found := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name):
        layer, rest = f"encoder.layers.{found[1]}", found[2]
        stem, _, end = rest.rpartition(".")
        if int(found[1]) >= layers:
            return
        if stacked := re.fullmatch(r"attn\.in_proj_(weight|bias)", rest):
            for third, kind in enumerate("qkv"):
                yield f"{layer}.self_attn.{kind}_proj.{stacked[1]}", Source(whole, third)
        else:
            yield f"{layer}.{IN_LAYER.get(stem, stem)}.{end}", Source(whole)
    elif not name.endswith(BUFFERS):
        yield IN_OPEN_CLIP.get(name, name), Source(whole)
