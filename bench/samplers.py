"""Which solver on which schedule makes most of few network evaluations on Still Life, and what our loop costs beside
them.

Every pair of solver and schedule has the same NFE, with guidance and without, on held-out captions: how far
it ends from the 200-step solution of the same start (stochastic solvers go elsewhere, so they have no distance), how
many captions come out whole, and the KID to renders (noisy: it is of few images). Then the best pair and
Euler over many NFE, levels that are learned for some solvers, and the time of a step without the network
beside diffusers' schedulers.

    python -m bench.samplers --keep outputs/samplers --json samplers.json
    python -m bench.samplers --keep outputs/samplers        again: what is kept is not measured anew
    python -m bench.samplers --learned                       the levels of LD3 alone

Some two hours of two cores in full, two minutes with --quick. It writes docs/samplers.md's tables and plot.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones import load
from bench import samplers_overhead, samplers_page
from bench.fidelity import Case, cases, evaluator_kid, rendered, scores
from bench.geometry import ROWS, Arrays, Bench
from bench.samplers_page import Figures, Key, LearnedScheduleRow
from bench.table import Report
from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS, SCHEDULES, Solver
from samplers.dpmpp_2m import dpmpp_2m
from samplers.flow import Ask, Denoiser, Flow, Noise, Sampler, ask, run, tap
from samplers.geometry import gits, ld3
from world.evaluator import features, read

NFE, TRUE, SCALE = 8, 200, 4.0
SCALES = (SCALE, 1.0)
SOLVERS_WITH_LEARNED_SCHEDULES = ("unipc", "deis", "dpmpp_2m")  # solvers that levels are learned for
CURVE = (4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
CHOSEN = ("dpmpp_2m", "flow_shift")  # what the app begins with
TAUGHT = 5000  # number of the first scene that GITS and LD3 are tuned on
FAR = 150  # renders that images are held against, of other scenes


@dataclass
class Setting:
    """One start, its captions, guided or not. `true`: where the 200-step solution ends, (B, 4, h, w)."""

    bench: Bench
    captions: list[Case]
    scale: float
    name: str

    @cached_property
    def D(self) -> Denoiser:
        return ask if self.scale == 1 else cfg(ask, self.bench.cond([""] * len(self.captions)), self.scale)

    @cached_property
    def cond(self) -> dict[str, Tensor]:
        return self.bench.cond([case.text for case in self.captions])

    @cached_property
    def true(self) -> Tensor:
        return self.end(f"true_{self.name}", dpmpp_2m, self.bench.sigmas(TRUE), f"the {TRUE}-step solution")

    @cached_property
    def prices(self) -> gits.Prices:
        """What GITS schedules are made from, tuned on other captions under the same guidance."""
        fine = self.bench.sigmas(gits.TEACHER_STEPS)

        def find() -> Arrays:
            count = min(ROWS, 2 * len(self.captions))
            other = Setting(self.bench, cases(count, first=TAUGHT), self.scale, "")
            seeds = range(TAUGHT, TAUGHT + count)
            flow = gits.priced(other.D, self.bench.start(seeds, fine[0]), fine, other.cond, Noise(seeds))
            prices = self.bench.run(flow, f"steps of GITS' teacher, guidance {self.scale:g}", gits.TEACHER_STEPS)
            return {"table": prices.table.numpy(), "free": prices.free.numpy()}

        stored = self.bench.part(f"gits_{self.name}", find)
        return gits.Prices(tuple(fine), *(torch.from_numpy(stored[key]) for key in ("table", "free")))

    def levels(self, schedule: str, steps: int) -> list[float]:
        """Raises ValueError where the schedule has none for so few steps."""
        if schedule == "gits":
            return self.prices.schedule(steps, gits.chosen_gamma(steps, self.scale))
        return SCHEDULES[schedule](steps, self.bench.backbone.sigmas)

    def learned_schedule(self, solver: str, steps: int) -> ld3.LearnedSchedule:
        """LD3's levels and labels, from trials on other captions under the same guidance."""
        fine = self.bench.sigmas(gits.TEACHER_STEPS)

        def find() -> Arrays:
            count = min(ld3.PUPILS, 2 * len(self.captions))
            other = Setting(self.bench, cases(count, first=TAUGHT), self.scale, "")
            seeds = range(TAUGHT, TAUGHT + count)
            begin = ld3.schedules(steps, self.bench.backbone.sigmas)
            start = self.bench.start(seeds, fine[0])
            flow = ld3.ld3(other.D, start, fine, other.cond, Noise(seeds), SAMPLERS[solver], begin)
            label = f"steps of LD3 for {steps} of {solver}, guidance {self.scale:g}"
            one = self.bench.run(flow, label, len(fine) - 1 + ld3.TRIALS * steps)
            return {"sigmas": np.array(one.sigmas), "labels": np.array(one.labels)}

        stored = self.bench.part(f"ld3_{self.name}_{solver}_{steps}", find)
        return ld3.LearnedSchedule(*(tuple(stored[key].tolist()) for key in ("sigmas", "labels")))

    def end(self, name: str, sampler: Sampler, sigmas: Sequence[float], label: str) -> Tensor:
        """Where the solver ends, (B, 4, h, w); kept under that name."""
        seeds = range(len(self.captions))

        def go() -> Arrays:
            x, noise = self.bench.start(seeds, sigmas[0]), Noise(seeds)
            flow = sampler(self.D, x, sigmas, self.cond, noise)
            return {"x": self.bench.run(flow, label, len(sigmas) - 1).numpy()}

        return torch.from_numpy(self.bench.part(name, go)["x"])


