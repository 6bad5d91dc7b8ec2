import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Knob, Operator, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step


@method(
    task="restoration",
    paper="2201.11793",
    search=(
        "restore", "super-resolution", "upscale", "deblur", "blur", "colourise", "old photo", "grey to colour",
        "low resolution", "JPEG", "denoise", "inpaint",
    ),
    needs=("pixels",),
    traits=("replaces_steps", "follows_observation"),
)
def ddrm(
    sampler: Sampler,
    measured: Operator,
    eta: Annotated[float, Knob(0, 1,
        help="How much of the noise is drawn anew where nothing was observed: 0 none, 1 all of it")] = 0.85,
    eta_b: Annotated[
        float, Knob(0, 1, label="Eta b", help="How much the observation counts where it is surer than the image so far")
    ] = 1.0,
) -> Sampler:
    """DDRM.

    A diffusion in the coordinates of the singular vectors of A: where something was observed the state is a mean of the
    denoised prediction and the observation, weighted by how certain they are, and elsewhere it is a plain diffusion
    (Kawar et al. 2022, Section 3.2). It has its own steps, whatever the sampler is.

        s = 0:             x0 + sqrt(1 - eta^2) s' eps + eta s' z
        s s' <  sigma_y:   x0 + sqrt(1 - eta^2) s' (y - x0) s / sigma_y + eta s' z
        s s' >= sigma_y:   (1 - eta_b) x0 + eta_b y + sqrt(s'^2 - eta_b^2 sigma_y^2 / s^2) z

    with x0, eps, z in the coordinates V^T and y for U^T y / s. The noise of the state has to be white in these, so the
    state has to be pixels and the degradation linear.

    The paper takes 20 steps. At the last level the third case holds for a measurement without noise too, where the
    official code takes the second: so A x = y, up to rounding. It is no exact sampler of the posterior: with noise it
    comes out too close to A+ y, with too little spread.
    """
    operator, sigma_y = measured.linear("DDRM"), measured.sigma_y
    keep = math.sqrt(1 - eta**2)

    def restored(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("ddrm")
        s, inverse = operator.s.to(x), operator.inverse.to(x)  # (1 or B, D)
        b = sigma_y * inverse  # how uncertain ybar is
        ybar = inverse * operator.Ut(measured.y.to(x))  # (B, D)

        top, z = sigmas[0], operator.Vt(x) / sigmas[0]
        start = ybar + (top**2 - b**2).clamp(min=0).sqrt() * z
        x = operator.V(torch.where((s > 0) & (s * top >= sigma_y), start, top * z))

        for level, s_next in pairwise(sigmas):
            denoised = yield from D(x, level, cond)  # (B, C, H, W)
            x0, eps, z = operator.Vt(denoised), operator.Vt((x - denoised) / level), operator.Vt(fresh(x))
            free = x0 + keep * s_next * eps + eta * s_next * z
            vague = x0 + keep * s_next * (ybar - x0) * s / max(sigma_y, 1e-30) + eta * s_next * z
            spread = (s_next**2 - eta_b**2 * b**2).clamp(min=0).sqrt()
            clear = (1 - eta_b) * x0 + eta_b * ybar + spread * z
            observed = torch.where(s * s_next >= sigma_y, clear, vague)
            x = yield Step(operator.V(torch.where(s > 0, observed, free)), denoised, s_next)
        return x

    return restored
