"""The family of networks that a LoRA file was trained for, as far as its header tells: by what its trainer wrote, by
the names of its layers, by the width of the text that its cross-attention reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from backbones import lora_names

#: (what kohya's trainers and the standard of model specifications write, the family)
_WRITTEN = (
    (r"stable-diffusion-xl|sdxl", "Stable Diffusion XL"), (r"stable-diffusion-v1|sd_v1|sd_1", "Stable Diffusion 1"),
    (r"stable-diffusion-v2|sd_v2|sd_2", "Stable Diffusion 2"), (r"stable-diffusion-3|sd3", "Stable Diffusion 3"),
    (r"flux[-._]?2", "FLUX.2"), (r"flux", "FLUX.1"), (r"qwen", "Qwen-Image"), (r"z-?image", "Z-Image"),
    (r"lumina", "Lumina"), (r"sana", "Sana"), (r"hunyuan", "Hunyuan"), (r"wan", "Wan"),
)  # fmt: skip
#: (what a layer is called, the family)
_NAMES = (
    (r"joint_blocks_\d", "Stable Diffusion 3"), (r"(?<!transformer_)transformer_blocks_\d+_img_mlp", "Qwen-Image"),
    (r"double_stream_modulation", "FLUX.2"),
    (r"double_blocks_\d|single_blocks_\d|single_transformer_blocks_\d", "FLUX"),
    (r"(?:noise|context)_refiner_\d", "Z-Image or Lumina"),
    (r"(?:^|_)blocks_\d+_(?:self|cross)_attn", "Wan"),
    (r"attn_add_[qkv]_proj|ff_context", "Stable Diffusion 3 or FLUX"),
)  # fmt: skip
_TEXT = {192: "Still Life", 768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL",
         1280: "the refiner of Stable Diffusion XL"}  # fmt: skip


def made_for(shapes: Mapping[str, tuple[int, ...]], about: Mapping[str, str]) -> str:
    """shapes: of its tensors by key. about: its header's metadata. In words; "" where nothing tells it."""
    named = [(one, shape) for key, shape in shapes.items() if (one := lora_names.named(key))]
    width = next((shape[1] for one, shape in named
                  if one.role in ("down", "hada_w1_b") and one.layer.endswith("attn2_to_k") and len(shape) > 1), 0)
    if width in _TEXT:
        return _TEXT[width]
    for word, family in _NAMES:
        if any(re.search(word, one.layer) for one, _ in named):
            return family
    written = f"{about.get('modelspec.architecture', '')} {about.get('ss_base_model_version', '')}".lower()
    found = next((family for word, family in _WRITTEN if re.search(word, written)), "")
    if not found and width:
        return f"a UNet whose text has {width} features"
    return found or ("Stable Diffusion XL" if any(one.part == "te2" for one, _ in named) else "")
