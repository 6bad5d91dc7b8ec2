"""Z-Image (Tongyi 2025, arXiv 2511.22699)."""

from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.families.family import Family, Reading
from backbones.latent import Inputs
from backbones.token_attention import Attention


class ZImage(Family):
    """The last layer but one of Qwen3 for the words; one stream of 2 x 2 latents and words.

    Its time runs from noise to image, and its prediction points there as well: both are turned round here. A guidance
    of g in its pipeline is a CFG Scale of g + 1.
    """

    name = "Z-Image"
    networks = (pipelines.Z_IMAGE,)
    attention = (
        Attention(r"noise_refiner\.\d+\.attention", "self"),
        Attention(r"layers\.\d+\.attention", stream="single", image_first=True, filled=32),
    )
    reads = frozenset({"text", "length"})
    reading = Reading("tokenizer", 512, 3)

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        longest = self.reading.tokens
        (words,), _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=longest)
        return {"text": words[None], "length": torch.tensor([len(words)])}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        out = model(list(x.unsqueeze(2)), 1 - t, list(inputs["text"]), return_dict=False)[0]
        return -torch.stack(list(out)).squeeze(2)
