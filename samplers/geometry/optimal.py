"""The optimal denoiser of a finite set of images, and what it tells about a network.

For data y_1 ... y_n the best prediction of x0 at x is their mean with the weights softmax(-|x - y_i|^2 / (2 sigma^2))
(Chen et al. 2023, arXiv 2305.19947). It goes by blocks with a streaming log-sum-exp, so that 50,000 images
need the memory of one block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samplers.euler import euler
from samplers.geometry.trajectory import Trajectory, recorded
from samplers.noise import Noise
from samplers.protocol import Ask, Cond, Denoiser, Flow


class Optimal:
    """The optimal denoiser of a finite set; computes in float64, answers in the dtype and on the device of x.

    data: (n, C, H, W), or what can be iterated over more than once and gives blocks (m, C, H, W): a list of tensors, or
        a `Folder` of images.
    block: so many images of a tensor at a time.

    Raises ValueError for a one-way iterator, and for empty data when it is first asked.
    """

    def __init__(self, data: Tensor | Iterable[Tensor], block: int = 1024):
        if not isinstance(data, Tensor) and iter(data) is data:
            raise ValueError("the data is an iterator, which ends once read: give a tensor, or a list of blocks")
        self.data, self.block = data, block

    def blocks(self) -> Iterator[Tensor]:
        """The data in order: blocks (m, C, H, W)."""
        return iter(self.data.split(self.block) if isinstance(self.data, Tensor) else self.data)

    # ---- the denoiser ----------------------------------------------------------------------------------------------

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """r*(x; sigma) = sum_i w_i y_i: x (B, C, H, W) at level sigma > 0, a float or (B,).

        For sigma to infinity the mean of the data, for sigma to 0 the nearest image.
        """
        return self._mean(x, sigma)[0].view_as(x).to(x)

    def denoise(self, ask: Ask) -> Tensor:
        """The same as the `answer` of a driver, in place of a network; of the condition it knows nothing."""
        return self(ask.x, ask.sigma)

    def D(
        self, x: Tensor, sigma: float | Tensor, cond: Cond | None = None, edit: object = None, tape: object = None
    ) -> Flow:
        """The same as a Denoiser, for any sampler: it asks nobody, whatever network the driver has.

        It yields an empty list, to which the driver comes back next round: so its runs can be cancelled, and keep no
        other waiting.
        """
        yield []
        return self(x, sigma)

    def shift(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The mean-shift vector r*(x; sigma) - x = sigma^2 grad log p(x; sigma), for a Gaussian kernel of bandwidth
        sigma.

        An Euler step to s' is a mean shift of factor 1 - s' / s, and the next one has the bandwidth s': annealed mean
        shift. A whole shift is the jump to the denoising trajectory.
        """
        return self(x, sigma) - x

    def log_density(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """log of (1 / n) sum_i N(x; y_i, sigma^2 I) in nats: (B,) float64.

        It does not fall along the optimal path: neither by a whole shift nor by a part of it.
        """
        p, s = x.detach().double().flatten(1), _levels(sigma, x)
        _, log_sum, n = self._mean(x, sigma)
        d = p.shape[1]
        return log_sum - (p**2).sum(1) / (2 * s**2) - math.log(n) - d / 2 * (2 * math.pi * s**2).log()

    def _mean(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, int]:
        """The weighted mean (B, D), the log of the sum of exp((x y_i - |y_i|^2 / 2) / sigma^2) (B,), and n.

        |x|^2 is the same for all i: it is left out, and with it the cancellation far from the data.
        """
        p, s = x.detach().double().flatten(1), _levels(sigma, x)  # (B, D), (B,)
        top = p.new_full((len(p),), -math.inf)  # the highest exponent so far
        total, mean, n = torch.zeros_like(top), torch.zeros_like(p), 0
        for y in self._flat(p):
            logits = (p @ y.T - (y**2).sum(1) / 2) / s[:, None] ** 2  # (B, m)
            higher = torch.maximum(top, logits.amax(1))
            rescale, w = (top - higher).exp(), (logits - higher[:, None]).exp()
            total, mean, top = rescale * total + w.sum(1), rescale[:, None] * mean + w @ y, higher
            n += len(y)
        if n == 0:
            raise ValueError("the data is empty: the optimal denoiser is a mean of at least one image")
        return mean / total[:, None], top + total.log(), n

    def _flat(self, like: Tensor) -> Iterator[Tensor]:
        for block in self.blocks():
            if not len(block):
                continue
            y = block.detach().to(like.device).double().flatten(1)  # (m, D)
            if y.shape[1] != like.shape[1]:
                raise ValueError(f"data of {y.shape[1]} numbers and an x of {like.shape[1]}: give the same size")
            yield y

    # ---- the nearest images --------------------------------------------------------------------------------------

    def nearest(self, x: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
        """The k nearest images of every row: distances (B, k) float64, ascending, and their numbers (B, k).

        k = 5 is the paper's check for memorisation. Fewer columns where the data has fewer images.
        """
        p = x.detach().double().flatten(1)
        distances, numbers, n = p.new_zeros(len(p), 0), torch.zeros(len(p), 0, dtype=torch.long, device=p.device), 0
        for y in self._flat(p):
            gap = torch.cdist(p, y, compute_mode="donot_use_mm_for_euclid_dist")  # exact: 0 for a copy
            numbered = torch.arange(n, n + len(y), device=p.device).expand(len(p), -1)
            both, which = torch.cat([distances, gap], 1), torch.cat([numbers, numbered], 1)
            distances, order = both.topk(min(k, both.shape[1]), largest=False)
            numbers, n = which.gather(1, order), n + len(y)
        return distances, numbers

    def copied(self, x: Tensor, k: int = 5) -> Tensor:
        """Is it a copy? The distance to the nearest image over the mean of that to the k nearest, (B,) in 0..1.

        0 for an image of the data, near 1 where none of them stands out.
        """
        distances, _ = self.nearest(x, k)
        return distances[:, 0] / distances.mean(1).clamp(min=1e-300)


# ---- a network against the optimum ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScoreDeviation:
    """|r_theta - r*| at every level but the last, in units of the state, (N, B), along two paths from one start.

    on_model: along the network's own path; on_optimal: along the optimal one. apart (N + 1, B): the distance of the two
    states. model and optimal: the paths.
    """

    on_model: Tensor
    on_optimal: Tensor
    apart: Tensor
    model: Trajectory
    optimal: Trajectory


def score_deviation(
    D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise, optimal: Optimal
) -> Flow:
    """How far a network is from the optimum of its data: Euler runs of both, and each asked on the other's path too
    (Chen et al. 2023). Yields the Steps of both runs, 2 N network evaluations in all; returns a ScoreDeviation.

    A network that equals the optimum can only repeat its data; the levels where it departs are those at which it
    generalises.
    """
    own = yield from recorded(euler(D, x, sigmas, cond, noise), x, sigmas[0])
    best = yield from recorded(euler(optimal.D, x, sigmas, cond, noise), x, sigmas[0])
    on_model = [_gap(own.x0[n], optimal(own.x[n], s)) for n, s in enumerate(sigmas[:-1])]
    on_optimal = []
    for n, s in enumerate(sigmas[:-1]):
        x0 = yield from D(best.x[n].to(x), s, cond)
        on_optimal.append(_gap(x0.cpu(), best.x0[n]))
    apart = (own.x - best.x).double().flatten(2).norm(dim=-1)
    return ScoreDeviation(torch.stack(on_model), torch.stack(on_optimal), apart, own, best)


def _gap(a: Tensor, b: Tensor) -> Tensor:
    return (a.detach().double() - b.detach().double()).flatten(1).norm(dim=1)


def _levels(sigma: float | Tensor, x: Tensor) -> Tensor:
    """(B,) float64. Raises ValueError for a level that is not above 0."""
    s = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(len(x))
    if (s <= 0).any():
        raise ValueError(f"sigma {sigma}: the optimal denoiser is asked at levels above 0")
    return s
