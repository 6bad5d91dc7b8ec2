"""Panorama: an image of three widths, and the visibility of its seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from backbones.base import Backbone
from bench.tasks.base import Case, Figures, Output, Row, Task, caption, render_images, test_scenes
from conditioning.sampling.blending.panorama import places
from fidelity import distances
from world.scene import draw

WINDOWS = 3  # of the network's size, side by side


def panorama_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    size = backbone.default_size
    return [Case(n, caption(n, scene), {}, size=(WINDOWS * size, size)) for n, scene in test_scenes(count)]


def panorama_measure(cases: Sequence[Case], outputs: Sequence[Output], backbone: Backbone) -> list[Figures]:
    """seam: across the borders of windows against elsewhere."""
    size = backbone.default_size
    cells = backbone.latent_shape(size, size)[2]
    figures = []
    for output in outputs:
        width = output.image.shape[-1]
        starts = places(width * cells // size, cells, 8)
        borders = sorted({p * size // cells for start in starts for p in (start, start + cells)} - {0, width})
        own = [size * i for i in range(1, width // size)]
        ratios = [float(distances.seams(output.image, at, every=size // cells)) for at in (borders, own)]
        figures.append(dict(zip(("seam", "thirds"), ratios)))
    return figures


def _pasted(backbone: Backbone) -> Callable[[Case], Tensor]:
    size = backbone.default_size

    def paste(case: Case) -> Tensor:
        return torch.cat(list(render_images([draw("test", case.number + 1000 * i) for i in range(WINDOWS)], size)), -1)[
            None
        ]

    return paste


def panorama_baselines(backbone: Backbone) -> list[Row]:
    return [Row("renders pasted side by side", generate=_pasted(backbone)), Row("the network on the whole at once")]


TASKS = {
    "panorama": Task(
        "Panorama of three widths", ("still-life",), {"seam": "seam ratio", "thirds": "at the thirds"},
        panorama_cases, panorama_measure, panorama_baselines, ("panorama",),
    )
}  # fmt: skip
