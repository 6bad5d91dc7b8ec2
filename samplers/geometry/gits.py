"""GITS: time schedules from the shape of the path, by dynamic programming (Chen et al. 2024, arXiv 2405.11326).

All paths of a network have one shape, straight at first with a late bend; so levels chosen on a few runs of a teacher
fit all others. Between the levels of a fine schedule every Euler jump is priced by how far it misses the teacher's
path, and the cheapest chain of a given number of jumps is the schedule, for any solver.

    sigmas = run(gits(D, x, karras(60, *ends), cond, noise, steps=6), backbone.denoise)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from common.files import atomic_write
from samplers.geometry.shape import along_and_off, flat
from samplers.geometry.trajectory import Trajectory, recorded
from samplers.ipndm import ipndm
from samplers.noise import Noise
from samplers.protocol import Cond, Denoiser, Flow, Sampler

PIXELS, GUIDED_LATENTS = 1.15, 1.20  # gamma: the authors' choice for pixel networks, and for guided latent ones
TEACHER_STEPS = 60

Cost = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # landed, teacher (J, B, D), its start, end (B, D) -> (J, B)


def gits(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    steps: int,
    gamma: float = PIXELS,
    cost: str = "dev",
    teacher: Sampler = ipndm,
    afs: bool = False,
) -> Flow:
    """A schedule for `steps` network evaluations of a solver of one a step: list of steps + 1 falling floats, the last
    0.0.

    x (B, C, H, W) at sigmas[0], the warm-up images: the authors take 256; from two or four the levels scatter by a
    factor of two, so take 16 at least. sigmas: the teacher's levels, which must fall; the result is a choice among
    them. D may be guided: the schedule is then one for that guidance. The flow yields the teacher's Steps, so it shows
    progress and can be cancelled.

    gamma > 1 weighs late jumps more: see `chosen_gamma` for what is good on Still Life. cost: of COSTS. afs: one more
    level, the jump to which needs no network evaluation; run that schedule with `samplers.afs.afs(sampler)`. The
    authors try where to put it, in whole runs of the solver; here its jump is priced like the others, and the best of
    all chains is found at once.

    Raises ValueError for a cost that is not there, and for steps that are not in 1 .. the teacher's.
    """
    jumps = steps + afs
    if steps < 1 or jumps >= len(sigmas):
        raise ValueError(f"{steps} steps of a teacher with {len(sigmas) - 1}: give 1 or more, and no more than it has")
    prices = yield from priced(D, x, sigmas, cond, noise, cost, teacher)
    return prices.schedule(jumps, gamma, afs)


def chosen_gamma(steps: int, scale: float) -> float:
    """How much late jumps weigh, as measured on Still Life with DEIS and Euler at 5 to 12 steps: under guidance, whose
    paths bend late, the authors' value; without, all jumps alike, but for the fewest steps."""
    return PIXELS if scale != 1 else 1.0 if steps > 5 else 1.05


@dataclass(frozen=True, eq=False)
class Prices:
    """What the teacher's runs say of every jump: all that schedules of any number of steps are made from.

    sigmas: the teacher's levels, N + 1 falling floats. table, free: (N + 1, N + 1) float64, `costs` without and with
    the analytical first step.
    """

    sigmas: tuple[float, ...]
    table: Tensor
    free: Tensor

    def schedule(self, jumps: int, gamma: float = PIXELS, afs: bool = False) -> list[float]:
        """jumps + 1 falling levels, the last 0.0. afs: the first jump costs no network evaluation. Raises ValueError
        where the teacher has fewer steps."""
        return [self.sigmas[node] for node in cheapest(self.free if afs else self.table, jumps, gamma)]


def priced(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    cost: str = "dev",
    teacher: Sampler = ipndm,
) -> Flow:
    """Prices for schedules of any length, from one run of the teacher; arguments as of `gits`. Yields its Steps."""
    if cost not in COSTS:
        raise ValueError(f"cost {cost!r}: give one of {', '.join(COSTS)}")
    taught = yield from recorded(teacher(D, x, sigmas, cond, noise), x, sigmas[0])
    return Prices(tuple(map(float, sigmas)), costs(taught, cost), costs(taught, cost, afs=True))


# ---- the price of a jump --------------------------------------------------------------------------------------------


