"""CLIP score: how well an image matches its prompt, by a CLIP that the user has. Nothing is downloaded for it.

`NINE_WAYS_CLIP` names one, a folder or an id of the Hub that lies in its cache; without it DEFAULT_CLIPS are looked
for there. It is defined for any image, so it stands in where the evaluators of the rendered world do not apply.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

DEFAULT_CLIPS = ("openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14", "openai/clip-vit-base-patch16")
HOW_TO_ENABLE = (
    "Set NINE_WAYS_CLIP to the folder of a CLIP model, and the CLIP score of the prompt is measured as well."
)

TextScore = Callable[[Tensor, str], Tensor]


_import_lock = threading.Lock()  # transformers fails where two threads import from it for the first time


def installed() -> TextScore | None:
    """(images (B, 3, H, W) in [0, 1], text) -> (B,) in [0, 100], or None where there is no CLIP here. Any thread."""
    with _import_lock:
        return _load(os.environ.get("NINE_WAYS_CLIP", ""))


@lru_cache(maxsize=2)
def _load(requested: str) -> TextScore | None:
    for id in [requested] if requested else DEFAULT_CLIPS:
        try:
            return load_score(id)
        except (OSError, ValueError):
            continue
    return None


def load_score(id: str) -> TextScore:
    """The score by this CLIP: 100 max(cos, 0) of the two embeddings (Hessel et al. 2021, arXiv 2104.08718, section 3,
    with the weight 100 that later works use). Raises OSError where it is not on this machine."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    local: dict[str, Any] = {"local_files_only": True}
    model = CLIPModel.from_pretrained(id, use_safetensors=True, **local).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(id, **local)
    processor = CLIPImageProcessor.from_pretrained(id, **local)

    def score(images: Tensor, text: str) -> Tensor:
        words = tokenizer([text], truncation=True, max_length=model.config.text_config.max_position_embeddings,
                          return_tensors="pt")  # fmt: skip
        pixels = processor(images=list(images.clamp(0, 1)), do_rescale=False, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            outputs = model(input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=pixels)
            cosines = outputs.logits_per_image[:, 0] / model.logit_scale.exp()  # (B,)
        return (100 * cosines).clamp(min=0).float()

    return score
