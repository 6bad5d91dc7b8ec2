"""Fits a solid to an image by search: one solid at a time, with the renderer's own shading.

A solid is drawn with its ground and sky as the light has them, but nothing of the ground itself: its texture depends
on the position of the camera, which is unknown. A pixel that the drawn solid does not cover is instead compared
with all colours that this ground has under this sky, lit and in shadow, at that height of the image. The camera is
the mean one of all scenes but for its height, which is searched for along with the solid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from world.scene import (
    BOUND,
    COLOURS,
    FOOTPRINT,
    GROUNDS,
    HALF_HEIGHT,
    MATERIALS,
    SHAPES,
    SKIES,
    Camera,
    Solid,
)
from world.shading import (
    AMBIENT,
    GLOW,
    GROUND_A,
    GROUND_B,
    HORIZON,
    SUN,
    ZENITH,
    Batch,
    display,
    shade_solids,
    take,
)
from world.shapes import SOLIDS, dot, unit

CAMERA = Camera(distance=5.65, height=2.35)
ELEVATION = {"day": 0.95, "overcast": 1.2, "sunset": 0.42, "night": 0.75}  # of the sun, as `render.pack` has it
FREE = ("u", "v", "size", "turn", "height", "sun")
LEAST, MOST = 1.9, 2.8  # metres: height of the camera
FAR = 0.3  # a colour further off than this is simply another one
PERIOD = {"cube": math.pi / 2, "pyramid": math.pi / 2}  # of `turn`; the other solids look the same all round
INF = math.inf


@dataclass(frozen=True)
class FittedSolid(Solid):
    """A solid of any size: `metres` is half the extent of the canonical solid."""

    metres: float = 0.6

    @property
    def scale(self) -> float:
        return self.metres


@dataclass(frozen=True)
class Light:
    """Ground and sky, as `scene.GROUNDS` and `scene.SKIES` name them."""

    ground: str
    sky: str


@dataclass(frozen=True)
class Appearance:
    """Colour and material of a solid, and its light."""

    colour: str
    material: str
    light: Light


@dataclass(frozen=True)
class Candidates:
    """Candidates for one solid, each (K,). u, v in [-1, 1]: its centre in the image; size: scale / distance along
    the view; turn, sun: radians; height: of the camera, metres."""

    u: Tensor
    v: Tensor
    size: Tensor
    turn: Tensor
    height: Tensor
    sun: Tensor

    @classmethod
    def of(cls, table: Tensor) -> Candidates:
        """(K, 6)"""
        return cls(*table.unbind(1))


@dataclass(frozen=True)
class PlacedCandidates:
    """Candidates in the world: eye (3, K), axes (3, 3, K) right, up, forward; centre (3, K), scale, turn (K,), sun
    (3, K) unit vectors."""

    eye: Tensor
    axes: Tensor
    centre: Tensor
    scale: Tensor
    turn: Tensor
    sun: Tensor


ZOOM = 1 / math.tan(CAMERA.fov / 2)


def place(shape: str, candidates: Candidates, sky: str) -> PlacedCandidates:
    """The candidates in the world: the one place on the ground that projects to their centre and size."""
    zero, ones = torch.zeros_like(candidates.u), torch.ones_like(candidates.u)
    eye = torch.stack([zero, -CAMERA.distance * ones, candidates.height])
    forward = unit(torch.stack([zero, CAMERA.distance * ones, CAMERA.look_z - candidates.height]))
    right = torch.stack([ones, zero, zero])
    up = torch.stack([zero, -forward[2], forward[1]])
    way = forward + (candidates.u * right + candidates.v * up) / ZOOM
    depth = candidates.height / (candidates.size * HALF_HEIGHT[shape] - way[2]).clamp(min=0.05)
    angle = ELEVATION[sky]
    flat = math.cos(angle)
    sun = torch.stack([flat * candidates.sun.sin(), -flat * candidates.sun.cos(), math.sin(angle) * ones])
    return PlacedCandidates(
        eye, torch.stack([right, up, forward]), eye + depth * way, candidates.size * depth, candidates.turn, sun
    )


@dataclass(frozen=True)
class Hits:
    """The M points where candidates are met: by which candidate and at which of the points of the image (M,), in what
    colour (3, M) in [0, 1], at what distance (M,)."""

    candidate: Tensor
    point: Tensor
    rgb: Tensor
    away: Tensor


def trace_candidates(
    appearance: Appearance,
    shape: str,
    placed: PlacedCandidates,
    u: Tensor,
    v: Tensor,
    casters: Sequence[tuple[str, PlacedCandidates]] = (),
) -> Hits:
    """Candidates seen through the points u, v (P,) of the image. casters: other solids, one candidate each, whose
    shadows may fall on it."""
    pixels = torch.stack([u, v, torch.full_like(u, ZOOM)])  # (3, P): rays by the camera's axes, not yet unit vectors
    to = placed.centre - placed.eye
    along = (placed.axes * to).sum(1).T @ pixels  # (K, P)
    reach = dot(to, to) - (BOUND[shape] * placed.scale) ** 2
    candidate, point = (along.square() > reach[:, None] * dot(pixels, pixels)).nonzero().unbind(1)
    _, forward_y, forward_z = placed.axes[2]  # the camera looks along y, and does not roll
    spin = torch.stack([placed.turn.cos(), placed.turn.sin()])
    table = torch.cat([forward_y[None], forward_z[None], spin, placed.scale[None], -to])
    forward_y, forward_z, cos, sin, scale, *origin = table.index_select(1, candidate)
    x, y = pixels[:2].index_select(1, point)
    ray = unit(torch.stack([x, ZOOM * forward_y - y * forward_z, ZOOM * forward_z + y * forward_y]))
    t = SOLIDS[shape].hit(_turned(torch.stack(origin) / scale, cos, sin), _turned(ray, cos, sin)) * scale
    met = t.isfinite().nonzero()[:, 0]
    candidate, point, ray, t = (take(each, met) for each in (candidate, point, ray, t))
    table = torch.cat([spin, placed.scale[None], placed.eye, placed.centre, placed.sun]).index_select(1, candidate)
    (cos, sin, scale), eye, centre, sun = table[:3], table[3:6], table[6:9], table[9:]
    at = eye + t * ray
    inside = _turned((at - centre) / scale, cos, sin)
    normal = SOLIDS[shape].normal(inside)
    lit = torch.ones_like(t)
    if shape == "torus":
        lit = (~SOLIDS[shape].hit(inside + 4e-3 * normal, _turned(sun, cos, sin)).isfinite()).float()
    normal = _turned(normal, cos, -sin)
    for kind, other in casters:
        to = other.centre - at
        along = dot(to, sun)
        passes = dot(to, to) - along.square() < (BOUND[kind] * other.scale) ** 2  # the caster's bounding sphere
        rows = (passes & (along > 0)).nonzero()[:, 0]
        cos, sin = other.turn.cos(), other.turn.sin()
        start = _turned((take(at + 3e-3 * normal, rows) - other.centre) / other.scale, cos, sin)
        shadow = SOLIDS[kind].hit(start, _turned(take(sun, rows), cos, sin)).isfinite()
        lit[rows[shadow]] = 0.0
    batch = _batch(appearance, shape, centre, scale, sun)
    return Hits(candidate, point, display(shade_solids(batch, None, torch.zeros_like(point), at, ray, normal, lit)), t)


def render_candidates(
    appearance: Appearance,
    shape: str,
    placed: PlacedCandidates,
    u: Tensor,
    v: Tensor,
    casters: Sequence[tuple[str, PlacedCandidates]] = (),
) -> tuple[Tensor, Tensor]:
    """As `trace_candidates`, for all points: colours (K, P, 3) in [0, 1] and distances (K, P), infinite where the
    solid is not."""
    hits = trace_candidates(appearance, shape, placed, u, v, casters)
    k, p = len(placed.scale), len(u)
    rows = hits.candidate * p + hits.point
    colours = torch.zeros(k * p, 3).index_copy_(0, rows, hits.rgb.T)
    away = torch.full((k * p,), INF).index_copy_(0, rows, hits.away)
    return colours.view(k, p, 3), away.view(k, p)


def _turned(v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(3, M) about the vertical, from the world's axes to the solid's; cos, sin of its turn (M,) or (1,)."""
    x, y, z = v
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z])


