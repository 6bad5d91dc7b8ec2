"""The judge: a small network, trained on renders only, that reads a scene back from its picture.

read(pictures)                         [Reading(solids=(Seen("cube", "red", ...), ...), ground="grass", ...)]
check(reading, parse("a red cube"))    Verdict(present=(True,), count=True, ...)
python -m world.judge --json FILE      how often it is right on held-out renders
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from world import eye
from world.atoms import Atom, atoms, has_shape_and_colour, match
from world.claims import Claims, between_line, relations
from world.eye import CELLS, NAMES, NEAREST, SIDE, Answer, Network, colours_of, shipped
from world.render import render
from world.scene import FOOTPRINT, GROUNDS, HALF_HEIGHT, HELD_OUT, SIZES, SKIES, Camera, Scene, draw

WEIGHTS = Path(__file__).parent / "judge.safetensors"
FIGURES = ("count", "found", *NAMES, "relations", "ground", "sky", "everything", "centre", "distance", "held_out")
OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}


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

    @property
    def footprint(self) -> tuple[float, float]:
        """Metres: to the right of the middle of the view, and away along it."""
        return self.u * self.distance * math.tan(Camera.fov / 2), self.distance


@dataclass(frozen=True)
class Reading:
    """What a picture shows: the solids from left to right, ground and sky, and how sure the judge is of these two."""

    solids: tuple[Seen, ...]
    ground: str
    sky: str
    sure: dict[str, float]

    def stands(self, i: int, relation: str, j: int) -> bool:
        return stands(self.solids[i], relation, self.solids[j])

    def is_at(self, i: int, place: str) -> bool:
        """Whether a solid is at a place of the image: left, right, middle, front, back. Margins are half those of
        captions (`world.claims.places`)."""
        u, distance = self.solids[i].u, self.solids[i].distance
        others = [other.distance for k, other in enumerate(self.solids) if k != i]
        return {
            "left": u < -0.15,
            "right": u > 0.15,
            "middle": abs(u) < 0.25,
            "front": distance < 6.1 and all(distance < other - 0.3 for other in others),
            "back": distance > 6.1 and all(distance > other + 0.3 for other in others),
        }[place]

    def is_between(self, i: int, j: int, k: int) -> bool:
        """Whether solid i stands near the line from solid j to solid k."""
        along, aside = between_line(*(self.solids[n].footprint for n in (i, j, k)))
        return 0.1 < along < 0.9 and aside < 0.8


@lru_cache
def network(device: str = "cpu") -> nn.Module:
    """The judge as shipped. Raises FileNotFoundError where there are no weights yet."""
    return shipped(Network(colours=colours_of(WEIGHTS)), WEIGHTS, device)


def _answers(pictures: Tensor, judge: nn.Module | None, rows: int = 64) -> Iterator[Answer]:
    """What the network answers, `rows` pictures at a time; pictures (B, 3, H, W) of any size, brought to 128 x 128."""
    judge = judge or network(str(pictures.device))
    for x in eye.seen(pictures, judge, rows):
        with torch.no_grad():
            answer = judge(x)
        yield answer


def features(pictures: Tensor, judge: nn.Module | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 288), each about of mean 0 and deviation 1 over renders: for distances of sets of
    pictures."""
    return torch.cat([answer[3] for answer in _answers(pictures, judge)])


def read(pictures: Tensor, judge: nn.Module | None = None, threshold: float = 0.3) -> list[Reading]:
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
    # A network may know the first colours only.
    best = {name: max(zip(told[name], values, strict=name != "colour")) for name, values in NAMES.items()}
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
    not claimed; atoms: all claims one by one, numbers, places and what is not to be there among them; exact: as many
    solids as claimed, and all atoms true.
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
    atoms: tuple[Atom, ...] = field(repr=False)  # all that is claimed, one by one

    @property
    def exact(self) -> bool:
        return self.count and all(atom.true for atom in self.atoms)


def stands(a: Seen, relation: str, b: Seen) -> bool:
    """Whether solid a stands so to b: left, right, front, behind, next, far.

    Captions say what is clear (0.25 of the half picture apart, 0.7 m nearer, at most 0.6 m between the footprints, far
    from 2 m on); here it holds from half of that on (0.125, 0.35 m), next to each other up to 0.9 m and far from 1.4 m.
    """
    if relation in ("next", "far"):
        zoom = 1 / math.tan(Camera.fov / 2)
        places = [(s.u * s.distance / zoom, s.v * s.distance / zoom, s.distance) for s in (a, b)]
        height = [SIZES[s.size] * HALF_HEIGHT[s.shape] for s in (a, b)]
        flat = math.dist(*places) ** 2 - (height[0] - height[1]) ** 2  # both stand on the ground
        gap = math.sqrt(max(flat, 0.0)) - a.radius - b.radius
        return gap < 0.9 if relation == "next" else gap > 1.4
    across, away = a.u - b.u, a.distance - b.distance
    return {"left": across < -0.125, "right": across > 0.125, "front": away < -0.35, "behind": away > 0.35}[relation]


