"""Light: skies that tint it, grounds with their textures, matte and metal solids, shadows and contact shadows.

Vectors and colours of P rays are (3, P), in rows; colours are linear light until `display`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from world.shapes import dot


@dataclass
class Batch:
    """B scenes of at most N solids as tensors, the scene last; the input of tracing and shading."""

    eye: Tensor  # (3, B)
    axes: Tensor  # (3, 3, B): right, up, forward
    zoom: Tensor  # (B,)
    sun: Tensor  # (3, B) unit vector towards the light
    ground: Tensor  # (B,) index in GROUNDS
    sky: Tensor  # (B,) index in SKIES
    shape: Tensor  # (N, B) index in SHAPES, -1 where there is no solid
    colour: Tensor  # (3, N, B) albedo
    metal: Tensor  # (N, B) 0 or 1
    centre: Tensor  # (3, N, B)
    scale: Tensor  # (N, B)
    turn: Tensor  # (3, 3, N, B) from the world's axes to the solid's
    reach: Tensor  # (N, B) square of the bounding sphere's radius, -inf where there is no solid
    kinds: list[list[int]]  # the shapes that solid n has in any scene


def pick(table: Tensor, scene: Tensor | None) -> Tensor:
    """The entries of each ray's scene, (..., P); of one scene its only one, (..., 1), to be broadcast: no copies."""
    return table if scene is None else table.index_select(-1, scene)


def narrow(scene: Tensor | None, rays: Tensor) -> Tensor | None:
    """The scenes of some of the rays."""
    return None if scene is None else scene.index_select(0, rays)


def take(values: Tensor, rays: Tensor) -> Tensor:
    """Some columns of (..., P); (..., 1) stays: it is the same for all rays."""
    return values if values.shape[-1] == 1 else values.index_select(-1, rays)


#        day                overcast           sunset             night
ZENITH = ((0.16, 0.36, 0.80), (0.50, 0.54, 0.60), (0.20, 0.18, 0.42), (0.006, 0.010, 0.040))
HORIZON = ((0.66, 0.82, 0.96), (0.74, 0.76, 0.78), (1.00, 0.50, 0.18), (0.040, 0.055, 0.130))
SUN = ((1.05, 0.97, 0.82), (0.22, 0.22, 0.23), (1.55, 0.74, 0.30), (0.36, 0.40, 0.54))
AMBIENT = ((0.30, 0.35, 0.43), (0.60, 0.62, 0.65), (0.38, 0.29, 0.33), (0.125, 0.138, 0.205))
GLOW = ((0.25, 0.22, 0.15), (0.0, 0.0, 0.0), (0.95, 0.42, 0.10), (0.02, 0.025, 0.05))  # opposite the sun, for the sky

#        grass              sand               snow               tiles              wood
GROUND_A = ((0.12, 0.30, 0.045), (0.66, 0.49, 0.27), (0.74, 0.79, 0.86), (0.62, 0.60, 0.56), (0.36, 0.17, 0.065))
GROUND_B = ((0.20, 0.42, 0.075), (0.76, 0.60, 0.37), (0.86, 0.89, 0.93), (0.22, 0.23, 0.26), (0.50, 0.26, 0.11))
FADE = (10.0, 14.0, 14.0, 9.0, 9.0)  # metres: where the texture has melted into its mean


@lru_cache
@torch.inference_mode(False)
def _table(values: tuple, device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).movedim(0, -1).contiguous()


def _of(values: tuple, index: Tensor) -> Tensor:
    """A constant for each kind of sky or ground: (3, P) or (P,)."""
    return _table(values, index.device).index_select(-1, index)


def sky_light(kind: Tensor, ray: Tensor, sun: Tensor) -> Tensor:
    """Colour of the sky along rays, (3, P)."""
    up = ray[2].clamp(min=0)
    colour = torch.lerp(_of(HORIZON, kind), _of(ZENITH, kind), 1 - torch.exp(-3.2 * up))
    return colour + _of(GLOW, kind) * (_glow(ray, sun) * torch.exp(-9 * up))


def _glow(ray: Tensor, sun: Tensor) -> Tensor:
    """How near a ray is to the glow, (P,). The sun stands behind the camera, the glow before it, so every sunset shows
    one."""
    return torch.exp(-((ray[0] + 0.35 * torch.sign(sun[0])) ** 2) / 0.12)


def _waves(x: Tensor, y: Tensor) -> Tensor:
    return torch.sin(2.1 * x + 1.3 * torch.sin(1.7 * y)) * torch.sin(1.9 * y + 1.1 * torch.sin(2.3 * x))


def _grass(x: Tensor, y: Tensor) -> Tensor:
    waves = _waves(x, y)
    return 0.5 + 0.32 * waves + 0.18 * torch.sin(7.1 * x + 2 * waves) * torch.sin(6.3 * y)