def _batch(appearance: Appearance, shape: str, centre: Tensor, scale: Tensor, sun: Tensor) -> Batch:
    """What the renderer's shading of a solid needs, one entry a point: centre (3, M), scale (M,), sun (3, M). Where
    all points are alike, as in colour, ground and sky, one entry for all."""
    one = torch.ones(1)
    return Batch(
        eye=centre,
        axes=torch.eye(3)[..., None],
        zoom=one,
        sun=sun,
        ground=torch.tensor([GROUNDS.index(appearance.light.ground)]),
        sky=torch.tensor([SKIES.index(appearance.light.sky)]),
        shape=torch.tensor([[SHAPES.index(shape)]]),
        colour=torch.tensor(COLOURS[appearance.colour])[:, None, None],
        metal=torch.tensor([[float(MATERIALS.index(appearance.material))]]),
        centre=centre[:, None],
        scale=scale[None],
        turn=torch.eye(3)[..., None, None],
        reach=one[None],
        kinds=[[SHAPES.index(shape)]],
    )


def background(light: Light, rows: Tensor, lean: float = 0.0) -> Tensor:
    """Colours that ground and sky may have at heights v (R,) of the image: (R, C, 3) in [0, 1]. lean: by how much the
    horizon lies lower in the image than before `CAMERA`."""
    sky, ground = SKIES.index(light.sky), GROUNDS.index(light.ground)
    a, b, sun, ambient, horizon, zenith, glow = (
        torch.tensor(table[i])
        for table, i in (
            (GROUND_A, ground),
            (GROUND_B, ground),
            (SUN, sky),
            (AMBIENT, sky),
            (HORIZON, sky),
            (ZENITH, sky),
            (GLOW, sky),
        )
    )
    tone = torch.linspace(-0.35, 1.1, 9)[:, None, None, None]  # the seams of wood are darker than either colour
    part = torch.linspace(0, 1, 4)[None, :, None, None]  # of the sun: the rims of shadows lie between
    open_ = torch.tensor([1.0, 0.7, 0.4])[None, None, :, None]  # to the sky
    surface = torch.lerp(a, b, tone).clamp(min=0)
    lit = (surface * (sun * math.sin(ELEVATION[light.sky]) * part + ambient * open_)).reshape(-1, 3)
    _, up, forward = CAMERA.axes
    v = rows[:, None] + lean + torch.tensor([-0.04, 0.04])
    slope = (v * up[2] + ZOOM * forward[2]) / (ZOOM**2 + v.square()).sqrt()
    away = torch.where(slope < -1e-3, CAMERA.height / -slope.clamp(max=-1e-3), 100.0)
    least, most = (1 - (-((away / 22) ** 2)).exp())[:, :, None, None].unbind(1)
    ground_colours = [
        torch.lerp(lit.expand(len(rows), -1, -1), horizon + tint * glow, torch.lerp(least, most, part))
        for tint in (0.0, 0.5, 1.0)
        for part in (0.0, 0.5, 1.0)
    ]
    tint = torch.linspace(0, 1, 5)[:, None, None]
    air = (torch.lerp(horizon, zenith, 0.6 * tint) + tint.transpose(0, 1) * glow).reshape(-1, 3)
    high = (slope[:, 1] > -0.02)[:, None, None]  # about the horizon both may be
    skies = torch.where(high, air.expand(len(rows), -1, -1), ground_colours[0][:, :1])
    return display(torch.cat([*ground_colours, skies], 1))


