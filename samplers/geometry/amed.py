"""AMED-Solver: two network evaluations a step, and the second one where a small network says (Zhou et al. 2023, arXiv
2312.00094).

A path lies nearly in a plane, so by the mean-value theorem there is a point on the way of a step whose direction leads
nearly to its end. Where it is, and how to scale that direction, depends on the image little: it is learned in minutes.

    predictor = run(train(D, x, sigmas, cond, noise), backbone.denoise)
    x = run(amed(predictor)(D, x, sigmas, cond, noise), backbone.denoise)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from common.files import atomic_write
from samplers.geometry.trajectory import recorded
from samplers.heun import heun
from samplers.noise import Noise
from samplers.protocol import Cond, Denoiser, Flow, Sampler, Step
from samplers.schedules import INFINITE

POOLED = 8  # the feature is a map of 8 x 8
DIRECTION, TIME = 0.01, 0.2  # c is in 1 +- 0.01, a in 1 +- 0.2
FORMAT = "amed-1"


class Predictor(nn.Module):
    """(x0, s, s') -> r in (0, 1), c in 1 +- DIRECTION, a in 1 +- TIME, each (B,).

    The middle of the step is at s'^r s^(1 - r), c scales the direction there, a the level that the network
    is conditioned on.

    The authors' predictor sees the bottleneck of the U-Net at the first evaluation of the step. Flows know no layers,
    only answers, so this one sees the answer itself: the mean of x0 over its channels, pooled to 8 x 8. Nothing is lost
    by starting: untrained it gives r = 1/2, c = a = 1, which is DPM-Solver-2.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        self.width = width
        self.picture = nn.Sequential(nn.Linear(POOLED**2, width), nn.SiLU(), nn.Linear(width, 8))
        self.levels = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.head = nn.Linear(8 + width, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x0: Tensor, s: float, s_next: float) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.head.weight
        pooled = F.adaptive_avg_pool2d(x0.detach().to(weights).mean(1, keepdim=True), POOLED).flatten(1)  # (B, 64)
        log = weights.new_tensor([s, s_next]).log().expand(len(x0), 2) / 4
        out = self.head(torch.cat([self.picture(pooled), self.levels(log)], 1)).to(x0.dtype)  # (B, 3)
        r, c, a = out.unbind(1)
        return torch.sigmoid(r), 1 + DIRECTION * torch.tanh(c), 1 + TIME * torch.tanh(a)


def amed(predictor: Predictor) -> Sampler:
    """The solver with this predictor: two network evaluations a step, and one for the step to 0 and from an infinite
    start, which are Euler's; deterministic. Its Step's x0 is the denoised prediction at the first point."""

    def solver(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        for s, s_next in pairwise(sigmas):
            x, x0 = yield from _step(predictor, D, x, s, s_next, cond)
            x = yield Step(x.detach(), x0.detach(), s_next)
        return x

    return solver


def _step(
    predictor: Predictor, D: Denoiser, x: Tensor, s: float, s_next: float, cond: Cond, tape: object = None
) -> Flow:
    """From x at level s to (x at s_next, x0). tape: where the second denoised prediction is wanted with gradients.

    The paper's x + c (s' - s) d_m, with d_m = (x_m - D(x_m; a s_m)) / s_m and x_m an Euler step from x, is
    x0 + (s + c (s' - s)) eps + c (s - s') (x0_m - x0) / s_m, which does not cancel at large s.
    """
    x0 = yield from D(x, s, cond)  # (B, C, H, W)
    eps = (x - x0) / s
    if s_next == 0 or s >= INFINITE:
        return x0 + s_next * eps, x0
    r, c, a = predictor(x0, s, s_next)
    middle = s_next**r * s ** (1 - r)  # (B,)
    level, scale = (v.view(-1, *[1] * (x.ndim - 1)) for v in (middle, c))
    extra = {} if tape is None else {"tape": tape}
    x0_middle = yield from D(x0 + level * eps, a * middle, cond, **extra)
    return x0 + (s + scale * (s_next - s)) * eps + scale * (s - s_next) / level * (x0_middle - x0), x0


def train(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    predictor: Predictor | None = None,
    rows: int = 16,
    epochs: int = 8,
    rate: float = 5e-3,
    inserted: int = 3,
    sampler: Sampler = heun,
    seed: int = 0,
) -> Flow:
    """Teaches a predictor on the network's own runs from x (B, C, H, W) at sigmas[0]; returns it, ready to use.

    The teacher goes the same levels with `inserted` more between any two, once for all images; the student goes
    beside it and learns at each step from |x - teacher's x|^2 at the next level (Zhou et al. 2023), then goes on from
    where it came to. rows: images a batch. rate: of Adam, falling to 0 by a cosine. D must take a tape and have
    gradients, of the level too. Yields the teacher's Steps, then a Step for each of the student's, so it shows progress
    and can be cancelled. predictor: one to teach further, in place.

    The official code can begin each step of the student at the teacher's state; here the student goes on from its own,
    so that it learns to mend what it did before. In the app `inserted` is 2 (M of the paper), and levels are scaled by
    up to 0.2 (`TIME`, the code's scale_time).

    Raises ValueError where there is nothing to learn: only one step, or no images.
    """
    levels = [float(s) for s in sigmas]
    if len(levels) < 3 or not len(x):
        raise ValueError(f"{len(levels) - 1} steps and {len(x)} images: a predictor learns from two steps or more")
    taught = yield from recorded(sampler(D, x, finer(levels, inserted), cond, noise), x, levels[0])
    goals = taught.x[:: inserted + 1].to(x)  # (N + 1, B, C, H, W), the states at the student's own levels
    if predictor is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            predictor = Predictor()
        predictor.to(x.device)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=rate)
    batches = -(-len(x) // rows)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    shuffle = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=shuffle).split(rows):
            some = {name: v[part.to(v.device)] if isinstance(v, Tensor) else v for name, v in cond.items()}
            state = x[part]
            for n, (s, s_next) in enumerate(pairwise(levels[:-1])):
                ended, x0 = yield from _step(predictor, D, state, s, s_next, some, tape=object())
                loss = (ended - goals[n + 1, part]).square().flatten(1).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                state = yield Step(ended.detach(), x0.detach(), s_next)
            decay.step()
    return predictor.requires_grad_(False)


def finer(sigmas: Sequence[float], inserted: int) -> list[float]:
    """The same levels with `inserted` more between any two, even in sigma^(1/7) as Karras' own; so also down to 0."""
    levels: list[float] = []
    for s, s_next in pairwise(sigmas):
        levels += (np.linspace(s ** (1 / 7), s_next ** (1 / 7), inserted + 1, endpoint=False) ** 7).tolist()
        levels[-inserted - 1] = float(s)  # exactly: its state is looked up
    return [*levels, float(sigmas[-1])]


def save(path: str | Path, predictor: Predictor) -> None:
    """Writes the predictor as safetensors, whole or not at all."""
    weights = {name: v.detach().float().cpu().contiguous() for name, v in predictor.state_dict().items()}
    with atomic_write(path) as file:
        file.write(to_bytes(weights, {"format": FORMAT, "width": str(predictor.width)}))


def load(path: str | Path) -> Predictor:
    """What `save` wrote, frozen. Raises ValueError where the file is of something else, OSError where none is there."""
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(f"{path} is no AMED predictor of the format {FORMAT!r}, but {header.get('format')!r}")
        weights = {name: file.get_tensor(name) for name in file.keys()}
    predictor = Predictor(int(header["width"]))
    predictor.load_state_dict(weights)
    return predictor.requires_grad_(False)
