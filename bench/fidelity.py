"""How often an image of Still Life shows what its caption says.

Captions of test scenes, sampled with 20 steps and guidance, read back by the evaluator. `chance`: the same images
scored against the captions of others; `ceiling`: the renderer's own images of these scenes. `python -m world.evaluator`
says how accurate the evaluator is. It takes lumps for solids; whether they are well formed is measured by a fit of the
renderer's own solids, some tenths of a second each (`bench.well_formed` says it by shape and size).

    python -m bench.fidelity --captions 300 --json fidelity.json
    python -m bench.fidelity --keep FOLDER        keeps the images and their captions
    python -m bench.fidelity --images FOLDER    evaluates images made elsewhere: 0000.png, ... as in captions.txt
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from backbones import load
from backbones.base import Backbone
from bench.table import Report
from common.image_bytes import to_pixels
from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS, SCHEDULES
from samplers.flow import Noise, ask, run
from world.captions import Claims, describe, parse
from world.evaluator import SceneReading, check, features, read
from world.render import quantized, render
from world.scene import HELD_OUT, Scene, draw
from world.styles import STYLES
from world.well_formed import Fit, assess

STEPS, SCALE, ROWS, SIZE = 20, 4.0, 16, 128
RENDERS = 600  # of other test scenes, for the KID
CONFIDENT = 0.9  # confidence of the evaluator from which a shape counts as well formed
SHIFTS = (1, 7, 31)  # captions of others: the caption so many places further on
FIGURES = {  # key: label, bar
    "binding": ("attribute pairs (colour, shape) right", "at least 90"),
    "relations": ("relations right, both solids there", "at least 85"),
    "sizes": ("sizes right", ""),
    "material": ("materials right", ""),
    "count": ("as many solids as said", ""),
    "ground": ("ground right", "at least 97"),
    "sky": ("sky right", "at least 97"),
    "atoms": ("claims right, one by one", ""),
    "exact": ("everything right", ""),
    "right": ("everything right, solids well formed", ""),
    "well_formed": ("solids seen that are well formed", ""),
    "composition": ("attribute pairs never shown in training, right", ""),
    "stand": ("relations right where both solids are there", ""),
    "sure": ("attribute pairs right, shape beyond doubt", ""),
    "swaps": ("captions with colours swapped", ""),
}


@dataclass(frozen=True)
class Case:
    """A test scene, a true caption of it, what that claims."""

    scene: Scene
    text: str
    claims: Claims


def cases(count: int, first: int = 0, style: str = "plain") -> list[Case]:
    """The captions of test scenes first, ..., first + count - 1: the same on every machine.

    Raises ValueError for a style that `world.captions.describe` does not have.
    """
    made_cases = []
    for n in range(first, first + count):
        scene = draw("test", n)
        text = describe(scene, np.random.default_rng([n, 2]), style).text
        made_cases.append(Case(scene, text, parse(text)))
    return made_cases


def sample(backbone: Backbone, texts: Sequence[str], seeds: Sequence[int], args: argparse.Namespace) -> Tensor:
    """One image for each text, (B, 3, H, W) in [0, 1], through the project's own sampler, guidance and backbone."""
    size = backbone.default_size
    cond = backbone.encode_prompt(texts)
    device = next(iter(cond.values())).device
    sigmas = SCHEDULES[args.schedule](args.steps, backbone.sigmas)
    noise = Noise(seeds)
    x = noise(torch.empty(len(texts), *backbone.latent_shape(size, size))).to(device) * math.sqrt(1 + sigmas[0] ** 2)
    D = cfg(ask, backbone.encode_prompt([""] * len(texts)), args.scale)
    x = run(SAMPLERS[args.sampler](D, x, sigmas, cond, noise), backbone.denoise, max_rows=2 * ROWS)
    with torch.no_grad():
        return backbone.decode(x).float().cpu()


