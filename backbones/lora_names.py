"""How the keys of LoRA and LyCORIS files name a layer of a network, in all spellings that are about.

    lora_unet_down_blocks_0_attentions_0_..._to_q.lora_down.weight     kohya's
    lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.alpha   kohya's of SDXL, with the original block names
    unet.down_blocks.0.attentions.0....to_q.lora_A.weight              diffusers', by peft
    unet.down_blocks.0....attn1.processor.to_q_lora.down.weight        diffusers', before peft
    lycoris_down_blocks_0_..._to_q.lokr_w1                             LyCORIS'
    lora_te_..., lora_te1_..., lora_te2_..., text_encoder_2....        of the text encoders
    transformer.transformer_blocks.0.attn.to_q.lora_A.weight           of a transformer, diffusers', by peft
    lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight            kohya's of FLUX, with the original names
    diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight         the same with the original names' dots
    double_blocks.0.processor.qkv_lora1.down.weight                    xlabs' of FLUX

A layer is known by its part ("network", "te1", "te2", "te3") and its flat name: that of the module with "_" for every
dot. The network is a UNet or a transformer: kohya's files call both "unet".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backbones import lora_transformer_names
from backbones.lora_transformer_names import Target

#: (the end of a key, the role of its tensor). The first that fits counts.
_ROLES = tuple((re.compile(rf"{end}$"), role) for end, role in (
    (r"[._]lora[._](down|up|mid)\.weight", r"\1"),
    (r"\.lora_linear_layer\.(down|up)\.weight", r"\1"),
    (r"(?<=_lora[12])\.(down|up)\.weight", r"\1"),
    (r"\.lora_A(?:\.\w+)?\.weight", "down"),
    (r"\.lora_B(?:\.\w+)?\.weight", "up"),
    (r"\.(alpha|dora_scale)", r"\1"),
    (r"\.lora_magnitude_vector(?:\.\w+)?", "magnitude"),
    (r"\.(hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|diff|diff_b|w_norm|b_norm)", r"\1"),
))  # fmt: skip
_PARTS = tuple((re.compile(begin), part) for begin, part in (  # (the begin of a flat name, the part)
    (r"base_model_model_", ""), (r"lycoris_", ""),
    (r"text_encoders_clip_l_transformer_", "te1"), (r"text_encoders_clip_g_transformer_", "te2"),
    (r"text_encoders_t5xxl_transformer_", "te3"),
    (r"lora_te([123])_", r"te\1"), (r"lora_te_", "te1"), (r"text_encoder_([23])_", r"te\1"),
    (r"text_encoder_", "te1"), (r"te([123])_", r"te\1"), (r"te_", "te1"),
    (r"lora_(?:unet|transformer)_", "network"), (r"(?:model_)?diffusion_model_", "network"), (r"unet_", "network"),
    (r"transformer_(?!blocks_)", "network"),
))  # fmt: skip
PARTS = {"network": "the network", "te1": "the text encoder", "te2": "the second text encoder",
         "te3": "the third text encoder"}  # fmt: skip


class Named(NamedTuple):
    """part: of `PARTS`. layer: its flat name. role: what the tensor is to the layer, as "down"."""

    part: str
    layer: str
    role: str


def named(key: str) -> Named | None:
    """What a key speaks of; None for one whose end is none of those that are read."""
    for end, role in _ROLES:
        if match := end.search(key):
            part, layer = _layer(key[: match.start()])
            return Named(part, layer, match.expand(role))
    return None


def _layer(name: str) -> tuple[str, str]:
    flat, part = flattened(name).removeprefix("_"), ""
    for begin, of in _PARTS:
        if not part and (match := begin.match(flat)):
            flat, part = flat[match.end() :], match.expand(of)
    if not part:
        part = "te1" if flat.startswith("text_model_") else "network"
    if part == "network":
        return part, re.sub(r"^sformer_", "transformer_", flat.replace("_processor_to_", "_to_"))  # cut, of FLUX.2
    return part, _text_layer(flat)


def flattened(name: str) -> str:
    """A module's name without dots."""
    return name.replace(".", "_")


def _text_layer(flat: str) -> str:
    """Files have the prefix "text_model", newly saved text encoders have not."""
    flat = flat.removeprefix("text_model_")
    return re.sub(r"_self_attn_to_([qkv])$", r"_self_attn_\1_proj", re.sub(r"_to_out$", "_out_proj", flat))


def layers(part: str, modules: Iterable[str]) -> dict[str, Target]:
    """Flat name -> what it changes, for the modules of a part; of a network also by the names that its layers had
    originally."""
    modules = list(modules)
    if part != "network":
        return {_text_layer(flattened(one)): Target((one,)) for one in modules}
    found = {flattened(one): Target((one,)) for one in modules}
    shortened = [(flattened(one.removesuffix(".0")), Target((one,))) for one in modules if one.endswith(".to_out.0")]
    of_unets = [(flattened(old), Target((one,))) for old, one in _original(modules)]
    of_transformers = [(flattened(old), one) for old, one in lora_transformer_names.original(modules)]
    return dict([*shortened, *of_unets, *of_transformers]) | found


def _original(modules: list[str]) -> Iterator[tuple[str, str]]:
    """(the name in the code of Rombach et al., module in diffusers' UNet2DConditionModel)."""
    downs = [re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.", one) for one in modules]
    a_block = 1 + max((int(one[2]) for one in downs if one), default=0)  # residual layers of a block on the way down
    attends = {one.split(".attentions.")[0] for one in modules if ".attentions." in one}
    for module in modules:
        head, _, tail = module.partition(".")
        if module in _ENDS:
            yield _ENDS[module], module
        elif head in ("time_embedding", "add_embedding"):
            begin = "time_embed" if head == "time_embedding" else "label_emb.0"
            yield f"{begin}.{'0' if tail == 'linear_1' else '2'}", module
        elif head == "mid_block" and (match := re.match(r"(resnets|attentions)\.(\d+)\.(.+)", tail)):
            place = 1 if match[1] == "attentions" else 2 * int(match[2])
            yield f"middle_block.{place}.{_inside(match[1], match[3])}", module
        elif match := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", module):
            way, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
            if way == "down":
                place = block * (a_block + 1) + 1 + (a_block if kind == "downsamplers" else index)
                begin, second = f"input_blocks.{place}", 1 if kind == "attentions" else 0
                inside = "op" if kind == "downsamplers" else _inside(kind, rest)
            else:
                place = block * (a_block + 1) + (a_block if kind == "upsamplers" else index)
                after_attention = 1 + (f"up_blocks.{block}" in attends)
                begin = f"output_blocks.{place}"
                second = {"attentions": 1, "upsamplers": after_attention}.get(kind, 0)
                inside = _inside(kind, rest)
            yield f"{begin}.{second}.{inside}", module


_ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
_RESIDUAL = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def _inside(kind: str, rest: str) -> str:
    return _RESIDUAL.get(rest, rest) if kind == "resnets" else rest
