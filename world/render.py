"""Ray casting of scenes into images and exactly aligned maps, vectorised over a flat list of rays.

Every pixel gets one ray; pixels whose neighbourhood is not smooth get more, and their mean is taken: soft edges at a
quarter of the cost of plain supersampling. Solids are tested exactly only on rays that pass through their bounding
spheres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from world.scene import BOUND, COLOURS, GROUNDS, MATERIALS, SHAPES, SKIES, Scene, Solid
from world.shading import Batch, narrow, pick, shade, take
from world.shapes import SOLIDS, dot, unit

INF = math.inf
GROUND, SKY = -1, -2  # instance numbers of ground and sky
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass
class Rendering:
    """Images of B scenes, H x W pixels, and their maps; N is the largest number of solids (missing ones are empty).

    rgb (B, 3, H, W) in [0, 1]; depth (B, H, W) metres along the view, inf in the sky; near (B, H, W) in [0, 1]:
    nearness, 1 at the nearest point of the image and 0 in the sky; normals (B, 3, H, W) in camera axes (right, up,
    towards the camera), 0 in the sky; instances (B, H, W) int: number of the solid, -1 ground, -2 sky; classes (B, H,
    W) int: 0 sky, 1 ground, 2... the shape; edges (B, H, W) bool: outlines and creases; boxes (B, N, 4) x0, y0, x1, y1
    in [0, 1] of what is visible; visible (B, N) in [0, 1]: the fraction of each solid that nothing hides.
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


def quantized(images: Tensor) -> Tensor:
    """Images in [0, 1], of any shape -> uint8, as an 8-bit image has them. What lies outside is cut off."""
    return (images * 255).round().clamp(0, 255).byte()


def pack(scenes: Sequence[Scene], device: str | torch.device = "cpu") -> Batch:
    """The scenes as tensors."""
    n = max(len(s.solids) for s in scenes)
    elevation = {"day": 0.95, "overcast": 1.2, "sunset": 0.42, "night": 0.75}

    def table(rows: list, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, ...) -> (..., B)"""
        return torch.tensor(rows, dtype=dtype).movedim(0, -1).contiguous().to(device)

    def solids(value, empty) -> list:
        return [[value(o) for o in s.solids] + [empty] * (n - len(s.solids)) for s in scenes]

    def sunlight(s: Scene) -> list[float]:
        up = elevation[s.sky]
        return [math.cos(up) * math.sin(s.sun), -math.cos(up) * math.cos(s.sun), math.sin(up)]

    def turned(o: Solid | None) -> list[list[float]]:
        c, s = (math.cos(o.turn), math.sin(o.turn)) if o else (1.0, 0.0)
        return [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]

    return Batch(
        eye=table([s.camera.position for s in scenes]),
        axes=table([s.camera.axes for s in scenes]),
        zoom=table([1 / math.tan(s.camera.fov / 2) for s in scenes]),
        sun=table([sunlight(s) for s in scenes]),
        ground=table([GROUNDS.index(s.ground) for s in scenes], torch.long),
        sky=table([SKIES.index(s.sky) for s in scenes], torch.long),
        shape=table(solids(lambda o: SHAPES.index(o.shape), -1), torch.long),
        colour=table(solids(lambda o: COLOURS[o.colour], (0, 0, 0))).movedim(0, 1).contiguous(),
        metal=table(solids(lambda o: float(MATERIALS.index(o.material)), 0.0)),
        centre=table(solids(lambda o: o.centre, (0, 0, 0))).movedim(0, 1).contiguous(),
        scale=table(solids(lambda o: o.scale, 1.0)),
        turn=table(solids(turned, turned(None))).movedim(0, 2).contiguous(),
        reach=table(solids(lambda o: (o.scale * BOUND[o.shape]) ** 2, -INF)),
        kinds=[sorted({SHAPES.index(s.solids[i].shape) for s in scenes if i < len(s.solids)}) for i in range(n)],
    )


def _crossings(batch: Batch, scene: Tensor | None, origin: Tensor, ray: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Solid by solid (number, rays (K,) that may hit it, distances (K,) with inf for a miss); only rays through its
    bounding sphere are tested. origin, ray (3, P) or (3, 1)."""
    to = pick(batch.centre, scene) - origin[:, None]  # (3, N, P)
    along = dot(to, ray[:, None])
    near = (dot(to, to) - along * along < pick(batch.reach, scene)) & (along > 0)  # (N, P)
    for i, kinds in enumerate(batch.kinds):
        for kind in kinds:
            mine = near[i] if scene is None else near[i] & (pick(batch.shape[i], scene) == kind)
            rows = mine.nonzero()[:, 0]
            if len(rows):
                inside = narrow(scene, rows)
                o = _inwards(batch, inside, i, take(origin, rows))
                d = _turned(pick(batch.turn[:, :, i], inside), take(ray, rows))
                yield i, rows, SOLIDS[SHAPES[kind]].hit(o, d) * pick(batch.scale[i], inside)