def _dev(landed: Tensor, there: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """How much farther from the teacher's chord than the teacher is at that level: may be negative."""

    def off(points: Tensor) -> Tensor:
        return along_and_off(torch.cat([start[None], points, end[None]]))[1][1:-1].norm(dim=-1)

    return off(landed) - off(there)


def _l1(landed: Tensor, there: Tensor, start: Tensor, end: Tensor) -> Tensor:
    return (landed - there).abs().sum(-1)


def _l2(landed: Tensor, there: Tensor, start: Tensor, end: Tensor) -> Tensor:
    return (landed - there).norm(dim=-1)


COSTS: dict[str, Cost] = {"dev": _dev, "l1": _l1, "l2": _l2}


def costs(taught: Trajectory, cost: str = "dev", afs: bool = False) -> Tensor:
    """(N + 1, N + 1) float64: entry (i, j) the price of one Euler jump from the teacher's state i to its level j, the
    mean over the images; infinite where j does not come after i. afs: jumps from the start are made without the
    network, along eps = x / sqrt(1 + sigma^2) (Dockhorn et al. 2022, arXiv 2210.05475).

    Raises ValueError where the levels do not fall.
    """
    s = taught.sigmas
    if (s.diff() >= 0).any():
        raise ValueError(f"levels {s.tolist()}: a teacher goes down all the way")
    x, eps, price = flat(taught.x), flat(taught.eps), COSTS[cost]
    if afs:
        eps[0] = x[0] / (1 + s[0] ** 2).sqrt()
    table = torch.full((len(s), len(s)), torch.inf, dtype=torch.float64)
    for i in range(len(taught)):
        landed = x[i] + (s[i + 1 :] - s[i])[:, None, None] * eps[i]  # (N - i, B, D)
        table[i, i + 1 :] = price(landed, x[i + 1 :], x[0], x[-1]).mean(1)
    return table


def cheapest(table: Tensor, jumps: int, gamma: float = 1.0) -> list[int]:
    """The chain of so many jumps from the first node to the last with the least sum of gamma^k price_k, with k = 0, 1,
    ... the number of the jump: jumps + 1 nodes.

    Bellman's recursion, from the end: V_j(k) = min_i price(j, i) + gamma V_i(k - 1), with k jumps still to go. table:
    (M, M) prices, infinite where there is no such jump. Raises ValueError where there is no such chain.
    """
    if not 1 <= jumps < len(table):
        raise ValueError(f"{jumps} jumps over {len(table)} nodes: give 1 to {len(table) - 1}")
    V, choices = table[:, -1], []
    for _ in range(jumps - 1):
        V, choice = (table + gamma * V).min(1)
        choices.append(choice)
    nodes = [0]
    for choice in reversed(choices):
        nodes.append(int(choice[nodes[-1]]))
    return [*nodes, len(table) - 1]


# ---- on disk --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """All that decides prices; what was found before is read back by an equal key.

    revision: of the backbone's weights. prompts: of the warm-up. scale: of the guidance. teacher: its name and steps.
    """

    revision: str
    prompts: tuple[str, ...]
    scale: float
    teacher: str = f"ipndm {TEACHER_STEPS}"
    cost: str = "dev"

    @property
    def name(self) -> str:
        """A file name, the same for equal keys."""
        fields = {**asdict(self), "prompts": hashlib.sha256("\n".join(self.prompts).encode()).hexdigest()}
        return f"gits-{hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:24]}.safetensors"


def save(folder: str | Path, key: Key, prices: Prices) -> Path:
    """Keeps prices in the folder, which is made where it is missing: the file, whole or not at all."""
    file = Path(folder) / key.name
    levels = torch.tensor(prices.sigmas, dtype=torch.float64)
    with atomic_write(file) as stream:
        stream.write(to_bytes({"sigmas": levels, "table": prices.table, "free": prices.free}))
    return file


def load(folder: str | Path, key: Key) -> Prices | None:
    """The prices that were stored under this key; None where there are none, or what is there cannot be read."""
    try:
        stored = load_file(Path(folder) / key.name)
        sigmas, table, free = (stored[name] for name in ("sigmas", "table", "free"))
    except (OSError, KeyError, SafetensorError):
        return None
    n = len(sigmas)
    if n < 2 or table.shape != (n, n) or free.shape != (n, n) or (sigmas.diff() >= 0).any():
        return None
    return Prices(tuple(sigmas.tolist()), table, free)
