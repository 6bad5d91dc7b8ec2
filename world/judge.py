"""The judge: a small network, trained on renders only, that reads a scene back from its picture.

    reading, = read(pictures)                       Reading(solids=(Seen("cube", "red", ...), ...), ground="grass",
    sky="day") check(reading, parse("a red cube on grass"))    Verdict(present=(True,), ground=True, exact=True, ...)
    python -m world.judge                           how often it is right on held-out renders

One fully convolutional network: a heatmap whose peaks are the centres of the solids, and at every cell of a 32 x 32 map
the attributes of the solid there, its box, the way to its centre, and its distance; from the pooled features ground and
sky.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from world.captions import Claim, Claims, relations
from world.scene import COLOURS, FOOTPRINT, GROUNDS, HALF_HEIGHT, MATERIALS, SHAPES, SIZES, SKIES, Camera, Scene

WEIGHTS = Path(__file__).parent / "judge.safetensors"
SIDE, CELLS = 128, 32  # pixels of the picture, cells of the map
NAMES = {"shape": SHAPES, "colour": tuple(COLOURS), "size": tuple(SIZES), "material": MATERIALS}
HEADS = {"heat": 1, **{name: len(values) for name, values in NAMES.items()}, "box": 4, "way": 2, "distance": 1}
FIGURES = (
    "count", "found", *NAMES, "centre", "distance", "relations", "ground", "sky", "everything",
)  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}
NEAREST = 3.0  # metres: the network tells distances as ln(distance / 3 m)


def _conv(given: int, made: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU(inplace=True))


Answer = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]  # maps, ground, sky, features


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _conv(width, width), nn.Sequential(*_conv(width, width)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Network(nn.Module):
    """1.1 million weights, 0.16 G multiplications a picture.

    (B, 3, 128, 128) in [0, 1] -> maps of `HEADS`, each (B, K, 32, 32); ground (B, 5) and sky (B, 4) scores; features
    (B, 288).
    """

    where: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 192), fused: int = 48):
        super().__init__()
        fine, middle, coarse = widths
        self.fine = nn.Sequential(nn.PixelUnshuffle(4), _conv(48, fine))
        self.middle = nn.Sequential(_conv(fine + 2, middle, 2), Residual(middle))
        self.coarse = nn.Sequential(_conv(middle, coarse, 2), Residual(coarse))
        self.lateral = nn.ModuleList(nn.Conv2d(width, fused, 1) for width in widths)
        self.fuse = nn.ModuleList([_conv(fused, fused), _conv(fused, fused)])
        self.heads = nn.Conv2d(fused, sum(HEADS.values()), 1)
        self.place = nn.Linear(middle + coarse, len(GROUNDS) + len(SKIES))
        assert self.heads.bias is not None
        with torch.no_grad():
            self.heads.bias[0] = -3.0  # few cells are centres
        at = (torch.arange(CELLS) + 0.5) / CELLS * 2 - 1
        where = torch.stack(torch.meshgrid(-at, at, indexing="ij"))  # (2, 32, 32): v, u; a size in metres depends on it
        self.register_buffer("where", where, persistent=False)
        self.register_buffer("mean", torch.zeros(middle + coarse))  # of the features over training renders
        self.register_buffer("spread", torch.ones(middle + coarse))

    def forward(self, x: Tensor) -> Answer:
        fine = self.fine((x - 0.45) * 4)
        where = self.where.to(fine.dtype).expand(len(x), -1, -1, -1)
        middle = self.middle(torch.cat([fine, where], 1))
        coarse = self.coarse(middle)
        y = self.fuse[0](torch.relu(self.lateral[1](middle) + F.interpolate(self.lateral[2](coarse), scale_factor=2.0)))
        y = self.fuse[1](torch.relu(self.lateral[0](fine) + F.interpolate(y, scale_factor=2.0)))
        maps = dict(zip(HEADS, self.heads(y).float().split(tuple(HEADS.values()), 1), strict=True))
        pooled = torch.cat([middle.float().mean((2, 3)), coarse.float().mean((2, 3))], 1)
        ground, sky = self.place(pooled).float().split((len(GROUNDS), len(SKIES)), 1)
        return maps, ground, sky, (pooled - self.mean) / self.spread


@dataclass(frozen=True)
class Seen:
    """One solid as the judge sees it. score in [0, 1]: how sure it is that there is one; sure: of each attribute; box:
    x0, y0, x1, y1 in [0, 1] of what is visible; u, v in [-1, 1] (right and up) and distance in metres along the view:
    of its centre.
    """

    shape: str
    colour: str
    size: str
    material: str
    score: float
    sure: dict[str, float]
    box: tuple[float, float, float, float]
    u: float
    v: float
    distance: float

    @property
    def radius(self) -> float:
        """Metres, of the footprint."""
        return SIZES[self.size] * FOOTPRINT[self.shape]


@dataclass(frozen=True)
class Reading:
    """What a picture shows: the solids from left to right, ground and sky, and how sure the judge is of these two."""

    solids: tuple[Seen, ...]
    ground: str
    sky: str
    sure: dict[str, float]


@lru_cache
def network(device: str = "cpu") -> nn.Module:
    """The judge as shipped. Raises FileNotFoundError where there are no weights yet."""
    from safetensors.torch import load_file

    if not WEIGHTS.exists():
        raise FileNotFoundError(f"No weights at {WEIGHTS}: train the judge (`python -m training judge`), then ship it.")
    judge: nn.Module = Network()
    judge.load_state_dict({name: w.float() if w.is_floating_point() else w for name, w in load_file(WEIGHTS).items()})
    return judge.to(torch.device(device)).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _answers(pictures: Tensor, judge: nn.Module | None, rows: int = 64) -> Iterator[Answer]:
    """What the network answers, `rows` pictures at a time; pictures (B, 3, H, W) of any size, brought to 128 x 128."""
    if pictures.dim() != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures are (B, 3, H, W) in [0, 1], and these {tuple(pictures.shape)}.")
    judge = judge or network(str(pictures.device))
    home = next(judge.parameters())
    for part in pictures.split(rows):
        x = part.detach().to(home.device, torch.float32).clamp(0, 1)
        if x.shape[2:] != (SIDE, SIDE):
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        with torch.no_grad():
            yield judge(x.contiguous(memory_format=torch.channels_last))


def features(pictures: Tensor, judge: nn.Module | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 288), each about of mean 0 and deviation 1 over renders: for distances of sets of
    pictures."""
    return torch.cat([answer[3] for answer in _answers(pictures, judge)])


