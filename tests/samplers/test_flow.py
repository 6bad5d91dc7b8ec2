import pytest
import torch

from samplers import SAMPLERS
from samplers.euler import euler
from samplers.flow import (
    Ask,
    Noise,
    Step,
    ask,
    on_step,
    once_each,
    renoising,
    role_of,
    run,
    stepwise,
    tap,
    together,
    with_role,
)
from tests.support.oracle import flow, mixture, start

oracle = mixture()
x = start([1, 2], 3.0)


def half(one: Ask):
    return one.x / 2


def test_ask_is_one_ask_with_a_sigma_for_every_row():
    (one,) = next(ask(x, 3.0, {"text": torch.zeros(2, 1, 3)}))
    assert one.sigma.tolist() == [3.0, 3.0] and one.sigma.dtype == x.dtype
    assert one.x is x and one.edit is None and one.tape is None


def test_ask_refuses_a_condition_of_other_rows():
    with pytest.raises(ValueError, match=r"cond\['text'\] has 1 rows and x has 2"):
        next(ask(x, 3.0, {"text": torch.zeros(1, 1, 3)}))


def test_an_edit_may_depend_on_the_condition():
    conds = [{"text": torch.zeros(2, 1, 3)}, {"text": torch.ones(2, 1, 3)}]
    for edit in ("fixed", lambda cond: cond["text"].sum().item()):
        asks = next(together(*(ask(x, 1.0, cond, edit) for cond in conds)))
        assert [one.edit for one in asks] == (["fixed", "fixed"] if edit == "fixed" else [0.0, 6.0])


def test_a_cond_keeps_its_role_through_further_keys_and_the_network_never_sees_it():
    cond = {**with_role({"text": torch.zeros(2, 1, 3)}, "negative"), "map": torch.zeros(2, 1, 8, 8)}
    (one,) = next(ask(x, 1.0, cond, lambda cond: role_of(cond)))
    assert role_of(cond) == one.role == one.edit == "negative" and one.cond.keys() == {"text", "map"}
    assert role_of({"text": 1}) == "other"
    with pytest.raises(ValueError, match="no role 'null': give one of prompt, negative, other"):
        with_role({}, "null")


def test_together_makes_one_list_of_asks_and_gives_each_flow_its_own():
    def twice(x):
        first = yield from ask(x, 1.0, {})
        return (yield from ask(first, 0.5, {}))

    both = together(twice(x), ask(2 * x, 1.0, {}))
    asks = next(both)
    assert len(asks) == 2
    asks = both.send([half(one) for one in asks])
    assert len(asks) == 1  # the second has its answer already
    with pytest.raises(StopIteration) as end:
        both.send([half(one) for one in asks])
    assert torch.equal(end.value.value[0], x / 4) and torch.equal(end.value.value[1], x)


def test_together_nests():
    def all_four():
        return (yield from together(*(together(ask(i * x, 1.0, {}), ask(-i * x, 1.0, {})) for i in (1, 2))))

    asks = next(f := all_four())
    assert len(asks) == 4
    with pytest.raises(StopIteration) as end:
        f.send([half(one) for one in asks])
    assert torch.equal(end.value.value[1][1], -x)


def test_together_of_nothing_and_of_what_asks_nothing():
    def silent():
        return 7
        yield

    assert run(together(), half) == []
    assert run(together(silent()), half) == [7]


def test_together_refuses_samplers():
    def stepping():
        yield Step(x, x, 0.0)

    with pytest.raises(TypeError, match=r"a flow inside together\(\) took a Step"):
        next(together(stepping()))


def test_together_closes_all_its_flows_when_closed_and_when_one_raises():
    closed = []

    def noting(name):
        try:
            yield from ask(x, 1.0, {})
            raise RuntimeError("mine")
        finally:
            closed.append(name)

    f = together(noting("a"), noting("b"))
    next(f)
    f.close()
    assert closed == ["a", "b"]
    closed.clear()
    with pytest.raises(RuntimeError, match="mine"):
        run(together(noting("a"), noting("b")), half)
    assert closed == ["a", "b"]


def test_on_step_changes_what_is_reported_and_what_goes_on():
    sampled = on_step(flow(SAMPLERS["euler"], [1]), lambda step: step.x + 1)
    plain = flow(SAMPLERS["euler"], [1])
    a, b = sampled.send([oracle.denoise(next(sampled)[0])]), plain.send([oracle.denoise(next(plain)[0])])
    assert torch.equal(a.x, b.x + 1) and torch.equal(a.x0, b.x0) and a.sigma == b.sigma
    assert torch.equal(sampled.send(a.x)[0].x, a.x)


def test_on_step_that_changes_nothing_is_bit_identical():
    plain = run(flow(SAMPLERS["heun"], [1, 2]), oracle.denoise)
    assert torch.equal(plain, run(on_step(flow(SAMPLERS["heun"], [1, 2]), lambda step: step.x), oracle.denoise))


def test_on_step_closes_its_flow_when_closed_and_when_the_fix_raises():
    closed = []

    def stepping():
        try:
            while True:
                yield Step(x, x, 1.0)
        finally:
            closed.append(True)

    f = on_step(stepping(), lambda step: step.x)
    next(f)
    f.close()
    with pytest.raises(ZeroDivisionError):
        run(on_step(stepping(), lambda step: 1 / 0), half)
    assert closed == [True, True]


