"""Several prompts of one run, which hold together: composable diffusion (Liu et al. 2022, Eq. 11), as AND in a prompt
means it in A1111."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, role_of, together, with_role


def joined(D: Denoiser, null: Cond, weight: float, others: Sequence[tuple[Cond, float]]) -> Denoiser:
    """The denoised prediction for the prompt of the run and others beside it, each by its weight:

        x0 = u + weight (c - u) + sum_i weight_i (c_i - u)

    null: cond of the negative prompt, whose denoised prediction u is. others: (cond, weight_i). Under classifier-free
    guidance of scale s this is A1111's u + s (weight (c - u) + ...). Asks of other roles pass unchanged.
    """

    def all_of(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        if role_of(cond) != "prompt":
            return (yield from D(x, sigma, cond, **kw))
        conds = [null, cond, *(with_role(other, "other") for other, _ in others)]
        u, *each = yield from together(*(D(x, sigma, one, **kw) for one in conds))
        weights = [weight, *(one for _, one in others)]
        return u + sum(one * (x0 - u) for one, x0 in zip(weights, each))

    return all_of
