from typing import Annotated

import pytest
import torch

from conditioning.compose import compose, refusals
from conditioning.registry import METHODS, Image, Knob, method
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, on_step, role_of, run, with_role
from samplers.schedules import karras
from tests.support.oracle import finish, mixture, start

oracle = mixture()
sigmas = karras(10, 0.05, 20.0)
NULL = oracle.encode_prompt(["", ""])


@pytest.fixture(autouse=True)
def three_methods():
    """shift_up and shift_down are D -> D, nudge is sampler -> sampler; each says in `asked` with what it was called."""
    before, asked = dict(METHODS), []

    def shift_up(D, by: Annotated[float, Knob(0, 9, neutral=0, curve=True)] = 1.0, backbone=None):
        def shifted(x, sigma, cond, **kw):
            asked.append(("up", by))
            return (yield from D(x, sigma, cond, **kw)) + by

        return shifted

    def shift_down(D, by: Annotated[float, Knob(0, 9)] = 1.0):
        def shifted(x, sigma, cond, **kw):
            asked.append(("down", by))
            return (yield from D(x, sigma, cond, **kw)) - by

        return shifted

    def nudge(sampler, image: Image, times: Annotated[int, Knob(1, 5)] = 1):
        return lambda *args: on_step(sampler(*args), lambda step: step.x + 0 * image * times)

    for function, folder, extra in (
        (shift_up, "sampling.blending", {}),
        (shift_down, "sampling.attention", {"needs": ("attention.self",), "traits": ("cuts_windows",)}),
        (nudge, "sampling.correction", {"traits": ("extracts_noise", "reads_whole_map")}),
    ):
        function.__doc__ = "Title.\n\nSummary.\n\n    x = x"
        function.__module__ = f"conditioning.{folder}.made_up"
        method(task="any", paper="0000.00000", **extra)(function)
    yield asked
    METHODS.clear()
    METHODS.update(before)


def test_nothing_is_the_sampler_over_the_network():
    _, sampler, text = compose([], SAMPLERS["euler"])
    assert text == "euler over ask" and sampler is SAMPLERS["euler"]


def test_the_network_at_the_bottom_may_be_another():
    def recording(x, sigma, cond, **kw):
        return (yield from ask(x, 2 * sigma, cond, **kw))

    seen = []

    def answer(one):
        seen.append(float(torch.as_tensor(one.sigma).max()))
        return one.x

    D, sampler, text = compose([("cfg", {"scale": 2.0})], SAMPLERS["euler"], recording, null={}, sigmas=[4.0, 1.0, 0.0])
    run(sampler(D, torch.ones(1, 1, 2, 2), [4.0, 1.0, 0.0], {"text": torch.zeros(1, 1)}, Noise([0])), answer)
    assert seen == [8.0, 8.0, 2.0, 2.0] and text == "euler over cfg(ask)"


@pytest.mark.parametrize("name, values", [("composable", {"also": NULL}), ("semantic_guidance", {"edit": NULL})])
def test_the_negative_prompt_is_known_by_its_role_even_where_keys_are_added(name, values):
    """An inner method of the network adds keys to every cond, which makes each another object."""
    cond = oracle.encode_prompt(["red", "red"])
    asked = []

    def network(x, sigma, cond, **kw):
        asked.append(role_of(cond))
        return (yield from ask(x, sigma, cond, **kw))

    D, _, _ = compose([(name, values)], SAMPLERS["euler"], network, null=cond, sigmas=sigmas)
    for given, rows in ((with_role(cond, "negative"), 1), (cond, 3)):
        asked.clear()
        run(D(start([1, 2], 3.0), 3.0, {**given, "more": torch.zeros(2, 1)}), oracle.denoise)
        assert len(asked) == rows and asked.count("negative") == 1


def test_it_sorts_by_family_and_says_so():
    stack = [("cfg", {}), ("shift_up", {}), ("shift_down", {})]
    texts = {compose(order, SAMPLERS["euler"], null=NULL)[2] for order in (stack, stack[::-1])}
    assert texts == {"euler over cfg(shift_up(shift_down(ask)))"}
    stack = [("nudge", {"image": torch.zeros(1)}), ("cfg", {})]
    assert compose(stack, SAMPLERS["euler"], null=NULL)[2] == "nudge(euler) over cfg(ask)"


