"""docs/geometry.md: the plots of bench.geometry, and its tables between the marks that the text has for them.

A mark is a pair of comments, `<!-- table: paths -->` and `<!-- end -->`; what stands between is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone
from samplers.geometry.shape import chord, deviation, own_frames, to_end
from samplers.geometry.trajectory import Trajectory

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "geometry.md", DOCS / "images" / "geometry"
INK, FAINT, GRID = "#1f2430", "#7a8090", "#e6e8ee"
BLUE, ORANGE, GREEN, RED = "#2f6db5", "#d9822b", "#3c8d5a", "#b8405e"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "lines.linewidth": 1.8, "lines.solid_capstyle": "round", "legend.frameon": False,
    "figure.dpi": 160, "savefig.facecolor": "white",
}  # fmt: skip

Runs = Mapping[str, Trajectory]
Arrays = Mapping[str, np.ndarray]


def write(
    figures: Mapping[str, object], runs: Runs, arrays: Arrays, quality: Arrays, few: Arrays, backbone: Backbone
) -> None:
    """The plots, and the tables of the page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        save_figure(straight(runs), "straight")
        save_figure(boomerang(runs), "boomerang")
        save_figure(settling(quality), "settling")
        save_figure(scores(arrays), "score")
        save_figure(errors(few), "solvers")
        save_figure(strip(runs, backbone), "trajectories")
    text = PAGE.read_text("utf-8")
    tables = {
        "paths": path_table(figures),
        "solvers": solver_table(few),
        "schedules": schedule_table(few),
        "amed": amed_table(few),
    }
    for name, made in tables.items():
        text = filled(text, name, made)
    PAGE.write_text(text, "utf-8")


def save_figure(figure: Figure, name: str) -> None:
    figure.savefig(IMAGES / f"{name}.webp", pil_kwargs={"quality": 92})
    plt.close(figure)


def filled(text: str, name: str, table: str) -> str:
    """The text with this table between its marks. Raises ValueError where it has no such marks."""
    marks = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"the page has no place for the table {name!r}")
    return marks.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


# ---- plots ----------------------------------------------------------------------------------------------------------


