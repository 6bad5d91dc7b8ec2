import weakref

import pytest
import torch

from samplers import SAMPLERS
from samplers.flow import Ask, Done, Driver, FlowFailed, Step, ask, drive, run, together
from tests.support.oracle import finish, flow, mixture, start

oracle = mixture()
x = start([1, 2], 3.0)


def half(one: Ask):
    return one.x / 2


def asking(*asks: Ask):
    """A flow that yields these asks in one list and returns the answers."""
    return (yield list(asks))


def an_ask(rows=2, shape=(1, 2, 2), dtype=torch.float32, cond=None, edit=None, tape=None):
    return Ask(torch.ones(rows, *shape, dtype=dtype), torch.ones(rows, dtype=dtype), cond or {}, edit, tape)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["step", "result"])
def test_a_state_that_is_no_number_ends_its_run_and_no_other(bad, where):
    def flow(value):
        (x0,) = yield [an_ask()]
        x = x0.clone()
        x[1, 0, 1, 1] = value
        if where == "step":
            yield Step(x, x0, 0.5)
            return x0
        return x

    driver = Driver(half)
    driver.add("bad", flow(bad))
    driver.add("good", flow(1.0))
    ends = {}
    while len(driver):
        ends |= {key: event for key, event in driver.round() if not isinstance(event, Step)}
    assert isinstance(ends["good"], Done) and isinstance(ends["bad"], FlowFailed)
    assert isinstance(ends["bad"].error, FloatingPointError) and "1 of 2 rows" in str(ends["bad"].error)


# ---- grouping ------------------------------------------------------------------------------------------------


def calls_for(*asks: Ask, answer=half, max_rows=64) -> list[Ask]:
    """The network evaluations that runs with one ask each lead to."""
    made = []

    def noting(one):
        made.append(one)
        return answer(one)

    driver = Driver(noting, max_rows)
    for i, one in enumerate(asks):
        driver.add(i, asking(one))
    ends = finish(driver)
    assert driver.nfe == len(made) and driver.rows == sum(len(one.x) for one in made)
    for i, one in enumerate(asks):
        assert torch.equal(ends[i][0], one.x / 2)
    return made


def test_alike_asks_share_one_call():
    (one,) = calls_for(an_ask(1), an_ask(3))
    assert one.x.shape == (4, 1, 2, 2) and one.sigma.shape == (4,)


TEXT, SHORT = {"text": torch.zeros(2, 4, 3)}, {"text": torch.zeros(2, 2, 3)}


@pytest.mark.parametrize(
    "a, b",
    [
        ({}, {"shape": (1, 4, 2)}),
        ({}, {"dtype": torch.float64}),
        ({}, {"cond": TEXT}),
        ({"cond": SHORT}, {"cond": TEXT}),
        ({"cond": {"text": TEXT["text"].double()}}, {"cond": TEXT}),
        ({"cond": TEXT}, {"cond": TEXT | {"weights": "lora"}}),
        ({"cond": {"weights": "a"}}, {"cond": {"weights": "b"}}),
        ({}, {"tape": object()}),
        ({"tape": object()}, {"tape": object()}),
        ({}, {"edit": {}}),  # an empty edit is an edit
    ],
    ids=["shape", "dtype", "keys", "lengths", "cond dtype", "weights", "other weights", "tape", "tapes", "edit"],
)
def test_unlike_asks_do_not(a, b):
    assert len(calls_for(an_ask(**a), an_ask(**b))) == 2


def test_asks_of_one_tape_merge_and_asks_of_one_edit_do_not():
    token = object()
    assert len(calls_for(an_ask(tape=token), an_ask(tape=token))) == 1
    assert len(calls_for(an_ask(edit=token), an_ask(edit=token))) == 2


def test_conditions_are_merged_row_by_row_and_words_pass_through():
    a, b = ({"text": torch.full((2, 1, 1), float(i)), "weights": "lora"} for i in range(2))
    (one,) = calls_for(an_ask(cond=a), an_ask(cond=dict(reversed(b.items()))))
    assert one.cond["text"].flatten().tolist() == [0, 0, 1, 1] and one.cond["weights"] == "lora"


def test_large_groups_are_split_evenly():
    assert [len(one.x) for one in calls_for(an_ask(3), an_ask(3), an_ask(3), max_rows=4)] == [3, 3, 3]
    assert [len(one.x) for one in calls_for(an_ask(10, cond={"text": torch.zeros(10, 1)}), max_rows=4)] == [4, 4, 2]
    assert [len(one.x) for one in calls_for(an_ask(6, tape=object()), max_rows=4)] == [6]
    assert [len(one.x) for one in calls_for(an_ask(6, edit=object()), max_rows=4)] == [6]
    with pytest.raises(ValueError, match="max_rows is 0"):
        Driver(half, 0)