def _sand(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.sin(5.2 * y + 1.1 * torch.sin(1.3 * x) + 0.8 * _waves(x, y))


def _snow(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 + 0.5 * _waves(x, y)


def _tiles(x: Tensor, y: Tensor) -> Tensor:
    return (torch.floor(x / 0.9) + torch.floor(y / 0.9)).remainder(2)


def _wood(x: Tensor, y: Tensor) -> Tensor:
    plank = torch.floor(x / 0.55)
    grain = 0.16 * torch.sin(9 * (x + 0.15 * torch.sin(1.3 * y + 2.4 * plank)))
    seam = (x / 0.55 - plank < 0.06).float()
    tone = (torch.sin(12.9898 * plank) * 43.7585).frac().abs()
    return (0.15 + 0.7 * tone + grain) * (1 - seam) - 0.35 * seam


PATTERNS = (_grass, _sand, _snow, _tiles, _wood)  # in the order of GROUNDS


def ground_albedo(kind: Tensor, p: Tensor, distance: Tensor) -> Tensor:
    """Colour of the ground at points p, (3, P); the pattern melts into its mean with distance (P,)."""
    x, y = p[0], p[1]
    if len(kind) == 1:
        pattern = PATTERNS[int(kind)](x, y)
    else:
        pattern = torch.stack([texture(x, y) for texture in PATTERNS]).gather(0, kind[None])[0]
    fade = torch.exp(-((distance / _of(FADE, kind)) ** 2))
    return torch.lerp(_of(GROUND_A, kind), _of(GROUND_B, kind), 0.5 + (pattern - 0.5) * fade)


def contact(batch: Batch, scene: Tensor | None, p: Tensor) -> Tensor:
    """Fraction of the sky's light that reaches ground points beside the solids, (P,)."""
    way = p[:2, None] - pick(batch.centre[:2], scene)  # (2, N, P)
    reach = pick((1.25 * batch.scale) ** 2, scene)
    dark = torch.where(pick(batch.shape, scene) >= 0, 0.62, 0.0)
    return (1 - dark * torch.exp((way * way).sum(0) / -reach)).prod(0)


def shade(
    batch: Batch, scene: Tensor | None, p: Tensor, ray: Tensor, t: Tensor, instance: Tensor, normal: Tensor, lit: Tensor
) -> Tensor:
    """Colour that each ray brings, (3, P) in [0, 1], display gamma. lit (P,): 1 where the sun reaches the point."""
    linear = torch.empty_like(ray)
    air = (instance == -2).nonzero()[:, 0]
    inside = narrow(scene, air)
    linear.index_copy_(1, air, sky_light(pick(batch.sky, inside), take(ray, air), pick(batch.sun, inside)))
    earth = (instance == -1).nonzero()[:, 0]
    columns = (take(each, earth) for each in (p, ray, t, lit))
    linear.index_copy_(1, earth, _ground(batch, narrow(scene, earth), *columns))
    solid = (instance >= 0).nonzero()[:, 0]
    if len(solid):
        columns = (take(each, solid) for each in (instance, p, ray, normal, lit))
        linear.index_copy_(1, solid, shade_solids(batch, narrow(scene, solid), *columns))
    return display(linear)


def _ground(batch: Batch, scene: Tensor | None, p: Tensor, ray: Tensor, t: Tensor, lit: Tensor) -> Tensor:
    sky, sun = pick(batch.sky, scene), pick(batch.sun, scene)
    light = _of(SUN, sky) * (sun[2] * lit) + _of(AMBIENT, sky) * contact(batch, scene, p)
    surface = ground_albedo(pick(batch.ground, scene), p, t) * light
    haze = 1 - torch.exp(-((t / 22.0) ** 2))
    return torch.lerp(surface, _of(HORIZON, sky) + _of(GLOW, sky) * _glow(ray, sun), haze)


def shade_solids(
    batch: Batch, scene: Tensor | None, instance: Tensor, p: Tensor, ray: Tensor, normal: Tensor, lit: Tensor
) -> Tensor:
    """Linear light (3, P) that rays bring from the points p of solids; lit (P,): 1 where the sun reaches the point."""
    sky, sun, ground = pick(batch.sky, scene), pick(batch.sun, scene), pick(batch.ground, scene)
    sunlight, ambient = _of(SUN, sky), _of(AMBIENT, sky)
    which = instance * len(batch.sky) + (0 if scene is None else scene)
    albedo = batch.colour.flatten(1).index_select(1, which)
    up = normal[2]
    earth = 0.5 * (_of(GROUND_A, ground) + _of(GROUND_B, ground)) * (sunlight * sun[2] + ambient)
    light = sunlight * (dot(normal, sun).clamp(min=0) * lit) + ambient * (0.62 + 0.38 * up) + earth * (0.25 * (1 - up))
    linear = albedo * light
    metal = batch.metal.view(-1).index_select(0, which).nonzero()[:, 0]
    if len(metal):
        columns = (take(each, metal) for each in (albedo, linear, p, ray, normal, lit))
        linear.index_copy_(1, metal, _polished(batch, narrow(scene, metal), *columns))
    return linear


def _polished(
    batch: Batch, scene: Tensor | None, albedo: Tensor, dull: Tensor, p: Tensor, ray: Tensor, n: Tensor, lit: Tensor
) -> Tensor:
    """Metal mirrors the sky and the plain ground, tinted; and the sun as a glint."""
    sky, sun = pick(batch.sky, scene), pick(batch.sun, scene)
    against = dot(ray, n)
    mirror = ray - 2 * against * n
    away = p[2] / (-mirror[2]).clamp(min=0.02)  # where the reflected ray meets the ground
    below = _ground(batch, scene, p + away * mirror, mirror, away, torch.ones_like(away))
    reflected = torch.where(mirror[2] < 0, below, 1.15 * sky_light(sky, mirror, sun))
    glint = _of(SUN, sky) * (2.2 * (dot(mirror, sun).clamp(min=0) * lit) ** 50)
    tint = torch.lerp(albedo, torch.ones_like(albedo), 0.03 + 0.3 * (1 + against).clamp(0, 1) ** 3)
    return 0.22 * dull + 0.95 * tint * reflected + glint


def display(linear: Tensor) -> Tensor:
    """Linear light to [0, 1] pixels: a soft shoulder above 0.75, then gamma 2.2."""
    soft = torch.where(linear > 0.75, 1 - 0.25 * torch.exp(-(linear - 0.75) / 0.25), linear)
    return soft.clamp(0, 1) ** (1 / 2.2)
