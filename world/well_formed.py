"""Whether the solids of an image are well formed: analysis by synthesis.

assess(images, read(images))           [[Fit("cube", well_formed=True, iou=0.97, ...), ...], ...]
well_formed(fits)                      whether all solids of an image are

For each solid that an image is claimed to show, a search fits the renderer's own solid to the pixels around it: place,
size, turn, light and height of the camera. The same is done with the five other shapes. A solid is well
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
from world.evaluator import Detection, SceneReading
from world.fitting import (
    FAR,
    Appearance,
    Candidates,
    FittedSolid,
    Light,
    PixelWindow,
    PlacedCandidates,
    distance_to_palette,
    fitted_solid,
    initial_guess,
    render_candidates,
    search,
)
from world.scene import SHAPES

INF = math.inf
FLAT = 0.02  # deviation of a shading below which it counts as flat
SIDE = 128  # pixels: images are brought to this
SLACK = 0.03  # colours of the ground this far off are still its own
LEANS = tuple(0.04 * n for n in range(-7, 8))  # of the horizon, half images
RAYS, FINE = 500, 1500  # pixels that the search looks at, at first and in the end
START, ROUNDS, ROWS = 80, 7, 24  # candidates at first; rounds of the search, and candidates in each
RIVALS = 2  # other shapes that are searched for as carefully as the claimed one
NEAR, MORE = 0.8, 3  # overlap from which a second search is worth its time; by how many times it is larger
OUTLINE = 0.94  # least overlap of the outlines
STRAY = (1.5, 0.06)  # pixels, and share of the solid's extent: how far the outline may stray from the fitted one
SHADING = 0.08  # largest mean colour error over the solid, of 1 per channel
MAX_UNEXPLAINED = {"matte": 0.72, "metal": 0.9}  # largest unexplained share of the solid's shading; metal mirrors
# the ground's texture, which is unknown
RING = 0.38  # the same for matte rings: the shading of the hole is faint, and its only sign
TINT = 0.06  # of 1 per channel: how far the whole solid may be off in colour, besides
LEAD = -0.005  # how much worse any other shape must be; a little less than nothing: white on snow proves little
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass(frozen=True)
class Fit:
    """How well a claimed solid is formed.

    shape: as claimed. iou in [0, 1]: overlap of the fitted outline with the pixels that show the solid, where nothing
    hides it. stray: pixels by which the outlines part where they part most. residual: mean distance in RGB between the
    fitted solid and the image, over the pixels of the solid, those beside it that no ground explains counted with them.
    unexplained: deviation of the image from the fitted solid's shading, as a share of the deviation of that shading
    from its mean, without the rim: 0 where faces, creases and hole are all there, about 1 where the solid is a flat
    patch. best_other: the other shape that explains the pixels best; margin: its residual less that of the claimed
    shape, below 0 where it does better. area: pixels of the fitted outline that nothing hides. solid, height, sun: the
    best fit, before the camera `fitting.CAMERA` at that height (metres), light from that azimuth (radians)."""

    shape: str
    well_formed: bool
    iou: float
    stray: float
    residual: float
    unexplained: float
    best_other: str
    margin: float
    area: float
    solid: FittedSolid
    height: float
    sun: float


@dataclass(frozen=True)
class _Score:
    iou: float
    stray: float
    error: float  # sum over the pixels
    unexplained: float
    area: float

    def near_miss(self, shape: str, material: str) -> bool:
        return self.iou >= NEAR and self.error <= SHADING * self.area and not self.fits(shape, material)

    def fits(self, shape: str, material: str) -> bool:
        extent = math.sqrt(self.area)
        return (
            self.area > 0
            and self.iou >= OUTLINE
            and self.stray <= max(STRAY[0], STRAY[1] * extent)
            and self.error <= SHADING * self.area
            and self.unexplained <= (RING if (shape, material) == ("torus", "matte") else MAX_UNEXPLAINED[material])
        )


def well_formed(fits: Sequence[Fit]) -> bool:
    """Whether an image shows solids, and all of them well formed."""
    return bool(fits) and all(fit.well_formed for fit in fits)


@torch.inference_mode()
def assess(images: Tensor, readings: Sequence[SceneReading]) -> list[list[Fit]]:
    """Images (B, 3, H, W) in [0, 1] and the scene claimed of each -> a fit for each solid, in the readings' order.

    The same images and readings give the same fits. Raises ValueError where images are of another form or are not
    as many as readings.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images {tuple(images.shape)}: must be (B, 3, H, W).")
    if len(images) != len(readings):
        raise ValueError(f"{len(images)} images, {len(readings)} readings: must be as many.")
    images = images.float().cpu()
    if images.shape[2:] != (SIDE, SIDE):
        images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
    return [_assess(image, reading) for image, reading in zip(images, readings, strict=True)]


