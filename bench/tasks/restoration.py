"""Restoration: a picture from a measurement of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.base import Backbone
from bench.tasks.base import Case, Figures, Made, Row, Task, caption, decoded, drawn, pictures, true
from conditioning.operators import Degradation, Measurement, state_is_pixels
from conditioning.registry import Method
from fidelity import distances

SMALL = 16  # pixels a side that super-resolution starts from, a quarter or an eighth of the picture
RESTORED = {"psnr": "PSNR", "ssim": "SSIM", "rms": "rms Ax-y", "max": "max Ax-y"}


def restoration(
    label: str, name: str, parameters: Callable[[int, int], dict[str, Any]], tasks: tuple[str, ...], **more: Any
) -> Task:
    """parameters(n, size): of the operator `name`, for case n. rms and max are of pictures in [-1, 1]."""

    def cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
        size = backbone.default_size
        found = drawn(count)
        made = []
        for (n, scene), truth in zip(found, pictures([scene for _, scene in found], size).split(1)):
            told = parameters(n, size)
            degraded = Degradation(truth, name, told, noise, seed=n)
            measured = degraded.measured(backbone, 1)
            given: dict[str, Any] = {"operator": degraded, "image": truth}
            if "mask" in told:
                given["mask"] = told["mask"][None, None].float()
                given["image"] = torch.where(told["mask"], 0.5, truth)
            else:
                given["reference"] = simple(measured, size)
            made.append(Case(n, caption(n, scene), given, truth, told=measured))
        return made

    def measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
        return [_restored(case, one, backbone) for case, one in zip(cases, made)]

    def beside(backbone: Backbone) -> list[Row]:
        size = backbone.default_size
        found = [
            Row("do nothing", other=lambda case: shown(case.told)),
            Row("chance: the prompt alone"),
            decoded(backbone),
        ]
        if name.startswith("super_resolution"):
            found.insert(1, Row("bicubic", other=lambda case: simple(case.told, size)))
        return found

    def lines(method: Method, backbone: Backbone) -> list[Row]:
        """ILVR takes from its reference the frequencies that were measured."""
        return [Row(method.name, [(method.name, {"detail": SMALL} if method.name == "ilvr" else {})])]

    backbones = ("still-life-pixels", "still-life")
    return Task(label, backbones, RESTORED, cases, measure, beside, tasks, lines=lines, scale=1.0, **more)


def shown(measured: Measurement) -> Tensor:
    """What was measured, as a picture: a blurred one as it is, a hole in the mean of what is around it."""
    y = measured.y
    if y.shape[1:] == measured.operator.shape and "lur" in measured.operator.title:
        return (y / 2 + 0.5).clamp(0, 1)
    return (measured.operator.show(y) / 2 + 0.5).clamp(0, 1)


def simple(measured: Measurement, size: int) -> Tensor:
    """The measurement brought to the full size by the cubic kernel."""
    y = shown(measured) if measured.y.ndim != 4 or measured.y.shape[1] != 3 else (measured.y / 2 + 0.5)
    return F.interpolate(y, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)


def _restored(case: Case, made: Made, backbone: Backbone) -> Figures:
    measured: Measurement = case.told
    hole = case.given.get("mask")
    x = made.state if made.state is not None and state_is_pixels(backbone) else made.picture * 2 - 1
    gap = measured.operator.A(x.cpu()) - measured.y
    return {
        "psnr": float(distances.psnr(made.picture, true(case), None if hole is None else hole > 0.5)),
        "ssim": float(distances.ssim(made.picture, true(case))),
        "rms": float(gap.square().mean().sqrt()),
        "max": float(gap.abs().max()),
    }


def hole(n: int, size: int) -> dict[str, Any]:
    """A rectangle of about a sixth of the picture, its sides from 0.3 to 0.5 of the picture's."""
    rng = np.random.default_rng([n, 5])
    high, wide = (int(size * rng.uniform(0.3, 0.5)) for _ in range(2))
    top, left = int(rng.integers(size - high)), int(rng.integers(size - wide))
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + high, left : left + wide] = True
    return {"mask": mask}


AFTER = ("restoration",)  # what the registry calls methods that take any measurement
TASKS = {
    "inpaint": restoration("Inpainting", "inpainting", hole, ("inpainting", *AFTER)),
    "super-resolution": restoration(
        f"Super-resolution from {SMALL} x {SMALL}",
        "super_resolution",
        lambda n, size: {"factor": size // SMALL},
        ("reference", *AFTER),
    ),
    "deblur": restoration(
        "Gaussian deblurring", "gaussian_blur", lambda n, size: {"sigma": size / 32}, AFTER, noise=0.05
    ),
    "colourise": restoration("Colourisation", "colourisation", lambda n, size: {}, AFTER),
}