def read(pictures: Tensor, judge: nn.Module | None = None, threshold: float = 0.35) -> list[Reading]:
    """Pictures (B, 3, H, W) in [0, 1], of any size -> what each shows.

    Raises ValueError for another shape.
    """
    return [reading for answer in _answers(pictures, judge) for reading in _readings(answer, threshold)]


def _readings(answer: Answer, threshold: float) -> list[Reading]:
    maps, ground, sky, _ = answer
    heat = maps["heat"].sigmoid()  # (B, 1, 32, 32)
    at = torch.arange(CELLS, device=heat.device) + 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    told = {name: maps[name].softmax(1) for name in NAMES}
    told["box"] = maps["box"] + torch.stack([x, y, x, y])  # cells
    told["way"] = maps["way"] + torch.stack([x, y])
    told["distance"] = maps["distance"].exp() * NEAREST
    mass = F.avg_pool2d(heat, 3, 1, 1)
    told = {name: (F.avg_pool2d(heat * m, 3, 1, 1) / mass).cpu() for name, m in told.items()}  # with the neighbours
    peak = ((heat == F.max_pool2d(heat, 3, 1, 1)) & (heat > threshold))[:, 0].cpu()
    heat = heat[:, 0].cpu()
    place = {"ground": (GROUNDS, ground.softmax(1)), "sky": (SKIES, sky.softmax(1))}
    readings = []
    for b in range(len(heat)):
        found = sorted(((float(heat[b, j, i]), int(j), int(i)) for j, i in peak[b].nonzero()), reverse=True)
        solids: list[Seen] = []
        for score, j, i in found:
            one = _seen(score, {name: m[b, :, j, i].tolist() for name, m in told.items()})
            if all(math.hypot(one.u - old.u, one.v - old.v) > 2.5 / CELLS for old in solids):
                solids.append(one)
        best = {name: (values[int(p[b].argmax())], float(p[b].max())) for name, (values, p) in place.items()}
        readings.append(
            Reading(
                tuple(sorted(solids, key=lambda s: s.u)),
                best["ground"][0],
                best["sky"][0],
                {name: sure for name, (_, sure) in best.items()},
            )
        )
    return readings