def _assess(image: Tensor, reading: SceneReading) -> list[Fit]:
    """(3, 128, 128)"""
    light = Light(reading.ground, reading.sky)
    at = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    colours = image.permute(1, 2, 0).contiguous()
    background_error = _background_error(colours, light, at, reading)
    shown = {
        k: _initial_candidate(solid) for k, solid in enumerate(reading.solids)
    }  # the neighbours, as far as they are known

    def window(k: int) -> PixelWindow:
        others = [(reading.solids[j], shown[j]) for j in shown if j != k]
        return _view(reading.solids[k], others, light, colours, background_error, at)

    near_to_far = sorted(shown, key=lambda k: reading.solids[k].distance)
    if len(shown) > 1:  # first about where all stand, for they hide and shade one another
        for k in near_to_far:
            shown[k] = _rough_fit(reading.solids[k], light, window(k))
    fits: dict[int, Fit] = {}
    for k in near_to_far:
        fits[k], shown[k] = _fit(reading.solids[k], light, window(k))
    return [fits[k] for k in range(len(reading.solids))]


def _background_error(colours: Tensor, light: Light, at: Tensor, reading: SceneReading) -> Tensor:
    """(H, W): distance to the nearest colour of the background, with the horizon where it explains most beside the
    solids."""
    y, x = torch.meshgrid(at, at, indexing="ij")
    beside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    for solid in reading.solids:
        x0, y0, x1, y1 = (2 * side - 1 for side in solid.box)
        beside &= ~((x > x0) & (x < x1) & (y > y0) & (y < y1))

    def background_error(lean: float, step: int) -> Tensor:
        palette = fitting.background(light, -at[::step], lean)
        return (distance_to_palette(colours[::step, ::step].contiguous(), palette) - SLACK).clamp(min=0)

    left = {lean: float(background_error(lean, 4)[beside[::4, ::4]].clamp(max=FAR).sum()) for lean in LEANS}
    return background_error(min(left, key=lambda lean: (left[lean], abs(lean))), 1)


def _initial_candidate(solid: Detection) -> Tensor:
    u, v, size = initial_guess(solid.shape, solid.box)
    return torch.tensor([u, v, size, 0.4, fitting.CAMERA.height, 0.8])