def counted(sampler: Sampler, sigmas: Sequence[float]) -> int:
    """Network evaluations of a run on this schedule."""
    nfe = 0

    def count(message: object, reply: object) -> None:
        nonlocal nfe
        nfe += isinstance(message, list)

    def nothing(one: Ask) -> Tensor:
        return torch.zeros_like(one.x)

    run(tap(sampler(ask, torch.ones(1, 1, 1, 1), sigmas, {}, Noise([0])), count), nothing)
    return nfe


def steps_within(setting: Setting, solver: Solver, schedule: str, nfe: int) -> int:
    """The most steps that cost no more evaluations; 0 where none does, or the schedule has no levels for so few."""
    for steps in range(nfe, 0, -1):
        try:
            if counted(solver, setting.levels(schedule, steps)) <= nfe:
                return steps
        except ValueError:
            continue
    return 0


def measured(setting: Setting, key: Key, nfe: int, far: Tensor) -> Figures | None:
    """One pair; None where it cannot be had at so low an NFE."""
    solver, schedule = SAMPLERS[key[0]], key[1]
    steps = steps_within(setting, solver, schedule, nfe)
    if not steps:
        return None
    name = f"{setting.name}_{key[0]}_{schedule}_{nfe}"
    return ended(setting, name, solver, setting.levels(schedule, steps), far)


def measure_learned_schedule(setting: Setting, key: str, far: Tensor) -> tuple[Figures, ld3.LearnedSchedule]:
    """A solver on levels that were learned for it, and these."""
    one, solver = setting.learned_schedule(key, NFE), SAMPLERS[key]

    def with_labels(D: Denoiser, *args: Any) -> Flow:
        return solver(one.with_labels(D), *args)

    return ended(setting, f"{setting.name}_{key}_ld3_{NFE}", with_labels, list(one.sigmas), far), one


def ended(setting: Setting, name: str, sampler: Sampler, sigmas: list[float], far: Tensor) -> Figures:
    """How far a run ends, and what the evaluator sees there; kept under that name."""
    x = setting.end(name, sampler, sigmas, "steps")
    off = (x - setting.true).flatten(1).square().mean(1).sqrt()
    near = not getattr(sampler, "stochastic", False)

    def look() -> Arrays:
        with torch.no_grad():
            images = torch.cat([setting.bench.backbone.decode(part).float().cpu() for part in x.split(ROWS)])
        results = scores(read(images), [case.claims for case in setting.captions])
        return {"seen": np.array([results["exact"], results["binding"], evaluator_kid(features(images), far)])}

    exact, binding, kid = setting.bench.part(f"{name}_seen", look)["seen"].tolist()
    distances = (float(off.mean()), float(off.median())) if near else (None, None)
    return Figures(counted(sampler, sigmas), distances[0], exact, binding, kid, distances[1])


