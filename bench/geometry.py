"""The geometry of Still Life's sampling, beside what the authors of the geometric perspective found on CIFAR-10.

Near-straight paths, denoised predictions that settle before the states do, the departure from the optimal denoiser,
schedules made from the shape of the path, and a solver whose intermediate point is learned. It writes
docs/geometry.md's tables and its plots.

    python -m bench.geometry --keep outputs/geometry --json geometry.json
    python -m bench.geometry --keep outputs/geometry        again: stored parts are not measured again, only plotted

About half an hour on one core in full, some minutes with --quick.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones import load
from backbones.base import Backbone
from bench import geometry_page
from bench.fidelity import RENDERS, Case, batches, cases, evaluator_kid, rendered, scores
from bench.table import Report
from common.files import atomic_write
from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS
from samplers.dpm_solver_2 import dpm_solver_2
from samplers.euler import euler
from samplers.flow import Done, Flow, FlowFailed, Noise, Sampler, ask, drive
from samplers.geometry.amed import amed, train
from samplers.geometry.gits import PIXELS, TEACHER_STEPS, cheapest, costs
from samplers.geometry.optimal import Optimal
from samplers.geometry.optimal import score_deviation as deviating
from samplers.geometry.shape import chord, cosine, figures, length, own_frames
from samplers.geometry.trajectory import Trajectory, recorded
from samplers.geometry.trajectory_comparison import compare
from samplers.heun import heun
from samplers.ipndm import ipndm
from samplers.protocol import Ask
from samplers.schedules import karras
from world.evaluator import features, read
from world.render import quantized, render
from world.scene import draw

STEPS, SCALE, ROWS = 20, 4.0, 16
NFE = (5, 6, 8, 10)
SOLVERS = ("euler", "dpmpp_2m", "ipndm")
CHOSEN = {"gits": ("dev", PIXELS), "l2": ("l2", PIXELS), "mild": ("dev", 1.05)}  # price of a jump, gamma
AMED_STEPS = 4  # so 7 NFE
SHOWN = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20)  # NFE after which both trajectories are looked at
Arrays = dict[str, np.ndarray]


@dataclass
class Bench:
    """What all the parts need."""

    report: Report
    backbone: Backbone
    keep: Path | None

    def sigmas(self, steps: int) -> list[float]:
        """The authors' schedule between the network's own ends."""
        return karras(steps, float(self.backbone.sigmas[0]), float(self.backbone.sigmas[-1]))

    def start(self, seeds: range, sigma: float) -> Tensor:
        size = self.backbone.default_size
        x = Noise(seeds)(torch.empty(len(seeds), *self.backbone.latent_shape(size, size)))
        return x * math.sqrt(1 + sigma**2)

    def cond(self, texts: list[str]) -> dict[str, Tensor]:
        return self.backbone.encode_prompt(texts)

    def run(self, flow: Flow, label: str, steps: int | None = None) -> Any:
        """What a flow returns; its Steps are the progress."""
        for event in self.report.steps((event for _, event in drive([flow], self._answer, ROWS)), label, steps):
            if isinstance(event, FlowFailed):
                raise event.error
            if isinstance(event, Done):
                return event.result
        raise RuntimeError(f"{label}: the run did not end")

    def _answer(self, request: Ask) -> Tensor:
        return self.backbone.denoise(request)

    def part(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a part, computed now or loaded from before."""
        file = None if self.keep is None else self.keep / f"{name}{'_quick' if self.report.quick else ''}.npz"
        if file is not None and file.exists():
            with np.load(file) as archive:
                return dict(archive)
        arrays = make()
        if file is not None:
            with atomic_write(file) as stream:
                np.savez(stream, **arrays)
        return arrays


# ---- the parts ------------------------------------------------------------------------------------------------------


