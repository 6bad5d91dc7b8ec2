"""Gradients through the network, for methods of guidance: the leaf at which they arrive, and its tape.

    x, tape, outer = leaf(x, tape)
    x0 = yield from D(x, sigma, cond, tape=tape)
    g = gradient(loss(x0), x, outer)

A method inside another one of the kind is asked with a tape: x is then part of the outer graph, which is kept.
"""

import torch
from torch import Tensor


def leaf(x: Tensor, tape: object | None) -> tuple[Tensor, object, bool]:
    """x as gradients can arrive at it, the tape of the asks that they go through, and whether it is an outer one's."""
    if tape is None:
        return x.detach().requires_grad_(), object(), False
    return (x if x.requires_grad else x.detach().requires_grad_()), tape, True


def gradient(loss: Tensor, x: Tensor, outer: bool = False) -> Tensor:
    """The gradient at x (B, ...) of the losses (B,) of its rows, each of its own row.

    Raises ValueError where the loss does not depend on x: something on the way there gives no gradients.
    """
    if not loss.requires_grad:
        raise ValueError(
            "the loss does not depend on x: the network, or what reads its denoised prediction, gives no gradients"
        )
    (g,) = torch.autograd.grad(loss.sum(), x, retain_graph=outer)
    return g
