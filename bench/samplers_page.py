"""What bench.samplers writes: the tables of docs/samplers.md, and its plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from bench.geometry_page import STYLE, filled
from common.colours import light
from samplers import SAMPLERS, SCHEDULES

PAGE = Path(__file__).parents[1] / "docs" / "samplers.md"
PLOT = PAGE.parent / "images" / "samplers.webp"
QUIET, INK = light("quiet", "ink")
HUES = ("#6c615c", "#c07a10", "#3f9397", "#1f55c6", "#742469")


@dataclass(frozen=True)
class Figures:
    """Of one pair at one NFE: root mean square from the true end, mean of the images (None of a
    stochastic solver), per cent of captions and of pairs of colour and shape right, KID, and the median in
    place of the mean."""

    nfe: int
    rms: float | None
    exact: float
    binding: float
    kid: float
    median: float | None = None


@dataclass(frozen=True)
class LearnedScheduleRow:
    """A solver on GITS' levels and on those that were learned for it, with the noise labels that the network gets
    there; at which NFE Euler ends as near as that."""

    solver: str
    gits: Figures
    ld3: Figures
    like: float
    levels: Sequence[float]
    labels: Sequence[float]


Key = tuple[str, str]
Pairs = Mapping[Key, Figures]
Curves = Mapping[Key, Sequence[Figures]]


def named(schedule: str) -> str:
    return {"gits": "GITS", "ld3": "LD3"}.get(schedule) or SCHEDULES[schedule].label


def write(pairs: Mapping[float, Pairs], curves: Mapping[float, Curves]) -> None:
    """The tables between their marks, and the plot."""
    text = PAGE.read_text("utf-8")
    for scale, scale_pairs in pairs.items():
        name = "guided" if scale != 1 else "plain"
        text = filled(text, f"{name}-distance", table(scale_pairs, "rms"))
        text = filled(text, f"{name}-exact", table(scale_pairs, "exact"))
        text = filled(text, f"{name}-curves", curve_table(curves[scale]))
    PAGE.write_text(text, "utf-8")
    with plt.rc_context(STYLE):
        draw(pairs, curves)


def write_learned(learned: Mapping[float, Sequence[LearnedScheduleRow]]) -> None:
    """The table of the levels that were learned, between its marks."""
    PAGE.write_text(filled(PAGE.read_text("utf-8"), "learned", learned_table(learned)), "utf-8")


def learned_table(learned: Mapping[float, Sequence[LearnedScheduleRow]]) -> str:
    heads = ("guidance", "solver", "GITS", "LD3", "as Euler with", "levels of LD3, and what is passed to the network")
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- | --- | ---: | --- |"]
    for scale, rows in learned.items():
        for one in rows:
            sides = " | ".join(
                f"{of.rms or 0:.3f}, median {of.median or 0:.3f} ({of.exact:.0f} %)" for of in (one.gits, one.ld3)
            )
            levels_and_labels = "; ".join(
                " ".join(f"{level:.3g}" for level in levels) for levels in (one.levels, one.labels)
            )
            guidance = "none" if scale == 1 else f"{scale:g}"
            lines.append(
                f"| {guidance} | {SAMPLERS[one.solver].label} | {sides} | {one.like:.0f} NFE | {levels_and_labels} |"
            )
    return "\n".join(lines)


def table(pairs: Pairs, figure: str) -> str:
    """Solvers down, the best first, schedules across; the best of all in bold."""
    schedules = [key for key in (*SCHEDULES, "gits") if any(pair[1] == key for pair in pairs)]
    values = {key: getattr(one, figure) for key, one in pairs.items() if getattr(one, figure) is not None}
    sign = 1 if figure == "rms" else -1
    solvers = {solver for solver, _ in values}
    order = sorted(solvers, key=lambda solver: min(sign * v for (name, _), v in values.items() if name == solver))
    first = min(sign * value for value in values.values())

    def cell(key: Key) -> str:
        if key not in values:
            return "-"
        text = f"{values[key]:.3f}" if figure == "rms" else f"{values[key]:.0f}"
        return f"**{text}**" if sign * values[key] == first else text

    lines = [f"| | {' | '.join(map(named, schedules))} |", "| --- |" + " ---: |" * len(schedules)]
    for solver in order:
        lines.append(f"| {SAMPLERS[solver].label} | {' | '.join(cell((solver, one)) for one in schedules)} |")
    return "\n".join(lines)


def curve_table(curves: Curves) -> str:
    """Pairs across, NFE down: distance, and caption accuracy."""
    numbers = sorted({one.nfe for curve in curves.values() for one in curve})
    heads = [f"{SAMPLERS[solver].label}, {named(schedule)}" for solver, schedule in curves]
    lines = [f"| NFE | {' | '.join(heads)} |", "| ---: |" + " ---: |" * len(heads)]
    for nfe in numbers:
        cells = []
        for curve in curves.values():
            one = next((one for one in curve if one.nfe == nfe), None)
            rms = "" if one is None or one.rms is None else f"{one.rms:.3f}"
            cells.append("-" if one is None else f"{rms} ({one.exact:.0f} %)")
        lines.append(f"| {nfe} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(pairs: Mapping[float, Pairs], curves: Mapping[float, Curves]) -> None:
    """Above the curves, below every pair at the same NFE; guided on the left, and not."""
    figure, axes = plt.subplots(2, len(pairs), figsize=(10.4, 9.2), layout="constrained", height_ratios=(1, 1.15))
    for column, (scale, scale_pairs) in enumerate(pairs.items()):
        words = "with guidance 4" if scale != 1 else "without guidance"
        _curves(axes[0, column], curves[scale], words)
        _pairs(axes[1, column], scale_pairs, words)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, pil_kwargs={"quality": 92})
    plt.close(figure)


def _curves(axis: Axes, curves: Curves, words: str) -> None:
    axis.set(xscale="log", yscale="log")
    for hue, ((solver, schedule), curve) in zip(HUES, curves.items()):
        at = [(one.nfe, one.rms) for one in curve if one.rms is not None]
        nfe, errors = zip(*at)
        label = f"{SAMPLERS[solver].label}, {named(schedule)}"
        axis.plot(nfe, errors, color=hue, lw=1.8, marker="o", ms=3.4, mew=0, label=label)
    axis.set_xticks([4, 6, 8, 12, 20, 40])
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("network evaluations", color=QUIET)
    axis.set_title(f"Distance from the 200-step solution, {words}", color=INK)
    axis.legend(fontsize=8, loc="lower left")


def _pairs(axis: Axes, pairs: Pairs, words: str) -> None:
    near = {key: one.rms for key, one in pairs.items() if one.rms is not None}
    solvers = sorted({key[0] for key in near}, key=lambda s: min(v for key, v in near.items() if key[0] == s))
    schedules = sorted({key[1] for key in near}, key=lambda s: min(v for key, v in near.items() if key[1] == s))
    grid = np.array([[near.get((solver, schedule), np.nan) for schedule in schedules] for solver in solvers])
    axis.imshow(np.log(grid), cmap="YlGnBu_r", aspect="auto")
    low, high = np.log(np.nanmin(grid)), np.log(np.nanmax(grid))
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            color = INK if np.log(value) > low + 0.55 * (high - low) else "white"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=color)
    axis.set_xticks(range(len(schedules)), [named(key) for key in schedules], rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(len(solvers)), [SAMPLERS[key].label for key in solvers], fontsize=7)
    axis.grid(False)
    axis.set_title(f"Every pair at 8 NFE, {words}", color=INK)