def data(bench: Bench, count: int) -> Optimal:
    """The latents of the first training scenes."""

    def make() -> Arrays:
        made = []
        for numbers in bench.report.steps(list(batches(range(count), 32)), "batches of 32 training scenes"):
            rgb = render([draw("train", n) for n in numbers], bench.backbone.default_size).rgb
            with torch.no_grad():
                made.append(bench.backbone.encode_image(quantized(rgb) / 255).float().cpu())
        return {"latents": torch.cat(made).numpy()}

    return Optimal(torch.from_numpy(bench.part("data", make)["latents"]))


def paths(bench: Bench, captions: list[Case], optimal: Optimal) -> Arrays:
    """Euler runs from one start: without a prompt, beside the optimum of the data, and guided by the captions."""

    def make() -> Arrays:
        sigmas, seeds = bench.sigmas(STEPS), range(len(captions))
        x, noise, null = bench.start(seeds, sigmas[0]), Noise(seeds), bench.cond([""] * len(captions))
        deviation = bench.run(
            deviating(ask, x, sigmas, null, noise, optimal), "steps of both optimum and network", 2 * STEPS
        )
        D = cfg(ask, null, SCALE)
        flow = recorded(euler(D, x, sigmas, bench.cond([case.text for case in captions]), noise), x, sigmas[0])
        guided = bench.run(flow, "guided steps", STEPS)
        runs = {"plain": deviation.model, "optimal": deviation.optimal, "guided": guided}
        out = {f"{name}_{path}": getattr(run, path).numpy() for name, run in runs.items() for path in ("x", "x0")}
        gaps = {name: getattr(deviation, name).numpy() for name in ("on_model", "on_optimal", "apart")}
        return {"sigmas": np.array(sigmas), **out, **gaps}

    return bench.part("paths", make)


def trajectory_of(arrays: Arrays, name: str) -> Trajectory:
    return Trajectory(*(torch.from_numpy(arrays[key]) for key in ("sigmas", f"{name}_x", f"{name}_x0")))


def evaluate_guided(bench: Bench, guided: Trajectory, captions: list[Case]) -> Arrays:
    """What the evaluator reads of both trajectories after so many evaluations, and their KID to other renders."""

    def make() -> Arrays:
        claims = [case.claims for case in captions]
        far = features(rendered(bench.report, cases(120 if bench.report.quick else RENDERS, first=100_000)))
        own = rendered(bench.report, captions)
        out: dict[str, list[float]] = {"nfe": list(SHOWN), "floor": [evaluator_kid(features(own), far)]}
        out["ceiling"] = [scores(read(own), claims)["binding"]]
        for nfe in bench.report.steps(SHOWN, "looks at both trajectories"):
            for name, latents in (("x", guided.x[nfe]), ("x0", guided.x0[nfe - 1])):
                with torch.no_grad():
                    images = torch.cat([bench.backbone.decode(part).float().cpu() for part in latents.split(ROWS)])
                out.setdefault(f"{name}_binding", []).append(scores(read(images), claims)["binding"])
                out.setdefault(f"{name}_kid", []).append(evaluator_kid(features(images), far))
        return {name: np.array(values) for name, values in out.items()}

    return bench.part("judged", make)


def setting(bench: Bench, rows: int, first: int) -> tuple[Tensor, dict[str, Tensor], Noise]:
    """Starts, prompts and noise of test scenes first, first + 1, ..."""
    seeds = range(first, first + rows)
    texts = [case.text for case in cases(rows, first=first)]
    return bench.start(seeds, bench.sigmas(2)[0]), bench.cond(texts), Noise(seeds)


def teacher_trajectory(bench: Bench, rows: int) -> Trajectory:
    """The teacher's run, with prompts and without guidance, of other images than it is tried on."""

    def make() -> Arrays:
        fine, (x, cond, noise) = bench.sigmas(TEACHER_STEPS), setting(bench, rows, 5000)
        run = bench.run(recorded(ipndm(ask, x, fine, cond, noise), x, fine[0]), "steps of the teacher", TEACHER_STEPS)
        return {name: getattr(run, name).numpy() for name in ("sigmas", "x", "x0")}

    return Trajectory(*(torch.from_numpy(array) for array in bench.part("taught", make).values()))


