"""How fast the solvers converge: error against network evaluations on the oracle, of which the trajectories are known.

The deterministic solvers of samplers/ go from sigma 20 down to 0.1 on Karras's schedule, in float64, on the Gaussian
mixture of backbones/exact.py. The error is the root mean square over all numbers of the state, against 3000 steps of
LMS. Digits are -log10 of it. The order is its slope over the last part; multistep solvers begin with lower ones.
"""

from __future__ import annotations

import argparse
import io
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import backbones
from backbones.exact import Mixture
from bench.table import Report
from common.colours import light
from samplers import SAMPLERS
from samplers.dpmpp_3m import dpmpp_3m
from samplers.flow import Noise, Sampler, ask, run
from samplers.lms import lms
from samplers.schedules import karras

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "convergence.webp"
NFE = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
TOP, BOTTOM = 20.0, 0.1
SEEDS = range(16)

PAPER, LINE, QUIET, INK = light("paper", "line", "quiet", "ink")
PUBLISHED = "DPM++ 3M as published"
TWO_EVALUATIONS = {one.label for one in SAMPLERS.values() if one.nfe == 2}
COLORS = {
    "Euler": "#6c615c", "Heun": "#be6a6a", "DPM2": "#6d2c00", "DPM++ 2M": "#c07a10", "iPNDM": "#848b00",
    "DEIS": "#3f9397", "DPM++ 3M": "#1f55c6", "LMS": "#742469", "UniPC": "#286b0c",
}  # fmt: skip

Curves = dict[str, list[tuple[int, float]]]  # label -> (network evaluations, error)


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.convergence", __doc__, _options, arguments) as report:
        torch.set_num_threads(1)
        oracle = backbones.load("exact")
        reference = end(oracle, lms, 600 if report.quick else 3000)
        nfe = NFE[:-2] if report.quick else NFE
        solvers: dict[str, tuple[str, Sampler, int]] = {
            key: (one.label, one, one.nfe) for key, one in SAMPLERS.items() if not one.stochastic
        }
        solvers["dpmpp_3m_published"] = PUBLISHED, partial(dpmpp_3m, published=True), 1
        curves: Curves = {}
        for key, (label, solver, each) in report.steps(solvers.items(), "solvers"):
            steps = [n // each for n in nfe]
            errors = [float((end(oracle, solver, n) - reference).square().mean().sqrt()) for n in steps]
            curves[label] = [(n * each, error) for n, error in zip(steps, errors)]
            late = slice(-4, None)
            order = -np.polyfit(np.log(nfe[late]), np.log(errors[late]), 1)[0]
            digits = {f"digits_{n}": -np.log10(errors[nfe.index(n)]) for n in (16, 64)}
            report.figure(f"{key}_order", float(order), f"{label}: order", **digits)
        if report.args.image is not None and not report.quick:
            draw(curves, report.args.image)
            report.note(f"image: {report.args.image}")


def end(oracle: Mixture, solver: Sampler, steps: int) -> Tensor:
    """The states (B, C, H, W) at BOTTOM."""
    sigmas = karras(steps + 1, BOTTOM, TOP)[:-1]
    noise = Noise(SEEDS)
    x = TOP * noise(torch.empty(len(SEEDS), *oracle.latent_shape(64, 64), dtype=torch.float64))
    cond = oracle.encode_prompt([""] * len(SEEDS))
    return run(solver(ask, x, sigmas, cond, noise), oracle.denoise)


def draw(curves: Curves, path: Path) -> None:
    """The curves in one image, each with its name at its end; lines of whole slopes behind them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure, axis = plt.subplots(figsize=(8.4, 5.6), layout="constrained", facecolor=PAPER)
    axis.set_facecolor(PAPER)
    axis.set(xscale="log", yscale="log", xlim=(NFE[0] * 0.9, NFE[-1] * 1.9))
    lowest = min(error for curve in curves.values() for _, error in curve)
    axis.set_ylim(lowest / 2.5, max(error for curve in curves.values() for _, error in curve) * 1.6)
    ends = {}
    for label, curve in curves.items():
        nfe, errors = zip(*curve)
        color, width = (QUIET, 1.2) if label == PUBLISHED else (COLORS.get(label, INK), 1.8)
        style = (0, (4, 2)) if label in TWO_EVALUATIONS else "-"
        axis.plot(nfe, errors, color=color, lw=width, ls=style, marker="o", ms=3.2, mec=PAPER, mew=0.5)
        ends[label] = (nfe[-1], errors[-1], color)
    for label, height in spread({label: float(np.log10(y)) for label, (_, y, _) in ends.items()}, apart=0.26).items():
        x, y, color = ends[label]
        axis.annotate(
            label, (x, y), (NFE[-1] * 1.12, 10**height), color=color, fontsize=9, va="center",
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.5, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip
    for order in (1, 2, 3, 4):
        x = np.array([NFE[0], NFE[0] * 2.2])
        y = 2e-4 * (x / x[0]) ** -float(order)
        axis.plot(x, y, color=QUIET, lw=0.8)
        axis.annotate(
            f"{order}", (x[1], y[1]), xytext=(3, 0), textcoords="offset points", fontsize=8, color=QUIET, va="center"
        )
    axis.annotate("slope", (NFE[0], 2e-4), xytext=(0, 4), textcoords="offset points", fontsize=8, color=QUIET)
    axis.set_xticks([8, 16, 32, 64, 128, 256])
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(color=LINE, lw=0.6)
    axis.tick_params(colors=QUIET, labelsize=8, length=0, which="both")
    axis.spines[:].set_visible(False)
    axis.set_xlabel("network evaluations (dashed: two a step)", color=QUIET, fontsize=9)
    axis.set_title("Error of the state, root mean square", loc="left", color=INK, fontsize=10)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150)
    plt.close(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").save(path, quality=90, method=6)


def spread(heights: dict[str, float], apart: float) -> dict[str, float]:
    """The same heights, moved as little as it takes for neighbours to be so far apart."""
    order = sorted(heights, key=lambda label: heights[label])
    moved = np.array([heights[label] for label in order])
    for _ in range(200):
        gaps = apart - np.diff(moved)
        push = np.clip(gaps, 0, None) / 2
        moved[:-1] -= push
        moved[1:] += push
    return dict(zip(order, moved.tolist()))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, metavar="FILE", default=IMAGE, help="where the curves are drawn")


if __name__ == "__main__":
    main()
