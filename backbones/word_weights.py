"""Weights of words on what a text encoder makes of them, in two ways.

CLIP, as of Stable Diffusion: as AUTOMATIC1111 does it (its emphasis "Original"). Every token's features times its
weight, and then all of them so that their mean is what it was.

A text encoder that was trained with its network, as Still Life's: there the network looks at the marks of the end,
which have read the whole text, and a word's own features change nothing. So a weight w of words adds w - 1 times what
these words change about the features of all tokens:

    z + sum over w of (w - 1) (z - z without the words of weight w)

At 1 nothing is added, and at 0 the words might as well not stand there.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

NO_MEAN = 1e-3  # of the features' standard deviation: a mean below is none that could be kept


def multiplied(features: Tensor, weights: Tensor) -> Tensor:
    """Features (1, L, D) of a chunk by one text encoder, by weights (L,), as for CLIP."""
    weights = weights.to(features)
    new, mean = features * weights[:, None], features.mean()
    return new * (mean / new.mean()) if mean.abs() > NO_MEAN * features.std() else new


def extrapolated(features: Tensor, weights: Tensor, without: Callable[[Tensor], Tensor]) -> Tensor:
    """Features (1, L, D) of a text by weights (L,), as for an encoder that was trained with its network. without: for
    which tokens (1, L) are to be read, 1 or 0, the features (1, L, D) that come of it."""
    made = features.clone()
    for weight in sorted({*weights.tolist()} - {1.0}):
        made += (weight - 1) * (features - without((weights != weight).long()[None]).to(features))
    return made
