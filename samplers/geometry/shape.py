"""How straight a path is: distances, deviation from the chord, angles, curvature, torsion, norms; and its projections.

A path is a tensor (N + 1, B, ...), N + 1 points of B images: `trajectory.x`, or `trajectory.x0`. The chord is the
straight line from its first point to its last. All lengths are in units of the state, in float64. The measures are
those of Chen et al. 2023 (arXiv 2305.19947) and Chen et al. 2024 (arXiv 2405.11326).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from samplers.geometry.trajectory import Trajectory

TINY = 1e-12  # of the chord, or of a step: what is shorter has no direction


def to_end(path: Tensor) -> Tensor:
    """|x_n - x_N| (N + 1, B): the distance of every point to the last."""
    p = flat(path)
    return (p - p[-1]).norm(dim=-1)


def chord(path: Tensor) -> Tensor:
    """|x_0 - x_N| (B,)."""
    return to_end(path)[0]


def changes(path: Tensor) -> Tensor:
    """|x_{n+1} - x_n| (N, B): how far every step goes."""
    return flat(path).diff(dim=0).norm(dim=-1)


def length(path: Tensor) -> Tensor:
    """(B,), the sum of the steps: never less than the chord, and equal to it for a straight path."""
    return changes(path).sum(0)


def deviation(path: Tensor) -> Tensor:
    """The distance of every point from its foot on the chord (N + 1, B), 0 at both ends.

    Of a path that ends where it began, the distance from there.
    """
    _, off = along_and_off(flat(path))
    return off.norm(dim=-1)


def deviation_percent(path: Tensor) -> Tensor:
    """`deviation` in per cent of the chord's length (N + 1, B); nan where there is no chord."""
    return 100 * deviation(path) / chord(path)


