"""What is said to do nothing does nothing, bit for bit; and an interval that is not said to be empty acts."""

import itertools

import pytest
import torch

from conditioning.clashes import solver_clash
from conditioning.registry import METHODS, Knob, find
from conditioning.unused import unused
from samplers import SAMPLERS
from samplers.flow import run
from tests import test_contracts_network as network
from tests.support import exact_runs as oracle

PARTS = (0.0, 0.1, 0.25, 0.5, 0.6, 0.95, 1.0)  # of four steps, or of two
IDLE = [
    (name, knob, *one.knobs[knob].ignored_when)
    for name, one in METHODS.items()
    for knob in one.knobs
    if isinstance(one.knobs[knob], Knob) and one.knobs[knob].ignored_when is not None and name in oracle.RUNNABLE
]


def bounds(method):
    """Knobs of the only interval that the whole method acts in, if it has one; and their values to be tried."""
    whole = [one for one in find(method).intervals if one.disables_method]
    if len(whole) != 1:
        return []
    names = [name for name in (whole[0].start, whole[0].end) if name is not None]
    return [dict(zip(names, values)) for values in itertools.product(PARTS, repeat=len(names))]


def said_to_do_nothing(method, knobs, steps, sampler):
    solver = SAMPLERS[sampler]
    return any(one.whole for one in unused([(find(method), knobs)], steps, solver.between))


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("method", [m for m in oracle.RUNNABLE if bounds(m) and not solver_clash(find(m), "heun")])
def test_an_interval_is_empty_just_where_it_is_said_to_be(method, sampler):
    alone = run(oracle.flow((sampler, ()), [1]), oracle.ORACLE.denoise)
    empty = 0
    for knobs in bounds(method):
        got = run(oracle.flow((sampler, (method,)), [1], {method: knobs}), oracle.ORACLE.denoise)
        said = said_to_do_nothing(method, knobs, oracle.STEPS, sampler)
        # At the last level the oracle knows what it sees, whatever the prompt is: guidance is without effect there.
        if said or knobs.get("warmup", knobs.get("start", 0)) * oracle.STEPS <= oracle.STEPS - 2:
            assert said is torch.equal(got, alone), (knobs, said)
        empty += said
    assert 0 < empty < len(bounds(method))


@pytest.mark.parametrize("method", [m for m in network.NETWORK if bounds(m)])
def test_so_it_is_on_a_network(method):
    alone = run(network.flow((), [1]), network.network().denoise)
    for knobs in bounds(method):
        got = run(network.flow((method,), [1], knobs), network.network().denoise)
        if said_to_do_nothing(method, knobs, network.STEPS, "euler"):
            torch.testing.assert_close(got, alone, rtol=0, atol=1e-5)  # a source beside it changes how it is computed
        else:
            assert not torch.equal(got, alone), knobs


@pytest.mark.parametrize("method, start, end", [
    (name, one.start, one.end) for name, method in METHODS.items() for one in method.intervals if one.start and one.end
])  # fmt: skip
def test_of_every_interval_it_is_said_that_it_ends_before_it_starts(method, start, end):
    """ControlNet's, too, which needs a network that none of the runs above has."""
    one = find(method)
    low, high = (0.4, 0.6) if one.knobs[end].high <= 1 else (2, 8)
    found = [gap for gap in unused([(one, {start: high, end: low})], oracle.STEPS, False) if gap.knob == start]
    assert [gap.why.split(", so")[0] for gap in found] == [f"{high:g} lies after the end, {low:g}"]
    assert not [gap for gap in unused([(one, {start: 0, end: one.knobs[end].high})], 20, False) if gap.knob == start]


@pytest.mark.parametrize("strength, end, said", [(0.5, 0.5, True), (0.5, 0.75, False), (1.0, 0.25, False)])
def test_an_interval_before_the_first_step_that_is_made(strength, end, said):
    """An image noised to half of the schedule begins at step 2 of 4."""
    knobs = {"cfg": {"end": end}, "sdedit": {"strength": strength}}
    both = run(oracle.flow(("euler", ("sdedit", "cfg")), [1], knobs), oracle.ORACLE.denoise)
    alone = run(oracle.flow(("euler", ("sdedit",)), [1], knobs), oracle.ORACLE.denoise)
    stack = [(find(name), knobs[name]) for name in ("sdedit", "cfg")]
    assert any(one.place == 1 and one.whole for one in unused(stack, oracle.STEPS, False)) is said
    assert torch.equal(both, alone) is said


@pytest.mark.parametrize("method, knob, other, value", IDLE)
def test_an_idle_knob_does_nothing(method, knob, other, value):
    one = find(method).knobs[knob]
    moved = next(v for v in (one.low, one.high) if v != one.default)
    given = {} if value is None else {other: value}
    knobs = {**given, knob: one.type(moved)}
    said = [item.knob for item in unused([(find(method), knobs)], oracle.STEPS, False)]
    assert said == [knob]
    sampler = next(name for name in ("euler", "ancestral") if not solver_clash(find(method), name))
    base = {**oracle.SETTINGS.get(method, {}), **given}
    images = [
        run(oracle.flow((sampler, (method,)), [1], {method: values}), oracle.ORACLE.denoise)
        for values in (base, {**base, **knobs})
    ]
    assert torch.equal(*images)


@pytest.mark.parametrize("method", ["repaint", "ddnm"])
@pytest.mark.parametrize("jump, said", [(1, False), (3, False), (4, True), (10, True)])
def test_a_jump_as_long_as_the_run(method, jump, said):
    knobs = {"jump": jump, "times": 2}
    assert [one.knob for one in unused([(find(method), knobs)], oracle.STEPS, False)] == ["jump"] * said
    images = [
        run(oracle.flow(("euler", (method,)), [1], {method: values}), oracle.ORACLE.denoise)
        for values in (knobs, {"times": 1})
    ]
    assert torch.equal(*images) is said


def test_it_says_what_to_do():
    (one,) = unused([(find("energy_guidance"), {"start": 0.6, "end": 0.4})], 10, False)
    assert one == (0, "start", "0.6 lies after the end, 0.4, so Energy guidance does nothing", True)
    (one,) = unused([(find("masactrl"), {"start": 0.95})], 10, False)
    assert one.why == "no step is made from 0.95 to 1 of 10 steps, so MasaCtrl does nothing"
    (one,) = unused([(find("repaint"), {})], 10, False)
    assert one.knob == "jump" and "Give at most 9" in one.why
