"""A recording that goes along with a run: both its trajectories, and how hard guidance pulls at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from app.engine.attention_recorder import AttentionRecorder
from app.engine.planner import Plan
from app.schema.recipe import Recipe
from backbones.base import Backbone
from samplers.flow import Ask, Flow, Step, tap
from samplers.geometry.trajectory import Trajectory, trajectory


@dataclass
class Recording:
    """Goes along with a run of one image (`Engine.submit(watch=...)`); one run each.

    steps: the steps made so far, the states as the run went on with them. guidance_norms: of each step the root
    mean square of D(prompt) - D(negative prompt), nan where both were not asked for. look: reads attention in the
    same run.
    """

    label: str
    recipe: Recipe
    look: AttentionRecorder | None = None
    start: tuple[Tensor, float] | None = None  # what the network was asked about first, and its level
    steps: list[Step] = field(default_factory=list)
    guidance_norms: list[float] = field(default_factory=list)

    def __call__(self, plan: Plan, backbone: Backbone) -> Flow:
        norm = math.nan

        def keep(message: list[Ask] | Step, reply: Any) -> None:
            nonlocal norm
            if isinstance(message, Step):
                self.steps.append(Step(_kept(reply), _kept(message.x0), message.sigma))
                self.guidance_norms.append(norm)
                norm = math.nan
                return
            if self.start is None and message:
                self.start = _kept(message[0].x), float(message[0].sigma[0])
            norm = _guidance_norm(message, reply, norm)

        plan.flow = tap(plan.flow, keep)
        return plan.flow if self.look is None else self.look(plan, backbone)

    def descent(self) -> tuple[Trajectory, list[float]]:
        """The way down, from the last of the highest states, and the pulls on it: what an inversion climbs before is
        left out. Raises ValueError where the run took no step."""
        if self.start is None or not self.steps:
            raise ValueError("the run took no step that could be followed")
        x, sigma = self.start
        levels = [sigma, *(step.sigma for step in self.steps)]
        top = max(levels)
        first = max(i for i, level in enumerate(levels[:-1]) if level == top) if top != levels[-1] else 0
        if first:
            x, sigma = self.steps[first - 1].x, levels[first]
        return trajectory(x[:1], sigma, (_one(step) for step in self.steps[first:])), self.guidance_norms[first:]


def _guidance_norm(asks: Any, answers: Any, before: float) -> float:
    """|D(prompt) - D(other)| of one evaluation that asks both about the same state; `before` where it does not."""
    own = [i for i, one in enumerate(asks) if one.role == "prompt"]
    others = [i for i, one in enumerate(asks) if i not in own]
    if not own or not others:
        return before
    a, b = asks[own[0]], asks[others[0]]
    if a.x.shape != b.x.shape or float(a.sigma[0]) != float(b.sigma[0]):
        return before
    gap = answers[own[0]].detach()[:1] - answers[others[0]].detach()[:1]
    return float(gap.double().square().mean().sqrt())


def _one(step: Step) -> Step:
    return Step(step.x[:1], step.x0[:1], step.sigma)


def _kept(x: Tensor) -> Tensor:
    return x.detach().float().cpu().clone()