def test_gradients_are_on_for_a_tape_and_only_there():
    on = []

    def noting(one):
        on.append(torch.is_grad_enabled())
        return half(one)

    finish_all = Driver(noting)
    finish_all.add(0, asking(an_ask(tape=object())))
    finish_all.add(1, asking(an_ask()))
    finish(finish_all)
    assert on == [True, False]


def test_a_gradient_runs_through_a_taped_ask():
    def guided():
        leaf = x.clone().requires_grad_()
        x0 = yield from ask(leaf, 3.0, {}, tape=object())
        (gradient,) = torch.autograd.grad(x0.sum(), leaf)
        return gradient

    assert torch.equal(run(guided(), half), torch.full_like(x, 0.5))


# ---- rounds --------------------------------------------------------------------------------------------------


def test_a_round_ends_with_every_flow_asking():
    """One round is one call: the Step after it is reported in it, and what follows is asked for in the next."""
    driver = Driver(oracle.denoise)
    driver.add("a", flow(SAMPLERS["euler"], [1], steps=3))
    kinds = []
    while len(driver):
        kinds.append([type(event) for _, event in driver.round()])
    assert kinds == [[Step], [Step], [Step, Done]] and driver.nfe == 3


def test_steps_are_answered_with_their_x():
    def stepping():
        return (yield Step(x, x, 1.0)) is x, (yield Step(2 * x, x, 0.0)) is x

    events = [event for _, event in drive([stepping()], half)]
    assert [type(event) for event in events] == [Step, Step, Done] and events[-1].result == (True, False)


def test_runs_may_arrive_between_two_rounds():
    driver = Driver(oracle.denoise)
    driver.add("early", flow(SAMPLERS["euler"], [1], steps=4))
    driver.round()
    driver.add("late", flow(SAMPLERS["heun"], [2], steps=3))
    ends = finish(driver)
    assert driver.nfe == 6  # 1 + the 5 of heun, which the other 3 are part of
    assert torch.equal(ends["early"], run(flow(SAMPLERS["euler"], [1], steps=4), oracle.denoise))
    assert torch.equal(ends["late"], run(flow(SAMPLERS["heun"], [2], steps=3), oracle.denoise))


def test_unequal_runs_cost_as_much_as_the_longest():
    driver = Driver(oracle.denoise)
    for i, (name, steps) in enumerate([("euler", 30), ("heun", 30), ("dpmpp_2m", 30), ("ancestral", 90)]):
        driver.add(i, flow(SAMPLERS[name], [i], steps=steps))
    finish(driver)
    assert driver.nfe == 90 and driver.rows == 30 + 59 + 30 + 90


def test_keys_are_unique_and_free_again_afterwards():
    driver = Driver(half)
    driver.add("a", asking(an_ask()))
    with pytest.raises(ValueError, match="a run 'a' is under way already"):
        driver.add("a", asking(an_ask()))
    finish(driver)
    driver.add("a", asking(an_ask()))
    assert len(driver) == 1


def test_an_empty_driver_has_nothing_to_do():
    driver = Driver(half)
    assert driver.round() == [] and driver.nfe == 0 and not len(driver)


def test_an_empty_list_of_asks_is_answered_with_one():
    assert run(asking(), half) == []


# ---- failures ------------------------------------------------------------------------------------------------


def test_a_flow_that_raises_hurts_nobody():
    def failing():
        yield from ask(x, 1.0, {})
        raise KeyError("mine")

    events = list(drive({"bad": failing(), "good": flow(SAMPLERS["euler"], [1])}, oracle.denoise))
    bad = [event for key, event in events if key == "bad"]
    good = [event for key, event in events if key == "good"]
    assert len(bad) == 1 and isinstance(bad[0].error, KeyError)
    assert torch.equal(good[-1].result, run(flow(SAMPLERS["euler"], [1]), oracle.denoise))


def test_a_flow_that_raises_at_once_hurts_nobody():
    def failing():
        raise KeyError("at once")
        yield

    driver = Driver(half)
    driver.add("bad", failing())
    driver.add("good", asking(an_ask()))
    (_, bad), (_, good) = driver.round()
    assert isinstance(bad, FlowFailed) and isinstance(good, Done)


def test_only_the_guilty_run_of_a_group_fails():
    def choosy(one):
        if (one.x == 13).any():
            raise RuntimeError("thirteen")
        return half(one)

    ends = {}
    driver = Driver(choosy)
    for i in (12, 13, 14):
        driver.add(i, asking(an_ask(), Ask(torch.full((1, 1, 2, 2), float(i)), torch.ones(1), {})))
    ends = finish(driver)
    assert str(ends[13]) == "thirteen" and ends[12][1].mean() == 6 and ends[14][1].mean() == 7
    assert driver.nfe == 4 and not len(driver)  # the group, then each of its three runs


