"""Ray casting of scenes into pictures and exactly aligned maps, vectorised over a flat list of rays.

Every pixel gets one ray; pixels whose neighbourhood is not smooth get more, and the mean is kept: soft edges at a quarter of
the cost of plain supersampling. Solids are tested exactly only on rays that pass through their bounding spheres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from world.scene import BOUND, COLOURS, GROUNDS, MATERIALS, SHAPES, SKIES, Scene
from world.shading import narrow, pick, shade
from world.shapes import INTERSECT

INF = math.inf
GROUND, SKY = -1, -2  # instance numbers of what is no solid
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass
class Rendering:
    """Pictures of B scenes, H x W pixels, and their maps; N is the largest number of solids (missing ones are empty).

    rgb (B, 3, H, W) in [0, 1]; depth (B, H, W) metres along the view, inf in the sky; near (B, H, W) in [0, 1]: nearness,
    1 at the nearest point of the picture and 0 in the sky; normals (B, 3, H, W) in camera axes (right, up, towards the
    camera), 0 in the sky; instances (B, H, W) int: number of the solid, -1 ground, -2 sky; classes (B, H, W) int: 0 sky,
    1 ground, 2... the shape; edges (B, H, W) bool: outlines and creases; boxes (B, N, 4) x0, y0, x1, y1 in [0, 1] of
    what is visible; visible (B, N) in [0, 1]: the fraction of each solid that nothing hides.
    """

    rgb: Tensor
    depth: Tensor
    near: Tensor
    normals: Tensor
    instances: Tensor
    classes: Tensor
    edges: Tensor
    boxes: Tensor
    visible: Tensor


@dataclass
class Batch:
    """The scenes as tensors: what tracing and shading read. N solids each, `real` where one exists."""

    eye: Tensor  # (B, 3)
    axes: Tensor  # (B, 3, 3) rows right, up, forward
    zoom: Tensor  # (B,)
    sun: Tensor  # (B, 3) unit vector towards the light
    ground: Tensor  # (B,) index in GROUNDS
    sky: Tensor  # (B,) index in SKIES
    real: Tensor  # (B, N)
    shape: Tensor  # (B, N) index in SHAPES
    colour: Tensor  # (B, N, 3) linear albedo
    metal: Tensor  # (B, N)
    centre: Tensor  # (B, N, 3)
    scale: Tensor  # (B, N)
    turn: Tensor  # (B, N, 2) cosine and sine
    bound: Tensor = field(init=False)  # (B, N) radius of the bounding spheres

    def __post_init__(self) -> None:
        bounds = torch.tensor([BOUND[s] for s in SHAPES], device=self.scale.device)
        self.bound = torch.where(self.real, self.scale * bounds[self.shape], -1.0)


def pack(scenes: Sequence[Scene], device: str | torch.device = "cpu", n: int = 0) -> Batch:
    """The scenes as tensors, with room for at least n solids."""
    n = max([n, *(len(s.solids) for s in scenes)])
    elevation = {"day": 0.95, "overcast": 1.2, "sunset": 0.42, "night": 0.75}

    def table(rows: list, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(rows, dtype=dtype, device=device)

    def solids(value, empty) -> list:
        return [[value(o) for o in s.solids] + [empty] * (n - len(s.solids)) for s in scenes]

    def sunlight(s: Scene) -> list[float]:
        up = elevation[s.sky]
        return [math.cos(up) * math.sin(s.sun), -math.cos(up) * math.cos(s.sun), math.sin(up)]

    return Batch(
        eye=table([s.camera.position for s in scenes]),
        axes=table([s.camera.axes for s in scenes]),
        zoom=table([1 / math.tan(s.camera.fov / 2) for s in scenes]),
        sun=table([sunlight(s) for s in scenes]),
        ground=table([GROUNDS.index(s.ground) for s in scenes], torch.long),
        sky=table([SKIES.index(s.sky) for s in scenes], torch.long),
        real=table(solids(lambda o: True, False), torch.bool),
        shape=table(solids(lambda o: SHAPES.index(o.shape), 0), torch.long),
        colour=table(solids(lambda o: COLOURS[o.colour], (0, 0, 0))),
        metal=table(solids(lambda o: float(MATERIALS.index(o.material)), 0.0)),
        centre=table(solids(lambda o: o.centre, (0, 0, 0))),
        scale=table(solids(lambda o: o.scale, 1.0)),
        turn=table(solids(lambda o: (math.cos(o.turn), math.sin(o.turn)), (1.0, 0.0))),
    )


def nearest(batch: Batch, scene: Tensor | None, origin: Tensor, ray: Tensor, count: bool = False):
    """The first solid that each ray hits.

    scene (P,) index of each ray's scene, None where the batch is one scene; origin, ray (P, 3), rays of unit length. Returns t (P,) with inf for a miss,
    instance (P,), normal (P, 3), and, when `count`, how many rays hit each solid at all, (B, N).
    """
    n = batch.real.shape[1]
    along, square = 0.0, 0.0  # of the way to each centre: its part along the ray, and its length, (P, N)
    for axis in range(3):
        to = pick(batch.centre[:, :, axis], scene) - origin[:, axis, None]
        along = along + to * ray[:, axis, None]
        square = square + to * to
    bound = pick(batch.bound, scene)  # negative where there is no solid
    near = (square - along * along < bound * bound) & (torch.minimum(along, bound) > 0)
    pair = near.view(-1).nonzero()[:, 0]  # the ray-solid pairs worth an exact test, (K,)
    row, solid = pair // n, pair % n
    which = solid if scene is None else scene.index_select(0, row) * n + solid
    shape = batch.shape.view(-1).index_select(0, which)
    scale = batch.scale.view(-1).index_select(0, which)
    turn = batch.turn.view(-1, 2).index_select(0, which)
    to = origin.expand(len(ray), 3).index_select(0, row) - batch.centre.view(-1, 3).index_select(0, which)
    o = _turned(to / scale[:, None], turn, -1)
    d = _turned(ray.index_select(0, row), turn, -1)
    t = torch.full_like(scale, INF)
    normal = torch.zeros_like(o)
    for k, name in enumerate(SHAPES):
        these = (shape == k).nonzero()[:, 0]
        if len(these):
            t[these], normal[these] = INTERSECT[name](o.index_select(0, these), d.index_select(0, these))
    t = t * scale
    table = torch.full((len(ray) * n,), INF, device=ray.device)
    table[pair] = t
    best, instance = table.view(-1, n).min(-1)
    first = (t == best.index_select(0, row)) & (solid == instance.index_select(0, row)) & t.isfinite()
    normals = torch.zeros(len(ray), 3, device=ray.device)
    normals[row[first]] = _turned(normal[first], turn[first], 1)
    hits = None
    if count:
        hits = torch.zeros(batch.real.numel(), device=ray.device)
        hits.index_add_(0, which, t.isfinite().float())
        hits = hits.view_as(batch.real)
    return best, instance, normals, hits


def _turned(v: Tensor, turn: Tensor, sense: int) -> Tensor:
    c, s = turn[:, 0], turn[:, 1] * sense
    return torch.stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]], -1)


@dataclass
class Sample:
    """What the rays see: rgb (P, 3) in [0, 1], t (P,), instance (P,), normal (P, 3) in world axes."""

    rgb: Tensor
    t: Tensor
    instance: Tensor
    normal: Tensor
    ray: Tensor
    hits: Tensor | None


def trace(batch: Batch, scene: Tensor | None, u: Tensor, v: Tensor, count: bool = False) -> Sample:
    """Follow the rays through (u, v), each in [-1, 1] over the picture, u right and v up; scene (P,)."""
    right, up, forward = pick(batch.axes, scene).unbind(1)
    ray = u[:, None] * right + v[:, None] * up + pick(batch.zoom, scene)[:, None] * forward
    ray = ray * ray.square().sum(-1, keepdim=True).rsqrt()
    eye = pick(batch.eye, scene)
    t, instance, normal, hits = nearest(batch, scene, eye, ray, count)
    ground = torch.where(ray[:, 2] < -1e-4, -eye[:, 2] / ray[:, 2].clamp(max=-1e-4), INF)
    on_ground = ground < t
    instance = torch.where(on_ground, GROUND, torch.where(t.isinf(), SKY, instance))
    t = torch.minimum(t, ground)
    up = torch.tensor([0.0, 0.0, 1.0], device=ray.device)
    normal = torch.where(on_ground[:, None], up, normal)

    point = eye + torch.where(t.isinf(), 0.0, t)[:, None] * ray
    sun = pick(batch.sun, scene)
    faces_sun = (normal * sun).sum(-1) > 0
    asks = ((instance != SKY) & faces_sun & (t < 40)).nonzero()[:, 0]
    lit = torch.ones_like(t)
    if len(asks):
        towards = sun.expand_as(point).index_select(0, asks)
        start = point.index_select(0, asks) + 2e-3 * normal.index_select(0, asks) + 1e-3 * towards
        lit[asks] = nearest(batch, narrow(scene, asks), start, towards)[0].isinf().float()
    rgb = shade(batch, scene, point, ray, t, instance, normal, lit)
    return Sample(rgb, t, instance, normal, ray, hits)


def render(scenes: Sequence[Scene], size: int = 128, device: str | torch.device = "cpu") -> Rendering:
    """Pictures and maps of the scenes, `size` x `size` pixels.

    Raises ValueError for an empty list or a size below 8.
    """
    if not scenes:
        raise ValueError("render needs at least one scene.")
    if size < 8:
        raise ValueError(f"size {size}: must be at least 8 pixels.")
    if torch.device(device).type != "cpu" or len(scenes) == 1:
        return _render(pack(scenes, device), size)
    # One scene at a time stays in the cache of a core, and needs no gathering of the rays' scenes.
    solids = max(len(s.solids) for s in scenes)
    parts = [_render(pack([s], device, solids), size) for s in scenes]
    return Rendering(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rendering)))


def _render(batch: Batch, size: int) -> Rendering:
    b, device = len(batch.eye), batch.eye.device
    at = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    v, u = (m.reshape(-1).repeat(b) for m in torch.meshgrid(-at, at, indexing="ij"))
    scene = torch.arange(b, device=device).repeat_interleave(size * size) if b > 1 else None
    first = trace(batch, scene, u, v, count=True)

    rgb = first.rgb.view(b, size, size, 3)
    rough = _jumps(rgb.amax(-1)[:, None], 0.03) | _jumps(first.instance.view(b, 1, size, size).float(), 0.5)
    again = rough.view(-1).nonzero()[:, 0]
    if len(again):
        du, dv = torch.tensor(SUBPIXELS, device=device).mul(2 / size)[:, :, None].unbind(1)
        more = trace(
            batch,
            None if scene is None else scene[again].repeat(len(SUBPIXELS)),
            (u[again] + du).reshape(-1),
            (v[again] + dv).reshape(-1),
        )
        rgb.view(-1, 3)[again] = more.rgb.view(len(SUBPIXELS), -1, 3).mean(0)

    instances = first.instance.view(b, size, size)
    forward = pick(batch.axes, scene)[:, 2]
    depth = (first.t * (first.ray * forward).sum(-1)).view(b, size, size)
    inverse = 1 / depth  # 0 in the sky
    near = inverse / inverse.amax((1, 2), keepdim=True)
    normals = torch.stack([(axis * first.normal).sum(-1) for axis in pick(batch.axes, scene).unbind(1)], -1)
    normals = normals.view(b, size, size, 3)
    normals = normals * torch.tensor([1.0, 1.0, -1.0], device=device)
    shape = batch.shape.gather(1, instances.view(b, -1).clamp(min=0)).view_as(instances)
    classes = torch.where(instances == SKY, 0, torch.where(instances == GROUND, 1, 2 + shape))
    assert first.hits is not None
    boxes, seen = _boxes(instances, batch.real.shape[1])
    return Rendering(
        rgb=rgb.permute(0, 3, 1, 2).contiguous(),
        depth=depth,
        near=near,
        normals=normals.permute(0, 3, 1, 2).contiguous(),
        instances=instances,
        classes=classes,
        edges=_edges(instances, normals),
        boxes=boxes,
        visible=seen / first.hits.clamp(min=1),
    )


def _jumps(image: Tensor, threshold: float) -> Tensor:
    """(B, 1, H, W) -> (B, H, W) bool: the 3 x 3 neighbourhood spans more than the threshold."""
    pad = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
    high = torch.nn.functional.max_pool2d(pad, 3, 1)
    low = -torch.nn.functional.max_pool2d(-pad, 3, 1)
    return (high - low > threshold)[:, 0]


def _edges(instances: Tensor, normals: Tensor) -> Tensor:
    """Pixels whose right or lower neighbour belongs to something else, or bends away by more than about 30 degrees."""
    edge = torch.zeros_like(instances, dtype=torch.bool)
    across = instances[:, :, 1:] != instances[:, :, :-1]
    down = instances[:, 1:] != instances[:, :-1]
    across |= (normals[:, :, 1:] * normals[:, :, :-1]).sum(-1).sub(1).lt(-0.14) & (instances[:, :, 1:] >= 0)
    down |= (normals[:, 1:] * normals[:, :-1]).sum(-1).sub(1).lt(-0.14) & (instances[:, 1:] >= 0)
    edge[:, :, :-1] |= across
    edge[:, :-1] |= down
    return edge


def _boxes(instances: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) of the visible pixels of each solid, x0, y0, x1, y1 in [0, 1], zeros where none; their number."""
    b, h, w = instances.shape
    boxes = torch.zeros(b, n, 4, device=instances.device)
    seen = torch.zeros(b, n, device=instances.device)
    for i in range(n):
        mask = instances == i
        columns, rows = mask.any(1).float(), mask.any(2).float()
        seen[:, i] = mask.sum((1, 2))
        x0, y0 = columns.argmax(1), rows.argmax(1)
        x1, y1 = w - columns.flip(1).argmax(1), h - rows.flip(1).argmax(1)
        box = torch.stack([x0 / w, y0 / h, x1 / w, y1 / h], -1)
        boxes[:, i] = torch.where(seen[:, i, None] > 0, box, 0.0)
    return boxes, seen
