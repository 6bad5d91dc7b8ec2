"""What a backbone's autoencoder keeps of held-out renders: how near, how sharp, whether solids stay well formed, and
which part of a run decoding takes.

    python -m bench.autoencoder --backbone still-life --json autoencoder.json
    python -m bench.autoencoder --backbone backbones/still_life_next --side-by-side side.png
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from backbones import load
from backbones.base import Backbone
from bench.fidelity import batches
from bench.table import Report
from common.image_bytes import to_pixels
from fidelity.distances import edge_error, psnr
from samplers.flow import ask, run
from world.render import quantized, render
from world.scene import draw

SIZE, ROWS = 128, 32
FIRST = 200_000  # test scenes that nothing was trained or tried on
SHOWN = 6


def renders(first: int, count: int) -> Tensor:
    """Test scenes first, first + 1, ... as 8-bit images have them, (count, 3, 128, 128) in [0, 1]."""
    scenes = [draw("test", n) for n in range(first, first + count)]
    return torch.cat([quantized(render(part, SIZE).rgb) / 255 for part in batches(scenes, ROWS)])


def reconstructed(backbone: Backbone, images: Tensor) -> Tensor:
    """The images through the autoencoder, as 8-bit images have them."""
    with torch.no_grad():
        parts = [backbone.decode(backbone.encode_image(part)).float().cpu() for part in images.split(ROWS)]
    return quantized(torch.cat(parts)) / 255


def side_by_side(images: Tensor, decoded: Tensor, path: Path) -> None:
    """Originals above, reconstructions below, three times as large."""
    rows = torch.cat([torch.cat(list(images), 2), torch.cat(list(decoded), 2)], 1)
    large = F.interpolate(rows[None], scale_factor=3.0, mode="nearest")[0]
    Image.fromarray(to_pixels(large)).save(path)


def decoding_share(backbone: Backbone, steps: int = 10) -> tuple[float, float]:
    """Seconds of one decoding, and its part of a default run: `steps` evaluations of the network with guidance."""
    size = backbone.default_size
    x = torch.randn(1, *backbone.latent_shape(size, size), generator=torch.Generator().manual_seed(0))
    cond = backbone.encode_prompt(["a red cube on grass by day", ""])

    def evaluate() -> None:
        run(ask(x.expand(2, -1, -1, -1), 1.0, cond), backbone.denoise)

    decode_s, evaluate_s = _fastest(lambda: backbone.decode(x)), _fastest(evaluate)
    return decode_s, decode_s / (decode_s + steps * evaluate_s)


def _fastest(work, repeats: int = 7) -> float:
    seconds = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        with torch.no_grad():
            work()
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:])


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.autoencoder", __doc__, _options, arguments) as report:
        backbone = load(report.args.backbone)
        images = renders(FIRST, 16 if report.quick else report.args.images)
        decoded = reconstructed(backbone, images)
        each = psnr(decoded, images)
        report.figure("psnr", float(each.mean()), "PSNR", "dB", "at least 42", worst=float(each.min()))
        report.figure("edge_error", edge_error(decoded, images), "RMS error at edges", "", "at most 0.02")
        latents = torch.cat([backbone.encode_image(part) for part in images[:32].split(ROWS)])
        spread = latents.std((0, 2, 3))
        report.figure("latent_std", float(latents.std()), "deviation of the latents", "",
                      least=float(spread.min()), most=float(spread.max()))  # fmt: skip
        seconds, share = decoding_share(backbone)
        report.figure("decode_s", seconds, "decoding one image", "s")
        report.figure("decode_share", 100 * share, "of a run of ten steps with guidance", "%", "at most 10")
        if report.args.side_by_side:
            side_by_side(images[:SHOWN], decoded[:SHOWN], report.args.side_by_side)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="still-life", help="a name, a folder or a Hub id")
    parser.add_argument("--images", type=int, default=64, help="test renders (default: 64)")
    parser.add_argument("--side-by-side", type=Path, metavar="FILE", help="originals over reconstructions, at 3 x")


if __name__ == "__main__":
    main()
