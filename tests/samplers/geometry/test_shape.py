"""Known paths, and the oracle's."""

import csv
import math
from itertools import pairwise

import pytest
import torch

from backbones.exact import Mixture
from samplers.euler import euler
from samplers.flow import Noise, ask, run
from samplers.geometry import shape
from samplers.geometry.trajectory import Trajectory, recorded
from samplers.heun import heun
from samplers.schedules import exponential, karras
from tests.support.oracle import mixture, start

oracle = mixture()
SEEDS = list(range(6))


def trajectory(D=oracle, sampler=euler, sigmas=None):
    sigmas = sigmas or karras(20, 0.05, 20.0)
    x = start(SEEDS, sigmas[0])
    return run(recorded(sampler(ask, x, sigmas, {}, Noise(SEEDS)), x, sigmas[0]), D.denoise)


def path(*points):
    """Of one image: (N + 1, 1, D)."""
    return torch.tensor(points, dtype=torch.float64)[:, None]


def helix(n=60, radius=2.0, rise=0.7, dims=5):
    t = torch.linspace(0, 3, n, dtype=torch.float64) ** 1.3  # uneven
    points = torch.stack([radius * t.cos(), radius * t.sin(), rise * t], 1)
    turned = torch.linalg.qr(torch.randn(dims, dims, generator=torch.Generator().manual_seed(0)).double())[0]
    return (points @ turned[:3])[:, None]  # (n, 1, dims)