def nfe_like(target: float, nfe: Sequence[int], errors: Sequence[float]) -> float:
    """The NFE at which a curve comes down to an error, between its points on log-log paper; a curve that
    rises again is taken as flat. The ends of the curve where the error lies beyond them."""
    low = np.minimum.accumulate(np.asarray(errors, dtype=float))
    return float(np.exp(np.interp(-np.log(target), -np.log(low), np.log(np.asarray(nfe, dtype=float)))))


def best(pairs: dict[Key, Figures], within: Sequence[str] | None = None) -> Key:
    """The deterministic pair that ends nearest, of these schedules."""
    near = {key: one.rms for key, one in pairs.items() if one.rms is not None and (within is None or key[1] in within)}
    return min(near, key=lambda key: near[key])


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.samplers", __doc__, _options, arguments) as report:
        args, quick = report.args, report.quick
        bench = Bench(report, load(args.backbone), args.keep)
        far = features(rendered(report, cases(40 if quick else FAR, first=100_000)))
        longer = {
            scale: Setting(bench, cases(2 if quick else args.longer), scale, f"curves_{scale:g}") for scale in SCALES
        }
        like: dict[float, list[float]] = {scale: [] for scale in SCALES}
        if not args.learned:
            samplers_overhead.tell(report, rounds=5 if quick else 40)
            pairs = {scale: every_pair(report, bench, scale, far) for scale in SCALES}
            curves = {scale: every_curve(report, longer[scale], pairs[scale], far) for scale in SCALES}
            for scale in SCALES:
                top = best(pairs[scale])
                at = max((one for one in curves[scale][top] if one.nfe <= NFE), key=lambda one: one.nfe).rms
                like[scale].append(nfe_like(at or 0.0, *euler(longer[scale], far, quick)))
            if not quick:
                samplers_page.write(pairs, curves)
        lessons = {scale: measure_learned_schedules(report, longer[scale], far) for scale in SCALES}
        for scale, lines in lessons.items():
            like[scale] += [line.like for line in lines]
            key = "nfe_like_euler_25" if scale == 1 else "nfe_like_euler_25_guided"
            label = f"best pair, {NFE} NFE, guidance {scale:g}: as Euler with"
            report.figure(key, max(like[scale]), label, "NFE", "at least 25")
        if not quick:
            samplers_page.write_learned(lessons)
            report.note(f"page: {samplers_page.PAGE}")


def every_pair(report: Report, bench: Bench, scale: float, far: Tensor) -> dict[Key, Figures]:
    """All solvers on all schedules that need no lessons, at the same NFE."""
    quick = report.quick
    solvers = ("euler", "dpmpp_2m", "ancestral") if quick else tuple(SAMPLERS)
    schedules = ("native", "karras") if quick else (*SCHEDULES, "gits")
    setting = Setting(bench, cases(2 if quick else report.args.captions), scale, f"pairs_{scale:g}")
    results = {}
    keys = [(solver, schedule) for solver in solvers for schedule in schedules]
    for key in report.steps(keys, f"pairs with guidance {scale:g}"):
        one = measured(setting, key, NFE, far)
        if one is None:
            report.skip(f"{key[0]}_{key[1]}_{scale:g}", f"{key[0]} on {key[1]}", f"not in {NFE} NFE")
        else:
            results[key] = one
    tell_pairs(report, results, scale)
    return results


def every_curve(report: Report, setting: Setting, pairs: dict[Key, Figures], far: Tensor) -> dict[Key, list[Figures]]:
    """What is worth following, over NFE."""
    curves = {}
    for key in compared(pairs):
        label = f"guidance {setting.scale:g}, curve of {key[0]} on {key[1]}"
        nfe = report.steps((4, 8, 12) if report.quick else CURVE, label)
        curves[key] = [one for n in nfe if (one := measured(setting, key, n, far)) is not None]
    tell_curves(report, curves, setting.scale)
    return curves


