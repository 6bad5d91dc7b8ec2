"""How well every method does its task on Still Life, against rendered ground truth.

Held-out scenes, one image of each by every method of the registry for the task, beside doing nothing, chance and the
ceiling. A line: mean and spread of every figure, network evaluations an image, how many of them under a tape
(a backward pass each), and seconds an image in a batch.

    python -m bench.methods --task edit --json edit.json
    python -m bench.methods --task deblur --only ddrm,pigdm --images FOLDER     a grid of images a line
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import conditioning  # noqa: F401  fills the registry
from backbones import load
from backbones.base import Backbone
from bench.table import Report
from bench.tasks import TASKS, Case, Output, Row, Task, method_inputs, rows
from common.image_bytes import to_pixels
from conditioning.clashes import solver_clash
from conditioning.compose import compose, refusals
from conditioning.inputs import prepare_input
from conditioning.registry import find
from fidelity.distances import mean_and_spread
from samplers import SAMPLERS, SCHEDULES
from samplers.flow import Done, Flow, FlowFailed, Noise, drive, tap

BATCH = 10  # images made at once
LABEL_WIDTH = 38  # characters of a label


@dataclass(frozen=True)
class Setting:
    """How a method is run where the task's steps, Euler and the native schedule are not what its paper has."""

    steps: int = 0  # 0: the task's
    sampler: str = "euler"
    schedule: str = "native"
    scale: float | None = None
    knobs: tuple[tuple[str, Any], ...] = ()


SETTINGS = {
    "composable": Setting(scale=2.0),  # two prompts, each with the whole weight
    "ddrm": Setting(20),
    "ddnm": Setting(100),
    "edict": Setting(scale=1.0),  # the paper has 3, with which this network keeps 19 dB of the background and not 35
    "dps": Setting(200, "ancestral"),
    "repaint": Setting(50, "ancestral", knobs=(("jump", 5), ("times", 5))),
    "replacement": Setting(100, "ancestral"),
    "ilvr": Setting(100, "ancestral"),
    "edit_friendly_ddpm": Setting(50, "ancestral"),
}


@dataclass
class NetworkCost:
    evaluations: int = 0
    with_gradient: int = 0


def count_evaluations(flow: Flow, cost: NetworkCost) -> Flow:
    """The same flow, the network evaluations that it would make alone counted, and those of them under a tape."""

    def count(message: Any, reply: Any) -> None:
        if isinstance(message, list):
            cost.evaluations += 1
            cost.with_gradient += any(request.tape is not None for request in message)

    return tap(flow, count)


