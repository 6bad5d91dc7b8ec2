"""python -m training NETWORK: train one network of Still Life, or go on with it.

    python -m training autoencoder --minutes 120
    python -m training denoiser --minutes 100                     text encoder and UNet
    python -m training denoiser-pixels --images 150000          the pixel-space network, 64 x 64
    python -m training evaluator --images 600000
    python -m training surfaces --images 60000                  depth, normals, classes of an image: to measure
    python -m training perception_model --images 60000                    depth and classes of an image, to guide by
    python -m training classifier --images 150000               what noisy latents will show, to guide by
    python -m training contrastive --images 30000               whether a text goes with an image, to guide by
    python -m training controlnet --images 60000                depth and edges, beside the UNet that is shipped

Each command trains at most --minutes, then stops; the same command goes on. See training/README.md for the commands
that made the shipped weights, and what they cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from training.loop import Plan, Spec, train


def _autoencoder() -> Spec:
    from training.autoencoder import Autoencoder

    return Autoencoder()


def _denoiser() -> Spec:
    from training.denoiser import Denoiser

    return Denoiser()


def _pixels() -> Spec:
    from training.pixels import PixelDenoiser

    return PixelDenoiser()


def _evaluator() -> Spec:
    from training.evaluator import Evaluator

    return Evaluator()


def _controlnet() -> Spec:
    from training.controlnet import ControlNet

    return ControlNet()


def _perception_model() -> Spec:
    from training.perception_model import PerceptionModelSpec

    return PerceptionModelSpec()


def _classifier() -> Spec:
    from training.classifier import ClassifierSpec

    return ClassifierSpec()


def _contrastive() -> Spec:
    from training.contrastive import ContrastiveSpec

    return ContrastiveSpec()


def _surfaces() -> Spec:
    from training.surfaces import SurfacesSpec

    return SurfacesSpec()


NETWORKS: dict[str, Callable[[], Spec]] = {
    "autoencoder": _autoencoder,
    "denoiser": _denoiser,
    "denoiser-pixels": _pixels,
    "evaluator": _evaluator,
    "surfaces": _surfaces,
    "perception_model": _perception_model,
    "classifier": _classifier,
    "contrastive": _contrastive,
    "controlnet": _controlnet,
}


def main() -> None:
    doc = __doc__ or ""
    parser = argparse.ArgumentParser(
        prog="python -m training", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument(
        "--images", type=int, default=0, help="how many to see in all, over all pieces; 0: what the minutes allow"
    )
    parser.add_argument("--minutes", type=float, default=9.5, help="length of this piece")
    parser.add_argument("--decay", type=float, default=0.25, help="last fraction over which the learning rate falls")
    parser.add_argument("--warmup", type=int, default=8_000, help="images over which the learning rate rises")
    parser.add_argument("--check-every", type=float, default=5.0, help="minutes between held-out figures")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all cores")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    plan = Plan(args.images, args.minutes, args.warmup, decay=args.decay, check_every=args.check_every)
    train(NETWORKS[args.network](), plan)


if __name__ == "__main__":
    main()