def _seen(score: float, told: dict[str, list[float]]) -> Seen:
    best = {name: max(zip(told[name], values, strict=True)) for name, values in NAMES.items()}
    x, y = told["way"]
    x0, y0, x1, y1 = (min(max(side / CELLS, 0.0), 1.0) for side in told["box"])
    return Seen(
        **{name: value for name, (_, value) in best.items()},
        score=score,
        sure={name: sure for name, (sure, _) in best.items()},
        box=(x0, y0, x1, y1),
        u=x / CELLS * 2 - 1,
        v=1 - y / CELLS * 2,
        distance=told["distance"][0],
    )


# ------------------------------------------------------------------------------------------------ claims


@dataclass(frozen=True)
class Verdict:
    """Claims against a reading: one entry for each claimed solid or relation, in their order.

    present: a solid of that shape and colour is there, one for each claim; swaps: how many claimed solids that are
    missing are there in the colour of another claim instead; sizes, materials: right on a present solid (None: not
    claimed); relations: both solids are present and stand so; count: as many solids as claimed; ground, sky: None where
    not claimed; exact: all of it.
    """

    present: tuple[bool, ...]
    swaps: int
    sizes: tuple[bool | None, ...]
    materials: tuple[bool | None, ...]
    relations: tuple[bool, ...]
    count: bool
    ground: bool | None
    sky: bool | None
    match: tuple[int | None, ...] = field(repr=False)  # the seen solid for each claim

    @property
    def exact(self) -> bool:
        told = (*self.present, *self.sizes, *self.materials, *self.relations, self.count, self.ground, self.sky)
        return all(one is not False for one in told)


def stands(a: Seen, relation: str, b: Seen) -> bool:
    """Whether solid a stands so to b: left, right, front, behind, next.

    Captions say what is clear (0.25 of the half picture apart, 0.7 m nearer, at most 0.6 m between the footprints);
    here it holds from half of that on (0.125, 0.35 m), and next to each other up to 0.9 m.
    """
    if relation == "next":
        zoom = 1 / math.tan(Camera.fov / 2)
        places = [(s.u * s.distance / zoom, s.v * s.distance / zoom, s.distance) for s in (a, b)]
        height = [SIZES[s.size] * HALF_HEIGHT[s.shape] for s in (a, b)]
        flat = math.dist(*places) ** 2 - (height[0] - height[1]) ** 2  # both stand on the ground
        return math.sqrt(max(flat, 0.0)) - a.radius - b.radius < 0.9
    across, away = a.u - b.u, a.distance - b.distance
    return {"left": across < -0.125, "right": across > 0.125, "front": away < -0.35, "behind": away > 0.35}[relation]


def _fits(seen: Seen, claim: Claim) -> bool:
    return seen.shape == claim.shape and claim.colour in (None, seen.colour)


def match(reading: Reading, claims: Claims, beam: int = 400) -> tuple[int | None, ...]:
    """The seen solid for each claim, one to one, by the most in common: shape and colour together first, then either,
    size, material, relations. A beam search, exhaustive up to four claims on five solids.
    """
    states: list[tuple[float, tuple[int | None, ...]]] = [(0.0, ())]
    for k, claim in enumerate(claims.solids):
        grown = []
        for score, taken in states:
            for i in [i for i in range(len(reading.solids)) if i not in taken]:
                seen = reading.solids[i]
                worth = 100.0 * _fits(seen, claim)
                worth += 12 * (seen.shape == claim.shape) + 12 * (seen.colour == claim.colour)
                worth += 2 * (seen.size == claim.size) + (seen.material == claim.material)
                chosen = (*taken, i)
                for subject, relation, other in claims.relations:
                    if max(subject, other) == k and None not in (chosen[subject], chosen[other]):
                        a, b = (reading.solids[chosen[n]] for n in (subject, other))  # type: ignore[index]
                        worth += 3 * stands(a, relation, b)
                grown.append((score + worth, chosen))
            grown.append((score, (*taken, None)))
        states = sorted(grown, key=lambda state: -state[0])[:beam]
    return states[0][1]


