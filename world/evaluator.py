"""The evaluator: a small network, trained on renders only, that predicts the scene that an image shows.

read(images)                           [SceneReading(solids=(Detection("cube", "red", ...), ...), ground="grass", ...)]
check(reading, parse("a red cube"))    Verdict(present=(True,), count=True, ...)
python -m world.evaluator --json FILE      its accuracy on held-out renders
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
from world.eye import CELLS, NAMES, NEAREST, SIDE, EyeNetwork, Outputs, load_shipped, number_of_colours
from world.render import render
from world.scene import FOOTPRINT, GROUNDS, HALF_HEIGHT, HELD_OUT, SIZES, SKIES, Camera, Scene, draw

WEIGHTS = Path(__file__).parent / "evaluator.safetensors"
FIGURES = ("count", "found", *NAMES, "relations", "ground", "sky", "everything", "centre", "distance", "held_out")
OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}


@dataclass(frozen=True)
class Detection:
    """One detected solid. score in [0, 1]: confidence that there is one; confidence: of each attribute; box:
    x0, y0, x1, y1 in [0, 1] of what is visible; u, v in [-1, 1] (right and up) and distance in metres along the view:
    of its centre.
    """

    shape: str
    colour: str
    size: str
    material: str
    score: float
    confidence: dict[str, float]
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
class SceneReading:
    """What an image shows: the solids from left to right, ground and sky, and the confidence in these two."""

    solids: tuple[Detection, ...]
    ground: str
    sky: str
    confidence: dict[str, float]

    def has_relation(self, i: int, relation: str, j: int) -> bool:
        return has_relation(self.solids[i], relation, self.solids[j])

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
    """The evaluator as shipped. Raises FileNotFoundError where there are no weights yet."""
    return load_shipped(EyeNetwork(colours=number_of_colours(WEIGHTS)), WEIGHTS, device)


def _outputs(images: Tensor, model: nn.Module | None, rows: int = 64) -> Iterator[Outputs]:
    """Outputs of the network, `rows` images at a time; images (B, 3, H, W) of any size, brought to 128 x 128."""
    model = model or network(str(images.device))
    for x in eye.batches_of_128(images, model, rows):
        with torch.no_grad():
            outputs = model(x)
        yield outputs


def features(images: Tensor, model: nn.Module | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 288), each about of mean 0 and deviation 1 over renders: for KID and other
    distances of sets of images."""
    return torch.cat([outputs[3] for outputs in _outputs(images, model)])


def read(images: Tensor, model: nn.Module | None = None, threshold: float = 0.3) -> list[SceneReading]:
    """Images (B, 3, H, W) in [0, 1], of any size -> what each shows.

    Raises ValueError for another shape.
    """
    return [reading for outputs in _outputs(images, model) for reading in _readings(outputs, threshold)]


def _readings(outputs: Outputs, threshold: float) -> list[SceneReading]:
    maps, ground, sky, _ = outputs
    heat = maps["heat"].sigmoid()  # (B, 1, 32, 32)
    at = torch.arange(CELLS, device=heat.device) + 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    predicted = {name: maps[name].softmax(1) for name in NAMES}
    predicted["box"] = maps["box"] + torch.stack([x, y, x, y])  # cells
    predicted["way"] = maps["way"] + torch.stack([x, y])
    predicted["distance"] = maps["distance"].exp() * NEAREST
    mass = F.avg_pool2d(heat, 3, 1, 1)
    predicted = {
        name: (F.avg_pool2d(heat * m, 3, 1, 1) / mass).cpu() for name, m in predicted.items()
    }  # with the neighbours
    peak = ((heat == F.max_pool2d(heat, 3, 1, 1)) & (heat > threshold))[:, 0].cpu()
    heat = heat[:, 0].cpu()
    place = {"ground": (GROUNDS, ground.softmax(1)), "sky": (SKIES, sky.softmax(1))}
    readings = []
    for b in range(len(heat)):
        peaks = sorted(((float(heat[b, j, i]), int(j), int(i)) for j, i in peak[b].nonzero()), reverse=True)
        solids: list[Detection] = []
        for score, j, i in peaks:
            detection = _detection(score, {name: m[b, :, j, i].tolist() for name, m in predicted.items()})
            if all(math.hypot(detection.u - other.u, detection.v - other.v) > 2.5 / CELLS for other in solids):
                solids.append(detection)
        best = {name: (values[int(p[b].argmax())], float(p[b].max())) for name, (values, p) in place.items()}
        readings.append(
            SceneReading(
                tuple(sorted(solids, key=lambda s: s.u)),
                best["ground"][0],
                best["sky"][0],
                {name: confidence for name, (_, confidence) in best.items()},
            )
        )
    return readings