def solvers(bench: Bench, rows: int) -> Arrays:
    """How far solvers end from the true end of their path at a low NFE, in RMS of latents, (rows,) each."""
    teacher = teacher_trajectory(bench, rows)
    x, cond, noise = setting(bench, rows, 6000)

    def ends() -> Arrays:
        fine = bench.sigmas(30)
        return {"x": bench.run(heun(ask, x, fine, cond, noise), "steps to the true ends", 30).numpy()}

    true = torch.from_numpy(bench.part("true", ends)["x"])

    def ended(sampler: Sampler, sigmas: list[float]) -> np.ndarray:
        end = bench.run(sampler(ask, x, sigmas, cond, noise), "steps", len(sigmas) - 1)
        return (end - true).flatten(1).square().mean(1).sqrt().numpy()

    def few(by: str) -> Arrays:
        fine, out = teacher.sigmas.tolist(), {}
        for nfe in NFE:
            sigmas = bench.sigmas(nfe)
            if by in CHOSEN:
                cost, gamma = CHOSEN[by]
                sigmas = [fine[node] for node in cheapest(costs(teacher, cost), nfe, gamma)]
            out[f"{by}_{nfe}"] = np.array(sigmas)
            for name in SOLVERS:
                out[f"{name}_{by}_{nfe}"] = ended(SAMPLERS[name], sigmas)
        return out

    def two_evaluations() -> Arrays:
        sigmas = bench.sigmas(AMED_STEPS)
        x_old, cond_old, noise_old = setting(bench, rows, 5000)
        epochs = 2 if bench.report.quick else 5
        lessons = train(ask, x_old, sigmas, cond_old, noise_old, rows=4, epochs=epochs, inserted=2)
        predictor = bench.run(lessons, "steps of AMED's lessons")
        three = {"heun": heun, "dpm_solver_2": dpm_solver_2, "amed": amed(predictor)}
        return {name: ended(sampler, sigmas) for name, sampler in three.items()}

    results = bench.part("two_evaluations", two_evaluations)
    for by in ("karras", *CHOSEN):
        results |= bench.part(f"few_{by}", lambda by=by: few(by))
    return results


# ---- what they say --------------------------------------------------------------------------------------------------


def report_paths(report: Report, arrays: Arrays) -> None:
    for name, words in (("plain", "no prompt"), ("guided", f"guidance {SCALE:g}")):
        run = trajectory_of(arrays, name)
        run_figures = figures(run)
        for path, noun in (("x", "sampling"), ("x0", "denoising")):
            off = run_figures[f"{path}_deviation"].nan_to_num(0).mean(1)  # (N + 1,), the authors' mean over images
            at = int(off.argmax())
            percent = float(100 * off[at] / chord(getattr(run, path)).mean())
            label = f"{noun} path off its chord, at most ({words})"
            sigma, distance = float(run.sigmas[at]), float(off[at])
            report.figure(f"{name}_{path}_deviation", percent, label, "%", distance=distance, sigma=sigma)
        ratio = float((length(run.x) / length(run.x0)).mean())
        report.figure(f"{name}_shorter", ratio, f"sampling path longer than denoising ({words})", "times")
        left, _ = cosine(run)
        report.figure(f"{name}_cosine", float(left.mean(1).min()), f"cos(eps, way left), least ({words})")
        shares = own_frames(run.x)[1].sum(1).mean()
        report.figure(f"{name}_plane", 100 * float(shares), f"off the chord, in two axes ({words})", "%")
        report.figure(f"{name}_chord", float(chord(run.x).mean()), f"chord ({words})", "", sqrt_d=_noise(run))
    comparison = compare(trajectory_of(arrays, "plain"), trajectory_of(arrays, "guided"))
    report.figure(
        "guidance_leaves", float(comparison.percent[-1].mean()), "guided end from unguided, of the chord", "%"
    )
    report.figure("onset", float(comparison.onset.nanmedian()), "prompt and guidance act from sigma")