def setting_of(row: Row, task: Task, args: argparse.Namespace) -> Setting:
    """That of the first method of the row that has one; --steps is the steps of all."""
    own = next((SETTINGS[name] for name, _ in row.stack if name in SETTINGS), Setting())
    steps = args.steps or own.steps or task.steps
    return replace(own, steps=max(2, steps // args.hurry), scale=task.scale if own.scale is None else own.scale)


def start_run(row: Row, case: Case, task: Task, backbone: Backbone, setting: Setting, seed: int) -> Flow:
    """The flow of one image. Raises KeyError for an input that the case lacks, ValueError as `compose` does."""
    for name, _ in row.stack:
        if name in task.case_adapters:
            case = task.case_adapters[name](case)
    width, height = case.size or (backbone.default_size,) * 2
    latent = backbone.latent_shape(width, height)
    stack: list[tuple[str, dict[str, Any]]] = []
    for name, knobs in row.stack:
        method = find(name)
        values = {
            key: prepare_input(method.inputs[key].kind, value, backbone, 1, latent)
            for key, value in method_inputs(method, case).items()
        }
        own = {key: value for key, value in setting.knobs if key in method.knobs}
        stack.append((name, {**own, **knobs, **values}))
    cond, null = backbone.encode_prompt([case.prompt]), dict(backbone.encode_prompt([""]))
    if cond and setting.scale != 1:
        stack.append(("cfg", {"scale": setting.scale}))
    sigmas = SCHEDULES[setting.schedule](setting.steps, backbone.sigmas)
    D, sampler, _ = compose(stack, SAMPLERS[setting.sampler], sigmas=sigmas, null=null, backbone=backbone)
    noise = Noise([seed])
    x = noise(torch.empty(1, *latent)) * math.sqrt(1 + sigmas[0] ** 2)
    return sampler(D, x, sigmas, cond, noise)


def generate(
    report: Report, row: Row, cases: Sequence[Case], task: Task, backbone: Backbone, setting: Setting
) -> tuple[list[Output], list[NetworkCost], float]:
    """An image for every case, what each of them cost, and seconds an image. Raises what a run fails with."""
    if row.generate is not None:
        with torch.no_grad():
            return [Output(row.generate(case).cpu()) for case in cases], [], 0.0
    outputs: list[Output] = []
    costs = [NetworkCost() for _ in cases]
    seconds = 0.0
    for first in report.steps(range(0, len(cases), BATCH), f"{row.label}: tens of images"):
        indices = range(first, min(first + BATCH, len(cases)))
        began = time.perf_counter()
        flows: dict[int, Flow] = {}
        for i in indices:
            flow = start_run(row, cases[i], task, backbone, setting, report.args.seed + cases[i].number)
            flows[i] = count_evaluations(flow, costs[i])
        ends: dict[Any, Tensor] = {}
        for key, event in drive(flows, backbone.denoise, max_rows=2 * BATCH):
            if isinstance(event, FlowFailed):
                raise event.error
            if isinstance(event, Done):
                ends[key] = event.result
        with torch.no_grad():
            outputs += [Output(backbone.decode(ends[i]).float().cpu(), ends[i].float().cpu()) for i in indices]
        seconds += time.perf_counter() - began
    return outputs, costs, seconds / len(cases)


def write_line(report: Report, key: str, label: str, figures: dict[str, list[float]], cost: dict[str, float]) -> str:
    """A line of the table, and its figures in the JSON: key_figure and key_figure_spread, key_nfe, ... Returns the
    line in Markdown."""
    cells = []
    for name, values in figures.items():
        mean, spread = mean_and_spread(values)
        known = not math.isnan(mean)
        report.figures[f"{key}_{name}"] = round(mean, 5) if known else None
        report.figures[f"{key}_{name}_spread"] = round(spread, 5) if known else None
        cells.append(f"{mean:9.3f} ±{spread:7.3f}" if known else f"{'-':>18}")
    report.figures.update({f"{key}_{name}": round(value, 4) for name, value in cost.items()})
    costs = "".join(f"{value:>8.{1 if name == 'seconds' else 0}f}" for name, value in cost.items())
    report.note(f"{label:<{LABEL_WIDTH}}" + "".join(cells) + costs)
    own = [f"{value:.{1 if name == 'seconds' else 0}f}" for name, value in cost.items()]
    return " | ".join(["", label, *(" ".join(cell.replace("±", "± ").split()) for cell in cells), *own, ""]).strip()


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.methods", __doc__, _options, arguments) as report:
        args = report.args
        task = TASKS[args.task]
        lines: list[str] = []  # in Markdown
        args.hurry = 5 if report.quick else 1
        count = args.count or (3 if report.quick else 50)
        for id in [args.backbone] if args.backbone else task.backbones:
            backbone = load(id)
            noise = task.noise if args.noise is None else args.noise
            cases = task.cases(backbone, count, noise)
            steps = f"{args.steps or task.steps} steps{'' if args.steps else ' unless a method has its own'}"
            report.note(
                f"{task.label} on {id} {backbone.revision}: {count} scenes, {steps}, guidance {task.scale:g}"
                + (f", noise {noise:g}" if noise else "")
                + (f", steps divided by {args.hurry}" if args.hurry > 1 else "")
            )
            heads = [*task.columns.values(), "NFE", "gradients", "s"]
            shown = "".join(f"{label:>18}" for label in task.columns.values())
            report.note(f"{'':<{LABEL_WIDTH}}{shown}{'NFE':>8}{'gradients':>10}{'s':>8}")
            lines += [f"### {task.label} on {id}", "", f"| | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
            for row in rows(task, backbone):
                if args.only and row.stack and not {name for name, _ in row.stack} & set(args.only.split(",")):
                    continue
                lines += _line(report, row, cases, task, backbone, f"{args.task}_{id}_{_key(row.label)}")
            lines.append("")
        if args.markdown:
            args.markdown.write_text("\n".join(lines))


def _line(report: Report, row: Row, cases: list[Case], task: Task, backbone: Backbone, key: str) -> list[str]:
    """Runs a row and writes its line; [] where it cannot be run, which is said."""
    problems = refusals(row.stack, backbone)
    setting = setting_of(row, task, report.args)
    clash = solver_clash(find(row.stack[-1][0]), setting.sampler, row.stack[-1][1]) if row.stack else None
    if clash:
        setting = replace(setting, sampler="euler")
    try:
        if problems:
            raise ValueError("; ".join(problems))
        own = list(row.change_cases(cases))
        outputs, costs, seconds = generate(report, row, own, task, backbone, setting)
    except (ValueError, KeyError, TypeError) as error:
        report.skip(key, row.label, str(error.args[0] if error.args else error))
        return []
    measured = task.measure(cases, outputs, backbone)
    figures = {name: [one[name] for one in measured] for name in task.columns}
    cost = {
        "nfe": sum(one.evaluations for one in costs) / max(len(costs), 1),
        "gradients": sum(one.with_gradient for one in costs) / max(len(costs), 1),
        "seconds": seconds,
    }
    line = write_line(report, key, row.label, figures, cost)
    if report.args.images:
        save_grid(report.args.images / f"{key}.png", [one.image for one in outputs])
    return [line]


def save_grid(path: Path, images: Sequence[Tensor], columns: int = 10) -> None:
    """A grid of images (1, 3, H, W), row by row."""
    grid = torch.cat(list(images[: 3 * columns]))
    grid = torch.cat([grid, grid.new_zeros((-len(grid)) % min(columns, len(grid)), *grid.shape[1:])])
    lines = [torch.cat(list(line), -1) for line in grid.split(min(columns, len(images)))]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_pixels(torch.cat(lines, -2))).save(path)


def _key(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--count", type=int, default=0, help="scenes (default: 50)")
    parser.add_argument("--only", default="", metavar="NAMES", help="of these methods, with commas between")
    parser.add_argument("--backbone", default="", help="a name, a folder or a Hub id, in place of the task's own")
    parser.add_argument("--steps", type=int, default=0, help="of every method, in place of its own")
    parser.add_argument("--noise", type=float, default=None, help="of the observation, for images in [-1, 1]")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="save a grid of images of every line there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--seed", type=int, default=0, help="added to the number of a scene")


if __name__ == "__main__":
    main()