def panels(count: int, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(
        1, count, figsize=(8.6 if count > 1 else 5.6, height), layout="constrained", squeeze=False
    )
    figure.get_layout_engine().set(wspace=0.06)
    return figure, list(axes[0])


def by_level(axis: Axes, sigmas: np.ndarray) -> None:
    """Levels from noise at the left to images at the right."""
    axis.set_xscale("log")
    axis.set_xlim(sigmas[0] * 1.15, sigmas[sigmas > 0].min() / 1.15)
    axis.set_xlabel("noise level σ   (the run goes to the right)")


def band(axis: Axes, sigmas: np.ndarray, values: np.ndarray, colour: str, label: str, dashes: str = "-") -> None:
    """Mean over the images and, shaded, a standard deviation."""
    n = min(len(values), int((sigmas > 0).sum()))
    s, mean, spread = sigmas[:n], values[:n].mean(1), values[:n].std(1)
    axis.plot(s, mean, dashes, color=colour, label=label)
    axis.fill_between(s, mean - spread, mean + spread, color=colour, alpha=0.13, lw=0)


def straight(runs: Runs) -> Figure:
    figure, (left, right) = panels(2)
    for name, colour, label in (("plain", BLUE, "without a prompt"), ("guided", ORANGE, "guided by captions")):
        run = runs[name]
        s = run.sigmas.numpy()
        band(left, s, (100 * deviation(run.x) / chord(run.x)).numpy(), colour, label)
        for path, dashes in ((run.x, "--"), (run.x0, "-")):
            way = to_end(path)[:-1].mean(1)  # of the last nothing is left
            right.plot(s[: len(way)], way, dashes, color=colour)
    left.set_title("Sampling paths are nearly straight")
    left.set_ylabel("distance from the chord, % of its length")
    left.set_ylim(0)
    left.legend(loc="upper right")
    right.set_title("The way that is left")
    right.set_ylabel("distance to the end of the path")
    right.set_yscale("log")
    right.plot([], [], "--", color=FAINT, label="states (sampling path)")
    right.plot([], [], "-", color=FAINT, label="denoised predictions (denoising path)")
    right.legend(loc="lower left")
    for axis in (left, right):
        by_level(axis, s)
    return figure


def boomerang(runs: Runs) -> Figure:
    figure, axes = panels(2)
    tops = []
    for axis, name, colour, title in zip(
        axes, ("plain", "guided"), (BLUE, ORANGE), ("Without a prompt", "Guided by captions"), strict=True
    ):
        coordinates, shares = own_frames(runs[name].x)
        along = coordinates[..., 0] / coordinates[0, :, 0]
        axis.plot(along, coordinates[..., 1], color=colour, lw=0.9, alpha=0.55)
        axis.plot(along.mean(1), coordinates[..., 1].mean(1), color=INK, lw=1.8)
        axis.set_title(f"{title}: {coordinates.shape[1]} images, one shape")
        axis.set_xlim(1.02, -0.02)
        axis.set_xlabel("along the chord   (1: noise, 0: image)")
        tops.append(float(coordinates[..., 1].max()))
        axis.text(0.02, 0.95, f"{100 * float(shares.sum(1).mean()):.1f} % of what is off the chord\nlies in two axes",
                  transform=axis.transAxes, va="top", color=FAINT, fontsize=8)  # fmt: skip
    axes[0].set_ylabel("off the chord, first component")
    for axis in axes:
        axis.set_ylim(-0.05 * max(tops), 1.12 * max(tops))
    return figure


def settling(quality: Arrays) -> Figure:
    figure, (left, right) = panels(2)
    nfe = quality["nfe"]
    for axis, key in ((left, "binding"), (right, "kid")):
        axis.plot(nfe, quality[f"x0_{key}"], "o-", ms=4, color=GREEN, label="denoised predictions")
        axis.plot(nfe, quality[f"x_{key}"], "o--", ms=4, color=FAINT, label="states")
        axis.set_xlabel("network evaluations")
        axis.set_xticks([1, 5, 10, 15, 20])
        axis.set_xlim(0.5, nfe[-1] + 0.5)
    ceiling = float(quality["ceiling"][0])
    left.axhline(ceiling, color=INK, lw=0.8, ls=":")
    left.text(1, ceiling + 1.5, "renders of these captions", fontsize=8, color=FAINT)
    left.set_title("What the evaluator reads")
    left.set_ylabel("shapes with their colours right, %")
    left.set_ylim(0, 108)
    right.set_title("Distance from renders")
    right.set_ylabel("KID (evaluator features)")
    right.set_yscale("log")
    right.legend(loc="center left", bbox_to_anchor=(0.0, 0.5), fontsize=8)
    return figure


def scores(arrays: Arrays) -> Figure:
    figure, (left, right) = panels(2)
    s = arrays["sigmas"]
    band(left, s, arrays["on_model"], BLUE, "along the network's path")
    band(left, s, arrays["on_optimal"], RED, "along the optimal path")
    left.set_title("The network against the optimum")
    left.set_ylabel("distance of the two denoised predictions")
    left.legend(loc="upper left")
    top = left.get_ylim()[1]
    band(right, s, arrays["apart"], INK, "")
    right.set_title("How far their paths part")
    right.set_ylabel("distance of the two states")
    for axis in (left, right):
        by_level(axis, s)
        axis.set_ylim(0)
    left.set_ylim(0, 1.2 * top)  # room for the legend
    return figure


SOLVERS = {"euler": "Euler", "dpmpp_2m": "DPM++ 2M", "ipndm": "iPNDM"}
SCHEDULES = {  # label, colour, line; without a line only in the table
    "karras": ("Karras, ρ = 7", FAINT, "--"),
    "gits": ("GITS, γ = 1.15", ORANGE, "-"),
    "mild": ("GITS, γ = 1.05", BLUE, "-"),
    "l2": ("GITS by distance, γ = 1.15", RED, ""),
}
NFE = (5, 6, 8, 10)


def errors(few: Arrays) -> Figure:
    figure, axes = panels(3, height=3.0)
    for axis, (name, title) in zip(axes, SOLVERS.items(), strict=True):
        for by, (label, colour, dashes) in SCHEDULES.items():
            if not dashes:
                continue
            values = [few[f"{name}_{by}_{nfe}"].mean() for nfe in NFE]
            axis.plot(NFE, values, dashes, marker="o", ms=4, color=colour, label=label)
        axis.set_title(title)
        axis.set_xticks(NFE)
        axis.set_xlabel("network evaluations")
    tops = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(0, tops)
    axes[0].set_ylabel("RMS distance from the true end")
    axes[-1].legend(loc="upper right", fontsize=8)
    return figure


LOOKED_AT = (0, 4, 7, 9, 11, 13, 16, 19)  # steps of the strip
SMALL: Any = {"fontsize": 8.5, "weight": "normal", "loc": "center", "pad": 4}


def strip(runs: Runs, backbone: Backbone, image: int = 0, steps: Sequence[int] = LOOKED_AT) -> Figure:
    """One start, decoded: states and predictions of the guided run, predictions without a prompt and of the optimum."""
    rows = {
        "state,\nguided": runs["guided"].x,
        "prediction,\nguided": runs["guided"].x0,
        "prediction,\nno prompt": runs["plain"].x0,
        "prediction,\noptimum": runs["optimal"].x0,
    }
    shown = torch.stack([row[list(steps), image] for row in rows.values()])  # (R, S, C, h, w)
    images = decoded(backbone, shown.flatten(0, 1)).unflatten(0, shown.shape[:2])
    figure, axes = plt.subplots(*shown.shape[:2], figsize=(8.6, 4.0), layout="constrained")
    figure.get_layout_engine().set(wspace=0.01, hspace=0.01, w_pad=0.02, h_pad=0.02)
    for words, row, tiles in zip(rows, axes, images, strict=True):
        for axis, tile in zip(row, tiles, strict=True):
            axis.imshow(tile.permute(1, 2, 0).numpy())
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(words, rotation=0, ha="right", va="center", labelpad=8)
    for axis, n in zip(axes[0], steps, strict=True):
        level = float(runs["guided"].sigmas[n])
        axis.set_title(f"σ = {level:.3g}" if level >= 0.1 else f"σ = {level:.2f}", **SMALL)
    return figure


def decoded(backbone: Backbone, latents: Tensor) -> Tensor:
    with torch.no_grad():
        return backbone.decode(latents.float()).float().clamp(0, 1).cpu()


# ---- tables ---------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def path_table(values: Mapping[str, object]) -> str:
    """Beside the authors' figures, of CIFAR-10 in pixels (d = 3,072, sigma from 80 to 0.002)."""

    def figure(key: str, digits: int, unit: str = "") -> str:
        return f"{float(values[key]):,.{digits}f}{unit}"  # type: ignore[arg-type]

    def pair(key: str, digits: int, unit: str = "") -> list[str]:
        return [figure(f"{run}_{key}", digits, unit) for run in ("plain", "guided")]

    return table(
        ["", "CIFAR-10, authors", "Still Life, no prompt", "Still Life, guided"],
        [
            ["chord", "4,430", *pair("chord", 0)],
            ["σ √d at the start", "4,434", *pair("chord_sqrt_d", 0)],
            ["sampling path off its chord, at most", "0.32 %", *pair("x_deviation", 2, " %")],
            ["the same as a distance", "14.0", *pair("x_deviation_distance", 1)],
            ["at σ", "12.4", *pair("x_deviation_sigma", 1)],
            ["denoising path off its chord, at most", "5.5", *pair("x0_deviation_distance", 1)],
            ["at σ", "5.8", *pair("x0_deviation_sigma", 1)],
            ["sampling path longer than denoising path", "≈ 200 ×", *pair("shorter", 0, " ×")],
            ["least cos(ε, way left)", "0.996", *pair("cosine", 3)],
            ["off the chord, in two axes", "", *pair("plane", 1, " %")],
            ["network from optimum at the path's end", "16.7", figure("score_model_end", 1), ""],
            ["the same, per √d", "0.30", figure("score_model_end_per_sqrt_d", 2), ""],
            ["most along the optimal path", "13.7", figure("score_optimal_peak", 1), ""],
            ["at σ", "2.5", figure("score_optimal_peak_sigma", 1), ""],
            ["at its end", "0.3", figure("score_optimal_peak_end", 1), ""],
        ],
    )


def solver_table(few: Arrays) -> str:
    """Errors, and the ratio that the schedule makes."""
    rows = []
    for name, title in SOLVERS.items():
        for by, (label, *_) in SCHEDULES.items():
            values = [f"{few[f'{name}_{by}_{nfe}'].mean():.3f}" for nfe in NFE]
            rows.append([f"{title}, {label}", *values])
    return table(["RMS distance from the true end", *(f"{nfe} NFE" for nfe in NFE)], rows)


def schedule_table(few: Arrays) -> str:
    rows = []
    for by in ("gits", "mild"):
        for nfe in NFE:
            rows.append([f"{SCHEDULES[by][0]}, {nfe} NFE", " ".join(f"{s:.3g}" for s in few[f"{by}_{nfe}"])])
    return table(["", "levels σ"], rows).replace("---:", "---")


def amed_table(few: Arrays) -> str:
    named = {"heun": "Heun", "dpm_solver_2": "DPM-Solver-2", "amed": "AMED-Solver"}
    rows = [[label, f"{few[name].mean():.3f}"] for name, label in named.items()]
    return table(["RMS distance from the true end", "7 NFE"], rows)
