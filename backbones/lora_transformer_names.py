"""The names that layers of diffusion transformers had in their authors' code, by which LoRA files call them, beside
those of diffusers: kohya's and ComfyUI's files of FLUX, FLUX.2, Stable Diffusion 3, Z-Image, Krea 2; xlabs' of FLUX.

What diffusers has as several layers may have been one there: query, key and value, or all that a single block of FLUX
reads. Such a layer of a file is split by the rows that the layers of the network at hand have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Target(NamedTuple):
    """modules: those of diffusers whose rows, one below the other, are those of a layer. swapped: whether its halves
    stand the other way round there: shift and scale, which diffusers has as scale and shift."""

    modules: tuple[str, ...]
    swapped: bool = False


#: Original name -> modules of diffusers, for each number of a block.
Names = Mapping[str, str | tuple[str, ...]]


def _qkv(block: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{block}.{name}" for name in names)


_DOUBLE, _SINGLE = "transformer_blocks.{}", "single_transformer_blocks.{}"
_OWN, _ADDED = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")
_ATTENTION: Names = {  # of both kinds of FLUX
    "double_blocks.{}.img_attn.qkv": _qkv(f"{_DOUBLE}.attn", *_OWN),
    "double_blocks.{}.txt_attn.qkv": _qkv(f"{_DOUBLE}.attn", *_ADDED),
    "double_blocks.{}.img_attn.proj": f"{_DOUBLE}.attn.to_out.0",
    "double_blocks.{}.txt_attn.proj": f"{_DOUBLE}.attn.to_add_out",
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}  # fmt: skip
_FLUX: Names = {
    **_ATTENTION,
    "double_blocks.{}.img_mlp.0": f"{_DOUBLE}.ff.net.0.proj", "double_blocks.{}.img_mlp.2": f"{_DOUBLE}.ff.net.2",
    "double_blocks.{}.txt_mlp.0": f"{_DOUBLE}.ff_context.net.0.proj",
    "double_blocks.{}.txt_mlp.2": f"{_DOUBLE}.ff_context.net.2",
    "double_blocks.{}.img_mod.lin": f"{_DOUBLE}.norm1.linear",
    "double_blocks.{}.txt_mod.lin": f"{_DOUBLE}.norm1_context.linear",
    "single_blocks.{}.linear1": (*_qkv(f"{_SINGLE}.attn", *_OWN), f"{_SINGLE}.proj_mlp"),
    "single_blocks.{}.linear2": f"{_SINGLE}.proj_out", "single_blocks.{}.modulation.lin": f"{_SINGLE}.norm.linear",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "double_blocks.{}.processor.qkv_lora1": _qkv(f"{_DOUBLE}.attn", *_OWN),  # xlabs'
    "double_blocks.{}.processor.qkv_lora2": _qkv(f"{_DOUBLE}.attn", *_ADDED),
    "double_blocks.{}.processor.proj_lora1": f"{_DOUBLE}.attn.to_out.0",
    "double_blocks.{}.processor.proj_lora2": f"{_DOUBLE}.attn.to_add_out",
    "single_blocks.{}.processor.qkv": _qkv(f"{_SINGLE}.attn", *_OWN),
    "single_blocks.{}.processor.proj": f"{_SINGLE}.proj_out",
}  # fmt: skip
_FLUX_2: Names = {
    **_ATTENTION,
    "double_blocks.{}.img_mlp.0": f"{_DOUBLE}.ff.linear_in", "double_blocks.{}.img_mlp.2": f"{_DOUBLE}.ff.linear_out",
    "double_blocks.{}.txt_mlp.0": f"{_DOUBLE}.ff_context.linear_in",
    "double_blocks.{}.txt_mlp.2": f"{_DOUBLE}.ff_context.linear_out",
    "single_blocks.{}.linear1": f"{_SINGLE}.attn.to_qkv_mlp_proj", "single_blocks.{}.linear2": f"{_SINGLE}.attn.to_out",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    **{f"{one}.lin": f"{one}.linear" for one in
       ("single_stream_modulation", "double_stream_modulation_img", "double_stream_modulation_txt")},
}  # fmt: skip
_SD3: Names = {
    "joint_blocks.{}.x_block.attn.qkv": _qkv(f"{_DOUBLE}.attn", *_OWN),
    "joint_blocks.{}.x_block.attn2.qkv": _qkv(f"{_DOUBLE}.attn2", *_OWN),
    "joint_blocks.{}.context_block.attn.qkv": _qkv(f"{_DOUBLE}.attn", *_ADDED),
    "joint_blocks.{}.x_block.attn.proj": f"{_DOUBLE}.attn.to_out.0",
    "joint_blocks.{}.x_block.attn2.proj": f"{_DOUBLE}.attn2.to_out.0",
    "joint_blocks.{}.context_block.attn.proj": f"{_DOUBLE}.attn.to_add_out",
    "joint_blocks.{}.x_block.mlp.fc1": f"{_DOUBLE}.ff.net.0.proj",
    "joint_blocks.{}.x_block.mlp.fc2": f"{_DOUBLE}.ff.net.2",
    "joint_blocks.{}.context_block.mlp.fc1": f"{_DOUBLE}.ff_context.net.0.proj",
    "joint_blocks.{}.context_block.mlp.fc2": f"{_DOUBLE}.ff_context.net.2",
    "joint_blocks.{}.x_block.adaLN_modulation.1": f"{_DOUBLE}.norm1.linear",
    "joint_blocks.{}.context_block.adaLN_modulation.1": f"{_DOUBLE}.norm1_context.linear",
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out", "final_layer.adaLN_modulation.1": "norm_out.linear",
}  # fmt: skip
_Z_IMAGE: Names = {
    **{f"{block}.{{}}.attention.qkv": _qkv(f"{block}.{{}}.attention", *_OWN)
       for block in ("layers", "noise_refiner", "context_refiner")},
    **{f"{block}.{{}}.attention.out": f"{block}.{{}}.attention.to_out.0"
       for block in ("layers", "noise_refiner", "context_refiner")},
    "x_embedder": "all_x_embedder.2-1", "final_layer.linear": "all_final_layer.2-1.linear",
    "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1",
}  # fmt: skip
_KREA_INSIDE = {
    "attn.wq": "attn.to_q", "attn.wk": "attn.to_k", "attn.wv": "attn.to_v", "attn.wo": "attn.to_out.0",
    "attn.gate": "attn.to_gate", "mlp.gate": "ff.gate", "mlp.up": "ff.up", "mlp.down": "ff.down",
}  # fmt: skip
_KREA_2: Names = {
    **{f"{old}.{{}}.{of_old}": f"{new}.{{}}.{of_new}" for of_old, of_new in _KREA_INSIDE.items() for old, new in (
        ("blocks", "transformer_blocks"), ("txtfusion.layerwise_blocks", "text_fusion.layerwise_blocks"),
        ("txtfusion.refiner_blocks", "text_fusion.refiner_blocks"))},
    "first": "img_in", "last.linear": "final_layer.linear", "tmlp.0": "time_embed.linear_1",
    "tmlp.2": "time_embed.linear_2", "tproj.1": "time_mod_proj", "txtmlp.1": "txt_in.linear_1",
    "txtmlp.3": "txt_in.linear_2", "txtfusion.projector": "text_fusion.projector",
}  # fmt: skip
_BY_MODULE = (  # (the begin of a module that only networks of a family have, its names)
    ("single_transformer_blocks.0.proj_mlp", _FLUX), ("double_stream_modulation_img", _FLUX_2),
    ("noise_refiner.0.attention", _Z_IMAGE), ("text_fusion.projector", _KREA_2),
    ("transformer_blocks.0.norm1_context", _SD3),
)  # fmt: skip


def original(modules: Iterable[str]) -> Iterator[tuple[str, Target]]:
    """(original name, what it is in diffusers) of the layers of a transformer; none of a network that is none of these,
    or whose names are those of diffusers."""
    have = set(modules)
    names = next((of for begin, of in _BY_MODULE if any(one.startswith(begin) for one in have)), {})
    numbered = re.compile(r"[a-z_.]*?(?:blocks|layers|refiner)\.(\d+)\.")
    blocks = max((int(found[1]) for one in have if (found := numbered.match(one))), default=0) + 1
    for old, new in names.items():
        for n in range(blocks if "{}" in old else 1):
            into = tuple(one.format(n) for one in ((new,) if isinstance(new, str) else new))
            if have.issuperset(into):
                yield old.format(n), Target(into, _swapped(into[0], have))


def _swapped(module: str, have: set[str]) -> bool:
    """Whether diffusers has scale before shift there: in its AdaLayerNormContinuous, of the end and of the last block
    of Stable Diffusion 3, which gives the words no further features."""
    block, _, name = module.partition(".norm1_context.")
    return module == "norm_out.linear" or (name == "linear" and f"{block}.ff_context.net.2" not in have)
