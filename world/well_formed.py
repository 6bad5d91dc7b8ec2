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

from world import fitting
from world.fitting import FAR, Found, Guess, Light, Look, Placed, View, drawn, first_guess, found, nearest, search
from world.judge import Reading, Seen
from world.scene import SHAPES

INF = math.inf
FLAT = 0.02  # deviation of a shading below which there is none to speak of
SIDE = 128  # pixels: pictures are brought to this
SLACK = 0.03  # colours of the ground this far off are still its own
LEANS = tuple(0.04 * n for n in range(-7, 8))  # of the horizon, half pictures
RAYS, FINE = 500, 1500  # pixels that the search looks at, at first and in the end
START, ROUNDS, ROWS = 80, 7, 24  # candidates at first; rounds of the search, and candidates in each
RIVALS = 2  # other shapes that are searched for as carefully as the claimed one
OUTLINE = 0.94  # least overlap of the outlines
STRAY = (1.5, 0.06)  # pixels, and share of the solid's extent: how far the outline may stray from the fitted one
SHADING = 0.08  # most that the colours may be off, of 1 per channel, in the mean over the solid
UNTOLD = {"matte": 0.72, "metal": 0.9}  # most of the solid's own shading that may not be explained; metal mirrors the
# ground's texture, which nobody knows
RING = 0.38  # the same for matte rings: that of the hole is faint, and is all that shows it
TINT = 0.06  # of 1 per channel: how far the whole solid may be off in colour, besides
LEAD = -0.005  # how much worse any other shape must be; a little less than nothing: white on snow proves little
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass(frozen=True)
class Fit:
    """How well a claimed solid is formed.

    shape: as claimed. iou in [0, 1]: overlap of the fitted outline with the pixels that show the solid, where nothing
    hides it. stray: pixels by which the outlines part where they part most. residual: mean distance in RGB between the
    fitted solid and the picture, over the pixels of the solid, those beside it that no ground explains counted with
    them. untold: deviation of the picture from the fitted solid's shading, as a share of the deviation of that shading
    from its mean, without the rim: 0 where faces, creases and hole are all there, about 1 where the solid is a flat
    patch. best_other: the other shape that explains the pixels best; margin: its residual less that of the claimed
    shape, below 0 where it does better. area: pixels of the fitted outline that nothing hides. solid, height, sun: the
    best fit, before the camera `fitting.CAMERA` at that height (metres), light from that azimuth (radians).
    """

    shape: str
    well_formed: bool
    iou: float
    stray: float
    residual: float
    untold: float
    best_other: str
    margin: float
    area: float
    solid: Found
    height: float
    sun: float


@dataclass(frozen=True)
class _Score:
    iou: float
    stray: float
    wrong: float  # sum over the pixels
    untold: float
    area: float

    def fits(self, shape: str, material: str) -> bool:
        extent = math.sqrt(self.area)
        return (
            self.area > 0
            and self.iou >= OUTLINE
            and self.stray <= max(STRAY[0], STRAY[1] * extent)
            and self.wrong <= SHADING * self.area
            and self.untold <= (RING if (shape, material) == ("torus", "matte") else UNTOLD[material])
        )


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
    rest = _rest(colours, light, at, reading)
    shown = {k: _guess(seen) for k, seen in enumerate(reading.solids)}  # the neighbours, as far as they are known

    def view(k: int) -> View:
        others = [(reading.solids[j], shown[j]) for j in shown if j != k]
        return _view(reading.solids[k], others, light, colours, rest, at)

    near_to_far = sorted(shown, key=lambda k: reading.solids[k].distance)
    if len(shown) > 1:  # first about where all stand, for they hide and shade one another
        for k in near_to_far:
            shown[k] = _rough(reading.solids[k], light, view(k))
    fits: dict[int, Fit] = {}
    for k in near_to_far:
        fits[k], shown[k] = _fit(reading.solids[k], light, view(k))
    return [fits[k] for k in range(len(reading.solids))]


