"""Short runs on a given backbone, everything about an image a function of its seed."""

from collections.abc import Sequence
from typing import Any

import torch

from conditioning.compose import compose
from samplers import SAMPLERS
from samplers.flow import Flow, Noise
from samplers.schedules import native

PROMPT = "a red sphere on grass"


def flow(
    backbone: Any,
    stack: list[tuple[str, dict[str, Any]]],
    seeds: Sequence[int] = (1,),
    sampler: str = "euler",
    steps: int = 4,
    prompt: str = PROMPT,
) -> Flow:
    """One image for every seed, all of one prompt; guided where "cfg" is in the stack."""
    B, size = len(seeds), backbone.default_size
    sigmas = native(steps, backbone.sigmas)
    null, cond = (backbone.encode_prompt([text] * B) for text in ("", prompt))
    D, solver, _ = compose(stack, SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=backbone)
    noise = Noise(seeds)
    x = sigmas[0] * noise.child("start")(torch.empty(B, *backbone.latent_shape(size, size)))
    return solver(D, x, sigmas, cond, noise)
