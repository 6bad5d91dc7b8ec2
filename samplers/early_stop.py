from collections.abc import Sequence

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step


def stopping_at(sampler: Sampler, sigma: float) -> Sampler:
    """The same sampler, ended at level sigma by the ODE-jump: the denoised prediction there is the result.

    The jump goes from the sampling trajectory to the denoising trajectory (Chen et al. 2023, arXiv 2305.19947), whose
    points are clear images long before the sampling trajectory has lost its noise. It costs one network evaluation, and
    is the Euler step from sigma to 0, whatever the sampler. The levels above sigma are those of the schedule; at sigma
    0 nothing is left to jump, and a sigma above the schedule jumps from its start."""
    if sigma <= 0:
        return sampler

    def stopped(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        last = min(sigma, sigmas[0])
        x = yield from sampler(D, x, [*(s for s in sigmas if s > last), last], cond, noise)
        x0 = yield from D(x, last, cond)  # (B, C, H, W)
        return (yield Step(x0, x0, 0.0))

    return stopped
