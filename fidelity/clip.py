"""CLIP score: how well a picture goes with its prompt, by a CLIP that the user has. Nothing is fetched for it.

`NINE_WAYS_CLIP` names one, a folder or an id of the Hub that lies in its cache; without it those of USUAL are looked
for there. It speaks of any pictures, so it stands in where the judges of the rendered world cannot read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

USUAL = ("openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14", "openai/clip-vit-base-patch16")
HOW = "Set NINE_WAYS_CLIP to the folder of a CLIP model, and the CLIP score of the prompt is measured as well."

Score = Callable[[Tensor, str], Tensor]


_one_at_a_time = threading.Lock()  # transformers fails where two threads import from it for the first time


def installed() -> Score | None:
    """(pictures (B, 3, H, W) in [0, 1], text) -> (B,) in [0, 100], or None where there is no CLIP here. Any thread."""
    with _one_at_a_time:
        return _found(os.environ.get("NINE_WAYS_CLIP", ""))


@lru_cache(maxsize=2)
def _found(named: str) -> Score | None:
    for id in [named] if named else USUAL:
        try:
            return opened(id)
        except (OSError, ValueError):
            continue
    return None


def opened(id: str) -> Score:
    """The score by this CLIP: 100 max(cos, 0) of the two embeddings (Hessel et al. 2021, arXiv 2104.08718, section 3,
    with the weight 100 that later works use). Raises OSError where it is not on this machine."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    place: dict[str, Any] = {"local_files_only": True}
    model = CLIPModel.from_pretrained(id, use_safetensors=True, **place).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(id, **place)
    processor = CLIPImageProcessor.from_pretrained(id, **place)

    def score(pictures: Tensor, text: str) -> Tensor:
        words = tokenizer([text], truncation=True, max_length=model.config.text_config.max_position_embeddings,
                          return_tensors="pt")  # fmt: skip
        pixels = processor(images=list(pictures.clamp(0, 1)), do_rescale=False, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            made = model(input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=pixels)
            cosines = made.logits_per_image[:, 0] / model.logit_scale.exp()  # (B,)
        return (100 * cosines).clamp(min=0).float()

    return score
