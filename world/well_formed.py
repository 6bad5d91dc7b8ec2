"""Whether the solids of a picture are well formed: analysis by synthesis, which no lump can talk round.

assess(pictures, read(pictures))       [[Fit("cube", well_formed=True, iou=0.97, ...), ...], ...]
well_formed(fits)                      whether all solids of a picture are

For each solid that a picture is said to show, the renderer's own solid is searched that explains the pixels about it
best: in place, size, turn, light and height of the camera. The same is done with the five other shapes. A solid is well
formed where its outline is that of the best fit, its faces are shaded as that fit has them, and no other shape explains
the pixels better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from world.fitting import FAR, ZOOM, Found, Guess, Light, View, background, drawn, first_guess, found, nearest
from world.fitting import place as placed
from world.fitting import search
from world.judge import Reading, Seen
from world.scene import SHAPES

SIDE = 128  # pixels: pictures are brought to this
SLACK = 0.03  # colours of the ground this far off are still its own
RAYS = 500  # pixels that the search looks at
ROUNDS, ROWS = 6, 24
RESTARTS = (
    (8, 48),
    (10, 64),
    (12, 96),
)  # rounds and rows of further searches, where the claimed shape does not fit yet
OUTLINE = 0.80  # least overlap of the outlines
SHADING = 0.105  # most that the colours may be off, of 1 per channel, in the mean over the solid
LEAD = 0.0  # how much worse any other shape must be
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass(frozen=True)
class Fit:
    """How well a claimed solid is formed.

    shape: as claimed. iou in [0, 1]: overlap of the fitted outline with the pixels that show the solid, where nothing
    hides it. residual in [0, 0.3]: mean distance in RGB between the fitted solid and the picture, over the pixels of the
    solid and those about it that no ground explains. best_other: the other shape that explains the pixels best; margin:
    its residual less that of the claimed shape, below 0 where it does better. area: pixels of the fitted outline. solid,
    height, sun: the best fit, before the camera `fitting.CAMERA` at that height (metres), light from that azimuth.
    """

    shape: str
    well_formed: bool
    iou: float
    residual: float
    best_other: str
    margin: float
    area: float
    solid: Found
    height: float
    sun: float


@dataclass(frozen=True)
class _Score:
    iou: float
    wrong: float  # sum over the pixels
    area: float


def well_formed(fits: Sequence[Fit]) -> bool:
    """Whether a picture shows solids, and all of them well formed."""
    return bool(fits) and all(fit.well_formed for fit in fits)


@torch.inference_mode()
def assess(pictures: Tensor, readings: Sequence[Reading]) -> list[list[Fit]]:
    """Pictures (B, 3, H, W) in [0, 1] and what each is said to show -> a fit for each solid, in the readings' order.

    The same pictures and readings give the same fits. Raises ValueError where pictures are of another form or are not
    as many as readings.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures {tuple(pictures.shape)}: must be (B, 3, H, W).")
    if len(pictures) != len(readings):
        raise ValueError(f"{len(pictures)} pictures, {len(readings)} readings: must be as many.")
    pictures = pictures.float().cpu()
    if pictures.shape[2:] != (SIDE, SIDE):
        pictures = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
    return [_assess(picture, reading) for picture, reading in zip(pictures, readings, strict=True)]


def _assess(picture: Tensor, reading: Reading) -> list[Fit]:
    """(3, 128, 128)"""
    light = Light(reading.ground, reading.sky)
    at = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    colours = picture.permute(1, 2, 0).contiguous()
    rest = (nearest(colours, background(light, -at)) - SLACK).clamp(min=0)  # (H, W)
    shown = {k: _guess(seen) for k, seen in enumerate(reading.solids)}  # the neighbours, as far as they are known
    fits: dict[int, Fit] = {}
    for k in sorted(shown, key=lambda k: reading.solids[k].distance):
        seen = reading.solids[k]
        others = [(reading.solids[j], shown[j]) for j in shown if j != k]
        fits[k], shown[k] = _fit(seen, light, _view(seen, others, light, colours, rest, at))
    return [fits[k] for k in range(len(reading.solids))]


def _guess(seen: Seen) -> Tensor:
    u, v, size = first_guess(seen.shape, seen.box)
    return torch.tensor([u, v, size, 0.4, 2.35, 0.8])


