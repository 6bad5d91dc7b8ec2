"""What holds for every method that the oracle cannot run, since it reads or edits attention: on a tiny random UNet.

As in test_contracts.py, in few steps and in float32: images that were computed in another batch are equal up to
rounding, and all else is equal in every bit.
"""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from backbones import stable_diffusion
from backbones.latent import LatentBackbone
from backbones.unet import OFFERS
from conditioning.compose import compose, refusals
from conditioning.operators import BlockAverage, measure
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Done, Driver, Flow, Noise, Step, drive, on_step, run
from samplers.schedules import native
from tests.support import tiny
from tests.support.exact_runs import ORACLE, RUNNABLE, example
from tests.support.oracle import finish

STEPS = 2
PROMPTS = ("a red cube", "a blue sphere on grass", "a red sphere", "a large cube")
WORDS = {"prompt": "a small sphere on grass", "words": "a"}
HARD = {  # so that it acts in so small a network, and in a run of any part of the steps
    "masactrl": {"layer": 0.0, "start": 0.0},
    "panorama": {"window": 8, "stride": 4},
    "attend_and_excite": {"end": 1.0},
    "layout_guidance": {"threshold": 0.0, "end": 1.0},
}


@lru_cache
def network() -> LatentBackbone:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return stable_diffusion.load(str(tiny.save(Path(folder))))


def flow(
    methods: tuple[str, ...], seeds: list[int], changes: dict[str, Any] | None = None, sampler="euler", start="start"
) -> Flow:
    """A run of 2 steps, one image for every seed, everything about an image a function of its seed. start: the stream
    of the noise that it starts from."""
    b, rows = network(), len(seeds)
    sigmas = native(STEPS, b.sigmas)
    stack = [(m, {**inputs(m, seeds), **HARD.get(m, {}), **(changes or {})}) for m in methods]
    null, cond = b.encode_prompt([""] * rows), b.encode_prompt([PROMPTS[seed % 4] for seed in seeds])
    D, solver, _ = compose(stack, SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=b)
    noise = Noise(seeds)
    x = sigmas[0] * noise.child(start)(torch.empty(rows, *b.latent_shape(32, 32)))
    return solver(D, x, sigmas, cond, noise)


def inputs(method: str, seeds: list[int]) -> dict[str, Any]:
    one, b = METHODS[method], network()
    needed = {name: one.inputs[name].kind for name in one.needed({}) if name != "null"}
    given: dict[str, Any] = {}
    for name, kind in needed.items():
        if kind == "prompt":
            given[name] = b.encode_prompt([WORDS["prompt"]] * len(seeds))
        elif kind == "words":
            given[name] = WORDS["words"]
        elif kind == "boxes":
            given[name] = [
                one.__class__(one.left, one.top, one.right, one.bottom, "a") for one in example(kind, "", [])
            ]
        elif kind == "image":
            stream = [torch.Generator().manual_seed(seed) for seed in seeds]
            given[name] = torch.stack([torch.randn(4, 16, 16, generator=one) for one in stream])
        elif kind == "mask":
            given[name] = torch.arange(16).lt(8).expand(len(seeds), 1, 16, 16)
        elif kind == "map":
            given[name] = torch.full((len(seeds), 3, 32, 32), 0.6)
        elif kind == "operator":
            given[name] = measure(BlockAverage((3, 32, 32), 2), torch.full((len(seeds), 3, 32, 32), 0.2))
        else:
            pytest.skip(f"no example of {kind} for a latent network")
    return given


NETWORK = [
    name
    for name, one in METHODS.items()
    if one.kind != "backbone" and name not in RUNNABLE and set(one.needs) <= OFFERS
]
OTHERS = [name for name, one in METHODS.items() if one.kind != "backbone" and set(one.needs) <= OFFERS]
methods = pytest.mark.parametrize("method", NETWORK)


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-3 * b.abs().max())


def test_the_oracle_and_the_network_leave_none_out():
    inside = {*RUNNABLE, *NETWORK}
    left = [name for name, one in METHODS.items() if one.family.stage != "network" and name not in inside]
    assert NETWORK and all(refusals([(name, {})], ORACLE) for name in NETWORK) and not left


@methods
def test_it_runs_says_where_it_is_and_leaves_nothing(method):
    b = network()
    before = {name: id(one) for name, one in b.network.unet.attn_processors.items()}
    *steps, done = [event for _, event in drive([flow((method,), [1, 2])], b.denoise)]
    assert isinstance(done, Done) and done.result.shape == (2, 4, 16, 16) and done.result.isfinite().all()
    assert not done.result.requires_grad and torch.is_grad_enabled()
    assert steps[-1].sigma == 0.0 and torch.equal(steps[-1].x, done.result)
    assert all(step.x.shape == step.x0.shape == (2, 4, 16, 16) for step in steps)
    assert {name: id(one) for name, one in b.network.unet.attn_processors.items()} == before
    assert not any(module._forward_hooks for module in b.network.unet.modules())
    assert torch.equal(run(flow((method,), [1, 2]), b.denoise), done.result)  # the second run is the first
    assert not torch.equal(run(flow((), [1, 2]), b.denoise), done.result)  # and it does something


@methods
def test_it_starts_from_the_noise_of_its_seed(method):
    """Else it would have to say so: see encodes_start in tests/test_contracts.py."""
    assert not METHODS[method].has("encodes_start", {})
    ends = [run(flow((method,), [1], start=name), network().denoise) for name in ("start", "another start")]
    assert not near(*ends)


@methods
def test_an_image_depends_on_its_seed_and_not_on_its_company(method):
    b = network()
    driver = Driver(b.denoise)
    driver.add("mine", flow((method,), [1, 2]))
    driver.add("other", flow((), [5]))
    driver.round()
    driver.add("late", flow((method,), [2]))
    ends = finish(driver)
    assert near(ends["mine"][1:], run(flow((method,), [2]), b.denoise))
    assert near(ends["late"], ends["mine"][1:]) and not near(ends["mine"][:1], ends["mine"][1:])


@methods
def test_it_obeys_the_replies_to_its_steps(method):
    answered, asked = [], []

    def elsewhere(step: Step) -> torch.Tensor:
        answered.append(torch.full_like(step.x, 100.0 * (1 + len(answered))))
        return answered[-1]

    def noting(one):
        asked.append(one.x)
        return network().denoise(one)

    assert torch.equal(run(on_step(flow((method,), [1]), elsewhere), noting), answered[-1])
    for state in answered[:-1]:
        assert any((x - state.mean()).abs().max() < 50 for x in asked), "an answer to a step was dropped"


@methods
def test_cancelled_after_a_step_it_is_gone(method):
    b, closed = network(), []

    def noting() -> Flow:
        try:
            yield from flow((method,), [1])
        finally:
            closed.append(True)

    driver = Driver(b.denoise)
    driver.add(0, noting())
    while not any(isinstance(event, Step) for _, event in driver.round()):
        pass
    calls = driver.nfe
    driver.cancel(0)
    assert closed == [True] and not len(driver) and driver.round() == [] and driver.nfe == calls
    assert not any(module._forward_hooks for module in b.network.unet.modules())


@pytest.mark.parametrize("method, knob", [
    (m, name) for m in NETWORK for name, knob in METHODS[m].knobs.items() if getattr(knob, "neutral", None) is not None
])  # fmt: skip
def test_a_neutral_knob_is_as_without_the_method(method, knob):
    neutral = METHODS[method].knobs[knob].neutral
    with_it = run(flow((method,), [1, 2], {knob: neutral}), network().denoise)
    assert torch.equal(with_it, run(flow((), [1, 2]), network().denoise))