@pytest.mark.parametrize("name", SAMPLERS)
def test_renoising_a_falling_schedule_is_the_sampler_itself(name):
    plain, renoised = (run(flow(s, [1, 2]), oracle.denoise) for s in (SAMPLERS[name], renoising(SAMPLERS[name])))
    assert torch.equal(plain, renoised)


def test_renoising_calls_the_sampler_afresh_for_every_descent():
    descents = []

    def noting(D, x, sigmas, cond, noise):
        descents.append(list(sigmas))
        return x
        yield

    run(renoising(noting)(ask, x, [5.0, 2.0, 4.0, 1.0, 3.0, 6.0, 0.0], {}, Noise([1, 2])), half)
    assert descents == [[5.0, 2.0], [4.0, 1.0], [3.0], [6.0, 0.0]]


def test_renoising_adds_the_noise_between_the_levels():
    def still(D, x, sigmas, cond, noise):
        return x
        yield

    seeds = list(range(4000))
    out = run(renoising(still)(ask, torch.zeros(4000, 1, 2, 2), [3.0, 5.0], {}, Noise(seeds)), half)
    assert abs(float(out.std()) - 4.0) < 0.1 and abs(float(out.mean())) < 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_renoising_from_zero_works(name):
    """Up from 0 and down again, as Restart and RePaint do; history kept by hand fails here."""
    sigmas = [5.0, 1.0, 0.0, 2.0, 0.5, 0.0]
    out = run(renoising(SAMPLERS[name])(ask, start([1], 5.0), sigmas, {}, Noise([1])), oracle.denoise)
    assert out.isfinite().all()


def test_renoising_draws_from_a_stream_of_its_own():
    """So that the numbers of the sampler are the same with and without a climb."""
    drawn = []

    def drawing(D, x, sigmas, cond, noise):
        drawn.append(noise(x))
        return x
        yield

    run(renoising(drawing)(ask, x, [5.0, 2.0, 4.0, 0.0], {}, Noise([1, 2])), half)
    plain = Noise([1, 2])
    assert all(torch.equal(got, plain(x)) for got in drawn) and len(drawn) == 2


def test_heard_tells_every_message_with_its_answer_and_changes_nothing():
    x, sigmas = start([1], 5.0), [5.0, 2.0, 0.0]
    plain = run(euler(ask, x, sigmas, {}, Noise([1])), oracle.denoise)
    messages = []
    flow = on_step(
        tap(euler(ask, x, sigmas, {}, Noise([1])), lambda *one: messages.append(one)), lambda step: step.x + 1
    )
    changed = run(flow, oracle.denoise)
    kinds = [type(message) for message, _ in messages]
    assert kinds == [list, Step, list, Step]
    assert torch.equal(messages[0][1][0], oracle.D(x, 5.0)) and torch.equal(messages[1][1], messages[1][0].x + 1), (
        "the reply"
    )
    assert not torch.equal(changed, plain)
    assert torch.equal(run(tap(euler(ask, x, sigmas, {}, Noise([1])), lambda *_: None), oracle.denoise), plain)


def test_heard_closes_what_it_hears():
    closed = []

    def flow():
        try:
            yield []
        finally:
            closed.append(True)

    one = tap(flow(), lambda *_: None)
    next(one)
    one.close()
    assert closed


def test_after_a_step_one_may_ask_and_its_answer_is_gone_on_with():
    """stepwise: what `after` asks is answered like any other ask, and the x that it returns is the next state."""
    asked, steps = [], []

    def after(step):
        x = yield step
        (x0,) = yield [Ask(x, x.new_full((len(x),), 1.0), {"mine": True})]
        return x0 + 1

    def answer(one):
        asked.append("mine" in one.cond)
        return one.x / 2

    flow = tap(stepwise(euler(ask, torch.ones(1, 1, 2, 2), [4.0, 2.0, 0.0], {}, Noise([1])), after),
               lambda message, reply: steps.append(message) if isinstance(message, Step) else None)  # fmt: skip
    end = run(flow, answer)
    assert asked == [False, True, False, True] and [step.sigma for step in steps] == [2.0, 0.0]
    assert torch.equal(end, steps[-1].x / 2 + 1)


def test_what_raises_outside_closes_the_flow_within():
    closed = []

    def inner():
        try:
            yield Step(torch.zeros(1), torch.zeros(1), 1.0)
        finally:
            closed.append(True)

    def after(step):
        raise RuntimeError("mine")
        yield

    with pytest.raises(RuntimeError, match="mine"):
        run(stepwise(inner(), after), lambda one: one.x)
    assert closed == [True]


def test_what_is_asked_twice_at_once_is_asked_once():
    """By the same tensors at the same level; a copy, another level, another cond or an edit is asked by itself."""
    x, text = torch.randn(2, 1, 2, 2), torch.zeros(2, 3)
    edit = object()

    def asks():
        return (yield from together(
            ask(x, 1.0, {"text": text}), ask(x, 1.0, {"text": text.view(2, 3)}), ask(x, 2.0, {"text": text}),
            ask(x.clone(), 1.0, {"text": text}), ask(x, 1.0, {"text": text + 0}),
            ask(x, 1.0, {"text": text}, edit=edit), ask(x, 1.0, {"text": text, "name": 1}), ask(x, 1.0, {"text": text}),
        ))  # fmt: skip

    flow = once_each(asks())
    message = next(flow)
    assert len(message) == 6
    with pytest.raises(StopIteration) as end:
        flow.send([torch.full((2,), float(i)) for i in range(6)])
    assert [int(one[0]) for one in end.value.value] == [0, 0, 1, 2, 3, 4, 5, 0]
