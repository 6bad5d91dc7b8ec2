"""Muon: momentum whose matrices are orthogonalised before the step; AdamW for everything that is no matrix.

Jordan et al. 2024 ("Muon: an optimizer for hidden layers"), with the step size of Liu et al. 2025 (arXiv 2502.16982,
eq. 4): 0.2 sqrt(max(rows, columns)) gives each entry the root mean square of a step of AdamW, so one learning rate
serves both. torch's own Muon takes matrices alone; most weights here are convolutions, flattened to (out, in * h * w).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that drives singular values towards 1
SMALLEST = 9  # rows and columns that a matrix must have: below, AdamW


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """(M, N) -> (M, N) of the same singular vectors, with singular values near 1 (between 0.7 and 1.2)."""
    a, b, c = COEFFICIENTS
    fast = matrix.is_cuda or torch.cpu._is_avx512_bf16_supported()
    x = matrix.to(torch.bfloat16 if fast else torch.float32)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """One optimiser for a whole network: its matrices by Muon, its vectors and thin matrices by AdamW.

    rate: learning rate of both. Embeddings and output layers may be kept from Muon by `is_matrix`.
    """

    def __init__(
        self,
        network: nn.Module,
        rate: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        is_matrix: Callable[[str, Tensor], bool] | None = None,
    ):
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        chosen = is_matrix or (lambda name, p: True)
        matrices = [
            p for name, p in named if p.ndim >= 2 and min(p.flatten(1).shape) >= SMALLEST and chosen(name, p)
        ]
        ids = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in ids]
        groups = [{"params": matrices, "muon": True}, {"params": others, "muon": False}]
        defaults = {"lr": rate, "weight_decay": weight_decay, "momentum": momentum, "betas": betas}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            moved = self._muon if group["muon"] else self._adamw
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"] * (p.ndim >= 2))
                    p.add_(moved(p, group), alpha=-group["lr"])

    def _muon(self, p: Tensor, group: dict) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum = state["momentum"].mul_(group["momentum"]).add_(p.grad)  # type: ignore[arg-type]
        ahead = p.grad.add(momentum, alpha=group["momentum"]).flatten(1)  # type: ignore[union-attr]
        return orthogonalised(ahead).mul_(0.2 * max(ahead.shape) ** 0.5).view(p.shape)

    def _adamw(self, p: Tensor, group: dict) -> Tensor:
        state, (first, second) = self.state[p], group["betas"]
        if not state:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        state["step"] += 1
        mean = state["mean"].lerp_(p.grad, 1 - first)  # type: ignore[arg-type]
        square = state["square"].lerp_(p.grad.square(), 1 - second)  # type: ignore[union-attr]
        n = float(state["step"])
        return mean / (1 - first**n) / ((square / (1 - second**n)).sqrt() + 1e-8)
