"""The family of networks that a LoRA file was trained for, as far as its header tells: by what its trainer wrote, by
the names of its layers, by their widths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from backbones import lora_layers, lora_names

#: (what kohya's trainers and the standard of model specifications write, the family)
_WRITTEN = (
    (r"stable-diffusion-xl|sdxl", "Stable Diffusion XL"), (r"stable-diffusion-v1|sd_v1|sd_1", "Stable Diffusion 1"),
    (r"stable-diffusion-v2|sd_v2|sd_2", "Stable Diffusion 2"), (r"stable-diffusion-3|sd3", "Stable Diffusion 3"),
    (r"flux[-._]?2", "FLUX.2"), (r"flux", "FLUX.1"), (r"qwen", "Qwen-Image"), (r"z-?image", "Z-Image"),
    (r"krea[-._]?2", "Krea 2"), (r"lumina", "Lumina"), (r"sana", "Sana"), (r"pixart", "PixArt"),
    (r"hunyuan", "Hunyuan"), (r"wan", "Wan"),
)  # fmt: skip
#: (what a layer is called that no other family has, the family)
_NAMES = (
    (r"joint_blocks_\d|^transformer_blocks_\d+_attn2_add_", "Stable Diffusion 3"),
    (r"^transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)_", "Qwen-Image"),
    (r"(?:single|double)_stream_modulation|attn_to_qkv_mlp_proj|_ff(?:_context)?_linear_(?:in|out)$", "FLUX.2"),
    (r"single_transformer_blocks_\d+_attn_to_out$", "FLUX.2"),
    (r"single_transformer_blocks_\d+_(?:proj_mlp|proj_out|norm_linear|attn_to_[qkv]$)", "FLUX.1"),
    (r"(?:double_blocks_\d+_(?:img|txt)_mod|single_blocks_\d+_modulation)_lin$|blocks_\d+_processor_", "FLUX.1"),
    (r"^text_fusion_|^txtfusion_|^blocks_\d+_attn_w[qkvo]$|^transformer_blocks_\d+_attn_to_gate$", "Krea 2"),
    (r"^(?:layers|noise_refiner|context_refiner)_\d+_attention_to_", "Z-Image"),
    (r"_ff_conv_(?:inverted|depth|point)$", "Sana"), (r"^adaln_single_", "PixArt"),
    (r"^blocks_\d+_(?:self|cross)_attn", "Wan"),
)  # fmt: skip
#: The same, of names that more than one family has.
_EITHER = (
    (r"double_blocks_\d|single_blocks_\d|single_transformer_blocks_\d", "FLUX"),
    (r"(?:noise|context)_refiner_\d|^layers_\d+_attention_", "Z-Image or Lumina"),
    (r"^transformer_blocks_\d+_attn_(?:add_[qkv]_proj|to_add_out)", "Stable Diffusion 3, FLUX or Qwen-Image"),
    (r"^transformer_blocks_\d+_(?:attn_|ff_context_)", "Stable Diffusion 3 or FLUX"),
    (r"^transformer_blocks_\d+_attn[12]_", "PixArt or Sana"),
)  # fmt: skip
#: (a layer of FLUX in the original names, rows for each column of FLUX.1, of FLUX.2, whose layers between are wider)
_WIDER = ((r"single_blocks_\d+_linear1$", 7, 9), (r"double_blocks_\d+_(?:img|txt)_mlp_0$", 4, 6))
_TEXT = {192: "Still Life", 768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL",
         1280: "the refiner of Stable Diffusion XL"}  # fmt: skip
UNET = "a UNet such as Stable Diffusion's"
Shapes = Mapping[str, tuple[int, ...]]


def made_for(shapes: Shapes, about: Mapping[str, str]) -> str:
    """shapes: of its tensors by key. about: its header's metadata. In words; "" where nothing tells it."""
    named = [(one, shape) for key, shape in shapes.items() if (one := lora_names.named(key))]
    layers = {one.layer for one, _ in named if one.part == "network"}
    of_transformers = any(re.match(r"transformer_blocks_", layer) for layer in layers)
    width = next(
        (
            shape[1]
            for one, shape in named
            if one.role in ("down", "hada_w1_b") and one.layer.endswith("attn2_to_k") and len(shape) > 1
        ),
        0,
    )
    if width in _TEXT and not of_transformers:
        return _TEXT[width]
    if family := _by_widths(shapes) or _by_names(layers):
        return family
    written = f"{about.get('modelspec.architecture', '')} {about.get('ss_base_model_version', '')}".lower()
    found = next((family for word, family in _WRITTEN if re.search(word, written)), "")
    found = found or next((family for word, family in _EITHER if any(re.search(word, one) for one in layers)), "")
    if not found and width:
        return f"a UNet whose text has {width} features"
    if not found and any(one.part == "te2" for one, _ in named):
        return "Stable Diffusion XL"
    return found or _unet(layers)


def another(shapes: Shapes, network: Shapes) -> bool:
    """Whether a file was certainly made for a network of another family. Families of one width have layers of the same
    names, and many have the same text encoder: a file of FLUX.1 would act in some layers of Qwen-Image's, or in the
    text encoder of Stable Diffusion XL alone.

    shapes: of its tensors by key. network: module -> the shape of its weight.
    """
    layers = {one.layer for key in shapes if (one := lora_names.named(key)) and one.part == "network"}
    own = _by_widths(shapes) or _by_names(layers) or _unet(layers)
    modules = {lora_names.flattened(module) for module in network}
    its = _by_names(modules) or _unet(modules)
    if not its and any(re.search("_norm1_context_linear$", module) for module in modules):
        its = "Stable Diffusion 3"
    return bool(own and its and own != its)


def _unet(layers: Iterable[str]) -> str:
    return UNET if any(re.match(r"(?:down|up|input|output)_blocks_|mid(?:dle)?_block_", one) for one in layers) else ""


def _by_names(layers: Iterable[str]) -> str:
    layers = [*layers]
    return next((family for word, family in _NAMES if any(re.search(word, one) for one in layers)), "")


def _by_widths(shapes: Shapes) -> str:
    """Of files with FLUX's original names, which FLUX it is."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        if (one := lora_names.named(key)) and any(re.search(word, one.layer) for word, _, _ in _WIDER):
            layers.setdefault(one.layer, {})[one.role] = shape
    for layer, tensors in layers.items():
        if size := lora_layers.size(tensors):
            for word, first, second in _WIDER:
                if re.search(word, layer):
                    return {first: "FLUX.1", second: "FLUX.2"}.get(size[0] // size[1], "")
    return ""
