"""Ranks, the Pareto line, Elo."""

import math

import pytest

from app.compare.comparison import Axis, Change, Comparison
from app.compare.ranking import START, elo, pareto, ranks
from app.runs import Recipe


def test_ranks_are_by_the_mean_and_their_intervals_hold_it():
    found = ranks({"a": [1.0, 2.0, 3.0], "b": [5.0, 5.0], "c": [4.0], "d": [math.nan]}, more=True)
    assert [one.label for one in found] == ["b", "c", "a"]
    assert found[0].low == found[0].high == 5 and math.isnan(found[1].low)
    assert 1 <= found[2].low < found[2].mean == 2 < found[2].high <= 3
    assert [one.label for one in ranks({"a": [1.0], "b": [2.0]}, more=False)] == ["a", "b"]


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    import numpy as np

    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        (rank,) = ranks({"a": rng.normal(3.0, 1.0, 30).tolist()}, more=True)
        held += rank.low <= 3.0 <= rank.high
    assert 175 <= held <= 199


def test_the_pareto_line_is_what_nothing_beats_in_both():
    points = {"cheap": (1.0, 10.0), "dear": (5.0, 30.0), "waste": (6.0, 20.0), "twin": (1.0, 9.0)}
    assert pareto(points, more=True) == ["cheap", "dear"]
    assert pareto({"a": (1.0, 3.0), "b": (2.0, 1.0), "c": (3.0, 2.0)}, more=False) == ["a", "b"]


def test_elo_keeps_its_sum_and_finds_the_better_one():
    votes = [("a", "b")] * 30 + [("b", "c")] * 30 + [("a", "gone")]
    rating = elo(votes, ["a", "b", "c", "d"])
    assert rating["a"] > rating["b"] > rating["c"] and rating["d"] == START
    assert sum(rating.values()) == pytest.approx(4 * START)


def test_votes_of_all_comparisons_rate_the_columns_of_one(tmp_path):
    from app.compare.kept import Kept
    from app.compare.view import ratings

    def comparison(*labels):
        values = tuple(Change(label=label, recipe={"seed": n}) for n, label in enumerate(labels))
        return Comparison(base=Recipe(), axes=(Axis(name="method", values=values),))

    kept, one, other = Kept(tmp_path), comparison("a", "b", "c"), comparison("a", "d")
    ids = [kept.add(one), kept.add(other)]
    kept.vote(ids[0], "b", "a")
    for _ in range(9):
        kept.vote(ids[1], "a", "d")
    own, everywhere = kept.votes(ids[0]), kept.all_votes()
    told = ratings(one, own, everywhere)
    assert told["count"] == 1 and told["ratings"][0] == ("b", 1012) and told["all"]["count"] == 10
    assert [label for label, _ in told["all"]["ratings"]] == ["a", "b"], "c has no vote anywhere, d is no column here"
    assert ratings(one, own, kept.all_votes(ids[:1]))["all"]["count"] == 1
