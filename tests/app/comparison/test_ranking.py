"""Ranks, the Pareto line, ratings by blind votes."""

import math
import random

import numpy as np
import pytest

from app.comparison.ranking import START, bradley_terry, pareto, ranks
from app.comparison.spec import Axis, Change, Comparison
from app.schema.recipe import Recipe


def test_ranks_are_by_the_mean_and_their_intervals_hold_it():
    found = ranks({"a": [1.0, 2.0, 3.0], "b": [5.0, 5.0], "c": [4.0], "d": [math.nan]}, more=True)
    assert [one.label for one in found] == ["b", "c", "a"]
    assert found[0].low == found[0].high == 5 and math.isnan(found[1].low)
    assert 1 <= found[2].low < found[2].mean == 2 < found[2].high <= 3
    assert [one.label for one in ranks({"a": [1.0], "b": [2.0]}, more=False)] == ["a", "b"]


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        (rank,) = ranks({"a": rng.normal(3.0, 1.0, 30).tolist()}, more=True)
        held += rank.low <= 3.0 <= rank.high
    assert 175 <= held <= 199


def test_the_pareto_line_is_what_nothing_beats_in_both():
    points = {"cheap": (1.0, 10.0), "dear": (5.0, 30.0), "waste": (6.0, 20.0), "twin": (1.0, 9.0)}
    assert pareto(points, more=True) == ["cheap", "dear"]
    assert pareto({"a": (1.0, 3.0), "b": (2.0, 1.0), "c": (3.0, 2.0)}, more=False) == ["a", "b"]


def by_label(found):
    return {one.label: one for one in found}


def test_the_better_one_is_first_also_where_two_never_met():
    found = bradley_terry([("a", "b")] * 30 + [("b", "c")] * 30 + [("a", "gone"), ("a", "a")], ["c", "b", "a", "d"])
    assert [(one.label, one.votes) for one in found] == [("a", 30), ("b", 60), ("c", 30)]
    assert all(one.low < one.rating < one.high for one in found), "who never lost has an interval, too"
    assert sum(one.rating for one in found) == pytest.approx(3 * START)
    assert bradley_terry([], ["a"]) == bradley_terry([("a", "b")], ["a"]) == []


def test_more_votes_make_intervals_narrow():
    few, many = (by_label(bradley_terry([("a", "b"), ("b", "a")] * n, ["a", "b"]))["a"] for n in (1, 100))
    assert few.rating == pytest.approx(START) and many.rating == pytest.approx(START)
    assert few.high - few.low > 5 * (many.high - many.low)


def test_the_order_of_the_votes_says_nothing():
    rng, labels = random.Random(0), list("abcde")
    votes = [tuple(rng.sample(labels, 2)) for _ in range(60)]
    first = bradley_terry(votes, labels)
    for _ in range(5):
        rng.shuffle(votes)
        assert bradley_terry(votes, labels) == first


def test_two_columns_have_the_odds_of_their_votes():
    """Many votes, so that the half votes of the start are lost among them: 400 points are odds of ten to one."""
    rated = by_label(bradley_terry([("a", "b")] * 10_000 + [("b", "a")] * 1_000, ["a", "b"]))
    assert rated["a"].rating - rated["b"].rating == pytest.approx(400, abs=1)
    assert rated["a"].rating + rated["b"].rating == pytest.approx(2 * START)


def test_intervals_of_ratings_cover_the_true_strengths_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    strengths = {"a": 0.8, "b": 0.3, "c": -0.3, "d": -0.8}
    labels, covered = list(strengths), 0
    for _ in range(100):
        votes = []
        for _ in range(120):
            one, other = rng.choice(labels, 2, replace=False)
            wins = rng.random() < 1 / (1 + math.exp(strengths[other] - strengths[one]))
            votes.append((one, other) if wins else (other, one))
        rated = by_label(bradley_terry(votes, labels))
        for label, strength in strengths.items():
            truth = START + 400 / math.log(10) * strength
            covered += rated[label].low <= truth <= rated[label].high
    assert 370 <= covered <= 392, "of 400, at 95 %"


