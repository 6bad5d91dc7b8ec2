"""The six solids as ray intersections, in their own coordinates: centred, upright, of size one.

Vectors are (3, K), their components in rows. A solid has two functions: `hit(o, d)`, of K rays from o along unit
directions d (a common one of either may be (3, 1)), gives the distance to the first hit, (K,), infinity where the ray
misses; `normal(p)` gives the outward unit normals at points p of the surface, (3, K).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

INF = math.inf


class Shape(NamedTuple):
    hit: Callable[[Tensor, Tensor], Tensor]
    normal: Callable[[Tensor], Tensor]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(3, K), (3, K) -> (K,); either may be (3, 1)."""
    return (a * b).sum(0)


def unit(v: Tensor) -> Tensor:
    return v * dot(v, v).clamp(min=1e-24).rsqrt()


def _ahead(t: Tensor, good: Tensor) -> Tensor:
    """t where the hit is good and before us, else infinity."""
    return torch.where(good & (t > 0), t, INF)


def _off_zero(v: Tensor) -> Tensor:
    """v as a divisor."""
    return torch.where(v.abs() < 1e-9, 1e-9, v)


def _sphere(o: Tensor, d: Tensor) -> Tensor:
    b = dot(o, d)
    root = b * b - (dot(o, o) - 1)
    return _ahead(-b - root.clamp(min=0).sqrt(), root > 0)


# ------------------------------------------------------------------------------------------------ cube, pyramid


