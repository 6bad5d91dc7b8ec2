from collections.abc import Sequence
from itertools import pairwise
from math import inf, sqrt

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, climbing
from samplers.heun import heun


def churned(
    sampler: Sampler, amount: float = 40.0, low: float = 0.05, high: float = inf, most: float = sqrt(2) - 1
) -> Sampler:
    """The same sampler, with a short climb before every step (Karras et al. 2022, arXiv 2206.00364, Alg. 2).

    amount, low, high: the paper's S_churn, S_tmin and S_tmax. A step from s with low <= s <= high starts at
    s (1 + min(amount / steps, most)), but no higher than the run did, where no network was trained: so a step from an
    infinite start is left alone. S_noise is 1, the marginal of the level exactly. One of many steps is called afresh.
    """

    def with_churn(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        gamma = min(amount / max(len(sigmas) - 1, 1), most)
        levels = [sigmas[0]]
        for s, s_next in pairwise(sigmas):
            top = min(s * (1 + gamma), sigmas[0]) if low <= s <= high else s
            levels += [top, s_next] if top > s else [s_next]
        return (yield from climbing(sampler, stream=None)(D, x, levels, cond, noise))

    return with_churn


def churn(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """Heun steps with churn: before each, fresh noise up to a higher level (Karras et al. 2022, Alg. 2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network calls a step, at levels up to sqrt(2) above the
    schedule's; stochastic. With more churn than an error of the network needs, details are lost.
    """
    return churned(heun)(D, x, sigmas, cond, noise)