def cosine(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """How well the field eps points along the path: cos(eps, x_n - x_N) and cos(eps, x_0 - x_N), (N, B) each.

    The first is the angle to the way that is left (the paper's Figure 14), the second that to the chord. 1 throughout
    for a straight path.
    """
    x, eps = flat(trajectory.x), flat(trajectory.eps)
    return _cos(eps, x[:-1] - x[-1]), _cos(eps, (x[0] - x[-1]).expand_as(eps))


def curvature(path: Tensor) -> Tensor:
    """1 / radius of the circle through every three neighbouring points (N - 1, B), per unit of the state.

    With sides a, b and c of their triangle that is 4 area / (a b c) = 2 sin(angle at the middle) / c, in any number of
    dimensions, and exact on a circle however its points are spaced. 0 where two of them coincide.
    """
    p = flat(path)
    a, b, c = p[1:-1] - p[:-2], p[2:] - p[1:-1], p[2:] - p[:-2]
    la, lb, lc = (side.norm(dim=-1) for side in (a, b, c))
    off = _off(b, a).norm(dim=-1)  # |b| sin(angle), without the cancellation of 1 - cos^2
    return torch.where(la * lb * lc > 0, 2 * off / (lb * lc), 0.0)


def torsion(path: Tensor) -> Tensor:
    """How fast the plane turns in which the path bends (N - 2, B), in radians per unit of the state, without sign.

    Of four neighbouring points: the angle between the plane of the first three and that of the last three, over the
    way from the one plane's centre to the other's, a third of the whole. In more than three dimensions it is the
    second curvature of Frenet. 0 for a plane path that bends to one side, and where three points are on a line.
    """
    steps = flat(path).diff(dim=0)
    a, b, c = steps[:-2], steps[1:-1], steps[2:]  # (N - 2, B, D)
    u, v = _off(-a, b), _off(c, b)  # both from the middle side into the two planes
    bent = (u.norm(dim=-1) > TINY * a.norm(dim=-1)) & (v.norm(dim=-1) > TINY * c.norm(dim=-1))
    turn = 2 * torch.atan2((_unit(u) - _unit(v)).norm(dim=-1), (_unit(u) + _unit(v)).norm(dim=-1))
    way = (a.norm(dim=-1) + b.norm(dim=-1) + c.norm(dim=-1)) / 3
    return torch.where(bent, turn / way.clamp(min=1e-300), 0.0)


def norms(path: Tensor) -> Tensor:
    """|x_n| (N + 1, B). Far out |x| is near sigma sqrt(d) and |eps| near sqrt(d)."""
    return flat(path).norm(dim=-1)


def bend(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """Both sides of x'' = -(1 / sigma) dx0 / dsigma at the inner levels, (N - 2, B, D) each: a path bends only as fast
    as its denoised predictions move.

    It follows from x' = (x - x0) / sigma. The derivatives are those of the parabolas through three neighbouring points,
    so the sides agree up to the second order in the step. Raises ValueError for fewer than 3 steps, or levels that do
    not fall.
    """
    s = trajectory.sigmas
    if len(trajectory) < 3 or (s.diff() >= 0).any():
        raise ValueError(f"levels {s.tolist()}: a bend is measured on 3 falling steps or more")
    s = s[:-1, None, None]  # (N, 1, 1)
    h, k = s[1:-1] - s[:-2], s[2:] - s[1:-1]
    x, x0 = flat(trajectory.x)[:-1], flat(trajectory.x0)
    x_left, x_right = (x[1:-1] - x[:-2]) / h, (x[2:] - x[1:-1]) / k
    r_left, r_right = (x0[1:-1] - x0[:-2]) / h, (x0[2:] - x0[1:-1]) / k
    return 2 * (x_right - x_left) / (h + k), -(k * r_left + h * r_right) / (h + k) / s[1:-1]


# ---- all of them, level by level ------------------------------------------------------------------------------------


def figures(trajectory: Trajectory) -> dict[str, Tensor]:
    """Every measure at every level, {name: (N + 1, B)}, nan where there is none: at the end no denoised prediction was
    asked for.

    x_... are of the sampling trajectory and x0_... of the denoising one. A change stands at the level that it leaves,
    a curvature at its middle point, a torsion at the second of its four.
    """
    N, B = len(trajectory), trajectory.x.shape[1]

    def at(values: Tensor, first: int = 0) -> Tensor:
        out = torch.full((N + 1, B), math.nan, dtype=torch.float64)
        out[first : first + len(values)] = values
        return out

    measures: dict[str, Tensor] = {}
    for name, path in (("x", trajectory.x), ("x0", trajectory.x0)):
        measures |= {
            f"{name}_norm": at(norms(path)),
            f"{name}_to_end": at(to_end(path)),
            f"{name}_deviation": at(deviation(path)),
            f"{name}_deviation_percent": at(deviation_percent(path)),
            f"{name}_change": at(changes(path)),
            f"{name}_curvature": at(curvature(path), 1),
            f"{name}_torsion": at(torsion(path), 1),
        }
    left, whole = cosine(trajectory)
    return measures | {"eps_norm": at(norms(trajectory.eps)), "eps_cos_to_end": at(left), "eps_cos_chord": at(whole)}


def save_csv(path: str | Path, sigmas: Tensor, measures: Mapping[str, Tensor]) -> None:
    """Figures (N + 1, B) by name as a table: a line for every level and image, nothing where a figure is nan."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["step", "sigma", "picture", *measures])
        for n, sigma in enumerate(sigmas.tolist()):
            for b in range(len(next(iter(measures.values()))[0])):
                values = [float(column[n, b]) for column in measures.values()]
                table.writerow([n, f"{sigma:.6g}", b, *("" if math.isnan(v) else f"{v:.6g}" for v in values)])


# ---- projections ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Frame:
    """A few axes in the space of states; a frame is called on points (..., C, H, W) and gives (..., K) coordinates.

    origin (D,); axes (K, D), orthonormal, so distances within their span are kept. shares (K - 1,): which part of what
    lies off the first axis every other axis holds, by squared distance.
    """

    origin: Tensor
    axes: Tensor
    shares: Tensor
    shape: torch.Size

    def __call__(self, points: Tensor) -> Tensor:
        leading = points.shape[: points.ndim - len(self.shape)]
        return (points.double().reshape(*leading, -1) - self.origin) @ self.axes.T


def frame(paths: Sequence[Tensor], axes: int = 3) -> Frame:
    """A frame that all the paths share, each of one image, (N + 1, C, H, W) with any N of its own.

    The origin is where they end (the mean of the ends), the first axis the chord (of the mean of the starts), and the
    others are the principal components of what is off it (Chen et al. 2024), each turned so that its
    farthest point is on the positive side. Raises ValueError where the paths have no chord, or span no more axes.
    """
    if not paths or axes < 1:
        raise ValueError(f"{len(paths)} paths, {axes} axes: give at least one of both")
    flats = [path.double().flatten(1) for path in paths]
    origin = torch.stack([p[-1] for p in flats]).mean(0)
    points = torch.cat(flats) - origin  # (M, D)
    way = torch.stack([p[0] for p in flats]).mean(0) - origin
    if way.norm() == 0:
        raise ValueError("these paths end where they begin: there is no chord to take as the first axis")
    first = way / way.norm()
    off = points - (points @ first)[:, None] * first
    _, spread, directions = torch.linalg.svd(off, full_matrices=False)
    if len(directions) < axes - 1:
        raise ValueError(f"{axes} axes of {len(points)} points in {points.shape[1]} dimensions: ask for fewer")
    directions = (
        directions[: axes - 1] - (directions[: axes - 1] @ first)[:, None] * first
    )  # where the spread is 0 svd picks any
    others = torch.linalg.qr(directions.T)[0].T if axes > 1 else directions
    coordinates = points @ others.T  # (M, K - 1)
    farthest = (
        coordinates.gather(0, coordinates.abs().argmax(0, keepdim=True)).sign()[0]
        if axes > 1
        else coordinates.new_zeros(0)
    )
    others = others * torch.where(farthest == 0, 1.0, farthest)[:, None]
    shares = spread[: axes - 1] ** 2 / (spread**2).sum().clamp(min=1e-300)
    return Frame(origin, torch.cat([first[None], others]), shares, paths[0].shape[1:])


def own_frames(path: Tensor, axes: int = 3) -> tuple[Tensor, Tensor]:
    """Every image in its own frame: coordinates (N + 1, B, K) and shares (B, K - 1).

    Side by side they show what the paths have in common (Chen et al. 2024: the shape of a boomerang).
    """
    frames = [frame([path[:, b]], axes) for b in range(path.shape[1])]
    return torch.stack([f(path[:, b]) for b, f in enumerate(frames)], 1), torch.stack([f.shares for f in frames])


# ---- vectors --------------------------------------------------------------------------------------------------------


def flat(path: Tensor) -> Tensor:
    """(N, B, ...) -> (N, B, D) float64."""
    return path.detach().double().flatten(2)


def along_and_off(p: Tensor) -> tuple[Tensor, Tensor]:
    """Points p (N + 1, B, D) relative to the last: their places on the chord (N + 1, B), 0 the end and 1 the start, and
    what is left of them, perpendicular to it (N + 1, B, D)."""
    way = p[0] - p[-1]  # (B, D)
    square = (way**2).sum(-1)
    t = ((p - p[-1]) * way).sum(-1) / torch.where(square > 0, square, 1.0)
    return t, p - p[-1] - t[..., None] * way


def _off(a: Tensor, b: Tensor) -> Tensor:
    """The part of a that is perpendicular to b."""
    square = (b**2).sum(-1, keepdim=True)
    return a - (a * b).sum(-1, keepdim=True) / torch.where(square > 0, square, 1.0) * b


def _unit(a: Tensor) -> Tensor:
    return a / a.norm(dim=-1, keepdim=True).clamp(min=1e-300)


def _cos(a: Tensor, b: Tensor) -> Tensor:
    return (_unit(a) * _unit(b)).sum(-1).clamp(-1, 1)