@lru_cache
@torch.inference_mode(False)
def _faces(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """normals (F, 3) and offsets (F, 1) of a convex body: the points p with normals @ p <= offsets."""
    if name == "cube":
        return torch.cat([torch.eye(3), -torch.eye(3)]).to(device), torch.full((6, 1), 0.8, device=device)
    h, s = 0.85, 1 / math.sqrt(5)  # half height and half side of the base; the faces rise 2 for 1 inwards
    normals = [[2 * s, 0, s], [-2 * s, 0, s], [0, 2 * s, s], [0, -2 * s, s], [0, 0, -1]]
    return torch.tensor(normals, device=device), torch.tensor([[h * s]] * 4 + [[h]], device=device)


def _convex(name: str) -> Shape:
    def hit(o: Tensor, d: Tensor) -> Tensor:
        normals, offsets = _faces(name, d.device)
        speed = normals @ d  # (F, K)
        t = (offsets - normals @ o) / _off_zero(speed)
        enter = torch.where(speed < 0, t, -INF).amax(0)
        leave = torch.where(speed > 0, t, INF).amin(0)
        return _ahead(enter, enter < leave)

    def normal(p: Tensor) -> Tensor:
        normals, offsets = _faces(name, p.device)
        outermost, *others = normals @ p - offsets
        face = torch.zeros_like(outermost, dtype=torch.long)
        for i, height in enumerate(others, 1):  # argmax over so few rows takes five times as long
            face = torch.where(height > outermost, i, face)
            outermost = torch.maximum(height, outermost)
        return normals.T.index_select(1, face)

    return Shape(hit, normal)


# ------------------------------------------------------------------------------------------------ cylinder, cone

CYLINDER = (0.7, 0.9)  # radius, half height
CONE = (0.85, 0.95)  # radius of the base, half height


def _cylinder(o: Tensor, d: Tensor) -> Tensor:
    radius, half = CYLINDER
    (x, y, z), (dx, dy, dz) = o, d
    a = (dx * dx + dy * dy).clamp(min=1e-9)
    b = x * dx + y * dy
    root = b * b - a * (x * x + y * y - radius**2)
    side = (-b - root.clamp(min=0).sqrt()) / a
    side = _ahead(side, (root > 0) & ((z + side * dz).abs() <= half))
    dz = _off_zero(dz)
    cap = (-torch.sign(dz) * half - z) / dz  # the cap that faces the ray
    return torch.minimum(side, _disc(o, d, cap, radius))


def _disc(o: Tensor, d: Tensor, t: Tensor, radius: float) -> Tensor:
    """t where the ray is then within the radius of the axis, else infinity."""
    return _ahead(t, (o[0] + t * d[0]).square() + (o[1] + t * d[1]).square() <= radius**2)


def _cylinder_normal(p: Tensor) -> Tensor:
    radius, half = CYLINDER
    x, y, z = p
    cap = z.abs() - half > (x * x + y * y).sqrt() - radius
    side, lid = (~cap).float() / radius, cap.float()
    return torch.stack([x * side, y * side, torch.sign(z) * lid])


def _cone(o: Tensor, d: Tensor) -> Tensor:
    radius, half = CONE
    k = (radius / (2 * half)) ** 2
    (x, y, z), (dx, dy, dz) = o, d
    w = half - z  # height below the apex
    a = dx * dx + dy * dy - k * dz * dz
    b = x * dx + y * dy + k * w * dz
    c = x * x + y * y - k * w * w
    square = b * b - a * c
    root, a = square.clamp(min=0).sqrt(), _off_zero(a)
    t = _disc(o, d, torch.where(dz > 0, (-half - z) / _off_zero(dz), INF), radius)  # the base, from below
    for side in ((-b - root) / a, (-b + root) / a):
        t = torch.minimum(t, _ahead(side, (square > 0) & ((z + side * dz).abs() <= half)))
    return t


def _cone_normal(p: Tensor) -> Tensor:
    radius, half = CONE
    k = (radius / (2 * half)) ** 2
    x, y, z = p
    base = z + half < 1e-4
    side = unit(torch.stack([x, y, k * (half - z)]))
    return torch.where(base, torch.tensor([[0.0], [0.0], [-1.0]], device=p.device), side)


# ------------------------------------------------------------------------------------------------ torus

TORUS = (0.72, 0.33)  # radius of the ring's core, radius of the ring


def _torus(o: Tensor, d: Tensor) -> Tensor:
    """Sphere tracing of the exact distance, between the planes of the ring's slab and inside its bounding sphere."""
    major, minor = TORUS
    dz = _off_zero(d[2])
    first, last = (-minor - o[2]) / dz, (minor - o[2]) / dz
    b, c = dot(o, d), dot(o, o) - (major + minor) ** 2
    square = b * b - c
    root = square.clamp(min=0).sqrt()
    start = torch.maximum(torch.minimum(first, last), -b - root).clamp(min=0)
    stop = torch.minimum(torch.maximum(first, last), -b + root) + 1e-3
    distance = torch.full_like(b, INF)
    rows = ((start < stop) & (square > 0)).nonzero()[:, 0]
    start, stop = start[rows], stop[rows]
    o, d = (v.index_select(1, rows) for v in torch.broadcast_tensors(o, d))
    x, y, z = o + start * d  # from here on, distances count from the start: precise, for all are small
    t, stop, dz = torch.zeros_like(start), stop - start, d[2]
    r0, r1, r2 = x * x + y * y, 2 * (x * d[0] + y * d[1]), d[0] * d[0] + d[1] * d[1]

    def gap_at(t: Tensor, z: Tensor, dz: Tensor, r0: Tensor, r1: Tensor, r2: Tensor) -> Tensor:
        ring = torch.addcmul(r0, t, torch.addcmul(r1, t, r2)).clamp_(min=0).sqrt_().sub_(major)
        height = torch.addcmul(z, t, dz)
        return torch.addcmul(height.square_(), ring, ring).sqrt_().sub_(minor)

    line = torch.stack([z, dz, r0, r1, r2])
    for steps in (5, 5, 6, 6, 6):
        gap = t
        for _ in range(steps):
            gap = gap_at(t, *line)
            t = t + gap
        distance[rows] = _ahead(t + start, (gap < 2e-3) & (t < stop))
        going = ((gap > 1e-5) & (t < stop)).nonzero()[:, 0]
        rows, t, start, stop, gap = rows[going], t[going], start[going], stop[going], gap[going]
        line = line.index_select(1, going)
    late = (gap > 2e-3).nonzero()[:, 0]  # few rays, long beside the ring: looked at along all that is left
    if len(late):
        t, rows, start, line = t[late], rows[late], start[late], line[:, late, None]
        along = t[:, None] + (stop[late] - t)[:, None] * torch.linspace(0, 1, 65, device=t.device)  # (K, 65)
        near = gap_at(along, *line) < 2e-3
        t = along.gather(1, near.float().argmax(1, keepdim=True))
        for _ in range(4):
            t = t + gap_at(t, *line)
        distance[rows] = torch.where(near.any(1), (t[:, 0] + start), INF)
    return distance


def _torus_normal(p: Tensor) -> Tensor:
    x, y, z = p
    core = TORUS[0] * (x * x + y * y).clamp(min=1e-12).rsqrt()
    return unit(torch.stack([x - x * core, y - y * core, z]))


SOLIDS: dict[str, Shape] = {
    "sphere": Shape(_sphere, lambda p: p),
    "cube": _convex("cube"),
    "cylinder": Shape(_cylinder, _cylinder_normal),
    "cone": Shape(_cone, _cone_normal),
    "torus": Shape(_torus, _torus_normal),
    "pyramid": _convex("pyramid"),
}
