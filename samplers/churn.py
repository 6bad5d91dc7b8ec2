from collections.abc import Sequence
from itertools import pairwise
from math import inf, sqrt
from typing import Annotated

from torch import Tensor

from common.knobs import Knob
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, renoising
from samplers.heun import heun
from samplers.solver import solver


def churned(
    sampler: Sampler,
    amount: float = 40.0,
    low: float = 0.05,
    high: float = inf,
    scale: float = 1.0,
    most: float = sqrt(2) - 1,
) -> Sampler:
    """The same sampler, with a short climb before every step (Karras et al. 2022, arXiv 2206.00364, Alg. 2).

    amount, low, high, scale: the paper's S_churn, S_tmin, S_tmax and S_noise. A step from s with low <= s <= high
    starts at s (1 + min(amount / steps, most)), but no higher than the run did, where no network was trained: so a step
    from an infinite start is left alone. At scale 1 the climb keeps the marginal of the level exactly. One of many
    steps is called afresh.
    """

    def with_churn(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        gamma = min(amount / max(len(sigmas) - 1, 1), most)
        levels = [sigmas[0]]
        for s, s_next in pairwise(sigmas):
            top = min(s * (1 + gamma), sigmas[0]) if low <= s <= high else s
            levels += [top, s_next] if top > s else [s_next]
        return (yield from renoising(sampler, stream=None, scale=scale)(D, x, levels, cond, noise))

    return with_churn


@solver("Heun (EDM, churn)", paper="2206.00364", order=2, nfe=2, stochastic=True, renoises=True, between=True)
def churn(
    D: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    noise: Noise,
    s_churn: Annotated[
        float, Knob(0, 100, help="How much noise is added on the way, over all steps, and removed again; 0 is Heun")
    ] = 40.0,
    s_noise: Annotated[float, Knob(0, 1.1, ignored_when=("s_churn", 0), help="Strength of the added noise")] = 1.0,
    s_tmin: Annotated[
        float, Knob(0, 10, ignored_when=("s_churn", 0), help="No noise is added below this noise level")
    ] = 0.05,
    s_tmax: Annotated[
        float, Knob(0, 1000, ignored_when=("s_churn", 0), help="No noise is added above this noise level; 0: no limit")
    ] = 0.0,
) -> Flow:
    """Heun steps with churn: before each, fresh noise up to a higher level (Karras et al. 2022, Alg. 2).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; two network evaluations a step, at levels up to sqrt(2) above
    the schedule's; stochastic. With more churn than an error of the network needs, details are lost. The paper searches
    for the four of every network (Table 5): 40 and 0.05 are its S_churn and S_tmin for ImageNet, where it has S_tmax 50
    and S_noise 1.003. The ranges, and 0 for no S_tmax, are A1111's."""
    return churned(heun, s_churn, s_tmin, s_tmax or inf, s_noise)(D, x, sigmas, cond, noise)
