"""A recording that goes along with a run: both its trajectories, and how hard guidance pulls at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
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
    same run. descent: what is followed of it.
    """

    label: str
    recipe: Recipe
    look: AttentionRecorder | None = None
    steps: list[Step] = field(default_factory=list)
    guidance_norms: list[float] = field(default_factory=list)
    begin: tuple[Tensor, float] | None = None  # where the flow begins: its state and level
    asked: tuple[Tensor, float] | None = None  # what the network was asked about first after the preparation
    starts: list[tuple[int, Tensor, float]] = field(default_factory=list)  # of the solver: steps before, state, level

    def __call__(self, plan: Plan, backbone: Backbone) -> Flow:
        norm = math.nan
        self.begin = _kept(plan.x), plan.sigmas[0]
        plan.on_start.append(lambda x, sigma: self.starts.append((len(self.steps), _kept(x), sigma)))

        def keep(message: list[Ask] | Step, reply: Any) -> None:
            nonlocal norm
            if isinstance(message, Step):
                self.steps.append(Step(_kept(reply), _kept(message.x0), message.sigma, message.preparation))
                self.guidance_norms.append(norm)
                norm = math.nan
                if message.preparation:
                    self.asked = None
                return
            if self.asked is None and message:
                self.asked = _kept(message[0].x), float(message[0].sigma[0])
            norm = _guidance_norm(message, reply, norm)

        plan.flow = tap(plan.flow, keep)
        return plan.flow if self.look is None else self.look(plan, backbone)

    def descent(self) -> tuple[Trajectory, list[float]]:
        """The run from its start, and the guidance norm of each step: what an inversion prepares before is left out.
        Raises ValueError where the run took no step."""
        first = 1 + max((i for i, step in enumerate(self.steps) if step.preparation), default=-1)
        if first == len(self.steps):
            raise ValueError("the run took no step that could be followed")
        x, sigma = self._start(first)
        return trajectory(x, sigma, (_one(step) for step in self.steps[first:])), self.guidance_norms[first:]

    def _start(self, first: int) -> tuple[Tensor, float]:
        """The state (1, C, h, w) before the step `first`, and its level.

        It is where the solver starts. Where a method makes the steps itself: where the preparation led; else what the
        network is asked about first, unless that is a part of the state, as the windows of a panorama are.
        """
        kind, one = self.steps[first].x.shape[1:], len(self.steps[first].x)
        for at, x, sigma in self.starts:
            if at == first:
                return x[-one:][:1], sigma  # a source that runs beside the image comes before it
        if first:
            return self.steps[first - 1].x[:1], self.steps[first - 1].sigma
        assert self.begin is not None
        x, sigma = self.begin if self.asked is None or self.asked[0].shape[1:] != kind else self.asked
        return x[-one:][:1], sigma


def _guidance_norm(asks: Any, answers: Any, before: float) -> float:
    """|D(prompt) - D(negative)| of one evaluation that asks both about the same states, all windows of a panorama
    together; `before` where it does not."""
    own = [i for i, one in enumerate(asks) if one.role == "prompt"]
    others = [i for i, one in enumerate(asks) if one.role == "negative"]
    pairs = [
        (i, j)
        for i, j in zip(own, others)
        if asks[i].x.shape == asks[j].x.shape and float(asks[i].sigma[0]) == float(asks[j].sigma[0])
    ]
    if not pairs:
        return before
    gaps = [(answers[i].detach()[:1] - answers[j].detach()[:1]).double().flatten() for i, j in pairs]
    return float(torch.cat(gaps).square().mean().sqrt())


def _one(step: Step) -> Step:
    return Step(step.x[:1], step.x0[:1], step.sigma)


def _kept(x: Tensor) -> Tensor:
    return x.detach().float().cpu().clone()