def distance_to_palette(colours: Tensor, palette: Tensor) -> Tensor:
    """Distance of colours (..., P, 3) to the nearest of a palette (..., C, 3): (..., P)."""
    return torch.cdist(colours, palette).amin(-1)


@dataclass(frozen=True)
class PixelWindow:
    """The pixels about a solid. u, v (P,), colours (P, 3), background_error (P,): distance to the nearest colour of the
    background; weight (P,): 0 where a nearer solid may hide this one. casters: the other solids, whose shadows may fall
    on it."""

    u: Tensor
    v: Tensor
    colours: Tensor
    background_error: Tensor
    weight: Tensor
    box: Sequence[float]
    casters: tuple[tuple[str, PlacedCandidates], ...] = ()

    def thinned(self, keep: Tensor) -> PixelWindow:
        parts = (self.u, self.v, self.colours, self.background_error, self.weight)
        u, v, colours, background_error, weight = (field[keep] for field in parts)
        return PixelWindow(u, v, colours, background_error, weight, self.box, self.casters)


def energy(appearance: Appearance, shape: str, window: PixelWindow, candidates: Candidates) -> Tensor:
    """(K,): the sum of the colour errors of each candidate over the pixels."""
    placed = place(shape, candidates, appearance.light.sky)
    hits = trace_candidates(appearance, shape, placed, window.u, window.v, window.casters)
    background_error = window.background_error.clamp(max=FAR) * window.weight
    inside = (hits.rgb - window.colours.T.index_select(1, hits.point)).square().sum(0).sqrt().clamp(max=FAR)
    # where a solid hides the background
    change = inside * take(window.weight, hits.point) - take(background_error, hits.point)
    error = background_error.sum().expand(len(candidates.u)).index_add(0, hits.candidate, change)
    # Where ground and solid look alike, a small solid would explain the pixels as well: it should fill its box.
    size = initial_guess(shape, window.box)[2]
    x0, y0, x1, y1 = (2 * side - 1 for side in window.box)
    boxed = ((window.u > x0) & (window.u < x1) & (-window.v > y0) & (-window.v < y1)).sum()
    return error + 0.02 * boxed * (((size / candidates.size).log() - 0.15).clamp(min=0) / 0.2) ** 2


