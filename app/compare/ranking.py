"""Which column is better, and how sure that is: means with intervals over the other axes, Pareto line, blind votes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

K, START = 24.0, 1000.0  # of Elo's ratings
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Rank:
    """A column in one figure: mean over its cells, the 95 % interval of the mean, of how many cells."""

    label: str
    mean: float
    low: float
    high: float
    cells: int


def ranks(values: Mapping[str, Sequence[float]], more: bool) -> list[Rank]:
    """Columns by their mean, best first; more: whether large values are good. The intervals are percentiles of means of
    resampled cells (Efron's bootstrap), the same on every machine; of a single cell there is none: nan."""
    found = []
    for label, told in values.items():
        own = np.array([value for value in told if math.isfinite(value)])
        if len(own) == 0:
            continue
        low = high = math.nan
        if len(own) > 1:
            rng = np.random.default_rng(0)
            means = own[rng.integers(len(own), size=(DRAWS, len(own)))].mean(1)
            low, high = (float(edge) for edge in np.percentile(means, (2.5, 97.5)))
        found.append(Rank(label, float(own.mean()), low, high, len(own)))
    return sorted(found, key=lambda rank: -rank.mean if more else rank.mean)


def pareto(points: Mapping[str, tuple[float, float]], more: bool) -> list[str]:
    """Of (cost, fidelity) the labels that no other beats in both, by rising cost; more: large fidelity is good."""
    found: list[str] = []
    best = -math.inf
    for label, (_, value) in sorted(points.items(), key=lambda one: (one[1][0], -one[1][1] if more else one[1][1])):
        worth = value if more else -value
        if worth > best:
            found.append(label)
            best = worth
    return found


def elo(votes: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, float]:
    """Ratings after these votes (better, worse), in their order; those without a vote stand at START."""
    rating = dict.fromkeys(labels, START)
    for better, worse in votes:
        if better in rating and worse in rating and better != worse:
            expected = 1 / (1 + 10 ** ((rating[worse] - rating[better]) / 400))
            rating[better] += K * (1 - expected)
            rating[worse] -= K * (1 - expected)
    return rating