def rendered(report: Report, captions: Sequence[Case]) -> Tensor:
    """The scenes of the captions, (B, 3, 128, 128), as an 8-bit image has them."""
    parts = report.steps(list(batches([case.scene for case in captions], 32)), "batches of 32 renders")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors: more threads only cost
    try:
        return torch.cat([quantized(render(part, SIZE).rgb) / 255 for part in parts])
    finally:
        torch.set_num_threads(threads)


def fitted(report: Report, images: Tensor, readings: Sequence[SceneReading], what: str = "images") -> list[list[Fit]]:
    """Of each image (B, 3, 128, 128) the best fit of each solid that was read in it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors: more threads only cost
    try:
        pairs = list(zip(images, readings, strict=True))
        return [assess(image[None], [reading])[0] for image, reading in report.steps(pairs, f"{what} fitted")]
    finally:
        torch.set_num_threads(threads)


def scores(
    readings: Sequence[SceneReading], claims: Sequence[Claims], fits: Sequence[Sequence[Fit]] | None = None
) -> dict[str, float]:
    """Percent of what was claimed that is so, by figure; no figure where nothing of a kind was claimed. fits: of the
    solids of each reading; without them nothing is said of their form."""
    correct: dict[str, list[bool]] = {key: [] for key in FIGURES}
    for n, (reading, claimed) in enumerate(zip(readings, claims, strict=True)):
        verdict = check(reading, claimed)
        if fits is not None:
            formed = [fit.well_formed for fit in fits[n]]
            correct["well_formed"] += formed
            correct["right"].append(verdict.exact and all(formed[k] for k in verdict.match if k is not None))
        correct["binding"] += verdict.present
        detections = [None if k is None else reading.solids[k] for k in verdict.match]
        correct["sure"] += [
            present and detection is not None and detection.confidence["shape"] >= CONFIDENT
            for present, detection in zip(verdict.present, detections, strict=True)
        ]
        correct["relations"] += verdict.relations
        correct["sizes"] += [size_right for size_right in verdict.sizes if size_right is not None]
        correct["material"] += [material_right for material_right in verdict.materials if material_right is not None]
        correct["count"].append(verdict.count)
        correct["ground"] += [verdict.ground] if verdict.ground is not None else []
        correct["sky"] += [verdict.sky] if verdict.sky is not None else []
        correct["atoms"] += [atom.true for atom in verdict.atoms]
        correct["exact"].append(verdict.exact)
        correct["swaps"].append(verdict.swaps > 0)
        for solid, present in zip(claimed.solids, verdict.present, strict=True):
            if (solid.colour, solid.shape) in HELD_OUT:
                correct["composition"].append(present)
        for (a, _, b), right in zip(claimed.relations, verdict.relations, strict=True):
            if verdict.present[a] and verdict.present[b]:
                correct["stand"].append(right)
    return {key: 100 * float(np.mean(values)) for key, values in correct.items() if values}


def score_with_chance(
    readings: Sequence[SceneReading], claims: Sequence[Claims], fits: Sequence[Sequence[Fit]]
) -> tuple[dict[str, float], dict[str, float]]:
    """The scores of images against their captions, and against the captions of others."""
    own = scores(readings, claims, fits)
    others = []
    for shift in SHIFTS:
        shifted = [claims[(i + shift) % len(claims)] for i in range(len(claims))]
        others.append(scores(readings, shifted, fits))
    values_of = {key: [shifted_scores[key] for shifted_scores in others if key in shifted_scores] for key in FIGURES}
    return own, {key: float(np.mean(values)) for key, values in values_of.items() if values}


def evaluator_kid(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy of two sets of features (N, D), (M, D), unbiased, with the cubic kernel of KID
    (Binkowski et al. 2018, arXiv 1801.01401): 0 on average for two sets of one kind."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x.double() @ y.double().T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def batches(items: Sequence, rows: int) -> Iterator[Sequence]:
    return (items[i : i + rows] for i in range(0, len(items), rows))


def load_images(folder: Path, count: int) -> Tensor:
    """Images 0000.png, ... of a folder, (count, 3, 128, 128). Raises FileNotFoundError where one is missing."""
    loaded = []
    for i in range(count):
        image = Image.open(folder / f"{i:04d}.png").convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        loaded.append(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255)
    return torch.stack(loaded)


def save_images(folder: Path, images: Tensor, texts: Sequence[str], first: int) -> None:
    """Saves images first, first + 1, ... and adds their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "captions.txt", "a" if first else "w", encoding="utf-8") as captions:
        captions.writelines(text + "\n" for text in texts)
    for i, image in enumerate(to_pixels(images)):
        Image.fromarray(image).save(folder / f"{first + i:04d}.png")