def check(reading: Reading, claims: Claims) -> Verdict:
    """Whether a picture shows what a caption claims."""
    chosen = match(reading, claims)
    pairs = [(claim, None if i is None else reading.solids[i]) for claim, i in zip(claims.solids, chosen, strict=True)]
    present = tuple(seen is not None and _fits(seen, claim) for claim, seen in pairs)
    missing = [claim for (claim, _), there in zip(pairs, present, strict=True) if not there]
    others = {claim.colour for claim in claims.solids}
    swaps = sum(
        any(s.shape == claim.shape and s.colour != claim.colour and s.colour in others for s in reading.solids)
        for claim in missing
    )

    def right(name: str) -> tuple[bool | None, ...]:
        claimed = (getattr(claim, name) for claim in claims.solids)
        return tuple(
            None if wanted is None else there and getattr(seen, name) == wanted
            for wanted, there, (_, seen) in zip(claimed, present, pairs, strict=True)
        )

    def related(subject: int, relation: str, other: int) -> bool:
        a, b = pairs[subject][1], pairs[other][1]
        return present[subject] and present[other] and a is not None and b is not None and stands(a, relation, b)

    return Verdict(
        present=present,
        swaps=swaps,
        sizes=right("size"),
        materials=right("material"),
        relations=tuple(related(*one) for one in claims.relations),
        count=len(reading.solids) == len(claims.solids),
        ground=None if claims.ground is None else reading.ground == claims.ground,
        sky=None if claims.sky is None else reading.sky == claims.sky,
        match=chosen,
    )


# ------------------------------------------------------------------------------------------------ validation


def accuracy(scenes: Sequence[Scene], pictures: Tensor, judge: nn.Module | None = None) -> dict[str, tuple[int, int]]:
    """How often the judge is right on pictures of known scenes: (right, of) by attribute.

    A solid that is not found counts as wrong in each of its attributes. centre: within 0.05 of the half picture;
    distance: within 0.35 m; relations: those true of the scene by the captions' margins hold, and their opposites do
    not.
    """
    right: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for scene, reading in zip(scenes, read(pictures, judge), strict=True):
        places = [scene.place(i) for i in range(len(scene.solids))]
        near = sorted(
            (math.hypot(seen.u - u, seen.v - v), i, k)
            for i, (u, v, _) in enumerate(places)
            for k, seen in enumerate(reading.solids)
        )
        seen_as: dict[int, Seen] = {}
        for gap, i, k in near:
            if gap < 0.15 and i not in seen_as and reading.solids[k] not in seen_as.values():
                seen_as[i] = reading.solids[k]
        right["count"].append(len(reading.solids) == len(scene.solids))
        right["ground"].append(reading.ground == scene.ground)
        right["sky"].append(reading.sky == scene.sky)
        for i, solid in enumerate(scene.solids):
            seen = seen_as.get(i)
            right["found"].append(seen is not None)
            for name in NAMES:
                right[name].append(seen is not None and getattr(seen, name) == getattr(solid, name))
            u, v, distance = places[i]
            right["centre"].append(seen is not None and max(abs(seen.u - u), abs(seen.v - v)) < 0.05)
            right["distance"].append(seen is not None and abs(seen.distance - distance) < 0.35)
            for j in range(len(scene.solids)):
                for relation in relations(scene, i, j) if i != j else ():
                    other = seen_as.get(j)
                    holds = seen is not None and other is not None and stands(seen, relation, other)
                    opposite = holds and relation in OPPOSITE and stands(seen, OPPOSITE[relation], other)  # type: ignore[arg-type]
                    right["relations"].append(holds and not opposite)
        wrong = [right[name][-len(scene.solids) :] for name in ("found", *NAMES)]
        right["everything"].append(
            all(right[name][-1] for name in ("count", "ground", "sky")) and all(all(part) for part in wrong)
        )
    return {name: (sum(told), len(told)) for name, told in right.items()}