def _inwards(batch: Batch, scene: Tensor | None, i: int, p: Tensor) -> Tensor:
    """World points (3, K) in the coordinates of solid i."""
    p = (p - pick(batch.centre[:, i], scene)) / pick(batch.scale[i], scene)
    return _turned(pick(batch.turn[:, :, i], scene), p)


def _turned(turn: Tensor, v: Tensor) -> Tensor:
    """Matrices (3, 3, K) or one (3, 3, 1), vectors (3, K) -> (3, K)."""
    return turn[..., 0] @ v if turn.shape[-1] == 1 else (turn * v).sum(1)


def _normals(batch: Batch, scene: Tensor | None, instance: Tensor, point: Tensor) -> Tensor:
    """(3, P): outward unit normals at points of the solids; up elsewhere."""
    normals = torch.zeros_like(point)
    normals[2] = 1
    for i, kinds in enumerate(batch.kinds):
        on = instance == i
        for kind in kinds:
            mine = on if scene is None else on & (pick(batch.shape[i], scene) == kind)
            rows = mine.nonzero()[:, 0]
            if len(rows):
                inside = narrow(scene, rows)
                normal = SOLIDS[SHAPES[kind]].normal(_inwards(batch, inside, i, take(point, rows)))
                back = pick(batch.turn[:, :, i], inside).transpose(0, 1)
                normals.index_copy_(1, rows, _turned(back, normal))
    return normals


@dataclass
class Sample:
    """The result of P rays: rgb (3, P) in [0, 1], t (P,), instance (P,), normal (3, P) in world axes, ray (3, P); hits
    (N, B): how many rays meet each solid, hidden or not."""

    rgb: Tensor
    t: Tensor
    instance: Tensor
    normal: Tensor
    ray: Tensor
    hits: Tensor


def trace(batch: Batch, scene: Tensor | None, u: Tensor, v: Tensor) -> Sample:
    """Follow the rays through (u, v), each (P,) in [-1, 1] over the image, u right and v up; scene (P,) the number of
    each ray's scene, None where there is but one."""
    right, up, forward = pick(batch.axes, scene)
    ray = unit(u * right + v * up + pick(batch.zoom, scene) * forward)
    eye = pick(batch.eye, scene)
    t = torch.where(ray[2] < -1e-4, -eye[2] / ray[2].clamp(max=-1e-4), INF)
    instance = torch.where(t.isinf(), SKY, GROUND)
    hits = torch.zeros_like(batch.scale)
    for i, rows, distance in _crossings(batch, scene, eye, ray):
        closer = (distance <= t[rows]) & distance.isfinite()
        first = rows[closer]
        t[first], instance[first] = distance[closer], i
        home = torch.zeros_like(rows) if scene is None else scene[rows]
        hits[i].index_add_(0, home, distance.isfinite().float())
    point = eye + torch.where(t.isinf(), 0.0, t) * ray
    normal = _normals(batch, scene, instance, point)

    sun = pick(batch.sun, scene)
    needs_shadow_ray = ((instance != SKY) & (dot(normal, sun) > 0) & (t < 40)).nonzero()[:, 0]
    lit = torch.ones_like(t)
    if len(needs_shadow_ray):
        towards, inside = take(sun, needs_shadow_ray), narrow(scene, needs_shadow_ray)
        start = take(point, needs_shadow_ray) + 2e-3 * take(normal, needs_shadow_ray) + 1e-3 * towards
        for _, rows, distance in _crossings(batch, inside, start, towards):
            lit[needs_shadow_ray[rows[distance.isfinite()]]] = 0.0
    return Sample(shade(batch, scene, point, ray, t, instance, normal, lit), t, instance, normal, ray, hits)


def render(scenes: Sequence[Scene], size: int = 128, device: str | torch.device = "cpu") -> Rendering:
    """Images and maps of the scenes, `size` x `size` pixels.

    Raises ValueError for an empty list or a size below 8.
    """
    if not scenes:
        raise ValueError("render needs at least one scene.")
    if size < 8:
        raise ValueError(f"size {size}: must be at least 8 pixels.")
    # On a CPU one scene at a time stays in the cache, and needs no gathering of the rays' scenes.
    groups = [[s] for s in scenes] if torch.device(device).type == "cpu" else [list(scenes)]
    with torch.inference_mode():
        parts = [_render(group, size, device) for group in groups]
    n = max(len(s.solids) for s in scenes)
    for part in parts:
        missing = n - part.visible.shape[1]
        part.boxes, part.visible = pad(part.boxes, (0, 0, 0, missing)), pad(part.visible, (0, missing))
    return Rendering(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rendering)))