def images_to_evaluate(report: Report, captions: Sequence[Case]) -> Tensor:
    """The images to evaluate: those of a folder, the renderer's own, or sampled."""
    args = report.args
    if args.images:
        return load_images(args.images, len(captions))
    if args.backbone == "renderer":
        return rendered(report, captions)
    backbone, samples = load(args.backbone), []
    numbered = list(enumerate(case.text for case in captions))
    for part in report.steps(list(batches(numbered, ROWS)), f"batches of {ROWS} images"):
        texts = [text for _, text in part]
        samples.append(sample(backbone, texts, [args.seed + i for i, _ in part], args))
        if args.keep:
            save_images(args.keep, samples[-1], texts, part[0][0])
    return torch.cat(samples)


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.fidelity", __doc__, _options, arguments) as report:
        args = report.args
        captions = cases(24 if report.quick else args.captions, style=args.style)
        others = cases(120 if report.quick else RENDERS, first=100_000)
        report.note(
            f"{args.images or args.backbone}: {len(captions)} captions, {args.sampler}, {args.schedule}, "
            f"{args.steps} steps, guidance {args.scale:g}"
        )
        images = images_to_evaluate(report, captions)
        renders = rendered(report, captions)
        claims = [case.claims for case in captions]
        readings = read(images)
        fits = fitted(report, images, readings)
        own, chance = score_with_chance(readings, claims, fits)
        of_renders = read(renders)
        ceiling = scores(of_renders, claims, fitted(report, renders, of_renders, "renders"))
        for key, (label, bar) in FIGURES.items():
            if key in own:
                beside = {name: by[key] for name, by in (("chance", chance), ("ceiling", ceiling)) if key in by}
                report.figure(key, own[key], label, "%", bar, **beside)
            else:
                report.skip(key, label, "nothing to evaluate it by")
        for n in range(1, 5):
            some = [i for i, c in enumerate(claims) if len(c.solids) == n]
            if some:
                part = scores(*([values[i] for i in some] for values in (readings, claims, fits)))
                label = f"attribute pairs right in scenes of {n}"
                beside = {key: part[key] for key in ("exact", "right", "well_formed") if key in part}
                report.figure(f"binding_{n}", part["binding"], label, "%", **beside)
        far = features(rendered(report, others))
        report.figure(
            "kid",
            evaluator_kid(features(images), far),
            "KID to other renders (evaluator features)",
            floor=evaluator_kid(features(renders), far),
        )


def sampling_options(parser: argparse.ArgumentParser, sampler: str, schedule: str, steps: int, scale: float) -> None:
    """How images are made, or where they lie: options that the benches of fidelity share, each with its defaults."""
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="evaluate these instead")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="save the images and captions.txt there")
    parser.add_argument("--sampler", choices=SAMPLERS, default=sampler)
    parser.add_argument("--schedule", choices=SCHEDULES, default=schedule)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--scale", type=float, default=scale, help=f"of the guidance (default: {scale:g})")
    parser.add_argument("--seed", type=int, default=0, help="of the first image; the next ones count on")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--captions", type=int, default=300, help="how many test captions (default: 300)")
    parser.add_argument("--style", choices=("plain", "any", *STYLES), default="plain", help="of the captions")
    parser.add_argument("--backbone", default="still-life", help='a name, a folder, a Hub id; or "renderer"')
    sampling_options(parser, "euler", "native", STEPS, SCALE)


if __name__ == "__main__":
    main()