def check(reading: Reading, claims: Claims) -> Verdict:
    """Whether a picture shows what a caption claims."""
    chosen = match(reading, claims)
    one_by_one = atoms(claims, reading, chosen)
    pairs = [(claim, None if i is None else reading.solids[i]) for claim, i in zip(claims.solids, chosen, strict=True)]
    present = tuple(seen is not None and has_shape_and_colour(seen, claim) for claim, seen in pairs)
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
        atoms=one_by_one,
    )


# ------------------------------------------------------------------------------------------------ validation


def accuracy(scenes: Sequence[Scene], pictures: Tensor, judge: nn.Module | None = None) -> dict[str, tuple[int, int]]:
    """How often the judge is right on pictures of known scenes: (right, of) by figure.

    A solid that is not found is wrong in all its attributes. relations: what captions may say of two solids holds, its
    opposite does not, and what is 1.2 m apart is not next to each other. everything: count, attributes, ground and sky
    of a picture. centre: within 0.05 of half the picture. distance: within 0.35 m. held_out: colour and shape of the
    solids whose pair training never showed.
    """
    right: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for scene, reading in zip(scenes, read(pictures, judge), strict=True):
        seen_as = _identified(scene, reading)
        whole = [len(reading.solids) == len(scene.solids), reading.ground == scene.ground, reading.sky == scene.sky]
        for name, is_right in zip(("count", "ground", "sky"), whole, strict=True):
            right[name].append(is_right)
        for i, solid in enumerate(scene.solids):
            seen, (u, v, distance) = seen_as.get(i), scene.place(i)
            told = {name: seen is not None and getattr(seen, name) == getattr(solid, name) for name in NAMES}
            told["found"] = seen is not None
            whole += told.values()
            told["centre"] = seen is not None and max(abs(seen.u - u), abs(seen.v - v)) < 0.05
            told["distance"] = seen is not None and abs(seen.distance - distance) < 0.35
            if (solid.colour, solid.shape) in HELD_OUT:
                told["held_out"] = told["colour"] and told["shape"]
            for name, is_right in told.items():
                right[name].append(is_right)
        for i, j in ((i, j) for i in range(len(scene.solids)) for j in range(len(scene.solids)) if i != j):
            a, b = seen_as.get(i), seen_as.get(j)
            for relation, holds in _truth(scene, i, j).items():
                right["relations"].append(a is not None and b is not None and stands(a, relation, b) == holds)
        right["everything"].append(all(whole))
    return {name: (sum(told), len(told)) for name, told in right.items()}


def _identified(scene: Scene, reading: Reading) -> dict[int, Seen]:
    """The seen solid for each true one, by their centres."""
    places = [scene.place(i) for i in range(len(scene.solids))]
    near = [
        (math.hypot(seen.u - u, seen.v - v), i, k)
        for i, (u, v, _) in enumerate(places)
        for k, seen in enumerate(reading.solids)
    ]
    found: dict[int, int] = {}
    for gap, i, k in sorted(near):
        if gap < 0.15 and i not in found and k not in found.values():
            found[i] = k
    return {i: reading.solids[k] for i, k in found.items()}


def _truth(scene: Scene, i: int, j: int) -> dict[str, bool]:
    """What is clearly so, or clearly not so, of solid i seen from solid j."""
    true = relations(scene, i, j)
    told = dict.fromkeys(true, True) | {OPPOSITE[name]: False for name in true if name in OPPOSITE}
    a, b = scene.solids[i], scene.solids[j]
    if math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius > 1.2:
        told["next"] = False
    return told


def _rendered(scenes: Sequence[Scene]) -> Tensor:
    return torch.cat([render(scenes[i : i + 50], SIDE).rgb for i in range(0, len(scenes), 50)])


def _soft(pictures: Tensor) -> Tensor:
    """The pictures with half of their detail lost and a little noise: about what a small autoencoder does, or worse."""
    small = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2.0, mode="bilinear")
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    return (0.5 * pictures + 0.5 * small + 0.015 * noise).clamp(0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Validates the judge on renders that training never saw."""
    parser = argparse.ArgumentParser(prog="python -m world.judge", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=1000, help="of each split (default: 1000)")
    parser.add_argument("--quick", action="store_true", help="200 scenes of each split")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small tensors: more threads only cost
    count = 200 if given.quick else given.scenes
    figures: dict[str, tuple[int, int]] = {}
    for split, prefix in (("validation", ""), ("test", "test_")):
        scenes = [draw(split, n) for n in range(10_000, 10_000 + count)]
        pictures = _rendered(scenes)
        figures |= {prefix + name: told for name, told in accuracy(scenes, pictures).items()}
        if split == "test":
            figures |= {f"soft_{name}": told for name, told in accuracy(scenes, _soft(pictures)).items()}
        print(f"{count} scenes of {split} rendered and read", flush=True)
    print(f"{'percent right':<16}{'validation':>14}{'test':>14}{'test, softened':>16}{'of':>10}")
    for name in FIGURES:
        values = [figures[prefix + name] for prefix in ("", "test_", "soft_")]
        shown = [f"{100 * right / of:.2f}" if of else "-" for right, of in values]
        print(f"{name:<16}{shown[0]:>14}{shown[1]:>14}{shown[2]:>16}{values[1][1]:>10}")
    if given.json:
        flat = {name: round(100 * right / of, 3) for name, (right, of) in figures.items() if of}
        given.json.write_text(json.dumps(flat, indent=1) + "\n")


if __name__ == "__main__":
    main()
