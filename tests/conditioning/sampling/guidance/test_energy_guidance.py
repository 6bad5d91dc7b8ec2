"""Energy guidance: the step has its length and its way, time travel its calls, and the image comes nearer."""

import math

import pytest
import torch

from backbones import load
from conditioning.compose import compose
from conditioning.energies import ENERGIES
from conditioning.operators import BlockAverage, measure
from conditioning.registry import METHODS
from conditioning.sampling.correction.repaint import jumps
from conditioning.sampling.guidance.classifier_guidance import classifier_guidance
from conditioning.sampling.guidance.dps import dps
from conditioning.sampling.guidance.energy_guidance import energy_guidance
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, run
from samplers.schedules import karras
from tests.support.oracle import start

ORACLE = load("exact")
SHAPE = ORACLE.shape
TARGET = ORACLE.decode(ORACLE.samples(40, seed=3)[[7, 11]])
SIGMAS = karras(10, 0.05, 15.0)
COND = ORACLE.encode_prompt(["", ""])
euler = SAMPLERS["euler"]


def guided(sigmas=SIGMAS, sampler=euler, D=ask, seeds=(1, 2), **knobs):
    steered = energy_guidance(sampler, TARGET, backbone=ORACLE, **knobs)
    return steered(D, start(list(seeds), sigmas[0], SHAPE), sigmas, COND, Noise(seeds))


@pytest.mark.parametrize("name", ["colours", "edges"])
@pytest.mark.parametrize("s", [6.0, 1.0, 0.2])
def test_the_step_is_as_long_as_it_says_and_goes_downhill(name, s):
    (step,) = [
        e for _, e in drive([guided([s, 0.1], energy=name, strength=0.3)], ORACLE.denoise) if isinstance(e, Step)
    ]
    x = start([1, 2], s, SHAPE).requires_grad_()
    x0 = ORACLE.D(x, s, COND)
    moved = step.x0 - x0.detach()
    rms = moved.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full((2,), 0.3 * s / math.sqrt(1 + s**2), dtype=torch.float64))
    (g,) = torch.autograd.grad(ENERGIES[name](TARGET)(ORACLE.decode(x0)).sum(), x)
    cosine = torch.nn.functional.cosine_similarity(-g.flatten(1), moved.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(2, dtype=torch.float64))


def test_travel_goes_back_only_inside_of_the_interval():
    """The steps that leave a level between the parts `start` and `end` of the schedule, but the last of all."""
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 2) == [4, 3, 4, 3, 2, 3, 2, 1, 2, 1, 0]
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 2, 0.5, 1.0) == [4, 3, 2, 1, 2, 1, 0]
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 2, 0.25, 0.5) == [4, 3, 2, 3, 2, 1, 0]
    assert jumps([4.0, 3.0, 2.0, 1.0, 0.0], 1, 1, 0.0, 1.0) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("steps, start_, end", [(10, 0.5, 1.0), (10, 0.3, 0.6), (15, 0.0, 0.9), (25, 0.2, 0.9)])
def test_the_steps_that_are_guided_are_those_that_travel(steps, start_, end):
    """Each guided step is made `times` times, and each other one once; the last one cannot be undone."""
    sigmas = karras(steps, 0.05, 15.0)
    asked: list[tuple[int, bool]] = []

    def noting(one):
        asked.append((min(range(steps), key=lambda i: abs(sigmas[i] - one.sigma.max())), one.tape is not None))
        return ORACLE.denoise(one)

    run(guided(sigmas, times=3, start=start_, end=end), noting)
    guided_steps = {step for step, taped in asked if taped}
    assert guided_steps == {step for step in range(steps) if start_ * steps <= step + 1e-9 < end * steps}
    for step in range(steps):
        times = 3 if step in guided_steps and step < steps - 1 else 1
        assert [one for one, _ in asked].count(step) == times, step


