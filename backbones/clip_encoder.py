"""One of CLIP's text encoders with its tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backbones import text_length
from backbones.prompt_chunks import Chunk, chunks
from common.weighted_text import WeightedText


class ClipEncoder:
    """tokenizer, encoder: transformers' own. penultimate: whether its features are those before its last layer, without
    the last normalization, as SDXL was trained with."""

    def __init__(self, tokenizer: Any, encoder: Any, penultimate: bool):
        self.tokenizer, self.encoder, self.penultimate = tokenizer, encoder, penultimate
        self.places = int(tokenizer.model_max_length)  # of a chunk, its marks of begin and end included
        self.size = self.places - text_length.ENDS
        self.width = int(encoder.config.hidden_size)
        self.whole = text_length.whole(tokenizer)

    def chunks(self, text: WeightedText) -> list[Chunk]:
        """The text in parts of at most `size` tokens: see `prompt_chunks`."""
        return chunks(self.whole, text, self.size)

    def row(self, chunk: Chunk) -> Tensor:
        """(1, L) the tokens of a chunk, with its marks and filled up."""
        ids = [self.tokenizer.bos_token_id, *chunk.tokens, self.tokenizer.eos_token_id]
        filling = [self.tokenizer.pad_token_id] * (self.places - len(ids))
        return torch.tensor([ids + filling], device=self.encoder.device)

    def read(self, chunk: Chunk) -> tuple[Tensor, Tensor | None]:
        """Its features (1, L, D), and those of the whole (1, P) where the encoder projects them."""
        row, mask = self.row(chunk), None
        if getattr(self.encoder.config, "use_attention_mask", False):
            mask = (torch.arange(self.places, device=row.device) < len(chunk.tokens) + text_length.ENDS).long()[None]
        out = self.encoder(row, attention_mask=mask, output_hidden_states=self.penultimate)
        features = out.hidden_states[-2] if self.penultimate else out.last_hidden_state
        return features.float(), out.text_embeds.float() if hasattr(out, "text_embeds") else None

    def weights(self, chunk: Chunk) -> Tensor:
        """(L,) the weight of each of its places; 1 at marks and filling."""
        behind = [1.0] * (self.places - 1 - len(chunk.weights))
        return torch.tensor([1.0, *chunk.weights, *behind])