def _rest(colours: Tensor, light: Light, at: Tensor, reading: Reading) -> Tensor:
    """(H, W): how far off every colour of the background is, with the horizon where it explains most beside the
    solids."""
    y, x = torch.meshgrid(at, at, indexing="ij")
    beside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    for seen in reading.solids:
        x0, y0, x1, y1 = (2 * side - 1 for side in seen.box)
        beside &= ~((x > x0) & (x < x1) & (y > y0) & (y < y1))

    def rest(lean: float, step: int) -> Tensor:
        palette = fitting.background(light, -at[::step], lean)
        return (nearest(colours[::step, ::step].contiguous(), palette) - SLACK).clamp(min=0)

    left = {lean: float(rest(lean, 4)[beside[::4, ::4]].clamp(max=FAR).sum()) for lean in LEANS}
    return rest(min(left, key=lambda lean: (left[lean], abs(lean))), 1)


def _guess(seen: Seen) -> Tensor:
    u, v, size = first_guess(seen.shape, seen.box)
    return torch.tensor([u, v, size, 0.4, fitting.CAMERA.height, 0.8])


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
    casters: list[tuple[str, Placed]] = []
    for other, guess in others:
        where = fitting.place(other.shape, Guess.of(guess[None]), light.sky)
        casters.append((other.shape, where))
        covered = drawn(Look(other.colour, other.material, light), other.shape, where, u, v)[1][0].isfinite()
        hidden = _grown(covered.view(bottom - top, right - left), 1).view(-1)
        if other.distance < seen.distance:
            weight = torch.where(hidden, 0.0, weight)
        else:
            rest = torch.where(hidden, 0.0, rest)
    return View(u, v, colours, rest, weight, seen.box, tuple(casters))


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """(H, W) bool, and what lies within so many pixels."""
    return F.max_pool2d(mask[None].float(), 2 * pixels + 1, 1, pixels)[0] > 0