def test_votes_of_all_comparisons_rate_the_columns_of_one(tmp_path):
    from app.comparison.comparison_json import ratings
    from app.comparison.store import ComparisonStore

    def comparison(*labels):
        values = tuple(Change(label=label, recipe={"seed": n}) for n, label in enumerate(labels))
        return Comparison(base=Recipe(), axes=(Axis(name="method", values=values),))

    kept, one, other = ComparisonStore(tmp_path), comparison("a", "b", "c"), comparison("a", "d")
    ids = [kept.add(one), kept.add(other)]
    kept.vote(ids[0], "b", "a")
    for _ in range(9):
        kept.vote(ids[1], "a", "d")
    own, everywhere = kept.votes(ids[0]), kept.all_votes()
    rated = ratings(one, own, everywhere)
    assert rated["count"] == 1 and rated["all"]["count"] == 10
    assert [label for label, *_ in rated["ratings"]] == ["b", "a"]
    _, rating, low, high = rated["ratings"][0]
    assert low < 1000 < rating < high, "one vote is not much"
    assert {label for label, *_ in rated["all"]["ratings"]} == {"a", "b"}, "c has no vote anywhere, d is no column here"
    assert ratings(one, own, kept.all_votes(ids[:1]))["all"]["count"] == 1


def test_a_tie_is_half_a_vote_for_each():
    even = by_label(bradley_terry([], ["a", "b"], [("a", "b")] * 4))
    assert even["a"].rating == pytest.approx(even["b"].rating) == pytest.approx(START) and even["a"].votes == 4
    leaning = by_label(bradley_terry([("a", "b")] * 4, ["a", "b"], [("b", "a")] * 4))
    alone = by_label(bradley_terry([("a", "b")] * 4, ["a", "b"]))
    assert START < leaning["a"].rating < alone["a"].rating, "ties bring the two nearer to each other"
    assert bradley_terry([], ["a"], [("a", "c")]) == [], "of columns that are not there"


# ---- columns of a comparison ---------------------------------------------------------------------------------------


def compared(task, *columns):
    """Columns by their stacks, with a result each whose figures and cost are given."""
    from app.comparison.store import Result

    values = tuple(Change(label=label, methods=stack) for label, stack, _ in columns)
    base = Recipe(backbone="exact", width=16, height=16)
    one = Comparison(base=base, axes=(Axis(name="m", values=values),), task=task)
    results = [Result(1.0 + i, 10, 10, 0, "", figures) for i, (_, _, figures) in enumerate(columns)]
    return one, {cell.key: result for cell, result in zip(one.cells(), results)}


def test_an_image_of_the_prompt_alone_is_not_ranked_on_a_task_that_it_did_not_do():
    from app.comparison.comparison_json import summary
    from app.comparison.task import Task
    from app.schema.method_inputs import Use

    depth = "d" * 64
    control = (Use(name="controlnet", inputs={"depth": depth}),)
    columns = [("alone", (), {"atoms": 100.0, "near": 0.001}), ("control", control, {"atoms": 50.0, "near": 0.01})]
    found = summary(*compared(Task(prompt="a", depth=depth), *columns))["measures"]
    assert next(iter(found)) == "near", "the measure of the condition comes first"
    for one in found.values():
        assert [rank["label"] for rank in one["ranks"]] == ["control"]
        assert [rank["label"] for rank in one["unranked"]] == ["alone"]
        assert one["pareto"]["nfe"] == ["control"]
    free = summary(*compared(Task(prompt="a"), *columns))["measures"]
    assert next(iter(free)) == "atoms" and [rank["label"] for rank in free["atoms"]["ranks"]] == ["alone", "control"]
    none = summary(*compared(Task(prompt="a", depth="e" * 64), *columns))["measures"]
    assert len(none["near"]["ranks"]) == 2, "where no column does the task all are ranked"


@pytest.mark.parametrize("fields, kind, first", [
    ({"depth": "d" * 64}, "depth", "near"), ({"edges": "d" * 64}, "edges", "edges"),
    ({"source": "d" * 64, "source_prompt": "a"}, "editing", "done_and_kept"),
    ({"source": "d" * 64, "source_prompt": "a", "mask": "e" * 64}, "editing", "done_and_kept"),
    ({"source": "d" * 64, "mask": "e" * 64}, "inpainting", "done_and_kept"),
    ({"observation": {"name": "blur", "image": "d" * 64}}, "restoration", "psnr"),
    ({"boxes": [{"left": 0, "top": 0, "right": 1, "bottom": 1, "text": "a"}]}, "layout", "boxes"),
    ({"references": ["d" * 64]}, "reference", "identity"),
])  # fmt: skip
def test_a_task_is_ranked_by_the_measure_of_its_condition(fields, kind, first):
    from app.comparison.task import CONDITIONS, MEASURES, Task
    from fidelity.measures import MEASURES as KNOWN

    task = Task.model_validate(fields)
    assert task.kind == kind and MEASURES[kind][0] == first and set(MEASURES[kind]) <= set(KNOWN) and CONDITIONS[kind]
