"""Runs of every sampler and method on the exact oracle: short, and everything about an image a function of its seed."""

import zlib
from typing import Any

import pytest
import torch

import backbones
import conditioning  # noqa: F401  fills the registry
from conditioning.compose import compose, refusals
from conditioning.inputs import Box, Lora, Point
from conditioning.operators import BlockAverage, measure
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Flow, Noise
from samplers.schedules import native

ORACLE = backbones.load("exact")
SHAPE = ORACLE.latent_shape(64, 64)
STEPS = 4
SIGMAS = native(STEPS, ORACLE.sigmas)
PROMPTS = ("red disc", "blue", "green square", "square")

SETTINGS = {  # without which a method does nothing, or everything, in a run of 4 steps to an image of 8 x 8
    "panorama": {"window": 4, "stride": 2},  # the image is no larger than the window by default
    "ilvr": {"detail": 2},  # by default 8 x 8 cells are the reference's: all there are, whatever else is done
    "repaint": {"jump": 1, "times": 2},  # the default jump is longer than the run
}

Run = tuple[str, tuple[str, ...]]  # a sampler and the methods over it


def flow(
    name: Run, seeds: list[int], changes: dict[str, dict[str, Any]] | None = None, wrap: Any = None,
    start: str = "start",
) -> Flow:  # fmt: skip
    """A run of 4 steps, one image for every seed, everything about an image a function of its seed. start: the stream
    of the noise that it starts from."""
    sampler_name, methods = name
    prompts = [PROMPTS[seed % len(PROMPTS)] for seed in seeds]
    stack = [(m, {**inputs(m, seeds), **SETTINGS.get(m, {}), **(changes or {}).get(m, {})}) for m in methods]
    D, sampler, _ = compose(
        stack,
        SAMPLERS[sampler_name] if wrap is None else wrap(SAMPLERS[sampler_name]),
        sigmas=SIGMAS,
        null=ORACLE.encode_prompt([""] * len(seeds)),
        backbone=ORACLE,
    )
    noise = Noise(seeds)
    x = SIGMAS[0] * noise.child(start)(torch.empty(len(seeds), *SHAPE, dtype=torch.float64))
    return sampler(D, x, SIGMAS, ORACLE.encode_prompt(prompts), noise)


def inputs(method: str, seeds: list[int]) -> dict[str, Any]:
    """Something for every input that a method cannot do without."""
    one = METHODS[method]
    return {
        name: example(one.inputs[name].kind, f"{method}.{name}", seeds) for name in one.needed({}) if name != "null"
    }


def example(kind: str, name: str, seeds: list[int]) -> Any:
    if kind in ("image", "references"):
        image = ORACLE.samples(8, seed=zlib.crc32(name.encode()))[[seed % 8 for seed in seeds]]
        return image if kind == "image" else [image]
    if kind == "mask":
        return torch.arange(SHAPE[2]).lt(SHAPE[2] // 2).expand(len(seeds), 1, *SHAPE[1:])
    if kind == "map":
        return ORACLE.decode(example("image", name, seeds))
    if kind == "words":
        return "red"
    if kind == "prompt":
        return ORACLE.encode_prompt(["green" if "source" in name else "disc"] * len(seeds))
    if kind == "boxes":
        return [Box(0.0, 0.0, 0.5, 1.0, "red")]
    if kind == "points":
        return [Point(0.3, 0.3, 0.6, 0.6)]
    if kind == "loras":
        return [Lora("lora.0", 1.0)]
    if kind == "operator":
        return measure(BlockAverage(SHAPE, 2), example("image", name, seeds))
    pytest.skip(f"no example of {kind} yet")


RUNNABLE = [m for m in METHODS if not refusals([(m, {})], ORACLE) and METHODS[m].kind != "backbone"]