def _noise(run: Trajectory) -> float:
    """sigma sqrt(d) at the start."""
    return float(run.sigmas[0]) * math.sqrt(run.x[0, 0].numel())


def report_scores(report: Report, arrays: Arrays, optimal: Optimal) -> None:
    sigmas, d = arrays["sigmas"], math.sqrt(arrays["plain_x"][0, 0].size)
    peak = int(arrays["on_optimal"].mean(1).argmax())
    last = arrays["on_model"].mean(1)[-1]
    report.figure("score_model_end", float(last), "network from optimum, own path, at its end", "", per_sqrt_d=last / d)
    report.figure(
        "score_optimal_peak",
        float(arrays["on_optimal"].mean(1)[peak]),
        "the same on the optimal path, most",
        sigma=float(sigmas[peak]),
        end=float(arrays["on_optimal"].mean(1)[-1]),
    )
    for name in ("plain", "guided", "optimal"):
        end = trajectory_of(arrays, name).x[-1]
        nearest = optimal.nearest(end, 1)[0]
        copied = optimal.copied(end).mean()
        report.figure(
            f"{name}_nearest", float(nearest.mean()), f"end to nearest training scene ({name})", copied=float(copied)
        )


def report_guided(report: Report, evaluated: Arrays) -> None:
    for name, words in (("x0", "denoised prediction"), ("x", "state")):
        for nfe, binding, kid in zip(
            evaluated["nfe"], evaluated[f"{name}_binding"], evaluated[f"{name}_kid"], strict=True
        ):
            label = f"{words} after {int(nfe)} NFE: attribute pairs right"
            report.figure(f"{name}_binding_{int(nfe)}", float(binding), label, "%", kid=float(kid))


def report_solvers(report: Report, results: Arrays) -> None:
    for nfe in NFE:
        for by in CHOSEN:
            report.note(f"{by}, {nfe}: " + ", ".join(f"{s:.3g}" for s in results[f"{by}_{nfe}"]))
        for name in SOLVERS:
            errors = {by: float(results[f"{name}_{by}_{nfe}"].mean()) for by in ("karras", *CHOSEN)}
            label = f"{SAMPLERS[name].label}, {nfe} NFE: RMS from the true end"
            report.figure(f"{name}_{nfe}", errors.pop("karras"), label, "", **errors)
    for name in ("heun", "dpm_solver_2", "amed"):
        label = f"{name}, {2 * AMED_STEPS - 1} NFE: RMS from the true end"
        report.figure(f"{name}_{2 * AMED_STEPS - 1}", float(results[name].mean()), label)


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.geometry", __doc__, _options, arguments) as report:
        args, quick = report.args, report.quick
        bench = Bench(report, load(args.backbone), args.keep)
        captions = cases(4 if quick else args.captions)
        optimal = data(bench, 200 if quick else args.scenes)
        arrays = paths(bench, captions, optimal)
        report_paths(report, arrays)
        report_scores(report, arrays, optimal)
        evaluated = evaluate_guided(bench, trajectory_of(arrays, "guided"), captions)
        report_guided(report, evaluated)
        results = solvers(bench, 2 if quick else args.rows)
        report_solvers(report, results)
        if not quick:
            runs = {name: trajectory_of(arrays, name) for name in ("plain", "guided", "optimal")}
            geometry_page.write(report.figures, runs, arrays, evaluated, results, bench.backbone)
            report.note(f"plots: {geometry_page.IMAGES}")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--captions", type=int, default=16, help="images of every run (default: 16)")
    parser.add_argument("--scenes", type=int, default=2000, help="training scenes of the optimum (default: 2000)")
    parser.add_argument("--rows", type=int, default=8, help="images that solvers are tried on (default: 8)")
    parser.add_argument("--backbone", default="still-life", help="a name, a folder, a Hub id")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="store what is measured there, and resume from it")


if __name__ == "__main__":
    main()
