"""What the columns of a comparison are given, to be seen beside them: map, boxes, hole, degraded image, a plain
baseline. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from app.comparison.lettering import draw_words
from app.comparison.targets import edge_map, image_tensor, observed
from app.comparison.task import Task
from app.engine.observation_preview import seen
from common.colours import light
from common.fitting import fitted
from common.image_bytes import to_pixels
from fidelity.distances import psnr

Size = tuple[int, int]  # width, height
SIDE = 256  # pixels of the drawn ones
INK, PAPER, MAT = light("ink", "paper", "mat")


class Shown(NamedTuple):
    """label: what it is, in a word or two; words: what is to be said of it, or ""."""

    label: str
    image: Image.Image
    words: str = ""


def conditions(task: Task, size: Size, images: Mapping[str, Image.Image]) -> list[Shown]:
    """What a run of this size is asked to follow, and the ground truth last. images: content hash -> image; what is
    not among them is left out."""
    return list(_conditions(task, size, images))


def _conditions(task: Task, size: Size, images: Mapping[str, Image.Image]) -> Iterator[Shown]:
    if task.observation is not None and task.observation.image in images:
        yield from _degraded(task, size, images)
    if task.source in images:
        if task.mask in images and task.kind == "inpainting":
            yield Shown("Hole to fill", _with_hole(task, size, images))
        else:
            yield Shown("Source", fitted(images[task.source], size, task.fit))
    if task.depth in images:
        yield Shown("Depth map", fitted(images[task.depth], size, task.fit), "white is near")
    if task.edges in images:
        edges = edge_map(images[task.edges], size, task)
        yield Shown("Edge map", Image.fromarray(to_pixels(edges[0].expand(3, -1, -1))))
    if task.boxes:
        yield Shown("Boxes", _boxes(task, size))
    for number, sha in enumerate((one for one in task.references if one in images), 1):
        yield Shown(f"Reference {number}" if len(task.references) > 1 else "Reference",
                    fitted(images[sha], size, task.fit))  # fmt: skip
    if task.ground_truth in images and task.ground_truth != task.source:
        yield Shown("Ground truth", fitted(images[task.ground_truth], size, task.fit))


def _degraded(task: Task, size: Size, images: Mapping[str, Image.Image]) -> Iterator[Shown]:
    """The observation as it is, and where it is a smaller image, that made larger by the plainest means."""
    assert task.observation is not None
    one = observed(task, size, images)
    yield Shown("Degraded", Image.fromarray(to_pixels(((seen(one) + 1) / 2).clamp(0, 1)[0])))
    shape = one.operator.y_shape
    if len(shape) == 3 and shape[0] == 3 and shape[1:] != one.operator.shape[1:]:
        small = Image.fromarray(to_pixels(((one.y + 1) / 2).clamp(0, 1)[0]))
        large = small.resize(size, Image.Resampling.BICUBIC)
        truth = fitted(images[task.observation.image], size, task.fit)
        far = float(psnr(image_tensor(large), image_tensor(truth)))
        yield Shown("Bicubic", large, f"no network: PSNR {far:.1f} dB")


def _with_hole(task: Task, size: Size, images: Mapping[str, Image.Image]) -> Image.Image:
    """The source with stripes where it may change."""
    from app.engine.method_checks import Under, mask_tensor

    source = images[task.source]
    known = np.array(fitted(source, size, task.fit))
    painted = mask_tensor(images[task.mask], size, Under(source, task.fit), task.mask_edge)[0, 0].numpy() > 0.5
    down, across = np.ogrid[: painted.shape[0], : painted.shape[1]]
    step = max(2, size[0] // 32)
    stripes = np.where(((down + across) // step % 2)[..., None] > 0, 235, 200).astype(np.uint8)
    return Image.fromarray(np.where(painted[..., None], stripes, known).astype(np.uint8))


def _boxes(task: Task, size: Size) -> Image.Image:
    """The boxes with their words, on an empty sheet."""
    width, height = SIDE * size[0] // max(size), SIDE * size[1] // max(size)
    sheet = Image.new("RGB", (width, height), MAT)
    draw = ImageDraw.Draw(sheet)
    for box in task.boxes:
        left, top, right, bottom = box.left * width, box.top * height, box.right * width, box.bottom * height
        draw.rectangle((left, top, right - 1, bottom - 1), outline=INK, fill=PAPER, width=2)
        for line, words in enumerate(_lines(box.text, 2)):
            draw_words(draw, (left + 6, top + 6 + 16 * line), words, INK, 12, right - left - 12)
    return sheet


def _lines(words: str, most: int) -> list[str]:
    """The words on lines of about equal length."""
    parts = words.split()
    each = -(-len(parts) // most) or 1
    return [" ".join(parts[i : i + each]) for i in range(0, len(parts), each)]
