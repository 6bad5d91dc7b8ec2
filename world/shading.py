"""Light: skies that tint it, grounds with their textures, matte and metal solids, shadows and contact shadows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from world.render import Batch


def pick(table: Tensor, scene: Tensor | None) -> Tensor:
    """The row of each ray's scene, (P, ...); of one scene its only row, (1, ...), to be broadcast: no copies."""
    return table if scene is None else table.index_select(0, scene)


def narrow(scene: Tensor | None, rays: Tensor) -> Tensor | None:
    """The scenes of some of the rays."""
    return None if scene is None else scene.index_select(0, rays)


#        day                overcast           sunset             night        (linear light)
ZENITH = ((0.16, 0.36, 0.80), (0.50, 0.54, 0.60), (0.20, 0.18, 0.42), (0.006, 0.010, 0.040))
HORIZON = ((0.66, 0.82, 0.96), (0.74, 0.76, 0.78), (1.00, 0.50, 0.18), (0.040, 0.055, 0.130))
SUN = ((1.05, 0.97, 0.82), (0.22, 0.22, 0.23), (1.55, 0.74, 0.30), (0.36, 0.40, 0.54))
AMBIENT = ((0.30, 0.35, 0.43), (0.60, 0.62, 0.65), (0.38, 0.29, 0.33), (0.125, 0.138, 0.205))
GLOW = ((0.25, 0.22, 0.15), (0.0, 0.0, 0.0), (0.95, 0.42, 0.10), (0.02, 0.025, 0.05))  # around the sun, for the sky

#        grass              sand               snow               tiles              wood
GROUND_A = ((0.12, 0.30, 0.045), (0.66, 0.49, 0.27), (0.74, 0.79, 0.86), (0.62, 0.60, 0.56), (0.36, 0.17, 0.065))
GROUND_B = ((0.20, 0.42, 0.075), (0.76, 0.60, 0.37), (0.86, 0.89, 0.93), (0.22, 0.23, 0.26), (0.50, 0.26, 0.11))
FADE = (10.0, 14.0, 14.0, 9.0, 9.0)  # metres: where the texture has melted into its mean


def _row(table: tuple, index: Tensor) -> Tensor:
    return torch.tensor(table, device=index.device)[index]


def sky_light(kind: Tensor, ray: Tensor, sun: Tensor) -> Tensor:
    """Colour of the sky along rays, (P, 3) linear light."""
    up = ray[:, 2:].clamp(min=0)
    colour = torch.lerp(_row(HORIZON, kind), _row(ZENITH, kind), 1 - torch.exp(-3.2 * up))
    # The sun stands behind the camera; the glow is at the horizon opposite in height only, so every sunset shows one.
    side = torch.exp(-((ray[:, :1] + 0.35 * torch.sign(sun[:, :1])) ** 2) / 0.12)
    return colour + _row(GLOW, kind) * side * torch.exp(-9 * up)


def ground_albedo(kind: Tensor, p: Tensor, distance: Tensor) -> Tensor:
    """Colour of the ground at points p, (P, 3); the pattern melts into its mean with distance."""
    x, y = p[:, 0], p[:, 1]
    pattern = torch.full_like(x, 0.5)
    waves = torch.sin(2.1 * x + 1.3 * torch.sin(1.7 * y)) * torch.sin(1.9 * y + 1.1 * torch.sin(2.3 * x))
    grass, sand, snow, tiles, wood = (kind == k for k in range(5))
    pattern = torch.where(grass, 0.5 + 0.32 * waves + 0.18 * torch.sin(7.1 * x + 2 * waves) * torch.sin(6.3 * y), pattern)
    pattern = torch.where(sand, 0.5 + 0.5 * torch.sin(5.2 * y + 1.1 * torch.sin(1.3 * x) + 0.8 * waves), pattern)
    pattern = torch.where(snow, 0.5 + 0.5 * waves, pattern)
    check = (torch.floor(x / 0.9) + torch.floor(y / 0.9)).remainder(2)
    pattern = torch.where(tiles, check, pattern)
    plank = torch.floor(x / 0.55)
    grain = 0.16 * torch.sin(9 * (x + 0.15 * torch.sin(1.3 * y + 2.4 * plank)))
    seam = (x / 0.55 - plank < 0.06).float()
    tone = (torch.sin(12.9898 * plank) * 43.7585).frac().abs()
    pattern = torch.where(wood, (0.15 + 0.7 * tone + grain) * (1 - seam) - 0.35 * seam, pattern)
    fade = torch.exp(-((distance / torch.tensor(FADE, device=p.device)[kind]) ** 2))
    return torch.lerp(_row(GROUND_A, kind), _row(GROUND_B, kind), torch.lerp(torch.full_like(x, 0.5), pattern, fade)[:, None])


