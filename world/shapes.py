"""The six solids as ray intersections, in their own coordinates: centred, upright, of size one.

Each function takes the rays' origins and directions, (P, 3) each, and returns `(t, normal)`: the distance to the first
hit in units of the direction's length, (P,), infinity where the ray misses, and the outward normal there, (P, 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

INF = math.inf
Hit = tuple[Tensor, Tensor]


def sphere(o: Tensor, d: Tensor) -> Hit:
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    root = b * b - a * c
    t = (-b - root.clamp(min=0).sqrt()) / a
    t = torch.where((root > 0) & (t > 0), t, INF)
    return t, o + _finite(t) * d


def _planes(o: Tensor, d: Tensor, normals: Tensor, offsets: Tensor) -> Hit:
    """A convex body: the points p with normals @ p <= offsets."""
    speed = d @ normals.T  # (P, K)
    t = (offsets - o @ normals.T) / torch.where(speed.abs() < 1e-9, 1e-9, speed)
    enter, face = torch.where(speed < 0, t, -INF).max(-1)
    leave = torch.where(speed > 0, t, INF).amin(-1)
    t = torch.where((enter < leave) & (enter > 0), enter, INF)
    return t, normals[face]


def cube(o: Tensor, d: Tensor) -> Hit:
    eye = torch.eye(3, device=o.device)
    return _planes(o, d, torch.cat([eye, -eye]), torch.full((6,), 0.8, device=o.device))


def pyramid(o: Tensor, d: Tensor) -> Hit:
    h = 0.85  # half height and half side of the base
    slope = 1 / math.sqrt(5)  # the faces rise 2 for 1 inwards
    sides = [[2 * slope, 0, slope], [-2 * slope, 0, slope], [0, 2 * slope, slope], [0, -2 * slope, slope]]
    normals = torch.tensor([*sides, [0, 0, -1]], device=o.device)
    return _planes(o, d, normals, torch.tensor([h * slope] * 4 + [h], device=o.device))


def cylinder(o: Tensor, d: Tensor, radius: float = 0.7, half: float = 0.9) -> Hit:
    a = (d[:, :2] ** 2).sum(-1).clamp(min=1e-9)
    b = (o[:, :2] * d[:, :2]).sum(-1)
    root = b * b - a * ((o[:, :2] ** 2).sum(-1) - radius**2)
    t_side = (-b - root.clamp(min=0).sqrt()) / a
    z = o[:, 2] + t_side * d[:, 2]
    t_side = torch.where((root > 0) & (z.abs() <= half) & (t_side > 0), t_side, INF)
    dz = torch.where(d[:, 2].abs() < 1e-9, 1e-9, d[:, 2])
    cap = -torch.sign(dz) * half  # the cap that faces the ray
    t_cap = (cap - o[:, 2]) / dz
    at = o[:, :2] + t_cap[:, None] * d[:, :2]
    t_cap = torch.where(((at**2).sum(-1) <= radius**2) & (t_cap > 0), t_cap, INF)
    t = torch.minimum(t_side, t_cap)
    p = o + _finite(t) * d
    side = torch.cat([p[:, :2] / radius, torch.zeros_like(p[:, 2:])], -1)
    return t, torch.where((t_side < t_cap)[:, None], side, _up(torch.sign(cap)))


def cone(o: Tensor, d: Tensor, radius: float = 0.85, half: float = 0.95) -> Hit:
    k = (radius / (2 * half)) ** 2
    w, dz = half - o[:, 2], d[:, 2]  # height below the apex
    a = (d[:, :2] ** 2).sum(-1) - k * dz * dz
    b = (o[:, :2] * d[:, :2]).sum(-1) + k * w * dz
    c = (o[:, :2] ** 2).sum(-1) - k * w * w
    root = (b * b - a * c).clamp(min=0).sqrt()
    a = torch.where(a.abs() < 1e-9, 1e-9, a)
    t_side = torch.full_like(w, INF)
    for t in ((-b - root) / a, (-b + root) / a):
        z = o[:, 2] + t * dz
        good = (b * b - a * c > 0) & (t > 0) & (z.abs() <= half)
        t_side = torch.minimum(t_side, torch.where(good, t, INF))
    t_base = (-half - o[:, 2]) / torch.where(dz.abs() < 1e-9, 1e-9, dz)
    at = o[:, :2] + t_base[:, None] * d[:, :2]
    t_base = torch.where(((at**2).sum(-1) <= radius**2) & (t_base > 0) & (dz > 0), t_base, INF)
    t = torch.minimum(t_side, t_base)
    p = o + _finite(t) * d
    side = torch.nn.functional.normalize(torch.cat([p[:, :2], k * (half - p[:, 2:])], -1), dim=-1)
    return t, torch.where((t_side < t_base)[:, None], side, _up(-torch.ones_like(t)))


def torus(o: Tensor, d: Tensor, major: float = 0.72, minor: float = 0.33) -> Hit:
    """Sphere tracing of the exact distance between the planes of its slab, to 1e-4."""
    dz = torch.where(d[:, 2].abs() < 1e-9, 1e-9, d[:, 2])
    first, last = (-minor - o[:, 2]) / dz, (minor - o[:, 2]) / dz
    b, c = (o * d).sum(-1), (o * o).sum(-1) - (major + minor) ** 2
    root = (b * b - c).clamp(min=0).sqrt()  # d has unit length
    start = torch.maximum(torch.minimum(first, last), -b - root).clamp(min=0)
    stop = torch.minimum(torch.maximum(first, last), -b + root) + 1e-3
    t = start.clone()

    def distance(p: Tensor) -> Tensor:
        ring = p[:, :2].norm(dim=-1) - major
        return torch.hypot(ring, p[:, 2]) - minor

    gap = t
    for _ in range(28):
        gap = distance(o + t[:, None] * d)
        t = t + gap
    t = torch.where((gap < 2e-3) & (t < stop) & (b * b > c), t, INF)
    p = o + _finite(t) * d
    ring = p[:, :2].norm(dim=-1, keepdim=True).clamp(min=1e-6)
    core = torch.cat([p[:, :2] / ring * major, torch.zeros_like(p[:, 2:])], -1)
    return t, torch.nn.functional.normalize(p - core, dim=-1)


def _finite(t: Tensor) -> Tensor:
    return torch.where(t.isinf(), 0.0, t)[:, None]


def _up(sign: Tensor) -> Tensor:
    zero = torch.zeros_like(sign)
    return torch.stack([zero, zero, sign], -1)


INTERSECT: dict[str, Callable[[Tensor, Tensor], Hit]] = {
    "sphere": sphere,
    "cube": cube,
    "cylinder": cylinder,
    "cone": cone,
    "torus": torus,
    "pyramid": pyramid,
}