def spread_candidates(shape: str, start: Sequence[float], rows: int, seed: int) -> Tensor:
    """Candidates (rows, 6) spread evenly over all that may be, about u, v, size of the first guess."""
    u, v, size = start
    even = torch.quasirandom.SobolEngine(6, scramble=True, seed=seed).draw(rows)
    side = 2 * (torch.arange(rows) % 2) - 1  # the light comes from the left or from the right
    columns = [
        u + 0.5 * size * ZOOM * (even[:, 0] - 0.5),
        v + 0.6 * size * ZOOM * (even[:, 1] - 0.5),
        size * torch.exp(0.6 * (even[:, 2] - 0.5)),
        PERIOD.get(shape, 0.0) * even[:, 3],
        LEAST + 0.2 + (MOST - LEAST - 0.4) * even[:, 4],
        side * (0.5 + 0.6 * even[:, 5]),
    ]
    return torch.stack(columns, 1)


def search(
    appearance: Appearance,
    shape: str,
    window: PixelWindow,
    table: Tensor,
    rounds: int,
    rows: int,
    reach: float = 1.0,
    seed: int = 7,
) -> Tensor:
    """Candidates (K, 6), in the order of `FREE` -> the best eight of the search, the best first (8, 6).

    Each round tries `rows` more about the best ones, ever closer; reach: how far away the first round looks, 1 for
    about a tenth of the solid's size. Deterministic.
    """
    draws = torch.Generator().manual_seed(seed)
    size, slack = float(table[0, 2]), torch.tensor([ZOOM, ZOOM, 0.5])
    width = reach * torch.tensor(
        [0.12 * size * ZOOM, 0.12 * size * ZOOM, 0.1 * size, 0.25 * PERIOD.get(shape, 0.0), 0.15, 0.2]
    )
    least, most = table.amin(0), table.amax(0)  # no further than the first ones, but for what turns round
    least[3:], most[3:] = torch.tensor([-INF, LEAST, -1.3]), torch.tensor([INF, MOST, 1.3])
    far = 0.25 * reach
    least[:3], most[:3] = least[:3] - far * size * slack, most[:3] + far * size * slack
    energies = energy(appearance, shape, window, Candidates.of(table))
    for n in range(rounds):
        order = _leaders(energies, table[:, 5], n)
        table, energies = table[order], energies[order]
        parent = torch.arange(rows) % len(table)
        step = torch.randn(rows, 6, generator=draws) * (torch.rand(rows, 6, generator=draws) < 0.6)
        mate = torch.randint(len(table), (rows,), generator=draws)
        along = (table[mate] - table[parent]) * torch.rand(rows, 1, generator=draws)  # where the best ones differ
        more = table[parent] + step * width * 0.62**n + 0.7 * along * (torch.arange(rows) % 2)[:, None]
        more = torch.maximum(torch.minimum(more, most), least)
        table = torch.cat([table, more])
        energies = torch.cat([energies, energy(appearance, shape, window, Candidates.of(more))])
    return table[energies.argsort()[:8]]


def _leaders(energies: Tensor, sun: Tensor, n: int) -> Tensor:
    """The candidates that the next round starts from, after round n. At first as many with light from the left as from
    the right: a wrong side may lead for a while."""
    order = energies.argsort()
    if n > 2:
        return order[: max(3, 8 - n)]
    left = sun[order] < 0
    return torch.cat([order[left][:4], order[~left][:4]])


def fitted_solid(shape: str, colour: str, size: str, material: str, sky: str, best: Tensor) -> FittedSolid:
    """The solid of a candidate (6,), as it stands before the camera `CAMERA` at the candidate's height."""
    placed = place(shape, Candidates.of(best[None]), sky)
    x, y, _ = placed.centre[:, 0].tolist()
    return FittedSolid(shape, colour, size, material, x, y, float(best[3]), metres=float(placed.scale[0]))


def fitted_camera(best: Tensor) -> Camera:
    return replace(CAMERA, height=float(best[4]))


def initial_guess(shape: str, box: Sequence[float]) -> tuple[float, float, float]:
    """u, v, size for a solid whose visible part fills the box x0, y0, x1, y1 in [0, 1]."""
    x0, y0, x1, y1 = box
    width, height = max(x1 - x0, 0.04), max(y1 - y0, 0.04)  # half extents, for u and v span 2
    tall = 0.95 * HALF_HEIGHT[shape] + 0.3 * FOOTPRINT[shape]
    size = math.sqrt(width / FOOTPRINT[shape] * height / tall) / ZOOM
    return x0 + x1 - 1, 1 - y0 - y1, size