def euler(setting: Setting, far: Tensor, quick: bool) -> tuple[list[int], list[float]]:
    """Euler on the network's own levels: NFE, and how far it ends."""
    results = [measured(setting, ("euler", "native"), n, far) for n in ((4, 8, 12) if quick else CURVE)]
    return [one.nfe for one in results if one], [one.rms or 0.0 for one in results if one]


def measure_learned_schedules(report: Report, setting: Setting, far: Tensor) -> list[LearnedScheduleRow]:
    """What levels that are learned for a solver make of it."""
    curve = euler(setting, far, report.quick)
    lines = []
    for solver in SOLVERS_WITH_LEARNED_SCHEDULES[-1:] if report.quick else SOLVERS_WITH_LEARNED_SCHEDULES:
        before = measured(setting, (solver, "gits"), NFE, far)
        after, one = measure_learned_schedule(setting, solver, far)
        if before is None:
            raise RuntimeError(f"{solver} has no schedule of {NFE} NFE")
        like = nfe_like(after.rms or 0.0, *curve)
        lines.append(LearnedScheduleRow(solver, before, after, like, one.sigmas, one.labels))
        label = f"{SAMPLERS[solver].label}, LD3, {NFE} NFE, guidance {setting.scale:g}"
        beside = {"gits": before.rms or 0.0, "like_euler": like, "exact": after.exact, "kid": after.kid}
        beside["median"] = after.median or 0.0
        report.figure(f"learnt_{solver}_{setting.scale:g}_rms", after.rms or 0.0, label, "rms", **beside)
    return lines


def compared(pairs: dict[Key, Figures]) -> list[Key]:
    """What is followed over many NFE: Euler on the network's own levels and where it is best, what the app
    begins with, DPM++ 2M where that is best, the best of all."""
    own = [("euler", "native"), ("euler", best_of(pairs, "euler")), ("dpmpp_2m", best_of(pairs, "dpmpp_2m"))]
    return [key for key in dict.fromkeys([*own, CHOSEN, best(pairs)]) if key in pairs]


def best_of(pairs: dict[Key, Figures], solver: str) -> str:
    """The schedule on which this solver ends nearest."""
    return best({key: one for key, one in pairs.items() if key[0] == solver})[1]


def tell_pairs(report: Report, pairs: dict[Key, Figures], scale: float) -> None:
    order = sorted(pairs, key=lambda key: (pairs[key].rms is None, pairs[key].rms or 0.0))
    for solver, schedule in order:
        one = pairs[solver, schedule]
        beside = {"exact": one.exact, "binding": one.binding, "kid": one.kid}
        label = f"{SAMPLERS[solver].label}, {samplers_page.named(schedule)}, guidance {scale:g}: {one.nfe} NFE"
        name = f"{solver}_{schedule}_{scale:g}"
        if one.rms is None:
            report.figure(f"{name}_exact_alone", one.exact, label, "%", kid=one.kid)
        else:
            report.figure(f"{name}_rms", one.rms, label, "rms", **beside)


def tell_curves(report: Report, curves: dict[Key, list[Figures]], scale: float) -> None:
    for (solver, schedule), curve in curves.items():
        for one in curve:
            label = f"{SAMPLERS[solver].label}, {samplers_page.named(schedule)}, guidance {scale:g}: {one.nfe} NFE"
            name = f"curve_{solver}_{schedule}_{scale:g}_{one.nfe}"
            report.figure(name, one.rms or 0.0, label, "rms", exact=one.exact, binding=one.binding, kid=one.kid)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--captions", type=int, default=8, help="images of every pair (default: 8)")
    parser.add_argument("--longer", type=int, default=48, help="images of every curve (default: 48)")
    parser.add_argument("--learned", action="store_true", help="only LD3's learned schedules, and Euler")
    parser.add_argument("--backbone", default="still-life", help="a name, a folder, a Hub id")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what is measured there, and go on from it")


if __name__ == "__main__":
    main()
