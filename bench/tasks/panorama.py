"""Panorama: a picture of three widths, and whether its windows can be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from backbones.base import Backbone
from bench.tasks.base import Case, Figures, Made, Row, Task, caption, drawn, pictures
from conditioning.sampling.blending.panorama import places
from fidelity import distances
from world.scene import draw

WINDOWS = 3  # of the network's size, side by side


def panorama_cases(backbone: Backbone, count: int, noise: float) -> list[Case]:
    size = backbone.default_size
    return [Case(n, caption(n, scene), {}, size=(WINDOWS * size, size)) for n, scene in drawn(count)]


def panorama_measure(cases: Sequence[Case], made: Sequence[Made], backbone: Backbone) -> list[Figures]:
    """seam: across the borders of windows against elsewhere."""
    size = backbone.default_size
    cells = backbone.latent_shape(size, size)[2]
    found = []
    for one in made:
        wide = one.picture.shape[-1]
        starts = places(wide * cells // size, cells, 8)
        borders = sorted({p * size // cells for start in starts for p in (start, start + cells)} - {0, wide})
        own = [size * i for i in range(1, wide // size)]
        ratios = [float(distances.seams(one.picture, at, every=size // cells)) for at in (borders, own)]
        found.append(dict(zip(("seam", "thirds"), ratios)))
    return found


def _pasted(backbone: Backbone) -> Callable[[Case], Tensor]:
    size = backbone.default_size

    def other(case: Case) -> Tensor:
        return torch.cat(list(pictures([draw("test", case.number + 1000 * i) for i in range(WINDOWS)], size)), -1)[None]

    return other


def panorama_beside(backbone: Backbone) -> list[Row]:
    return [Row("renders pasted side by side", other=_pasted(backbone)), Row("the network on the whole at once")]


TASKS = {
    "panorama": Task(
        "Panorama of three widths", ("still-life",), {"seam": "seam ratio", "thirds": "at the thirds"},
        panorama_cases, panorama_measure, panorama_beside, ("panorama",),
    )
}  # fmt: skip
