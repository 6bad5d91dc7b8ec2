"""How many of the solids in Still Life's images are well formed: what they are said to be, not lumps of that colour.

Captions of test scenes, sampled with the page's defaults; each solid that the evaluator reads in an image is fitted by
the renderer's own (world.well_formed). `claims`: of the solids that a caption names, how many are there and well
formed.

    python -m bench.well_formed --captions 300 --json well_formed.json
    python -m bench.well_formed --backbone renderer      the measure's ceiling
    python -m bench.well_formed --autoencoder            renders sent through the backbone's autoencoder
    python -m bench.well_formed --images FOLDER        images made elsewhere: 0000.png, ... as bench.fidelity keeps
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from backbones import load
from bench.fidelity import SIZE, Case, batches, cases, fitted, images_to_evaluate, rendered, sampling_options
from bench.table import Report
from world.evaluator import check, read
from world.scene import SHAPES
from world.well_formed import Fit, well_formed

STEPS, SCALE = 10, 4.0  # the page's defaults, as are the sampler and the schedule below
ROWS = 16
SMALL = 600  # pixels of a solid's outline: below, it counts as small


def autoencoded(report: Report, images: Tensor) -> Tensor:
    """The images (B, 3, 128, 128) in [0, 1], into the backbone's latents and back."""
    backbone, made = load(report.args.backbone), []
    for part in report.steps(list(batches(images, ROWS)), f"batches of {ROWS} images"):
        with torch.no_grad():
            made.append(backbone.decode(backbone.encode_image(part)).float().cpu())
    return torch.cat(made).clamp(0, 1)


def made(report: Report, asked: Sequence[Case]) -> Tensor:
    """The images to evaluate, (B, 3, 128, 128) in [0, 1]."""
    if report.args.autoencoder:
        return autoencoded(report, rendered(report, asked))
    return images_to_evaluate(report, asked)


def groups(fits: Sequence[Sequence[Fit]]) -> dict[str, list[bool]]:
    """Whether well formed, for each solid of a kind: all, by shape, by area, by how many solids the image shows."""
    asked: dict[str, list[bool]] = defaultdict(list)
    for image in fits:
        for fit in image:
            size = "small" if fit.area < SMALL else "large"
            for key in ("solids", fit.shape, size, f"of_{len(image)}"):
                asked[key].append(fit.well_formed)
    return asked


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.well_formed", __doc__, _options, arguments) as report:
        args = report.args
        asked = cases(8 if report.quick else args.captions)
        what = "renders through the autoencoder of " if args.autoencoder else ""
        report.note(
            f"{what}{args.images or args.backbone}: {len(asked)} captions, {args.sampler}, {args.schedule}, "
            f"{args.steps} steps, guidance {args.scale:g}"
        )
        images = made(report, asked)
        if images.shape[2:] != (SIZE, SIZE):
            images = torch.nn.functional.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        readings = read(images)
        fits = fitted(report, images, readings)

        share = groups(fits)
        order = ("solids", *SHAPES, "small", "large", *(key for key in sorted(share) if key.startswith("of_")))
        names = {"solids": "solids well formed", "small": f"below {SMALL} pixels", "large": f"from {SMALL} pixels on"}
        for key in order:
            if share.get(key):
                name = names.get(key, f"in images of {key[3:]}" if key.startswith("of_") else key)
                report.figure(key, 100 * float(np.mean(share[key])), name, "%", of=len(share[key]))
            else:
                report.skip(key, names.get(key, key), "none in these images")
        report.figure(
            "images",
            100 * float(np.mean([well_formed(one) for one in fits])),
            "images, all of it",
            "%",
            of=len(fits),
        )
        claims = []
        for case, reading, image in zip(asked, readings, fits, strict=True):
            verdict = check(reading, case.claims)
            claims += [
                there and k is not None and image[k].well_formed
                for there, k in zip(verdict.present, verdict.match, strict=True)
            ]
        report.figure(
            "claims", 100 * float(np.mean(claims)), "claimed solids there and well formed", "%", of=len(claims)
        )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--captions", type=int, default=300, help="how many test captions (default: 300)")
    parser.add_argument("--backbone", default="still-life", help='a name, a folder, a Hub id; or "renderer"')
    parser.add_argument("--autoencoder", action="store_true", help="score renders sent through its autoencoder")
    sampling_options(parser, "dpmpp_2m", "flow_shift", STEPS, SCALE)


if __name__ == "__main__":
    main()
