"""Krea 2."""

from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.families.family import Family, Reading, grid, packed, unpacked
from backbones.flow_times import Settings, shift_of
from backbones.latent import Inputs
from backbones.token_attention import Attention


class Krea2(Family):
    """Several layers of Qwen3-VL for the words, each token with a mask; one stream of words and 2 x 2 latents. In a
    cond the layers of a token stand in a row: the text is (1, L, layers x features).

    A guidance of g in its pipeline is a CFG Scale of g + 1.
    """

    name = "Krea 2"
    networks = (pipelines.KREA_2,)
    attention = (Attention(r"transformer_blocks\.\d+\.attn", stream="single"),)
    reads = frozenset({"text", "text_mask"})
    reading = Reading("tokenizer", 512, 5)

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        words, mask = pipe.encode_prompt(text, max_sequence_length=self.reading.tokens)
        return {"text": words.flatten(2), "text_mask": mask}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        words = inputs["text"].unflatten(2, (model.config.num_text_layers, -1))
        places = torch.cat([words.new_zeros(words.shape[1], 3), grid(h // 2, w // 2, 3, words)])
        out = model(
            hidden_states=packed(x), encoder_hidden_states=words, timestep=t, position_ids=places,
            encoder_attention_mask=inputs["text_mask"].bool(), return_dict=False,
        )[0]  # fmt: skip
        return unpacked(out, (h, w))

    def shift(self, settings: Settings, tokens: int, steps: int) -> float:
        """Of the distilled variant always the same."""
        if settings.get("is_distilled"):
            return shift_of(settings, 1.15)
        return super().shift({"max_image_seq_len": 6400, **settings}, tokens, steps)