def contact(batch: Batch, scene: Tensor | None, p: Tensor) -> Tensor:
    """Fraction of the sky's light that reaches ground points beside the solids, (P,)."""
    square = 0.0
    for axis in range(2):
        square = square + (p[:, axis, None] - pick(batch.centre[:, :, axis], scene)) ** 2  # (P, N)
    reach = pick(1.25 * batch.scale, scene)
    return (1 - 0.62 * pick(batch.real, scene) * torch.exp(-square / (reach * reach))).prod(-1)


def shade(
    batch: Batch, scene: Tensor | None, p: Tensor, ray: Tensor, t: Tensor, instance: Tensor, normal: Tensor, lit: Tensor
) -> Tensor:
    """Colour that each ray brings, (P, 3) in [0, 1], display gamma. lit (P,): 1 where the sun reaches the point."""
    linear = torch.empty_like(ray)
    air = (instance == -2).nonzero()[:, 0]
    inside = narrow(scene, air)
    linear[air] = sky_light(pick(batch.sky, inside), ray[air], pick(batch.sun, inside))
    earth = (instance == -1).nonzero()[:, 0]
    linear[earth] = _ground(batch, narrow(scene, earth), p[earth], ray[earth], t[earth], lit[earth])
    solid = (instance >= 0).nonzero()[:, 0]
    if len(solid):
        inside, which = narrow(scene, solid), instance[solid]
        if inside is not None:
            which = which + inside * batch.real.shape[1]
        linear[solid] = _solid(batch, inside, which, p[solid], ray[solid], normal[solid], lit[solid])
    return display(linear)


def _ground(batch: Batch, scene: Tensor | None, p: Tensor, ray: Tensor, t: Tensor, lit: Tensor) -> Tensor:
    sky, sun = pick(batch.sky, scene), pick(batch.sun, scene)
    light = _row(SUN, sky) * (sun[:, 2] * lit)[:, None] + _row(AMBIENT, sky) * contact(batch, scene, p)[:, None]
    surface = ground_albedo(pick(batch.ground, scene), p, t) * light
    haze = 1 - torch.exp(-((t / 22.0) ** 2))
    level = ray * torch.tensor([1.0, 1.0, 0.0], device=ray.device)
    return torch.lerp(surface, sky_light(sky, level, sun), haze[:, None])


def _solid(batch: Batch, scene: Tensor | None, which: Tensor, p: Tensor, ray: Tensor, normal: Tensor, lit: Tensor) -> Tensor:
    sky, sun = pick(batch.sky, scene), pick(batch.sun, scene)
    sunlight, ambient = _row(SUN, sky), _row(AMBIENT, sky)
    albedo = batch.colour.view(-1, 3).index_select(0, which)
    metal = batch.metal.view(-1)[which][:, None]
    facing = (normal * sun).sum(-1).clamp(min=0) * lit
    bounce = 0.25 * (1 - normal[:, 2:]) * earth_mean(batch, scene) * (sunlight * sun[:, 2:] + ambient)
    light = sunlight * facing[:, None] + ambient * (0.62 + 0.38 * normal[:, 2:]) + bounce

    mirror = ray - 2 * (ray * normal).sum(-1, keepdim=True) * normal
    away = p[:, 2] / (-mirror[:, 2]).clamp(min=0.02)  # where the reflected ray meets the ground
    below = _ground(batch, scene, p + away[:, None] * mirror, mirror, away, torch.ones_like(away))
    seen = torch.where(mirror[:, 2:] < 0, below, 1.15 * sky_light(sky, mirror, sun))
    glint = 2.2 * sunlight * (((mirror * sun).sum(-1).clamp(min=0) * lit) ** 50)[:, None]
    grazing = (1 + (ray * normal).sum(-1, keepdim=True)).clamp(0, 1) ** 3
    tint = torch.lerp(albedo, torch.ones_like(albedo), 0.03 + 0.3 * grazing)
    polished = 0.22 * albedo * light + 0.95 * tint * seen + glint
    return torch.lerp(albedo * light, polished, metal)


def earth_mean(batch: Batch, scene: Tensor | None) -> Tensor:
    kind = pick(batch.ground, scene)
    return 0.5 * (_row(GROUND_A, kind) + _row(GROUND_B, kind))


def display(linear: Tensor) -> Tensor:
    """Linear light to [0, 1] pixels: a soft shoulder above 0.75, then gamma 2.2."""
    soft = torch.where(linear > 0.75, 1 - 0.25 * torch.exp(-(linear - 0.75) / 0.25), linear)
    return soft.clamp(0, 1) ** (1 / 2.2)
