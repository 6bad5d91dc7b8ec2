"""The measures of following a map."""

import pytest
import torch

from bench.controlnet import depth_error, edge_f1


def test_depth_counts_up_to_a_factor():
    true = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(depth_error(2.5 * true, true), torch.zeros(3), atol=1e-6, rtol=0)
    moved = depth_error(true.roll(4, 3), true)
    assert (moved > 0.1).all() and (depth_error((true + true.roll(4, 3)) / 2, true) < moved).all()
    assert depth_error(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)).item() == pytest.approx(0.5)


def line(row, length=32):
    edges = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    edges[..., row, :length] = True
    return edges


def test_an_edge_may_be_a_pixel_off():
    assert edge_f1(line(8), line(8)).item() == pytest.approx(1)
    assert edge_f1(line(9), line(8)).item() == pytest.approx(1)
    assert edge_f1(line(10), line(8)).item() == 0


def test_missed_and_invented_edges_count_alike():
    missed, invented = edge_f1(line(8, 15), line(8)), edge_f1(line(8), line(8, 15))
    assert missed.item() == pytest.approx(invented.item()) == pytest.approx(2 * 0.5 / 1.5, abs=0.01)
    assert edge_f1(torch.zeros_like(line(8)), line(8)).item() == 0