def test_its_interval_is_one_of_the_run_within_a_jump_of_repaint_too():
    """RePaint's descents are made on parts of the schedule."""
    asked: set[float] = set()

    def noting(one):
        if one.tape is not None:
            asked.add(round(float(one.sigma.max()), 6))
        return ORACLE.denoise(one)

    x = torch.zeros(2, *SHAPE, dtype=torch.float64)
    stack = [("repaint", {"known": x, "mask": x[:, :1] == 0, "jump": 4, "times": 2}),
             ("energy_guidance", {"target": TARGET, "end": 0.5})]  # fmt: skip
    D, sampler, _ = compose(stack, euler, sigmas=SIGMAS, backbone=ORACLE)
    run(sampler(D, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2])), noting)
    assert asked == {round(s, 6) for s in SIGMAS[: (len(SIGMAS) - 1) // 2]}


class Bare:
    """Latents that are the image."""

    id = "bare"

    def decode(self, latents):
        return latents


def quadratic(target, backbone):
    return lambda images: (images - target).square().flatten(1).mean(1)


def backwards(monkeypatch, steps, strength=0.0, s=3.0, s_next=1.0):
    """One step with the quadratic energy: the state it began at, the network's denoised prediction, the target, the
    Step."""
    monkeypatch.setitem(ENERGIES, "colours", quadratic)
    target = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    steered = energy_guidance(euler, target, strength=strength, backward=steps, backbone=Bare())
    x = start([1, 2], s, SHAPE)
    flow = steered(ask, x, [s, s_next], COND, Noise([1, 2]))
    (step,) = [e for _, e in drive([flow], ORACLE.denoise) if isinstance(e, Step)]
    return x, ORACLE.D(x, s, COND), target, step


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_backward_lands_on_the_target(monkeypatch, strength):
    """Universal guidance, Algorithm 1: with enough steps D is the argmin, and eps'' = eps' - D sqrt(ab / (1 - ab))."""
    x, x0, target, step = backwards(monkeypatch, 200, strength)
    far = (x0 - target).square().mean().sqrt()
    assert (step.x0 - target).square().mean().sqrt() < 2e-3 * far
    if not strength:
        s, s_next = 3.0, 1.0  # sqrt(ab / (1 - ab)) is 1 / s in these coordinates
        eps = (x - x0) / s - (target - x0) / s
        torch.testing.assert_close(step.x, target + s_next * eps, rtol=0, atol=2e-3)


def test_a_few_steps_backward_go_a_part_of_the_way_and_ask_no_network(monkeypatch):
    found = [backwards(monkeypatch, steps) for steps in (0, 2, 6)]
    off = [(step.x0 - target).square().mean() for _, _, target, step in found]
    assert off[0] > off[1] > off[2] > 0
    assert torch.equal(found[0][3].x0, found[0][1])  # none is none, bit for bit
    taped = []

    def noting(one):
        taped.append(one.tape is not None)
        return ORACLE.denoise(one)

    run(guided(strength=0.0, backward=2), noting)
    assert taped == [False] * 10


def test_backward_lets_the_gradients_of_others_through():
    measured = measure(BlockAverage(SHAPE, 2), ORACLE.samples(2, seed=4))
    both = energy_guidance(dps(euler, measured), TARGET, backward=2, backbone=ORACLE)
    end = run(both(ask, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2])), ORACLE.denoise)
    assert end.isfinite().all() and not torch.equal(end, run(guided(backward=2), ORACLE.denoise))


@pytest.mark.parametrize(
    "given, words",
    [
        ({"energy": "edges"}, "edges compares with target, and there is none: give it, or choose one of text"),
        ({"energy": "text", "target": TARGET}, "the energy text compares with words.* choose one of colours, edges"),
        ({"energy": "text", "words": " "}, "the energy text compares with words"),
    ],
)
def test_what_an_energy_compares_with_must_be_there(given, words):
    with pytest.raises(ValueError, match=words):
        energy_guidance(euler, backbone=ORACLE, **given)


def test_which_input_is_needed_is_a_matter_of_the_energy():
    one = METHODS["energy_guidance"]
    assert one.needed({}) == one.needed({"energy": "depth"}) == ["target"]
    assert one.needed({"energy": "text"}) == ["words"]
    with pytest.raises(ValueError, match="energy_guidance needs its words"):
        compose([("energy_guidance", {"energy": "text"})], euler, sigmas=SIGMAS, backbone=ORACLE)


def test_outside_of_the_interval_it_asks_without_gradients():
    taped = []

    def noting(one):
        taped.append(one.tape is not None)
        return ORACLE.denoise(one)

    run(guided(start=0.3, end=0.6), noting)
    assert taped == [3 <= i < 6 for i in range(10)]


@pytest.mark.parametrize("name", ["colours", "edges"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_image_comes_nearer_to_the_target(name, times):
    energy = ENERGIES[name](TARGET)
    plain = run(euler(ask, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2])), ORACLE.denoise)
    got = run(guided(energy=name, times=times), ORACLE.denoise)
    assert (energy(ORACLE.decode(got)) < 0.6 * energy(ORACLE.decode(plain))).all()


def test_gradient_methods_stack_and_each_has_its_step():
    """DPS asks through energy guidance: its gradient runs through the network, and the energy's step is added."""
    measured = measure(BlockAverage(SHAPE, 2), ORACLE.samples(2, seed=4))
    x, s = start([1, 2], 3.0, SHAPE), 3.0

    def step(sampler, D=ask):
        return next(e for _, e in drive([sampler(D, x, [s, 1.0], COND, Noise([1, 2]))], ORACLE.denoise))

    def kick(sampler, D=ask):
        return step(sampler, D).x - step(euler, D).x

    both = step(energy_guidance(dps(euler, measured), TARGET, backbone=ORACLE))
    pull = step(energy_guidance(euler, TARGET, backbone=ORACLE)).x0 - ORACLE.D(x, s, COND)
    assert (both.x0 - ORACLE.D(x, s, COND) - pull).abs().max() < 1e-12 < pull.abs().max()
    away = (both.x - both.x0 - (x - both.x0) / s).abs().max()  # what is left is DPS's own
    assert away > 1e-3
    D = classifier_guidance(ask, "red", scale=1.0, backbone=ORACLE)
    assert kick(dps(euler, measured), D).abs().max() > 0


def test_a_curve_is_followed_by_level():
    def ends(strength):
        stack = [("energy_guidance", {"target": TARGET, "strength": strength})]
        D, sampler, _ = compose(stack, euler, sigmas=SIGMAS, backbone=ORACLE)
        run_ = sampler(D, start([1, 2], SIGMAS[0], SHAPE), SIGMAS, COND, Noise([1, 2]))
        return [e.x for _, e in drive([run_], ORACLE.denoise) if isinstance(e, Step)]

    curved, constant = ends("0:0.5, 0.5:0.5, 0.5:0"), ends(0.5)
    same = [torch.equal(a, b) for a, b in zip(curved, constant, strict=True)]
    assert same == [True] * 5 + [False] * 5