def _thinned(view: View, columns: int, rays: int) -> View:
    """About so many of the pixels, in a square grid."""
    stride = max(1, round(math.sqrt(len(view.u) / rays)))
    place = torch.arange(len(view.u))
    return view.thinned(((place % columns) % stride == stride // 2) & ((place // columns) % stride == stride // 2))


def _rough(seen: Seen, light: Light, view: View) -> Tensor:
    few = _thinned(view, len(view.u.unique()), RAYS // 2)
    start = fitting.wide(seen.shape, first_guess(seen.shape, seen.box), START, seed=3)
    return search(Look(seen.colour, seen.material, light), seen.shape, few, start, ROUNDS, ROWS)[0]


def _fit(seen: Seen, light: Light, view: View) -> tuple[Fit, Tensor]:
    """All shapes are searched for alike, then the claimed one and its best rivals alike once more, closer."""
    columns = len(view.u.unique())
    few, more = (_thinned(view, columns, rays) for rays in (RAYS, FINE))
    look = Look(seen.colour, seen.material, light)
    best: dict[str, Tensor] = {}
    for shape in SHAPES:
        many = START * (3 if shape in fitting.PERIOD else 1)  # those turn as well
        start = fitting.wide(shape, first_guess(shape, seen.box), many, seed=3)
        best[shape] = search(look, shape, few, start, ROUNDS, ROWS * (2 if shape in fitting.PERIOD else 1))
    rough = {shape: float(fitting.energy(look, shape, few, Guess.of(best[shape][:1]))) for shape in SHAPES}
    rivals = sorted((shape for shape in SHAPES if shape != seen.shape), key=lambda shape: rough[shape])[:RIVALS]
    scores: dict[str, _Score] = {}
    for shape in (seen.shape, *rivals):
        best[shape] = search(look, shape, more, best[shape], 4, ROWS, reach=0.2)
        scores[shape] = _score(look, shape, view, columns, best[shape][0])
    score, mine = scores[seen.shape], best[seen.shape][0]
    other = min(rivals, key=lambda shape: scores[shape].wrong)
    area = max(score.area, 1.0)
    margin = (scores[other].wrong - score.wrong) / area
    fit = Fit(
        shape=seen.shape,
        well_formed=score.fits(seen.shape, seen.material) and margin >= LEAD,
        iou=score.iou,
        stray=score.stray,
        residual=score.wrong / area,
        untold=score.untold,
        best_other=other,
        margin=margin,
        area=score.area,
        solid=found(seen.shape, seen.colour, seen.size, seen.material, light.sky, mine),
        height=float(mine[4]),
        sun=float(mine[5]),
    )
    return fit, mine


def _score(look: Look, shape: str, view: View, columns: int, best: Tensor) -> _Score:
    """A candidate against all pixels, four rays each."""
    where = fitting.place(shape, Guess.of(best[None]), look.light.sky)
    shifts = torch.tensor(SUBPIXELS) * (2 / SIDE)
    u, v = ((line[None] + shift[:, None]).reshape(-1) for line, shift in zip((view.u, view.v), shifts.T, strict=True))
    rgb, away = drawn(look, shape, where, u, v, view.casters)
    hit = away[0].isfinite().view(4, -1).float()  # (4, P)
    share = hit.mean(0)
    rgb = (rgb[0].view(4, -1, 3) * hit[..., None]).sum(0) / hit.sum(0).clamp(min=1)[:, None]
    shown = view.weight > 0
    core, outside = (share == 1) & shown, (share == 0) & shown
    area = float((share * view.weight).sum())
    tint = (view.colours[core] - rgb[core]).mean(0) if core.any() else torch.zeros(3)
    tint = tint.clamp(-TINT, TINT)  # a shade lighter or redder all over is no matter of form
    off = (rgb + tint - view.colours).square().sum(-1).sqrt().clamp(max=FAR)
    rest = view.rest.clamp(max=FAR)
    wrong = float(off[core].sum() + rest[outside].sum())
    if not core.any():
        return _Score(0.0, INF, wrong, INF, area)
    palette = (rgb + tint)[core][:: max(1, int(core.sum()) // 120)]
    like = nearest(view.colours, palette)
    reach = max(2, round(0.35 * math.sqrt(area)))
    missing = core & (view.rest + SLACK < like)
    extra = _joined(outside & (view.rest > like + SLACK), share > 0, columns, reach)  # specks elsewhere are none of it
    overlap = max(area - float(missing.sum()), 0.0) / (area + float(extra.sum()))
    dented = _joined(missing, share < 1, columns, reach)  # glints inside are none of the outline
    stray = max(_depth(dented, share < 1, columns), _depth(extra, share > 0, columns))
    return _Score(overlap, stray, wrong, _untold(rgb, view.colours, core, columns), area)


def _untold(rgb: Tensor, colours: Tensor, core: Tensor, columns: int) -> float:
    """See `Fit.untold`. rgb, colours (P, 3): of the fitted solid and of the picture; core (P,): where the solid is."""
    inner = core & ~_grown(~core.view(-1, columns), 1).view(-1)
    if inner.sum() < 6:  # too few to tell
        return 0.0
    off, shading = colours[inner] - rgb[inner], rgb[inner] - rgb[inner].mean(0)
    off = off - off.mean(0)
    return math.sqrt(float(off.square().sum(1).mean()) / max(float(shading.square().sum(1).mean()), FLAT**2))


def _joined(mask: Tensor, to: Tensor, columns: int, reach: int) -> Tensor:
    """The part of a mask (P,) that hangs together with another, up to so many pixels away."""
    grown = to
    for _ in range(reach):
        grown = grown | (_grown(grown.view(-1, columns), 1).view(-1) & mask)
    return grown & mask


def _depth(wrong: Tensor, far_side: Tensor, columns: int) -> float:
    """Pixels from the wrong ones (P,) to the other side of the outline, of the third farthest: one or two prove
    nothing."""
    if int(wrong.sum()) < 3 or not far_side.any():
        return 0.0

    def places(mask: Tensor) -> Tensor:
        at = mask.nonzero()[:, 0]
        return torch.stack([at % columns, at // columns], 1).float()

    away = torch.cdist(places(wrong), places(far_side)).amin(1)
    return float(away.topk(3).values[-1])
