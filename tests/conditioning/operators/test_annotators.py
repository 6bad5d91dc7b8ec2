"""Annotators: maps of the image's size, of what is known."""

import sys
from types import SimpleNamespace

import pytest
import torch

from conditioning.operators.annotators import ANNOTATORS, annotated


def square(height=96, width=128):
    """A white square, rows 24 to 71 and columns 40 to 87, on black."""
    x = torch.zeros(1, 3, height, width)
    x[..., 24:72, 40:88] = 1
    return x


@pytest.mark.parametrize("name", ANNOTATORS)
@pytest.mark.parametrize("size", [(128, 128), (64, 64), (96, 128), (40, 72)])
def test_a_map_is_of_the_image_s_size(name, size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    shown = ANNOTATORS[name](x)
    assert shown.shape == x.shape and shown.dtype == x.dtype and 0 <= shown.min() and shown.max() <= 1


def test_as_it_is():
    x = square()
    assert ANNOTATORS["as it is"](x) is x


def test_canny_finds_the_outline_and_nothing_else():
    edges = ANNOTATORS["canny"](square(128, 128))[0, 0] > 0.5
    rows, columns = edges.nonzero().unbind(1)
    assert edges.sum() > 150  # of 188 pixels around
    near = (rows - 24).abs().minimum((rows - 71).abs()) <= 1, (columns - 40).abs().minimum((columns - 87).abs()) <= 1
    assert (near[0] | near[1]).all()
    assert torch.equal(ANNOTATORS["canny"](square(128, 128)), ANNOTATORS["canny"](1 - square(128, 128)))


def test_lineart_finds_dark_lines():
    x = torch.ones(1, 3, 128, 128)
    x[..., 60:62, :] = 0
    lines = ANNOTATORS["lineart"](x)[0, 0]
    assert lines[60:62].mean() > 0.3 and lines[:40].max() < 0.05


def test_rows_do_not_know_each_other():
    x = torch.cat([square(128, 128), torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))])
    for annotate in ANNOTATORS.values():
        assert torch.equal(annotate(x)[:1], annotate(x[:1]))


def test_without_controlnet_aux_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "controlnet_aux.canny", None)
    with pytest.raises(ValueError, match=r"the annotator canny wants controlnet-aux .*pip install controlnet-aux"):
        ANNOTATORS["canny"](square())


class Reading:
    """A network with one beside it that reads the brightness of the red channel as nearness, in half the size."""

    id, offers = "reading", frozenset({"perception_model"})

    def __init__(self):
        self.sizes = []

    def perception_model(self, image):
        self.sizes.append(image.shape[-2:])
        return SimpleNamespace(nearness=torch.nn.functional.avg_pool2d(image[:, :1], 2) * 3 - 0.1)


@pytest.mark.parametrize("size", [(128, 128), (72, 40)])
def test_depth_is_white_where_the_nearest_is_and_black_in_the_sky(size):
    network, x = Reading(), torch.zeros(2, 3, *size)
    x[0, 0, : size[0] // 2], x[1, 0] = 0.5, 0.25
    shown = annotated("depth", "depth estimator", x, network)
    assert shown.shape == x.shape and 0 <= shown.min() and shown.max() == 1
    assert (shown[0, :, : size[0] // 4] > 0.99).all() and not shown[0, :, -size[0] // 4 :].any()
    assert (shown[1] > 0.99).all(), "whatever the other row shows"
    assert all(side % 16 == 0 for sides in network.sizes for side in sides)


def test_without_a_network_that_reads_depth_a_finished_map_is_asked_for():
    with pytest.raises(ValueError, match="bare has no network beside it that reads depth: give a finished depth map"):
        annotated("depth", "depth estimator", square(), SimpleNamespace(id="bare", offers=()))
