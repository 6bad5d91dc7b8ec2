"""Weights of words on what a CLIP text encoder has made of them, as AUTOMATIC1111 applies them (its emphasis
"Original"): every token's features times its weight, and then all of them so that their mean is what it was.

A text encoder whose features are about zero in the mean, as Still Life's, has no mean to keep: dividing by it would
multiply by chance, so only the weights are applied there (A1111's "No norm").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from common.weighted_text import WeightedText

SMALL_MEAN = 0.02  # of the features' standard deviation; Still Life's is at 0.005


def token_weights(tokenizer: Tokenizer, text: WeightedText, length: int) -> Tensor:
    """(L,) the weight of each token of a text encoder's `length` places; 1 at the marks of begin and end.

    tokenizer: one that neither truncates nor pads. A token counts as its first letter does.
    """
    weights = torch.ones(length)
    begins = [begin for begin, _ in tokenizer.encode(text.text, add_special_tokens=False).offsets][: length - 2]
    weights[1 : 1 + len(begins)] = torch.tensor([text.at(begin) for begin in begins])
    return weights


def weighed(features: Tensor, weights: Tensor, widths: Sequence[int]) -> Tensor:
    """Features (1, L, D) of a text by weights (L,). widths: how many of the D features each text encoder gives; each
    keeps its own mean (SDXL has two)."""
    return torch.cat([_weighed(one, weights.to(one)) for one in features.split(list(widths), -1)], -1)


def _weighed(z: Tensor, weights: Tensor) -> Tensor:
    new, mean = z * weights[:, None], z.mean()
    return new * (mean / new.mean()) if mean.abs() > SMALL_MEAN * z.std() else new