def _view(
    seen: Seen, others: list[tuple[Seen, Tensor]], light: Light, colours: Tensor, rest: Tensor, at: Tensor
) -> View:
    """The pixels about a solid's box, less what nearer solids hide and what farther ones explain."""
    x0, y0, x1, y1 = (side * SIDE for side in seen.box)
    wide, high = 3 + 0.25 * (x1 - x0), 3 + 0.25 * (y1 - y0)
    left, top = max(int(x0 - wide), 0), max(int(y0 - high), 0)
    right, bottom = min(math.ceil(x1 + wide), SIDE), min(math.ceil(y1 + high), SIDE)
    v, u = (m.reshape(-1) for m in torch.meshgrid(-at[top:bottom], at[left:right], indexing="ij"))
    colours, rest = colours[top:bottom, left:right].reshape(-1, 3), rest[top:bottom, left:right].reshape(-1)
    weight = torch.ones_like(rest)
    for other, guess in others:
        hidden = _grown(_covered(other, guess, light, u, v).view(bottom - top, right - left), 1).view(-1)
        if other.distance < seen.distance:
            weight = torch.where(hidden, 0.0, weight)
        else:
            rest = torch.where(hidden, 0.0, rest)
    return View(u, v, colours, rest, weight)


def _covered(seen: Seen, guess: Tensor, light: Light, u: Tensor, v: Tensor) -> Tensor:
    where = placed(seen.shape, Guess.of(guess[None]), light.sky)
    return drawn(seen.shape, seen.colour, seen.material, light, where, u, v)[1][0].isfinite()


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """(H, W) bool, and what lies within so many pixels."""
    return F.max_pool2d(mask[None].float(), 2 * pixels + 1, 1, pixels)[0] > 0


def _fit(seen: Seen, light: Light, view: View) -> tuple[Fit, Tensor]:
    columns = len(view.u.unique())
    stride = max(1, round(math.sqrt(len(view.u) / RAYS)))
    place = torch.arange(len(view.u))
    few = view.thinned(((place % columns) % stride == stride // 2) & ((place // columns) % stride == stride // 2))
    fits: dict[str, tuple[_Score, Tensor]] = {}
    for shape in SHAPES:
        start = first_guess(shape, seen.box)
        best, _ = search(shape, seen.colour, seen.material, light, few, start, ROUNDS, ROWS)
        fits[shape] = _score(shape, seen, light, view, columns, best), best
    score, best = fits[seen.shape]
    for seed, (rounds, rows) in enumerate(RESTARTS):
        if _fits(score):
            break
        start = first_guess(seen.shape, seen.box)
        again, _ = search(seen.shape, seen.colour, seen.material, light, few, start, rounds, rows, seed)
        better = _score(seen.shape, seen, light, view, columns, again)
        if better.wrong < score.wrong:
            score, best = better, again
    fits[seen.shape] = score, best
    other = min((shape for shape in SHAPES if shape != seen.shape), key=lambda shape: fits[shape][0].wrong)
    area = max(score.area, 1.0)
    residual, margin = score.wrong / area, (fits[other][0].wrong - score.wrong) / area
    good = _fits(score) and margin >= LEAD
    solid = found(seen.shape, seen.colour, seen.size, seen.material, light.sky, best)
    fit = Fit(seen.shape, good, score.iou, residual, other, margin, score.area, solid, float(best[4]), float(best[5]))
    return fit, best


def _fits(score: _Score) -> bool:
    return score.iou >= OUTLINE and score.wrong <= SHADING * max(score.area, 1.0)


def _score(shape: str, seen: Seen, light: Light, view: View, columns: int, best: Tensor) -> _Score:
    """A candidate against all pixels, four rays each."""
    where = placed(shape, Guess.of(best[None]), light.sky)
    shifts = torch.tensor(SUBPIXELS) * (2 / SIDE)
    u, v = ((line[None] + shift[:, None]).reshape(-1) for line, shift in zip((view.u, view.v), shifts.T, strict=True))
    rgb, away = drawn(shape, seen.colour, seen.material, light, where, u, v)
    hit = away[0].isfinite().view(4, -1).float()  # (4, P)
    share = hit.mean(0)
    rgb = (rgb[0].view(4, -1, 3) * hit[..., None]).sum(0) / hit.sum(0).clamp(min=1)[:, None]
    seen_here = view.weight > 0
    core, outside = (share == 1) & seen_here, (share == 0) & seen_here
    area = float((share * view.weight).sum())
    off = (rgb - view.colours).square().sum(-1).sqrt().clamp(max=FAR)
    rest = view.rest.clamp(max=FAR)
    wrong = float(off[core].sum() + rest[outside].sum())
    if not core.any():
        return _Score(0.0, wrong, area)
    palette = rgb[core][:: max(1, int(core.sum()) // 120)]
    like = nearest(view.colours, palette)
    about = _grown((share > 0).view(-1, columns), max(2, round(0.35 * math.sqrt(area)))).view(-1)
    missing = float((core & (view.rest + SLACK < like)).sum())
    extra = float((outside & about & (view.rest > like + SLACK)).sum())
    return _Score(max(area - missing, 0.0) / (area + extra), wrong, area)
