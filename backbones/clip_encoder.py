"""One of CLIP's text encoders with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from backbones import text_length
from backbones.learned_words import LearnedWord, LearnedWords
from backbones.offload import running_on
from backbones.prompt_chunks import Chunk, chunks
from common.weighted_text import WeightedText


class ClipEncoder:
    """tokenizer, encoder: transformers' own. place: among those of its checkpoint. penultimate: whether its features
    are those before its last layer, without the last normalization, as SDXL was trained with."""

    def __init__(self, tokenizer: Any, encoder: Any, place: int, penultimate: bool):
        self.tokenizer, self.encoder, self.place, self.penultimate = tokenizer, encoder, place, penultimate
        self.places = int(tokenizer.model_max_length)  # of a chunk, its marks of begin and end included
        self.size = self.places - text_length.ENDS
        self.width = int(encoder.config.hidden_size)
        self.whole = text_length.whole(tokenizer)
        self.table: WithLearnedWords | None = None  # once a prompt has one

    def chunks(self, text: WeightedText, learned: LearnedWords) -> list[Chunk]:
        """The text in parts of at most `size` tokens: see `prompt_chunks`. Raises CheckpointError, in words, where a
        word of textual inversion in it cannot be read."""

        def split(text: str) -> Iterator[tuple[int, str | tuple[int, ...]]]:
            for begin, part, file in learned.split(text):
                yield begin, part if file is None else self._tokens(learned.word(file))

        return chunks(self.whole, text, self.size, split)

    def _tokens(self, word: LearnedWord) -> tuple[int, ...]:
        """Those that stand for a word of textual inversion, one a vector."""
        if self.table is None:
            self.table = WithLearnedWords(self.encoder.get_input_embeddings())
            self.encoder.set_input_embeddings(self.table)
        return self.table.tokens(word, self.place)

    def row(self, chunk: Chunk) -> Tensor:
        """(1, L) the tokens of a chunk, with its marks and filled up."""
        ids = [self.tokenizer.bos_token_id, *chunk.tokens, self.tokenizer.eos_token_id]
        filling = [self.tokenizer.pad_token_id] * (self.places - len(ids))
        return torch.tensor([ids + filling], device=running_on(self.encoder))

    def read(self, chunk: Chunk, clip_skip: int = 1) -> tuple[Tensor, Tensor | None]:
        """Its features (1, L, D), and those of the whole (1, P) where the encoder projects them.

        clip_skip: the layer that they are taken from, 1 the last, always through the last normalization (A1111); with
        `penultimate` there is no choice.
        """
        row, mask = self.row(chunk), None
        if getattr(self.encoder.config, "use_attention_mask", False):
            mask = (torch.arange(self.places, device=row.device) < len(chunk.tokens) + text_length.ENDS).long()[None]
        out = self.encoder(row, attention_mask=mask, output_hidden_states=self.penultimate or clip_skip > 1)
        if self.penultimate:
            features = out.hidden_states[-2]
        elif clip_skip > 1:
            features = getattr(self.encoder, "text_model", self.encoder).final_layer_norm(out.hidden_states[-clip_skip])
        else:
            features = out.last_hidden_state
        return features.float(), out.text_embeds.float() if hasattr(out, "text_embeds") else None

    def weights(self, chunk: Chunk) -> Tensor:
        """(L,) the weight of each of its places; 1 at marks and filling."""
        behind = [1.0] * (self.places - 1 - len(chunk.weights))
        return torch.tensor([1.0, *chunk.weights, *behind])


class WithLearnedWords(nn.Module):
    """A text encoder's embeddings, which it leaves as they are, and vectors of words of textual inversion, which have
    negative tokens: so the mark of the end stays the largest of a row, where some of CLIP look for it."""

    def __init__(self, table: nn.Embedding):
        super().__init__()
        self.table = table
        self.vectors: list[Tensor] = []  # of the token -1, -2, ...
        self.of: list[tuple[str, int]] = []  # the word of each, and which of its vectors it is
        self._begins: dict[tuple[str, str], int] = {}

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def tokens(self, word: LearnedWord, place: int) -> tuple[int, ...]:
        """place: of the text encoder, among those of the checkpoint."""
        key = word.name, word.digest
        if key not in self._begins:
            begin = len(self.vectors)
            self.vectors += list(word.rows()[place].to(self.weight))
            self.of += [(word.name, i) for i in range(word.vectors)]
            self._begins[key] = begin
        return tuple(-1 - self._begins[key] - i for i in range(word.vectors))

    def forward(self, tokens: Tensor) -> Tensor:
        found = self.table(tokens.clamp(min=0))
        if (tokens < 0).any():
            for row, place in (tokens < 0).nonzero().tolist():
                found[row, place] = self.vectors[-1 - int(tokens[row, place])]
        return found