def _view(
    solid: Detection,
    others: list[tuple[Detection, Tensor]],
    light: Light,
    colours: Tensor,
    background_error: Tensor,
    at: Tensor,
) -> PixelWindow:
    """The pixels about a solid's box, less what nearer solids hide and what farther ones explain."""
    x0, y0, x1, y1 = (side * SIDE for side in solid.box)
    wide, high = 3 + 0.25 * (x1 - x0), 3 + 0.25 * (y1 - y0)
    left, top = max(int(x0 - wide), 0), max(int(y0 - high), 0)
    right, bottom = min(math.ceil(x1 + wide), SIDE), min(math.ceil(y1 + high), SIDE)
    v, u = (m.reshape(-1) for m in torch.meshgrid(-at[top:bottom], at[left:right], indexing="ij"))
    colours, background_error = (
        colours[top:bottom, left:right].reshape(-1, 3),
        background_error[top:bottom, left:right].reshape(-1),
    )
    weight = torch.ones_like(background_error)
    casters: list[tuple[str, PlacedCandidates]] = []
    for other, candidate in others:
        where = fitting.place(other.shape, Candidates.of(candidate[None]), light.sky)
        casters.append((other.shape, where))
        covered = render_candidates(Appearance(other.colour, other.material, light), other.shape, where, u, v)[1][
            0
        ].isfinite()
        hidden = _grown(covered.view(bottom - top, right - left), 1).view(-1)
        if other.distance < solid.distance:
            weight = torch.where(hidden, 0.0, weight)
        else:
            background_error = torch.where(hidden, 0.0, background_error)
    return PixelWindow(u, v, colours, background_error, weight, solid.box, tuple(casters))


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """(H, W) bool, and what lies within so many pixels."""
    return F.max_pool2d(mask[None].float(), 2 * pixels + 1, 1, pixels)[0] > 0


