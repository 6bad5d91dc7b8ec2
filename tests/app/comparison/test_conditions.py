"""What stands beside the columns of a comparison: each thing that they were given, drawn so that one sees it."""

import numpy as np
import pytest
import torch
from PIL import Image

from app.comparison.conditions import conditions
from app.comparison.targets import image_tensor
from app.comparison.task import Task
from app.schema.method_inputs import BoxValue, DegradationValue
from conditioning.operators.annotators import canny
from fidelity.distances import psnr

SIZE = (64, 64)
PLAIN = Image.new("RGB", SIZE, (40, 90, 160))
HALVES = Image.fromarray(np.broadcast_to(np.uint8(255) * (np.arange(64) >= 30), (64, 64)).copy()).convert("RGB")
IMAGES = {"a" * 64: PLAIN, "b" * 64: HALVES}
A, B = IMAGES


def shown(task, images=IMAGES):
    return {one.label: one for one in conditions(task, SIZE, images)}


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def test_a_hole_has_stripes_where_it_may_be_filled_and_the_source_elsewhere():
    (label, one), *more = shown(Task(source=A, mask=B)).items()
    assert label == "Hole to fill" and not more
    left, right = np.split(pixels(one.image), [30], axis=1)
    assert (left == pixels(PLAIN)[:, :30]).all()
    assert set(np.unique(right)) == {200, 235}, "light, of two kinds, and nothing of the source"
    assert list(shown(Task(source=A))) == ["Source"]


@pytest.mark.parametrize(
    "name, kinds", [("super_resolution", ["Degraded", "Bicubic"]), ("gaussian_blur", ["Degraded"])]
)
def test_a_degraded_image_stands_beside_the_plainest_means_where_that_is_one(name, kinds):
    """A network has to beat what costs nothing; of a blurred image there is no such means."""
    task = Task(observation=DegradationValue(image=B, name=name), ground_truth=B)
    seen = shown(task)
    assert list(seen) == [*kinds, "Ground truth"]
    assert (pixels(seen["Ground truth"].image) == pixels(HALVES)).all()
    assert (pixels(seen["Degraded"].image) != pixels(HALVES)).any()
    if "Bicubic" in seen:
        large = seen["Bicubic"]
        far = float(psnr(image_tensor(large.image), image_tensor(HALVES)))
        assert large.image.size == SIZE and large.words == f"no network: PSNR {far:.1f} dB" and 15 < far < 50
    assert shown(task, {}) == {}, "what is not here any more is left out"


def test_a_map_of_edges_is_the_one_that_the_annotator_finds():
    as_it_is, found = (shown(Task(edges=B, edges_by=by))["Edge map"].image for by in ("as it is", "canny"))
    assert (pixels(as_it_is) == pixels(HALVES)).all()
    wanted = canny(image_tensor(HALVES).mean(1, keepdim=True))[0, 0]
    drawn = torch.tensor(pixels(found)[..., 0] > 127)
    assert torch.equal(drawn, wanted > 0.5) and 0 < drawn.float().mean() < 0.2


def test_boxes_stand_where_they_are_with_their_words(monkeypatch):
    drawn = []
    monkeypatch.setattr("app.comparison.conditions.draw_words", lambda draw, place, words, *more: drawn.append(words))
    box = BoxValue(left=0.5, top=0.25, right=1, bottom=0.75, text="a large red cube")
    image = pixels(shown(Task(boxes=(box,)))["Boxes"].image)
    assert drawn == ["a large", "red cube"]
    differs = (image != image[0, 0]).any(-1)
    rows, columns = np.where(differs)
    high, wide = image.shape[:2]
    edges = (rows.min() / high, (rows.max() + 1) / high, columns.min() / wide)
    assert edges == pytest.approx((0.25, 0.75, 0.5), abs=0.01)
