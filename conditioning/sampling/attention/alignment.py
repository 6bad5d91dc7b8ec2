"""Which word of one prompt stands where which word of another stood, and the same for their tokens."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Reading:
    """A prompt as a network reads it: its words with the places of their tokens, and begins and ends of the parts of
    the text that have marks and filling of their own."""

    words: Words
    parts: Sequence[tuple[int, int]]

    def around(self, part: tuple[int, int]) -> tuple[int, int] | None:
        """The first place of a word in a part, and the one after the last; None where it has no word."""
        within = [place for _, places in self.words for place in places if part[0] <= place < part[1]]
        return (min(within), 1 + max(within)) if within else None


def reading(tokens: Tensor, backbone: Any) -> Reading:
    """Of the tokens (L,) of a prompt, as in a cond."""
    return Reading(backbone.words(tokens), backbone.parts(len(tokens)))


def mapping(source: Reading, target: Reading, swap: bool) -> tuple[Tensor, Tensor]:
    """How attention to the tokens of the source becomes attention to those of the target.

    (L, L') weights, from the source's in rows to the target's in columns, and (L',) 1.0 where a target's token stands
    for none of the source's: those of new words. Where a word has another number of tokens its attention is shared out
    evenly. In each part of the text what stands before the words goes to what stands there, the mark after them to that
    mark, and the filling after it to that of the same place.
    """
    weights = torch.zeros(source.parts[-1][1], target.parts[-1][1])
    for i, j in pairs([word for word, _ in source.words], [word for word, _ in target.words], swap):
        a, b = source.words[i][1], target.words[j][1]
        if len(a) == len(b):
            weights[a, b] = 1.0
        else:
            weights[torch.tensor(a)[:, None], torch.tensor(b)] = 1 / len(b)
    for mine, its in zip(source.parts, target.parts):
        found = source.around(mine), target.around(its)
        before = min((one[0] - part[0] for one, part in zip(found, (mine, its)) if one), default=1)
        for i in range(before):
            weights[mine[0] + i, its[0] + i] = 1.0
        (_, end), (_, its_end) = (
            one or (0, part[0] + before) for one, part in zip(found, (mine, its))
        )
        filling = torch.arange(its_end, its[1])
        if not len(filling) or end >= mine[1]:
            continue
        taken = (filling - its[0] + mine[0]).clamp(end, mine[1] - 1)
        taken[0] = end
        weights[taken, filling] = 1 / torch.where(taken == end, (taken == end).sum(), 1)
    return weights, (weights.sum(0) == 0).float()


def said(texts: Sequence[str], cond: Cond, backbone: Any) -> Tensor:
    """(B, L): 1 at the tokens of those texts that a prompt says, of each row."""
    marks = torch.zeros(cond["tokens"].shape)
    for row, ids in enumerate(cond["tokens"]):
        for text in texts:
            with suppress(ValueError):
                marks[row] += places([text], {"tokens": ids[None]}, backbone)[0, 0].cpu()
    return marks.clamp(max=1)
