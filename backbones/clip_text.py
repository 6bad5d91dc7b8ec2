"""Prompts as Stable Diffusion 1, 2 and XL read them: CLIP's text encoder, or the two of the XL kind. Still Life's small
encoder, which was trained with its network, goes through the same code."""

import re
from functools import cached_property
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from backbones import text_length, word_weights
from backbones.checkpoint import CheckpointError
from common.weighted_text import WeightedText, plain, weighted

LEARNED_ALL = 10_000  # tokens: a larger vocabulary has no unknown words, and is CLIP's


class CLIPText:
    """The text encoders of a StableDiffusionPipeline or StableDiffusionXLPipeline, by the pipeline's own code.

    A prompt's cond has "text" (1, L, D), and for the XL kind "pooled" (1, P); its "tokens" (1, L) tell methods which
    words the text is of (see `words`), the network does not need them.
    """

    weighs_words: bool | None = True

    def __init__(self, id: str, pipe: Any, device: torch.device):
        """id: of the checkpoint, for messages. Raises CheckpointError where tokenizer and encoder do not belong
        together."""
        self.pipe, self.device = pipe, device
        self.xl = hasattr(pipe, "text_encoder_2")
        self.tokens = int(pipe.text_encoder.config.max_position_embeddings)
        for place in ("", "_2") if self.xl else ("",):
            _fit_tokenizer(id, getattr(pipe, f"tokenizer{place}"), getattr(pipe, f"text_encoder{place}").config)

    @property
    def reads_chunks(self) -> bool:
        """Whether its features may be laid end to end: of CLIP they may, of an encoder trained with its network not."""
        return self.xl or len(self.pipe.tokenizer) >= LEARNED_ALL

    @torch.no_grad()
    def encode(self, prompt: str) -> dict[str, Tensor]:
        """In chunks, where BREAK parts the prompt and `reads_chunks`: each is read with places of its own, and their
        features are laid end to end, as in A1111; "pooled" is that of the first. "" is all zeros where the checkpoint
        says so (SDXL's empty prompt). Weights of words (`common.weighted_text`) act on "text" alone: tokens and
        "pooled" are those of the words."""
        whole = weighted(prompt)
        chunks = [self._encoded(chunk) for chunk in (whole.chunks if self.reads_chunks else (whole,))]
        return {key: value if key == "pooled" else torch.cat([one[key] for one in chunks], 1)
                for key, value in chunks[0].items()}  # fmt: skip

    def _encoded(self, chunk: WeightedText) -> dict[str, Tensor]:
        text = chunk.text
        out = self.pipe.encode_prompt(text, device=self.device, num_images_per_prompt=1,
                                      do_classifier_free_guidance=False)  # fmt: skip
        cond = {"text": out[0].float()}
        if self.xl:
            cond["pooled"] = out[2].float()
        if not text and self.xl and self.pipe.config.force_zeros_for_empty_prompt:
            cond = {key: torch.zeros_like(value) for key, value in cond.items()}
        tokenizer = self.pipe.tokenizer
        cond["tokens"] = tokenizer(self.pipe.maybe_convert_prompt(text, tokenizer), padding="max_length",
                                   max_length=cond["text"].shape[1], truncation=True,
                                   return_tensors="pt").input_ids.to(self.device)  # fmt: skip
        if chunk.weighs:
            cond["text"] = self._weighed(chunk, cond["text"], cond["tokens"])
        return cond

    def _weighed(self, text: WeightedText, features: Tensor, tokens: Tensor) -> Tensor:
        """The features (1, L, D) of its words by their weights: see `word_weights`."""
        weights = word_weights.token_weights(self._whole_tokenizer, text, features.shape[1])
        encoder = self.pipe.text_encoder
        if self.reads_chunks:
            encoders = [encoder, self.pipe.text_encoder_2] if self.xl else [encoder]
            return word_weights.multiplied(features, weights, [int(one.config.hidden_size) for one in encoders])
        return word_weights.extrapolated(
            features, weights.to(self.device), lambda mask: encoder(tokens, attention_mask=mask).last_hidden_state
        )

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """The words of one text, in order, each with the places of its tokens; tokens (L,) as in a cond."""
        tokenizer = self.pipe.tokenizer
        words: list[tuple[str, list[int]]] = []
        inside = False
        for place, piece in enumerate(tokenizer.convert_ids_to_tokens(tokens.tolist())):
            if piece in (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token):
                continue
            if not inside:
                words.append(("", []))
            word, places = words[-1]
            words[-1] = word + piece.removesuffix("</w>"), [*places, place]
            inside = not piece.endswith("</w>")
        return words

    @cached_property
    def _whole_tokenizer(self) -> Tokenizer:
        return text_length.whole(self.pipe.tokenizer)

    @cached_property
    def _words(self) -> set[str] | None:
        vocabulary = self.pipe.tokenizer.get_vocab()
        if len(vocabulary) >= LEARNED_ALL:
            return None
        return {token.removesuffix("</w>") for token in vocabulary if token.endswith("</w>")}

    def unread(self, text: str) -> str:
        """The end of a text that its text encoder has no place for, from the begin of a word; "" where it reads all."""
        return text_length.unread_of(self._whole_tokenizer, weighted(text), self.tokens, self.reads_chunks)

    def unknown_words(self, text: str) -> list[str]:
        """Words of the text, in order and once each, that are no whole token of a small vocabulary; [] for a large."""
        if self._words is None:
            return []
        return [word for word in words_of(text) if word not in self._words]


class NoText:
    """Of a network that reads no prompt: an empty cond, whatever the text says."""

    tokens = 0
    weighs_words: bool | None = None

    @property
    def reads_chunks(self) -> bool:
        return False

    def encode(self, text: str) -> dict[str, Tensor]:
        return {}

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        return []

    def unread(self, text: str) -> str:
        return ""

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
