"""Prompts as Stable Diffusion 1, 2 and XL read them: CLIP's text encoder, or the two of the XL kind. Still Life's small
encoder, which was trained with its network, goes through the same code."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones import text_length, word_weights
from backbones.checkpoint import CheckpointError
from backbones.clip_encoder import ClipEncoder
from backbones.learned_words import LearnedWords
from backbones.prompt_chunks import Chunk, pieces
from common.weighted_text import WeightedText, plain, weighted

LEARNED_ALL = 10_000  # tokens: a larger vocabulary has no unknown words, and is CLIP's


class CLIPText:
    """The text encoders of a StableDiffusionPipeline or StableDiffusionXLPipeline.

    A prompt's cond has "text" (1, L, D), and for the XL kind "pooled" (1, P); its "tokens" (1, L) tell methods which
    words the text is of (see `words`), the network does not need them.
    """

    weighs_words: bool | None = True

    def __init__(self, id: str, pipe: Any, folder: Path):
        """id: of the checkpoint, for messages; folder: of it. Raises CheckpointError where tokenizer and encoder do not
        belong together."""
        self.pipe, self.xl = pipe, hasattr(pipe, "text_encoder_2")
        self.readers = []
        for place, suffix in enumerate(("", "_2") if self.xl else ("",)):
            tokenizer, encoder = getattr(pipe, f"tokenizer{suffix}"), getattr(pipe, f"text_encoder{suffix}")
            _fit_tokenizer(id, tokenizer, encoder.config)
            self.readers.append(ClipEncoder(tokenizer, encoder, place, penultimate=self.xl))
        self.tokens, widths = self.readers[0].places, tuple(reader.width for reader in self.readers)
        self._learned = LearnedWords(id, folder, widths, self.readers[0].size)

    @property
    def encoders(self) -> dict[str, Any]:
        """By the parts that LoRA files call them (`lora_names`)."""
        return {"te1": self.pipe.text_encoder, **({"te2": self.pipe.text_encoder_2} if self.xl else {})}

    @property
    def reads_chunks(self) -> bool:
        """Whether its features may be laid end to end: of CLIP they may, of an encoder trained with its network not."""
        return self.xl or len(self.pipe.tokenizer) >= LEARNED_ALL

    @property
    def learned_words(self) -> LearnedWords | None:
        """See `backbones.base.Backbone`."""
        return self._learned if self.reads_chunks else None

    @property
    def clip_skips(self) -> int:
        """See `backbones.base.Backbone`. SDXL was trained with the layer before the last, and A1111 reads no other."""
        one_alone = self.reads_chunks and not self.xl
        return int(self.pipe.text_encoder.config.num_hidden_layers) if one_alone else 1

    @torch.no_grad()
    def encode(self, prompt: str, clip_skip: int = 1) -> dict[str, Tensor]:
        """In chunks where `reads_chunks` (`prompt_chunks`): each is read by itself, and their features are laid end to
        end, as in A1111; "pooled" is that of the first. "" is all zeros where the checkpoint says so (SDXL's empty
        prompt). Weights of words (`common.weighted_text`) act on "text" alone: tokens and "pooled" are those of the
        words."""
        whole = weighted(prompt)
        if not self.reads_chunks:
            return self._as_one(whole)
        made = [encoder.chunks(whole, self._learned) for encoder in self.readers]
        count = max(map(len, made))  # SDXL's two tokenizers read alike
        filled = [one + [Chunk()] * (count - len(one)) for one in made]
        each = [self._encoded([*column], clip_skip) for column in zip(*filled)]
        cond = {key: torch.cat([one[key] for one in each], 1) for key in ("text", "tokens")}
        if self.xl:
            cond["pooled"] = each[0]["pooled"]
        if self.xl and not whole.text and self.pipe.config.force_zeros_for_empty_prompt:
            cond |= {key: torch.zeros_like(cond[key]) for key in ("text", "pooled")}
        return cond

    def _encoded(self, chunks: list[Chunk], clip_skip: int) -> dict[str, Tensor]:
        """A chunk, as each of the encoders has it."""
        features, pooled = [], None
        for encoder, chunk in zip(self.readers, chunks):
            own, pooled = encoder.read(chunk, clip_skip)
            features.append(word_weights.multiplied(own, encoder.weights(chunk)) if chunk.weighs else own)
        cond = {"text": torch.cat(features, -1), "tokens": self.readers[0].row(chunks[0])}
        return cond if pooled is None else {**cond, "pooled": pooled}

    def _as_one(self, whole: WeightedText) -> dict[str, Tensor]:
        """By an encoder that was trained with its network: as much of the text as there are places for."""
        (encoder,) = self.readers
        read = [*pieces(encoder.whole, whole)][: encoder.size]
        chunk = Chunk(tuple(token for (token,), _ in read), tuple(weight for _, weight in read))
        features, _ = encoder.read(chunk)
        tokens = encoder.row(chunk)
        if chunk.weighs:
            features = word_weights.extrapolated(
                features, encoder.weights(chunk).to(features),
                lambda mask: encoder.encoder(tokens, attention_mask=mask).last_hidden_state,
            )  # fmt: skip
        return {"text": features, "tokens": tokens}

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """The words of one text, in order, each with the places of its tokens; tokens (L,) as in a cond."""
        tokenizer, table = self.pipe.tokenizer, self.readers[0].table
        words: list[tuple[str, list[int]]] = []
        inside = False
        for place, token in enumerate(tokens.tolist()):
            if token < 0 and table is not None:  # of textual inversion
                name, vector = table.of[-1 - token]
                if vector == 0:
                    words.append((name.lower(), []))
                words[-1][1].append(place)
                continue
            piece = tokenizer.convert_ids_to_tokens(token)
            if piece in (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token):
                continue
            if not inside:
                words.append(("", []))
            word, places = words[-1]
            words[-1] = word + piece.removesuffix("</w>"), [*places, place]
            inside = not piece.endswith("</w>")
        return words

    def parts(self, length: int) -> list[tuple[int, int]]:
        """See `backbones.base.Backbone`: its chunks."""
        return text_length.chunk_parts(length, self.tokens)

    def between_marks(self, tokens: Tensor) -> Tensor:
        """See `backbones.base.Backbone`: all but the first and the last token of each chunk."""
        return text_length.between_chunk_marks(tokens, self.tokens)

    @cached_property
    def _words(self) -> set[str] | None:
        vocabulary = self.pipe.tokenizer.get_vocab()
        if len(vocabulary) >= LEARNED_ALL:
            return None
        return {token.removesuffix("</w>") for token in vocabulary if token.endswith("</w>")}

    def unread(self, text: str) -> str:
        """The end of a text that its text encoder has no place for, from the begin of a word; "" where it reads all."""
        return "" if self.reads_chunks else text_length.unread(self.readers[0].whole, plain(text), self.tokens)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """See `backbones.base.Backbone`."""
        tokenizer = self.readers[0].whole
        if self.reads_chunks:
            return text_length.count_in_chunks(tokenizer, text, self._learned)
        return text_length.count_tokens(tokenizer, text, self.tokens)

    def unknown_words(self, text: str) -> list[str]:
        """Words of the text, in order and once each, that are no whole token of a small vocabulary; [] for a large."""
        if self._words is None:
            return []
        return [word for word in words_of(text) if word not in self._words]


class NoText:
    """Of a network that reads no prompt: an empty cond, whatever the text says."""

    tokens = 0
    weighs_words: bool | None = None
    learned_words = None
    clip_skips = 1

    @property
    def reads_chunks(self) -> bool:
        return False

    def encode(self, text: str, clip_skip: int = 1) -> dict[str, Tensor]:
        return {}

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        return []

    def parts(self, length: int) -> list[tuple[int, int]]:
        return []

    def between_marks(self, tokens: Tensor) -> Tensor:
        return torch.ones_like(tokens, dtype=torch.bool)

    def unread(self, text: str) -> str:
        return ""

    def count_tokens(self, text: str) -> tuple[int, int]:
        return 0, 0

    def unknown_words(self, text: str) -> list[str]:
        """All of them, in order and once each."""
        return words_of(text)


def words_of(text: str) -> list[str]:
    """The words of a prompt in small letters, in order and once each."""
    return list(dict.fromkeys(re.findall(r"[^\W\d_]+", plain(text).lower())))


def _fit_tokenizer(id: str, tokenizer: Any, encoder: Any) -> None:
    """Texts are cut to the places of their encoder, also where the tokenizer's files do not say how many it has."""
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.max_position_embeddings)
    if len(tokenizer) > encoder.vocab_size:
        raise CheckpointError(f"{id}: its tokenizer has {len(tokenizer):,} tokens and its text encoder "
                              f"{encoder.vocab_size:,}: they are of different checkpoints")  # fmt: skip
