"""Restoration: an image from an observation y = A x of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.base import Backbone
from bench.tasks.base import (
    Case,
    Figures,
    Output,
    Row,
    Task,
    autoencoder_ceiling,
    caption,
    ground_truth_of,
    render_images,
    test_scenes,
)
from conditioning.operators import Degradation, Measurement, state_is_pixels
from conditioning.registry import Method
from fidelity import distances

SMALL = 16  # pixels a side that super-resolution starts from, a quarter or an eighth of the image
RESTORED = {"psnr": "PSNR", "ssim": "SSIM", "rms": "rms Ax-y", "max": "max Ax-y"}


def restoration(
    label: str, name: str, parameters: Callable[[int, int], dict[str, Any]], tasks: tuple[str, ...], **more: Any
) -> Task:
    """parameters(n, size): of the operator `name`, for case n. rms and max are of images in [-1, 1]."""

    def cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
        size = backbone.default_size
        scenes = test_scenes(count)
        generated_cases = []
        for (n, scene), ground_truth in zip(scenes, render_images([scene for _, scene in scenes], size).split(1)):
            settings = parameters(n, size)
            degraded = Degradation(ground_truth, name, settings, noise, seed=n)
            observation = degraded.measured(backbone, 1)
            inputs: dict[str, Any] = {"operator": degraded, "image": ground_truth}
            if "mask" in settings:
                inputs["mask"] = settings["mask"][None, None].float()
                inputs["image"] = torch.where(settings["mask"], 0.5, ground_truth)
            else:
                inputs["reference"] = bicubic(observation, size)
            generated_cases.append(Case(n, caption(n, scene), inputs, ground_truth, target=observation))
        return generated_cases

    def measure(cases: Sequence[Case], outputs: Sequence[Output], backbone: Backbone) -> list[Figures]:
        return [_restoration_figures(case, output, backbone) for case, output in zip(cases, outputs)]

    def baselines(backbone: Backbone) -> list[Row]:
        size = backbone.default_size
        baseline_rows = [
            Row("do nothing", generate=lambda case: observation_as_image(case.target)),
            Row("chance: the prompt alone"),
            autoencoder_ceiling(backbone),
        ]
        if name.startswith("super_resolution"):
            baseline_rows.insert(1, Row("bicubic", generate=lambda case: bicubic(case.target, size)))
        return baseline_rows

    def method_rows(method: Method, backbone: Backbone) -> list[Row]:
        """ILVR takes the observed frequencies from its reference."""
        return [Row(method.name, [(method.name, {"detail": SMALL} if method.name == "ilvr" else {})])]

    backbones = ("still-life-pixels", "still-life")
    return Task(
        label, backbones, RESTORED, cases, measure, baselines, tasks, method_rows=method_rows, scale=1.0, **more
    )


def observation_as_image(observation: Measurement) -> Tensor:
    """The observation as an image: a blurred one as it is, a hole filled with the mean of its surroundings."""
    y = observation.y
    if y.shape[1:] == observation.operator.shape and "lur" in observation.operator.title:
        return (y / 2 + 0.5).clamp(0, 1)
    return (observation.operator.show(y) / 2 + 0.5).clamp(0, 1)


def bicubic(observation: Measurement, size: int) -> Tensor:
    """The observation upsampled to the full size by the bicubic kernel."""
    y = (
        observation_as_image(observation)
        if observation.y.ndim != 4 or observation.y.shape[1] != 3
        else (observation.y / 2 + 0.5)
    )
    return F.interpolate(y, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)


def _restoration_figures(case: Case, output: Output, backbone: Backbone) -> Figures:
    observation: Measurement = case.target
    hole = case.inputs.get("mask")
    x = output.state if output.state is not None and state_is_pixels(backbone) else output.image * 2 - 1
    residual = observation.operator.A(x.cpu()) - observation.y
    return {
        "psnr": float(distances.psnr(output.image, ground_truth_of(case), None if hole is None else hole > 0.5)),
        "ssim": float(distances.ssim(output.image, ground_truth_of(case))),
        "rms": float(residual.square().mean().sqrt()),
        "max": float(residual.abs().max()),
    }


def hole(n: int, size: int) -> dict[str, Any]:
    """A rectangle of about a sixth of the image, its sides from 0.3 to 0.5 of the image's."""
    rng = np.random.default_rng([n, 5])
    height, width = (int(size * rng.uniform(0.3, 0.5)) for _ in range(2))
    top, left = int(rng.integers(size - height)), int(rng.integers(size - width))
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return {"mask": mask}


ANY_OBSERVATION = ("restoration",)  # the task of methods for any observation, in the registry
TASKS = {
    "inpaint": restoration("Inpainting", "inpainting", hole, ("inpainting", *ANY_OBSERVATION)),
    "super-resolution": restoration(
        f"Super-resolution from {SMALL} x {SMALL}",
        "super_resolution",
        lambda n, size: {"factor": size // SMALL},
        ("reference", *ANY_OBSERVATION),
    ),
    "deblur": restoration(
        "Gaussian deblurring", "gaussian_blur", lambda n, size: {"sigma": size / 32}, ANY_OBSERVATION, noise=0.05
    ),
    "colourise": restoration("Colourisation", "colourisation", lambda n, size: {}, ANY_OBSERVATION),
}
