"""Which column is better, and how sure that is: means with intervals over the other axes, Pareto line, blind votes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

START = 1000.0  # the mean rating
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
    for label, column in values.items():
        own = np.array([value for value in column if math.isfinite(value)])
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


@dataclass(frozen=True)
class Rating:
    """A column after blind votes, on Elo's scale: 400 points are odds of 10 to 1, and START is the mean of all columns
    that have votes. low, high: the 95 % interval of its distance from that mean."""

    label: str
    rating: float
    low: float
    high: float
    votes: int  # that it was part of


def bradley_terry(
    votes: Sequence[tuple[str, str]], labels: Sequence[str], ties: Sequence[tuple[str, str]] = ()
) -> list[Rating]:
    """The strengths under which these votes (better, worse) are likeliest, best first (Bradley & Terry 1952).

    Votes among `labels` count, in any order; one of `ties`, which says that both are as good, is half a vote for each.
    Labels without a vote are left out. Each column has half a vote for it and
    half a vote against it beside an opponent of mean strength, so that one that never lost has a rating, too. The
    intervals are Laplace's, from the curvature at the maximum.
    """
    known = set(labels)
    votes, ties = ([vote for vote in all_ if known.issuperset(vote) and vote[0] != vote[1]] for all_ in (votes, ties))
    at = {label: i for i, label in enumerate(sorted({label for vote in (*votes, *ties) for label in vote}))}
    if not at:
        return []
    wins = np.zeros((len(at), len(at)))
    for better, worse in votes:
        wins[at[better], at[worse]] += 1
    for one, other in ties:
        wins[at[one], at[other]] += 0.5
        wins[at[other], at[one]] += 0.5
    met = wins + wins.T

    strength = np.zeros(len(at))
    for _ in range(200):  # Newton's method: the logarithm of the likelihood is concave
        chance = 1 / (1 + np.exp(strength[None] - strength[:, None]))  # that the row beats the column
        alone = 1 / (1 + np.exp(-strength))  # that it beats the opponent of mean strength
        slope = (wins - met * chance).sum(1) + (0.5 - alone)
        pairs = met * chance * (1 - chance)
        curvature = np.diag(pairs.sum(1) + alone * (1 - alone)) - pairs
        step = np.linalg.solve(curvature, slope)
        largest = np.abs(step).max()
        strength += step * min(1.0, 1.0 / max(largest, 1e-12))  # far from the maximum no further than 1 at once
        if largest < 1e-10:
            break

    from_mean = np.eye(len(at)) - 1 / len(at)  # the votes say how far columns are apart, and nothing of their mean
    spread = 1.959964 * np.sqrt(np.diag(from_mean @ np.linalg.inv(curvature) @ from_mean))
    points = 400 / math.log(10)
    middle, reach = START + points * from_mean @ strength, points * spread
    found = [
        Rating(label, float(middle[i]), float(middle[i] - reach[i]), float(middle[i] + reach[i]), int(met[i].sum()))
        for label, i in at.items()
    ]
    return sorted(found, key=lambda one: -one.rating)
