from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Knob, Operator, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step


@method(
    task="restoration",
    paper="2105.14951",
    search=(
        "restore", "super-resolution", "upscale", "deblur", "blur", "denoise", "noisy image",
        "posterior samples", "Langevin",
    ),
    needs=("pixels",),
    traits=("replaces_steps", "follows_observation"),
    nfe=None,
    rows=None,
)
def snips(
    sampler: Sampler,
    measured: Operator,
    inner: Annotated[
        int, Knob(1, 200, label="Inner steps",
                  help="Small steps with new noise at each noise level (Langevin steps); each asks the network once")
    ] = 10,
    rate: Annotated[
        float, Knob(0.001, 0.5, label="Step size",
                    help="How far such a small step goes, in units of the level's variance")
    ] = 0.2,
) -> Sampler:
    """SNIPS.

    Langevin dynamics at falling noise levels, in the coordinates of the singular vectors of A, whose score is that of
    the posterior: the noise of the observation is taken as a part of the noise of the state (Kawar, Vaksman & Elad
    2021, Algorithm 1). With many small steps it samples the posterior exactly. It is the whole loop, whatever the
    sampler is.

        x = x + a g + sqrt(2 a) z
        s = 0:            a = c sigma^2                               g = score
        s sigma > sigma_y: a = c (sigma^2 - sigma_y^2 / s^2)            g = s (U^T y - s x) / |s^2 sigma^2 - sigma_y^2|
        s sigma < sigma_y: a = c sigma^2 (1 - s^2 sigma^2 / sigma_y^2)   g = the same + score

    c is `rate`. Each level of the schedule has `inner` steps, which forget all but (1 - c)^inner of the noise of the
    level before. The official setting has 500 levels from 90 to 0.01, 2 % apart, and 5 steps each with c = 0.033;
    twenty levels lie ten times as far apart, so these defaults are larger: ten steps of 0.2 forget nine tenths, where
    the official two would leave the noise of the first levels in the result. The noise of the state has to be white in
    these coordinates, so the state has to be pixels and the degradation linear.

    The last state is the network's denoised prediction, but for coordinates that were measured more surely than the
    last level: they become the measurement, so that A x = y where it has no noise."""
    operator, sigma_y = measured.linear("SNIPS"), measured.sigma_y

    def annealed(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("snips")
        s, inverse = operator.s.to(x), operator.inverse.to(x)  # (1 or B, D)
        y = operator.Ut(measured.y.to(x))  # (B, D)
        observed = s > 0
        for sigma in sigmas[:-1]:
            sure = observed & (s * sigma > sigma_y)  # the measurement is surer than the state
            unsure = observed & ~sure
            b = (sigma_y * inverse) ** 2
            a = rate * torch.where(sure, sigma**2 - b, torch.where(unsure, sigma**2 * (1 - sigma**2 / b), sigma**2))
            a = torch.where(a.isfinite(), a, 0.0).clamp(min=0)
            gap = torch.where(observed, (s**2 * sigma**2 - sigma_y**2).abs().clamp(min=1e-20), 1.0)
            for _ in range(inner):
                x0 = yield from D(x, sigma, cond)  # (B, C, H, W)
                c = operator.Vt(x)
                data = torch.where(observed, s * (y - s * c) / gap, 0.0)
                score = torch.where(sure, 0.0, operator.Vt(x0 - x) / sigma**2)
                x = operator.V(c + a * (data + score) + (2 * a).sqrt() * operator.Vt(fresh(x)))
            x = yield Step(x, x0, sigma)
        x0 = yield from D(x, sigma, cond)
        end = torch.where(sure, inverse * y, operator.Vt(x0))
        return (yield Step(operator.V(end), x0, 0.0))

    return annealed