def test_the_inner_is_called_last(three_methods):
    D, _, _ = compose([("shift_up", {"by": 3}), ("shift_down", {})], SAMPLERS["euler"])
    x = start([1], 20.0)
    assert torch.equal(run(D(x, 20.0, {}), oracle.denoise), oracle.D(x, 20.0) - 1 + 3)
    assert three_methods == [("up", 3), ("down", 1)]


def test_a_curve_is_followed_by_the_level_and_not_by_counting(three_methods):
    """Heun asks twice a step: the second time at the level, and so with the strength, of the next."""
    D, sampler, _ = compose([("shift_up", {"by": "0:0, 1:5"})], SAMPLERS["heun"], sigmas=sigmas)
    run(sampler(D, start([1], 20.0), sigmas, {}, Noise([1])), oracle.denoise)
    steps = [round(by * 2) for _, by in three_methods]
    assert steps == [0, *[i for i in range(1, 10) for _ in range(2)]]


def test_a_curve_that_is_constant_is_the_constant():
    ends = []
    for by in ("2", 2, "0:2", "0:2, 0.3:2"):
        D, sampler, _ = compose([("shift_up", {"by": by})], SAMPLERS["dpmpp_2m"], sigmas=sigmas)
        ends.append(run(sampler(D, start([1], 20.0), sigmas, {}, Noise([1])), oracle.denoise))
    assert all(torch.equal(ends[0], end) for end in ends)


def test_guidance_from_both_ends_batched_with_others():
    """Two people with different scales and curves still share their network evaluations."""
    driver = Driver(oracle.denoise)
    for i, scale in enumerate((3.0, "0:1, 0.5:1, 0.5:4")):
        D, sampler, _ = compose([("cfg", {"scale": scale})], SAMPLERS["euler"], null=NULL, sigmas=sigmas)
        cond = oracle.encode_prompt(["word0", "word1"])
        driver.add(i, sampler(D, start([1, 2], 20.0), sigmas, cond, Noise([1, 2])))
    finish(driver)
    assert driver.nfe == 10 and driver.rows == 10 * 4 + 5 * 2 + 5 * 4


IMAGE = {"image": torch.zeros(1)}


@pytest.mark.parametrize(
    "stack, error, why",
    [
        ([("cgf", {})], ValueError, "no method 'cgf': did you mean cfg"),
        ([("cfg", {"strength": 3})], ValueError, "cfg has no 'strength': it takes null, scale, rescale, start, end"),
        ([("cfg", {"scale": 99})], ValueError, "cfg.scale is 99: give a number from 0 to 30"),
        ([("cfg", {"scale": "high"})], ValueError, "'high' is no strength"),
        ([("cfg", {"rescale": "0:0, 1:1"})], TypeError, "cfg.rescale is the curve"),
        ([("cfg", {})], ValueError, "cfg needs its null: a prompt as a cond of B rows"),
        ([("nudge", {})], ValueError, "nudge needs its image: an image as latents"),
        ([("nudge", {"times": 2.5, **IMAGE})], ValueError, "nudge.times is 2.5: give an integer from 1 to 5"),
        ([("shift_up", {}), ("shift_up", {})], ValueError, "shift_up is in the stack twice"),
        ([("shift_down", {}), ("nudge", IMAGE)], ValueError, "nudge and shift_down do not go together: the map"),
        ([("shift_up", {"by": "0:0, 1:5"})], ValueError, "shift_up.by is a curve: give compose"),
    ],
)
def test_what_does_not_compose_says_why(stack, error, why):
    with pytest.raises(error, match=why):
        compose(stack, SAMPLERS["euler"])


def test_a_sampler_may_clash():
    with pytest.raises(ValueError, match="nudge and restart do not go together: Restart adds noise between the levels"):
        compose([("nudge", IMAGE)], SAMPLERS["restart"])


def test_a_backbone_without_what_a_method_needs_is_named():
    assert refusals([("shift_up", {}), ("cfg", {})], oracle) == []
    (why,) = refusals([("shift_down", {})], oracle)
    assert why.startswith("Title needs attention within the image") and why.endswith("exact has none")