def _render(scenes: Sequence[Scene], size: int, device: str | torch.device) -> Rendering:
    batch, b = pack(scenes, device), len(scenes)
    at = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    v, u = (m.reshape(-1).repeat(b) for m in torch.meshgrid(-at, at, indexing="ij"))
    scene = torch.arange(b, device=device).repeat_interleave(size * size) if b > 1 else None
    first = trace(batch, scene, u, v)
    instances = first.instance.view(b, size, size)

    rgb = first.rgb
    rough = _jumps(rgb.amax(0).view(b, size, size), 0.03) | _jumps(instances.float(), 0.5)
    refined = rough.view(-1).nonzero()[:, 0]
    if len(refined):
        du, dv = torch.tensor(SUBPIXELS, device=device).mul(2 / size)[:, :, None].unbind(1)
        inside = None if scene is None else scene[refined].repeat(len(SUBPIXELS))
        refined_sample = trace(batch, inside, (u[refined] + du).reshape(-1), (v[refined] + dv).reshape(-1))
        rgb.index_copy_(1, refined, refined_sample.rgb.view(3, len(SUBPIXELS), -1).mean(1))

    def image(values: Tensor) -> Tensor:
        """(3, P) -> (B, 3, H, W)"""
        return values.view(3, b, size, size).transpose(0, 1).contiguous()

    right, up, forward = pick(batch.axes, scene)
    depth = (first.t * dot(first.ray, forward)).view(b, size, size)
    inverse = 1 / depth  # 0 in the sky
    bent = torch.stack([dot(right, first.normal), dot(up, first.normal), -dot(forward, first.normal)])
    normals = image(torch.where(first.instance == SKY, 0.0, bent))
    shape = batch.shape.T.gather(1, instances.view(b, -1).clamp(min=0)).view_as(instances)
    boxes, visible_pixels = _boxes(instances, batch.scale.shape[0])
    return Rendering(
        rgb=image(rgb),
        depth=depth,
        near=inverse / inverse.amax((1, 2), keepdim=True),
        normals=normals,
        instances=instances,
        classes=torch.where(instances < 0, instances - SKY, 2 + shape),
        edges=_edges(instances, normals),
        boxes=boxes,
        visible=visible_pixels / first.hits.T.clamp(min=1),
    )


def _jumps(image: Tensor, threshold: float) -> Tensor:
    """(B, H, W) -> bool: the 3 x 3 neighbourhood spans more than the threshold."""
    high = low = pad(image[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    for axis in (1, 2):
        h0, h1, h2 = (high.narrow(axis, k, image.shape[axis]) for k in range(3))
        l0, l1, l2 = (low.narrow(axis, k, image.shape[axis]) for k in range(3))
        high, low = torch.maximum(torch.maximum(h0, h1), h2), torch.minimum(torch.minimum(l0, l1), l2)
    return high - low > threshold


def _edges(instances: Tensor, normals: Tensor) -> Tensor:
    """Pixels whose right or lower neighbour belongs to something else, or bends away by more than about 30 degrees."""
    edge = torch.zeros_like(instances, dtype=torch.bool)
    for axis in (1, 2):
        size = instances.shape[axis] - 1
        here, neighbour = (instances.narrow(axis, k, size) for k in (0, 1))
        bend = (normals.narrow(axis + 1, 0, size) * normals.narrow(axis + 1, 1, size)).sum(1)
        edge.narrow(axis, 0, size).logical_or_((here != neighbour) | ((bend < 0.86) & (neighbour >= 0)))
    return edge


def _boxes(instances: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) of the visible pixels of each solid, x0, y0, x1, y1 in [0, 1], zeros where none; their number."""
    h, w = instances.shape[1:]
    mask = instances[:, None] == torch.arange(n, device=instances.device).view(1, n, 1, 1)
    columns, rows = mask.any(2), mask.any(3)  # (B, N, W), (B, N, H)

    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        at = torch.arange(line.shape[-1], device=line.device)
        return torch.where(line, at, line.shape[-1]).amin(-1), torch.where(line, at + 1, 0).amax(-1)

    (x0, x1), (y0, y1) = ends(columns), ends(rows)
    visible_pixels = mask.sum((2, 3)).float()
    box = torch.stack([x0 / w, y0 / h, x1 / w, y1 / h], -1)
    return torch.where(visible_pixels[..., None] > 0, box, 0.0), visible_pixels
