"""Measures against closed forms, and SSIM against scikit-image."""

import math

import pytest
import torch

from fidelity import distances


def images(seed: int, rows: int = 2, side: int = 24):
    return torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_constant_difference() -> None:
    a = images(0)
    got = distances.psnr(a, a + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1))
    torch.testing.assert_close(got, torch.tensor([20.0, 40.0]), atol=1e-4, rtol=0)
    assert distances.psnr(a, a).tolist() == [distances.PSNR_MAX] * 2


def test_psnr_counts_only_where_it_is_asked() -> None:
    a = torch.zeros(1, 3, 8, 8)
    b, where = a.clone(), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    b[..., :4] = 0.1
    b[..., 4:] = 0.5
    where[..., :4] = True
    assert distances.psnr(a, b, where).item() == pytest.approx(20, abs=1e-4)
    assert distances.psnr(a, b, ~where).item() == pytest.approx(-20 * math.log10(0.5), abs=1e-4)
    assert distances.psnr(a, b, where & ~where).isnan().all()


def test_ssim_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a = images(1)
    b = (a + 0.2 * (images(2) - 0.5)).clamp(0, 1)
    for i, got in enumerate(distances.ssim(a, b)):
        theirs = metrics.structural_similarity(
            a[i].double().numpy(), b[i].double().numpy(), channel_axis=0, data_range=1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert got.item() == pytest.approx(theirs, abs=1e-6)


def test_ssim_of_flat_images() -> None:
    """Two flat images differ in luminance alone: (2 m n + c1) / (m^2 + n^2 + c1)."""
    a, b = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    c1 = 1e-4
    assert distances.ssim(a, b).item() == pytest.approx((2 * 0.12 + c1) / (0.04 + 0.36 + c1), abs=1e-6)
    assert distances.ssim(a, a).item() == pytest.approx(1, abs=1e-9)


def test_iou_of_boxes() -> None:
    assert distances.box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert distances.box_iou((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert distances.box_iou((0, 0, 1, 1), (1, 0, 2, 1)) == distances.box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_f1_of_edges() -> None:
    a = torch.zeros(4, 8, 8, dtype=torch.bool)
    b = a.clone()
    a[0, :, 3] = b[0, :, 4] = True  # one pixel off counts as met
    a[1, :, 1] = b[1, :, 6] = True  # far off
    a[2, :, 3] = a[2, :, 7] = b[2, :, 3] = True  # precision 1/2, recall 1
    assert distances.edges_f1(a, b).tolist() == pytest.approx([1, 0, 2 / 3, 1])
    assert distances.edges_f1(a, b, within=0)[0] == 0
    assert distances.edges_f1(a[:1], b[3:]).item() == 0


def test_depth_error() -> None:
    a = images(3)[:, :1]
    torch.testing.assert_close(distances.depth_error(a, a + 0.25), torch.full((2,), 0.25))


def test_a_seam_is_seen_where_it_is() -> None:
    ramp = torch.linspace(0, 0.5, 33).expand(1, 3, 8, 33)
    assert distances.seams(ramp, [16]).item() == pytest.approx(1, abs=1e-3)
    cut = ramp.clone()
    cut[..., 16:] += 0.3
    step = 0.5 / 32
    assert distances.seams(cut, [16]).item() == pytest.approx((0.3 + step) / step, rel=1e-3)
    assert distances.seams(cut, [8]).item() < 0.7
    assert distances.seams(torch.zeros(1, 3, 4, 9), [4]).item() == 1
    blocks = torch.arange(9.0).repeat_interleave(4).expand(1, 3, 4, 36) / 20  # every fourth column is a border
    assert distances.seams(blocks, [16]).item() > 4
    assert distances.seams(blocks, [16], every=4).item() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="give some of 1 to 32"):
        distances.seams(ramp, [33])


def test_mean_and_spread() -> None:
    assert distances.mean_and_spread([1.0, 3.0, math.nan]) == (2.0, pytest.approx(math.sqrt(2)))
    assert distances.mean_and_spread([4.0]) == (4.0, 0.0)
    assert all(math.isnan(v) for v in distances.mean_and_spread([]))


def test_edge_error_looks_at_edges_alone():
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1.0  # an edge between columns 3 and 4
    y = x.clone()
    y[..., 0] = 0.5  # far from it
    assert distances.edge_error(y, x) == 0
    y[..., 3] = 0.2  # one of the two columns of the edge
    assert distances.edge_error(y, x) == pytest.approx(0.2 / 2**0.5)
    assert distances.edge_error(y.transpose(2, 3), x.transpose(2, 3)) == pytest.approx(0.2 / 2**0.5)
