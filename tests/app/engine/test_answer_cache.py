"""What the engine remembers of the network: the same ask has the same bits and no second call; others are computed."""

from dataclasses import replace

import pytest
import torch

from app.engine.answer_cache import AnswerCache, digest
from app.schema.recipe import Recipe
from samplers.protocol import Ask
from tests.support.doubles import Double


def asked(seed=0, B=2, **cond):
    stream = torch.Generator().manual_seed(seed)
    text = torch.randn(B, 3, 4, generator=stream)
    return Ask(torch.randn(B, 4, 2, 2, generator=stream), torch.full((B,), 2.0), {"text": text, **cond})


@pytest.fixture
def counted():
    calls = []

    def answer(ask):
        calls.append(ask)
        return ask.x * 2

    return calls, answer


def test_the_same_ask_is_computed_once(counted):
    calls, answer = counted
    memory = AnswerCache(answer)
    first, again = memory(asked()), memory(asked())
    assert len(calls) == 1 and torch.equal(first, again) and memory.known == 1
    again.zero_()  # what somebody does to the answer is theirs
    assert torch.equal(memory(asked()), first)


@pytest.mark.parametrize(
    "other",
    [
        asked(seed=1), asked(B=1), asked(weights="b"), replace(asked(), sigma=torch.full((2,), 2.1)),
        replace(asked(), x=asked().x.double()), replace(asked(), x=asked().x.reshape(2, 2, 4, 2)),
        replace(asked(), cond={"text": asked().cond["text"], "depth": torch.zeros(2, 1)}),
    ],
)  # fmt: skip
def test_any_other_ask_is_another(other):
    assert digest(other) != digest(asked())


def test_it_never_holds_more_than_it_may(counted):
    calls, answer = counted
    memory = AnswerCache(answer, largest=3 * asked().x.nbytes)
    for seed in (0, 1, 2, 3):
        memory(asked(seed))
    memory(asked(3))
    memory(asked(1))
    assert len(calls) == 4
    memory(asked(0))  # the oldest had to go
    assert len(calls) == 5 and memory._bytes <= memory.largest


def test_a_run_that_comes_again_asks_the_network_nothing_and_is_equal(engines):
    engine = engines()
    recipe = Recipe(backbone="exact", width=16, height=16, steps=5, prompt="red", cfg_scale=3.0)
    engine.forget()
    before = engine._worker.answers.asked - engine._worker.answers.known
    first = engine.submit(recipe).result()
    calls = engine._worker.answers.asked - engine._worker.answers.known
    again = engine.submit(recipe).result()
    assert engine._worker.answers.asked - engine._worker.answers.known == calls
    assert again.images[0].tobytes() == first.images[0].tobytes() and again.nfe == first.nfe
    assert (first.remembered, again.remembered) == (0, again.nfe), "so the page can say why it took no time"
    engine.forget()
    assert engine.submit(recipe).result().images[0].tobytes() == first.images[0].tobytes()
    assert engine._worker.answers.asked - engine._worker.answers.known == 2 * calls - before


def test_a_run_out_of_memory_costs_what_it_would_cost_alone(engines):
    """Else a cell of a comparison looks cheap for having come second."""
    engine = engines(Double(delay=0.02))
    recipe = Recipe(backbone="exact", width=16, height=16, steps=5, prompt="red", cfg_scale=1.0)
    engine.submit(recipe).result()
    asked = engine._worker.answers.asked - engine._worker.answers.known
    again = engine.submit(recipe).result()
    assert engine._worker.answers.asked - engine._worker.answers.known == asked, "all of it from memory"
    assert again.own_seconds >= 5 * 0.02