def _detection(score: float, values_at: dict[str, list[float]]) -> Detection:
    # A network may know the first colours only.
    best = {name: max(zip(values_at[name], names, strict=name != "colour")) for name, names in NAMES.items()}
    x, y = values_at["way"]
    x0, y0, x1, y1 = (min(max(side / CELLS, 0.0), 1.0) for side in values_at["box"])
    return Detection(
        **{name: value for name, (_, value) in best.items()},
        score=score,
        confidence={name: confidence for name, (confidence, _) in best.items()},
        box=(x0, y0, x1, y1),
        u=x / CELLS * 2 - 1,
        v=1 - y / CELLS * 2,
        distance=values_at["distance"][0],
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
    match: tuple[int | None, ...] = field(repr=False)  # the detected solid for each claim
    atoms: tuple[Atom, ...] = field(repr=False)  # all that is claimed, one by one

    @property
    def exact(self) -> bool:
        return self.count and all(atom.true for atom in self.atoms)


def has_relation(a: Detection, relation: str, b: Detection) -> bool:
    """Whether solid a has a relation to b: left, right, front, behind, next, far.

    Captions say what is clear (0.25 of half the image apart, 0.7 m nearer, at most 0.6 m between the footprints, far
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


def check(reading: SceneReading, claims: Claims) -> Verdict:
    """Whether an image shows what a caption claims."""
    chosen = match(reading, claims)
    one_by_one = atoms(claims, reading, chosen)
    pairs = [(claim, None if i is None else reading.solids[i]) for claim, i in zip(claims.solids, chosen, strict=True)]
    present = tuple(solid is not None and has_shape_and_colour(solid, claim) for claim, solid in pairs)
    missing = [claim for (claim, _), is_present in zip(pairs, present, strict=True) if not is_present]
    others = {claim.colour for claim in claims.solids}
    swaps = sum(
        any(s.shape == claim.shape and s.colour != claim.colour and s.colour in others for s in reading.solids)
        for claim in missing
    )

    def right(name: str) -> tuple[bool | None, ...]:
        claimed = (getattr(claim, name) for claim in claims.solids)
        return tuple(
            None if claimed_value is None else is_present and getattr(solid, name) == claimed_value
            for claimed_value, is_present, (_, solid) in zip(claimed, present, pairs, strict=True)
        )

    def related(subject: int, relation: str, other: int) -> bool:
        a, b = pairs[subject][1], pairs[other][1]
        return present[subject] and present[other] and a is not None and b is not None and has_relation(a, relation, b)

    return Verdict(
        present=present,
        swaps=swaps,
        sizes=right("size"),
        materials=right("material"),
        relations=tuple(related(*relation) for relation in claims.relations),
        count=len(reading.solids) == len(claims.solids),
        ground=None if claims.ground is None else reading.ground == claims.ground,
        sky=None if claims.sky is None else reading.sky == claims.sky,
        match=chosen,
        atoms=one_by_one,
    )


# ------------------------------------------------------------------------------------------------ validation


def accuracy(scenes: Sequence[Scene], images: Tensor, model: nn.Module | None = None) -> dict[str, tuple[int, int]]:
    """Accuracy of the evaluator on images of known scenes: (right, of) by figure.

    A solid that is not detected is wrong in all its attributes. relations: what captions may say of two solids holds,
    its opposite does not, and what is 1.2 m apart is not next to each other. everything: count, attributes, ground and
    sky of an image. centre: within 0.05 of half the image. distance: within 0.35 m. held_out: colour and shape of the
    solids whose pair training never showed."""
    right: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for scene, reading in zip(scenes, read(images, model), strict=True):
        detection_of = _matched_detections(scene, reading)
        whole = [len(reading.solids) == len(scene.solids), reading.ground == scene.ground, reading.sky == scene.sky]
        for name, is_right in zip(("count", "ground", "sky"), whole, strict=True):
            right[name].append(is_right)
        for i, solid in enumerate(scene.solids):
            detection, (u, v, distance) = detection_of.get(i), scene.place(i)
            correct = {
                name: detection is not None and getattr(detection, name) == getattr(solid, name) for name in NAMES
            }
            correct["found"] = detection is not None
            whole += correct.values()
            correct["centre"] = detection is not None and max(abs(detection.u - u), abs(detection.v - v)) < 0.05
            correct["distance"] = detection is not None and abs(detection.distance - distance) < 0.35
            if (solid.colour, solid.shape) in HELD_OUT:
                correct["held_out"] = correct["colour"] and correct["shape"]
            for name, is_right in correct.items():
                right[name].append(is_right)
        for i, j in ((i, j) for i in range(len(scene.solids)) for j in range(len(scene.solids)) if i != j):
            a, b = detection_of.get(i), detection_of.get(j)
            for relation, holds in _true_relations(scene, i, j).items():
                right["relations"].append(a is not None and b is not None and has_relation(a, relation, b) == holds)
        right["everything"].append(all(whole))
    return {name: (sum(correct), len(correct)) for name, correct in right.items()}


def _matched_detections(scene: Scene, reading: SceneReading) -> dict[int, Detection]:
    """The detected solid for each true one, by their centres."""
    places = [scene.place(i) for i in range(len(scene.solids))]
    near = [
        (math.hypot(detection.u - u, detection.v - v), i, k)
        for i, (u, v, _) in enumerate(places)
        for k, detection in enumerate(reading.solids)
    ]
    matched: dict[int, int] = {}
    for gap, i, k in sorted(near):
        if gap < 0.15 and i not in matched and k not in matched.values():
            matched[i] = k
    return {i: reading.solids[k] for i, k in matched.items()}


def _true_relations(scene: Scene, i: int, j: int) -> dict[str, bool]:
    """The relations that clearly hold, or clearly do not hold, of solid i to solid j."""
    true = relations(scene, i, j)
    holds = dict.fromkeys(true, True) | {OPPOSITE[name]: False for name in true if name in OPPOSITE}
    a, b = scene.solids[i], scene.solids[j]
    if math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius > 1.2:
        holds["next"] = False
    return holds


def _rendered(scenes: Sequence[Scene]) -> Tensor:
    return torch.cat([render(scenes[i : i + 50], SIDE).rgb for i in range(0, len(scenes), 50)])


def _softened(images: Tensor) -> Tensor:
    """The images with half of their detail lost and a little noise: about what a small autoencoder does, or worse."""
    small = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear")
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (0.5 * images + 0.5 * small + 0.015 * noise).clamp(0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Validates the evaluator on renders that training never saw."""
    parser = argparse.ArgumentParser(prog="python -m world.evaluator", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=1000, help="of each split (default: 1000)")
    parser.add_argument("--quick", action="store_true", help="200 scenes of each split")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small tensors: more threads only cost
    count = 200 if args.quick else args.scenes
    figures: dict[str, tuple[int, int]] = {}
    for split, prefix in (("validation", ""), ("test", "test_")):
        scenes = [draw(split, n) for n in range(10_000, 10_000 + count)]
        images = _rendered(scenes)
        figures |= {prefix + name: figure for name, figure in accuracy(scenes, images).items()}
        if split == "test":
            figures |= {f"soft_{name}": figure for name, figure in accuracy(scenes, _softened(images)).items()}
        print(f"{count} scenes of {split} rendered and read", flush=True)
    print(f"{'percent right':<16}{'validation':>14}{'test':>14}{'test, softened':>16}{'of':>10}")
    for name in FIGURES:
        values = [figures[prefix + name] for prefix in ("", "test_", "soft_")]
        shown = [f"{100 * right / of:.2f}" if of else "-" for right, of in values]
        print(f"{name:<16}{shown[0]:>14}{shown[1]:>14}{shown[2]:>16}{values[1][1]:>10}")
    if args.json:
        flat = {name: round(100 * right / of, 3) for name, (right, of) in figures.items() if of}
        args.json.write_text(json.dumps(flat, indent=1) + "\n")


if __name__ == "__main__":
    main()
