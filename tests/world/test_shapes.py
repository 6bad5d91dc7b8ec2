"""Every ray intersection against the solid as a set of points: dense sampling along rays, then bisection."""

import math

import pytest
import torch

from world.shapes import SOLIDS, dot, unit

INSIDE = {  # whether points (3, K) are in the solid, written anew from its description
    "sphere": lambda x, y, z: x * x + y * y + z * z < 1,
    "cube": lambda x, y, z: torch.stack([x, y, z]).abs().amax(0) < 0.8,
    "cylinder": lambda x, y, z: (torch.hypot(x, y) < 0.7) & (z.abs() < 0.9),
    "cone": lambda x, y, z: (torch.hypot(x, y) < 0.85 * (0.95 - z) / 1.9) & (z.abs() < 0.95),
    "torus": lambda x, y, z: torch.hypot(torch.hypot(x, y) - 0.72, z) < 0.33,
    "pyramid": lambda x, y, z: (torch.maximum(x.abs(), y.abs()) < 0.85 * (0.85 - z) / 1.7) & (z.abs() < 0.85),
}
BOX = 1.5  # half side of a box that holds every solid


def rays(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    o = unit(torch.randn(3, count, generator=draw)) * 4
    towards = (torch.rand(3, count, generator=draw) * 2 - 1) * 1.1
    return o, unit(towards - o)


def sampled(name: str, o: torch.Tensor, d: torch.Tensor, steps: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """First distance at which the ray is in the solid, to 1e-5 by bisection; and how long it then stays in at least."""
    inside = INSIDE[name]
    t = torch.linspace(4 - math.sqrt(3) * BOX, 4 + math.sqrt(3) * BOX, steps).double()
    p = o.double()[:, :, None] + d.double()[:, :, None] * t  # (3, K, steps)
    within = inside(*p)
    first = within.float().argmax(1)
    hit = within.any(1)
    low, high = t[(first - 1).clamp(min=0)], t[first]
    for _ in range(30):
        middle = (low + high) / 2
        there = inside(*(o.double() + middle * d.double()))
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    return torch.where(hit, high, math.inf), within.sum(1) * (t[1] - t[0])


@pytest.mark.parametrize("name", SOLIDS)
def test_hits_are_the_first_points_of_the_solid(name: str) -> None:
    o, d = rays(1500)
    distance, (expected, chord) = SOLIDS[name].hit(o, d), sampled(name, o, d)
    both = distance.isfinite() & expected.isfinite()
    error = (distance - expected)[both].abs()
    assert both.sum() > 200
    assert error.median() < 1e-5
    assert error[chord[both] > 0.1].max() < 5e-3
    # Where only one of them finds a hit, the ray but grazes the solid.
    assert (chord[expected.isfinite() & distance.isinf()] < 0.02).all()
    assert (distance.isfinite() & expected.isinf()).float().mean() < 0.005


@pytest.mark.parametrize("name", SOLIDS)
def test_normals_are_unit_outward_and_square_to_the_surface(name: str) -> None:
    o, d = rays(1500, seed=1)
    t = SOLIDS[name].hit(o, d)
    t, o, d = t[t.isfinite()], o[:, t.isfinite()], d[:, t.isfinite()]
    p = o + t * d
    n = SOLIDS[name].normal(p)
    assert (dot(n, n) - 1).abs().max() < 1e-4
    assert dot(n, d).max() < 5e-2  # the side that we see looks at us
    inside = INSIDE[name]
    assert inside(*(p - 5e-3 * n)).float().mean() > 0.99  # all but beside an edge
    assert not inside(*(p + 5e-3 * n)).any()


@pytest.mark.parametrize("name", SOLIDS)
def test_a_common_origin_or_direction_is_broadcast(name: str) -> None:
    o, d = rays(300, seed=2)
    hit = SOLIDS[name].hit
    torch.testing.assert_close(hit(o[:, :1], d), hit(o[:, :1].expand_as(d).contiguous(), d))
    torch.testing.assert_close(hit(o, d[:, :1]), hit(o, d[:, :1].expand_as(o).contiguous()))


@pytest.mark.parametrize("name", SOLIDS)
def test_nothing_behind_the_origin_is_hit(name: str) -> None:
    o, d = rays(300, seed=3)
    assert SOLIDS[name].hit(o, -d).isinf().all()


def test_axis_aligned_rays() -> None:
    """Divisions by zero lurk here. From above, along z, beside the apex: each solid's top; along x: its side at half
    height."""
    above, side = torch.tensor([[1e-2], [0.0], [3.0]]), torch.tensor([[3.0], [0.0], [0.0]])
    down, along = torch.tensor([[0.0], [0.0], [-1.0]]), torch.tensor([[-1.0], [0.0], [0.0]])
    tops = {"sphere": 1.0, "cube": 0.8, "cylinder": 0.9, "cone": 0.95, "pyramid": 0.85}
    sides = {"sphere": 1.0, "cube": 0.8, "cylinder": 0.7, "cone": 0.425, "torus": 1.05, "pyramid": 0.425}
    for name, top in tops.items():
        assert SOLIDS[name].hit(above, down).item() == pytest.approx(3 - top, abs=0.03), name
    assert SOLIDS["torus"].hit(above, down).isinf().all()  # through the hole
    for name, reach in sides.items():
        assert SOLIDS[name].hit(side, along).item() == pytest.approx(3 - reach, abs=1e-3), name