def test_a_straight_path():
    t = torch.tensor([1.0, 0.7, 0.65, 0.1, 0.0]).double()[:, None, None]
    line = 3 + t * torch.randn(1, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert shape.deviation(line).max() < 1e-12
    assert shape.curvature(line).max() < 1e-6 and shape.torsion(line).isfinite().all()
    torch.testing.assert_close(shape.length(line), shape.chord(line))
    torch.testing.assert_close(shape.to_end(line), t[..., 0] * shape.chord(line))


def test_a_triangle():
    p = path([0.0, 0.0], [1.0, 2.0], [4.0, 0.0])
    assert shape.deviation(p).flatten().tolist() == [0, 2, 0]
    assert shape.deviation_percent(p).flatten().tolist() == [0, 50, 0]
    assert shape.changes(p).flatten().tolist() == pytest.approx([5**0.5, 13**0.5])
    assert float(shape.length(p)) == pytest.approx(5**0.5 + 13**0.5)


def test_curvature_of_a_circle_is_exact_however_it_is_spaced():
    t = torch.tensor([0.0, 0.1, 0.5, 0.55, 1.9]).double()
    circle = torch.stack([3 * t.cos(), 3 * t.sin(), 0 * t], 1)[:, None]
    torch.testing.assert_close(shape.curvature(circle), torch.full((3, 1), 1 / 3).double())
    assert shape.torsion(circle).max() < 1e-7  # it stays in its plane


def test_curvature_and_torsion_of_a_helix_in_five_dimensions():
    a, b = 2.0, 0.7  # radius and rise
    curvature, torsion = shape.curvature(helix()).mean(), shape.torsion(helix()).mean()
    assert float(curvature) == pytest.approx(a / (a * a + b * b), rel=1e-3)
    assert float(torsion) == pytest.approx(b / (a * a + b * b), rel=1e-3)


def test_the_sampling_path_of_one_isotropic_gaussian_is_straight():
    """All states lie on the ray from its mean, whatever the steps."""
    one = Mixture(torch.ones(1), torch.full((1, 1, 2, 2), 0.5), torch.tensor([0.3]))
    got = trajectory(one)
    assert shape.deviation_percent(got.x).max() < 1e-10
    for cos in shape.cosine(got):
        torch.testing.assert_close(cos, torch.ones_like(cos))


def test_a_path_of_the_oracle_is_nearly_straight_and_its_estimates_go_a_shorter_way():
    got = trajectory(sampler=heun, sigmas=karras(60, 0.02, 80.0))
    assert 0.01 < shape.deviation_percent(got.x).amax(0).mean() < 5
    assert (shape.length(got.x0) < 0.2 * shape.length(got.x)).all()
    assert shape.cosine(got)[0][:20].min() > 0.98


def test_a_path_bends_as_fast_as_its_estimates_move():
    """x'' = -x0' / sigma: the difference of the sides falls with the square of the step."""
    errors = []
    for steps in (50, 100, 200):
        left, right = shape.bend(trajectory(sampler=heun, sigmas=exponential(steps, 0.1, 20.0)))
        errors.append(float((left - right).norm(dim=-1).max() / left.norm(dim=-1).max()))
    assert errors[-1] < 4e-3
    assert all(3.5 < a / b < 4.5 for a, b in pairwise(errors)), errors


def test_bend_wants_falling_levels():
    got = trajectory()
    with pytest.raises(ValueError, match="falling"):
        shape.bend(Trajectory(got.sigmas[:3], got.x[:3], got.x0[:2]))


def test_a_frame_keeps_the_distances_in_its_span():
    """A helix fills three dimensions of five: three axes hold it all, and the chord is the first."""
    p = helix()
    made = shape.frame([p[:, 0]], axes=3)
    seen = made(p[:, 0])  # (N + 1, 3)
    torch.testing.assert_close(torch.cdist(seen, seen), torch.cdist(p[:, 0], p[:, 0]))
    torch.testing.assert_close(made.axes @ made.axes.T, torch.eye(3).double())
    torch.testing.assert_close(seen[0], torch.tensor([float(shape.chord(p)), 0, 0]).double())
    torch.testing.assert_close(seen[-1], torch.zeros(3).double())
    assert float(made.shares.sum()) == pytest.approx(1)
    torch.testing.assert_close(seen[:, 1:].norm(dim=1), shape.deviation(p)[:, 0])


def test_several_runs_share_a_frame():
    a, b = trajectory(), trajectory(mixture(seed=1))
    made = shape.frame([a.x[:, 0], b.x[:, 0][::2]], axes=3)
    assert made(a.x).shape == (21, 6, 3)
    ends = made(torch.stack([a.x[-1, 0], b.x[-1, 0]]))
    torch.testing.assert_close(ends.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    own, shares = shape.own_frames(a.x, axes=3)
    assert own.shape == (21, 6, 3) and (shares.sum(1) <= 1 + 1e-9).all()
    assert (own[..., 1].abs().amax(0) == own[..., 1].amax(0)).all()  # the farthest point is on the positive side


def test_a_straight_path_has_a_frame_too():
    line = torch.linspace(1, 0, 5).double()[:, None] * torch.tensor([1.0, 2.0, 3.0]).double()
    made = shape.frame([line], axes=3)
    torch.testing.assert_close(made.axes @ made.axes.T, torch.eye(3).double())
    assert made(line)[:, 1:].abs().max() < 1e-12


def test_paths_without_a_chord_are_refused():
    with pytest.raises(ValueError, match="no chord"):
        shape.frame([torch.zeros(3, 4)])
    with pytest.raises(ValueError, match="fewer"):
        shape.frame([torch.eye(2).double()], axes=4)


def test_the_table_of_figures(tmp_path):
    got = trajectory()
    measures = shape.figures(got)
    assert all(column.shape == (21, 6) for column in measures.values())
    assert measures["x0_norm"][-1].isnan().all() and measures["x_deviation"].isfinite().all()
    shape.save_csv(tmp_path / "run.csv", got.sigmas, measures)
    rows = list(csv.DictReader(open(tmp_path / "run.csv")))
    assert len(rows) == 21 * 6
    assert float(rows[7]["x_norm"]) == pytest.approx(float(got.x[1, 1].norm()), rel=1e-5)
    assert rows[-1]["eps_norm"] == "" and not math.isnan(float(rows[0]["eps_norm"]))