def test_what_does_not_fit_together_may_fit_alone():
    def small(one):
        if len(one.x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return half(one)

    driver = Driver(small)
    for i in range(3):
        driver.add(i, asking(an_ask()))
    assert all(isinstance(end, list) for end in finish(driver).values())


def test_a_call_that_failed_holds_no_memory():
    """Neither while its runs are tried one by one, nor in the error that is reported."""
    held = []

    def large(one):
        activations = torch.zeros(10)
        assert all(earlier() is None for earlier in held)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("out of memory")

    driver = Driver(large)
    driver.add(0, asking(an_ask()))
    driver.add(1, asking(an_ask()))
    ends = finish(driver)
    assert [str(end) for end in ends.values()] == ["out of memory"] * 2 and len(held) == 3
    assert held[-1]() is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_fail_their_own_run_with_the_level(value):
    def spoiled(one):
        x0 = half(one)
        x0[one.x == 13] = value
        return x0

    driver = Driver(spoiled)
    bad = Ask(torch.full((2, 1, 2, 2), 1.0), torch.tensor([4.0, 0.25]), {})
    bad.x[1, 0, 0, 0] = 13
    driver.add("bad", asking(bad, an_ask(shape=(1, 4, 4))))
    driver.add("good", asking(an_ask()))
    ends = finish(driver)
    assert isinstance(ends["bad"], FloatingPointError) and isinstance(ends["good"], list)
    assert "at sigma 0.25, in 1 of 2 rows" in str(ends["bad"]) and "half" not in str(ends["bad"])


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"an ask of shape \(2, 1, 2, 2\) was answered with shape \(2, 1, 2, 1\)"):
        run(asking(an_ask()), lambda one: one.x[..., :1])


@pytest.mark.parametrize(
    "said, why",
    [(7, "a flow yields a Step or a list of Asks"), (an_ask(), "a flow yields"), ([7], "a flow yields")],
    ids=["number", "bare ask", "list"],
)
def test_other_messages_are_refused(said, why):
    def talking():
        yield said

    with pytest.raises(TypeError, match=why):
        run(talking(), half)


def test_a_condition_that_cannot_be_grouped_fails_its_own_run():
    driver = Driver(half)
    driver.add("bad", asking(an_ask(cond={"weights": ["a", "list"]})))
    driver.add("good", asking(an_ask()))
    ends = finish(driver)
    assert isinstance(ends["bad"], TypeError) and isinstance(ends["good"], list)


def test_a_run_that_fails_while_it_is_closed_hurts_nobody():
    def stubborn():
        try:
            yield [an_ask(dtype=torch.float64)]
        finally:
            raise OSError("disk full")

    def refusing(one):
        if one.x.dtype == torch.float64:
            raise RuntimeError("no doubles")
        return half(one)

    driver = Driver(refusing)
    driver.add("bad", stubborn())
    driver.add("good", asking(an_ask()))
    ends = finish(driver)
    assert str(ends["bad"]) == "no doubles" and "disk full" in ends["bad"].__notes__[0]
    assert isinstance(ends["good"], list)


def test_an_interrupt_is_no_failure_of_a_run():
    def interrupted(one):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(asking(an_ask()), interrupted)


# ---- cancelling ----------------------------------------------------------------------------------------------


def noting(closed: list[str], name: str):
    try:
        yield from flow(SAMPLERS["euler"], [1])
    finally:
        closed.append(name)


def test_cancelling_closes_the_flow_and_leaves_the_others():
    closed: list[str] = []
    driver = Driver(oracle.denoise)
    driver.add("a", noting(closed, "a"))
    driver.add("b", flow(SAMPLERS["euler"], [2]))
    driver.round()
    driver.cancel("a")
    assert closed == ["a"] and len(driver) == 1
    driver.cancel("a")  # it has ended meanwhile: nothing to do
    ends = finish(driver)
    assert list(ends) == ["b"] and torch.equal(ends["b"], run(flow(SAMPLERS["euler"], [2]), oracle.denoise))


def test_nothing_is_asked_after_a_cancel():
    driver = Driver(oracle.denoise)
    driver.add("a", flow(SAMPLERS["euler"], [1]))
    driver.round()
    driver.cancel("a")
    assert driver.round() == [] and driver.nfe == 1


def test_a_run_may_be_cancelled_before_it_starts():
    driver = Driver(half)
    driver.add("a", asking(an_ask()))
    driver.cancel("a")
    assert driver.round() == [] and driver.nfe == 0


def test_leaving_drive_closes_all_flows():
    closed: list[str] = []
    for _, event in (events := drive([noting(closed, "a"), noting(closed, "b")], oracle.denoise)):
        if isinstance(event, Step):
            break
    events.close()
    assert sorted(closed) == ["a", "b"]


def test_run_raises_what_the_flow_raises():
    def failing():
        yield from together(ask(x, 1.0, {}))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(failing(), half)