def _thinned(window: PixelWindow, columns: int, rays: int) -> PixelWindow:
    """About so many of the pixels, in a square grid."""
    stride = max(1, round(math.sqrt(len(window.u) / rays)))
    place = torch.arange(len(window.u))
    return window.thinned(((place % columns) % stride == stride // 2) & ((place // columns) % stride == stride // 2))


def _rough_fit(solid: Detection, light: Light, window: PixelWindow) -> Tensor:
    coarse = _thinned(window, len(window.u.unique()), RAYS // 2)
    start = fitting.spread_candidates(solid.shape, initial_guess(solid.shape, solid.box), START, seed=3)
    return search(Appearance(solid.colour, solid.material, light), solid.shape, coarse, start, ROUNDS, ROWS)[0]


def _fit(solid: Detection, light: Light, window: PixelWindow) -> tuple[Fit, Tensor]:
    """All shapes are searched for alike, then the claimed one and its best rivals alike once more, closer. Where the
    claimed one comes near without being well formed, the search may have missed it: these are searched for again,
    among more candidates."""
    columns = len(window.u.unique())
    coarse, fine = (_thinned(window, columns, rays) for rays in (RAYS, FINE))
    appearance = Appearance(solid.colour, solid.material, light)

    def searched(shape: str, more: int, seed: int) -> Tensor:
        turns = shape in fitting.PERIOD  # of those many candidates differ in that alone
        many, rows = START * (3 if turns else 1) * more, ROWS * (2 if turns else 1) * more
        start = fitting.spread_candidates(shape, initial_guess(shape, solid.box), many, seed=seed)
        return search(appearance, shape, coarse, start, ROUNDS, rows, seed=seed + 4)

    def closer(shape: str, table: Tensor) -> tuple[Tensor, _Score]:
        found = search(appearance, shape, fine, table, 4, ROWS, reach=0.2)
        return found, _score(appearance, shape, window, columns, found[0])

    best = {shape: searched(shape, 1, 3) for shape in SHAPES}
    rough = {
        shape: float(fitting.energy(appearance, shape, coarse, Candidates.of(best[shape][:1]))) for shape in SHAPES
    }
    rivals = sorted((shape for shape in SHAPES if shape != solid.shape), key=lambda shape: rough[shape])[:RIVALS]
    scores: dict[str, _Score] = {}
    for shape in (solid.shape, *rivals):
        best[shape], scores[shape] = closer(shape, best[shape])
    if scores[solid.shape].near_miss(solid.shape, solid.material):
        for shape in (solid.shape, *rivals):
            again, score = closer(shape, torch.cat([best[shape], searched(shape, MORE, 5)]))
            if score.error < scores[shape].error:
                best[shape], scores[shape] = again, score
    score, fitted = scores[solid.shape], best[solid.shape][0]
    other = min(rivals, key=lambda shape: scores[shape].error)
    area = max(score.area, 1.0)
    margin = (scores[other].error - score.error) / area
    fit = Fit(
        shape=solid.shape,
        well_formed=score.fits(solid.shape, solid.material) and margin >= LEAD,
        iou=score.iou,
        stray=score.stray,
        residual=score.error / area,
        unexplained=score.unexplained,
        best_other=other,
        margin=margin,
        area=score.area,
        solid=fitted_solid(solid.shape, solid.colour, solid.size, solid.material, light.sky, fitted),
        height=float(fitted[4]),
        sun=float(fitted[5]),
    )
    return fit, fitted


def _score(appearance: Appearance, shape: str, window: PixelWindow, columns: int, best: Tensor) -> _Score:
    """A candidate against all pixels, four rays each."""
    where = fitting.place(shape, Candidates.of(best[None]), appearance.light.sky)
    shifts = torch.tensor(SUBPIXELS) * (2 / SIDE)
    u, v = (
        (line[None] + shift[:, None]).reshape(-1) for line, shift in zip((window.u, window.v), shifts.T, strict=True)
    )
    rgb, away = render_candidates(appearance, shape, where, u, v, window.casters)
    hit = away[0].isfinite().view(4, -1).float()  # (4, P)
    share = hit.mean(0)
    rgb = (rgb[0].view(4, -1, 3) * hit[..., None]).sum(0) / hit.sum(0).clamp(min=1)[:, None]
    shown = window.weight > 0
    core, outside = (share == 1) & shown, (share == 0) & shown
    area = float((share * window.weight).sum())
    tint = (window.colours[core] - rgb[core]).mean(0) if core.any() else torch.zeros(3)
    tint = tint.clamp(-TINT, TINT)  # a shade lighter or redder all over is no matter of form
    off = (rgb + tint - window.colours).square().sum(-1).sqrt().clamp(max=FAR)
    background_error = window.background_error.clamp(max=FAR)
    error = float(off[core].sum() + background_error[outside].sum())
    if not core.any():
        return _Score(0.0, INF, error, INF, area)
    palette = (rgb + tint)[core][:: max(1, int(core.sum()) // 120)]
    like = distance_to_palette(window.colours, palette)
    reach = max(2, round(0.35 * math.sqrt(area)))
    missing = core & (window.background_error + SLACK < like)
    extra = _joined(
        outside & (window.background_error > like + SLACK), share > 0, columns, reach
    )  # specks elsewhere are none of it
    overlap = max(area - float(missing.sum()), 0.0) / (area + float(extra.sum()))
    dented = _joined(missing, share < 1, columns, reach)  # glints inside are none of the outline
    stray = max(_depth(dented, share < 1, columns), _depth(extra, share > 0, columns))
    return _Score(overlap, stray, error, _unexplained_shading(rgb, window.colours, core, columns), area)


def _unexplained_shading(rgb: Tensor, colours: Tensor, core: Tensor, columns: int) -> float:
    """See `Fit.unexplained`. rgb, colours (P, 3): of the fitted solid and of the image; core (P,): where the solid
    is."""
    inner = core & ~_grown(~core.view(-1, columns), 1).view(-1)
    if inner.sum() < 6:  # too few to decide
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


def _depth(error_mask: Tensor, far_side: Tensor, columns: int) -> float:
    """Pixels from those of the error mask (P,) to the other side of the outline, of the third farthest: one or two
    prove nothing."""
    if int(error_mask.sum()) < 3 or not far_side.any():
        return 0.0

    def places(mask: Tensor) -> Tensor:
        at = mask.nonzero()[:, 0]
        return torch.stack([at % columns, at // columns], 1).float()

    away = torch.cdist(places(error_mask), places(far_side)).amin(1)
    return float(away.topk(3).values[-1])
