"""Qwen-Image (Wu et al. 2025, arXiv 2508.02324)."""

from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.families.family import Family, packed, unpacked
from backbones.latent import Inputs
from backbones.token_attention import Attention


class QwenImage(Family):
    """Qwen2.5-VL for the words, within a template whose 34 first tokens are cut off; tokens of 2 x 2 latents.

    The places of words come after those of the image, so that a text is read without filling, whatever stands beside
    it in a batch.
    """

    name = "Qwen-Image"
    networks = (pipelines.QWEN_IMAGE,)
    attention = (Attention(r"transformer_blocks\.\d+\.attn", stream="double"),)
    reads = frozenset({"text", "length"})
    guidance = 1.0
    guidance_keeps_length = True

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        words, _ = pipe.encode_prompt(text, max_sequence_length=self.reading.tokens)
        return {"text": words, "length": torch.tensor([words.shape[1]])}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        out = model(
            hidden_states=packed(x), timestep=t, guidance=inputs.get("guidance"),
            encoder_hidden_states=inputs["text"], encoder_hidden_states_mask=None,
            img_shapes=[[(1, h // 2, w // 2)]] * len(x), return_dict=False,
        )[0]  # fmt: skip
        return unpacked(out, (h, w))
