"""Which word of one prompt stands where which word of another stood, and the same for their tokens."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from conditioning.sampling.attention.maps import places
from samplers.flow import Cond

Words = list[tuple[str, list[int]]]  # (word, places of its tokens along L), in order: as backbone.words gives them


def pairs(source: list[str], target: list[str], swap: bool) -> list[tuple[int, int]]:
    """(i, j) where word j of the target stands for word i of the source, in order.

    Without swap these are equal words only, as many as can be in order (the longest common subsequence; of several the
    one whose last words come first). With swap prompts of as many words go word by word, and in others a stretch
    between equal words goes word by word where it has as many words in both.
    """
    if swap and len(source) == len(target):
        return [(i, i) for i in range(len(source))]
    m, n = len(source), len(target)
    most = [[0] * (n + 1) for _ in range(m + 1)]  # equal words in source[:i] and target[:j]
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            same = source[i - 1] == target[j - 1]
            most[i][j] = max(most[i - 1][j], most[i][j - 1], most[i - 1][j - 1] + same)
    matches, i, j = [], m, n
    while i and j:
        if most[i][j] == most[i][j - 1]:
            j -= 1
        elif most[i][j] == most[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            matches.append((i, j))
    matches.reverse()
    if swap:
        ends = zip([(-1, -1), *matches], [*matches, (m, n)])
        gaps = [(i, j, k - i) for (i, j), (k, l) in ends if k - i == l - j]
        matches = sorted({*matches, *((i + d, j + d) for i, j, length in gaps for d in range(1, length))})
    return matches


def mapping(source: Words, target: Words, length: int, chunk: int, swap: bool) -> tuple[Tensor, Tensor]:
    """How attention to the tokens of the source becomes attention to those of the target.

    (L, L) weights, from the source's in rows to the target's in columns, and (L,) 1.0 where a target's token stands for
    none of the source's: those of new words. Where a word has another number of tokens its attention is shared out
    evenly. In each chunk of the text start goes to start, end to end, and the filling after it to that of the same
    place. chunk: its length, of which L is a multiple.
    """
    weights = torch.zeros(length, length)
    for i, j in pairs([word for word, _ in source], [word for word, _ in target], swap):
        a, b = source[i][1], target[j][1]
        if len(a) == len(b):
            weights[a, b] = 1.0
        else:
            weights[torch.tensor(a)[:, None], torch.tensor(b)] = 1 / len(b)
    for begin in range(0, length, chunk):
        within = range(begin, begin + chunk)
        weights[begin, begin] = 1.0
        end_of_source, end_of_target = (
            1 + max((place for _, at in words for place in at if place in within), default=begin)
            for words in (source, target)
        )
        filling = torch.arange(end_of_target, begin + chunk)
        taken = filling.clamp(min=end_of_source)
        taken[0] = end_of_source
        weights[taken, filling] = 1 / torch.where(taken == end_of_source, (taken == end_of_source).sum(), 1)
    return weights, (weights.sum(0) == 0).float()


def said(texts: Sequence[str], cond: Cond, backbone: Any) -> Tensor:
    """(B, L): 1 at the tokens of those texts that a prompt says, of each row."""
    marks = torch.zeros(cond["tokens"].shape)
    for row, ids in enumerate(cond["tokens"]):
        for text in texts:
            with suppress(ValueError):
                marks[row] += places([text], {"tokens": ids[None]}, backbone)[0, 0].cpu()
    return marks.clamp(max=1)
