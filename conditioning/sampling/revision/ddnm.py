import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.operators import Linear, Measurement, projection, state_is_pixels
from conditioning.registry import Knob, Operator, method
from conditioning.sampling.correction.repaint import travelling
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step

Update = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]  # x0, eps, z, s_next -> x, corrected x0


@method(
    task="restoration",
    paper="2212.00490",
    search=(
        "restore", "super-resolution", "upscale", "deblur", "blur", "colourise", "old photo", "grey to colour",
        "low resolution", "JPEG", "denoise", "inpaint", "compressed sensing",
    ),
    traits=("replaces_steps", "follows_observation"),
)
def ddnm(
    sampler: Sampler,
    measured: Operator,
    eta: Annotated[float, Knob(0, 1,
                               help="How much of the noise is drawn anew at every step: 0 none, 1 all of it")] = 0.85,
    jump: Annotated[
        int,
        Knob(
            1,
            100,
            ignored_when=("times", 1),
            counts_steps=True,
            label="Travel length",
            help="How many steps it goes back up to more noise, to make them again",
        ),
    ] = 1,
    times: Annotated[
        int, Knob(1, 20, label="Travel repeats", help="How often each stretch of steps is made; 1 never goes back")
    ] = 1,
    backbone: Any = None,
) -> Sampler:
    """DDNM.

    Of every denoised prediction the part that the operator sees is replaced by the observation, and its null space is
    left to the network (Wang, Yu & Zhang 2023, Algorithm 1; for a noisy observation DDNM+, Section 3.3). It has its own
    steps, whatever the sampler is; time travel is RePaint's.

        x0' = x0 - A+ (A x0 - y)
        x = x0' + s' (eta z + sqrt(1 - eta^2) eps)

    The result then has A x = y, up to rounding, if the measurement has no noise and the state of the network is pixels.
    On latents x0' is found through the autoencoder, which keeps the measurement only as well as it keeps images.
    JPEG, which is not linear, is projected to the nearest image that compresses to y.

    With noise sigma_y every singular value s has its own share of correction, lambda, and of noise: lambda = 1 while
    s' >= sigma_y / s. That needs the singular values and pixels; otherwise one lambda = min(1, s' / sigma_y) holds for
    all, the paper's simple form. The paper has 100 steps, and travel of 10 steps and 3 passes for hard tasks.
    """
    operator, noisy = measured.operator, measured.sigma_y > 0
    if noisy and isinstance(operator, Linear) and state_is_pixels(backbone):
        update = spectral(operator, measured, eta)
    else:
        update = simple(projection(measured, backbone), measured.sigma_y, eta)

    def null_space(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("ddnm")
        for s, s_next in pairwise(sigmas):
            x0 = yield from D(x, s, cond)  # (B, C, H, W)
            x, x0 = update(x0, (x - x0) / s, fresh(x), s_next)
            x = yield Step(x, x0, s_next)
        return x

    return travelling(null_space, jump, times) if times > 1 else null_space


def simple(project: Callable[[Tensor], Tensor], sigma_y: float, eta: float) -> Update:
    """One correction for the whole measurement; without noise it is plain DDNM."""

    def update(x0: Tensor, eps: Tensor, z: Tensor, s_next: float) -> tuple[Tensor, Tensor]:
        part = 1.0 if s_next >= sigma_y else s_next / sigma_y
        right = project(x0)
        x0 = right if part == 1 else x0 + part * (right - x0)
        left = math.sqrt(max(s_next**2 - (part * sigma_y) ** 2, 0.0))
        return x0 + left * (eta * z + math.sqrt(1 - eta**2) * eps), x0

    return update


def spectral(operator: Linear, measured: Measurement, eta: float) -> Update:
    """A correction and a noise for every singular value, as in DDNM+."""
    sigma_y, keep = measured.sigma_y, math.sqrt(1 - eta**2)

    def update(x0: Tensor, eps: Tensor, z: Tensor, s_next: float) -> tuple[Tensor, Tensor]:
        s, inverse = operator.s.to(x0), operator.inverse.to(x0)  # (1 or B, D)
        b = sigma_y * inverse  # how uncertain ybar is
        c, y = operator.Vt(x0), inverse * operator.Ut(measured.y.to(x0))  # (B, D)
        observed, clear = s > 0, s_next >= b
        part = torch.where(clear, 1.0, s * s_next * keep / sigma_y)
        right = torch.where(observed, c + part * (y - c), c)
        left = torch.where(clear, (s_next**2 - b**2).clamp(min=0).sqrt(), eta * s_next)
        z, eps = operator.Vt(z), operator.Vt(eps)
        moved = torch.where(observed, left * z, s_next * (eta * z + keep * eps))
        return operator.V(right + moved), operator.V(right)

    return update
