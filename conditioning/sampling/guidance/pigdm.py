import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

from torch import Tensor

from conditioning.gradients import gradient, leaf
from conditioning.operators import Linear, Measurement, projection, state_is_pixels
from conditioning.registry import Choice, Knob, Operator, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step
from samplers.schedules import highest


@method(
    task="restoration",
    paper="2305.04391",
    search=(
        "restore", "super-resolution", "upscale", "deblur", "blur", "inverse problem", "JPEG", "denoise",
        "inpaint", "colourise",
    ),
    needs=("gradients",),
    traits={"follows_observation": None, "replaces_steps": ("weights", "adaptive")},
    order_in_family=1,
)
def pigdm(
    sampler: Sampler,
    measured: Operator,
    weights: Annotated[
        str,
        Choice(
            ("adaptive", "exact"),
            label="Gradient weights",
            help="How the observation is weighed against the model: adaptive as in the paper, exact by Bayes' rule",
        ),
    ] = "adaptive",
    scale: Annotated[
        float, Knob(0, 5, neutral=0, label="Gradient scale",
                    help="How strongly the observation pulls; 1 is the paper's")
    ] = 1.0,
    eta: Annotated[
        float, Knob(0, 1, ignored_when=("weights", "exact"),
                    help="New noise at every step: 0 none (DDIM), 1 the most (DDPM); with adaptive weights only")
    ] = 1.0,
    backbone: Any = None,
) -> Sampler:
    """PiGDM.

    The correction that the observation makes to the denoised prediction is brought to the state through the transposed
    Jacobian of the network: the score of the observation, if the image is Gaussian around the denoised prediction with
    variance r^2 (Song et al. 2023, "Pseudoinverse-Guided Diffusion Models", Section 3).

        g = J^T A^T (A A^T + sigma_y^2 / r^2)^-1 (y - A x0),    J = d x0 / d x,    r^2 = s^2 / (1 + s^2)
        x = x0 + scale g + sqrt(s'^2 - c^2) eps + c z,    c = eta s' sqrt(1 - s'^2 / s^2)

    This is the paper's step, with its adaptive weights; eps is that of the denoised prediction before the correction.
    `exact` gives the gradient the weight s^2 / r^2 of Bayes' rule, x0' = x0 + scale (1 + s^2) g, and keeps the sampler:
    for Gaussian data of unit variance that is the exact posterior, while the paper's form drifts towards A+ y.

    Without noise the correction is x0's projection onto y, as in DDNM, and on latents the projection goes through the
    autoencoder, and the gradient through the network alone. With noise every singular value has its own part where A is
    linear and the state is pixels, else all have r^2 / (r^2 + sigma_y^2).

    The authors do otherwise: for JPEG they take decompress(y) - decompress(compress(x0)) (Section 3.3); here x0 is
    projected onto the box of the images that compress to y, as in DDNM.
    """
    if scale == 0:
        return sampler
    correction = corrections(measured, backbone)

    def score(D: Denoiser, x: Tensor, sigma: float | Tensor, cond: Cond, tape: object | None = None, **kw: Any) -> Flow:
        """x0 and g."""
        x, tape, outer = leaf(x, tape)
        x0 = yield from D(x, sigma, cond, tape=tape, **kw)
        s = highest(sigma)
        right = correction(x0.detach(), s**2 / (1 + s**2))  # (B, C, H, W)
        g = gradient((right * x0).flatten(1).sum(1), x, outer)
        return (x0 if outer else x0.detach()), g

    def bayes(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        def posterior(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
            x0, g = yield from score(D, x, sigma, cond, **kw)
            return x0 + scale * (1 + highest(sigma) ** 2) * g

        return (yield from sampler(posterior, x, sigmas, cond, noise))

    def adaptive(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh = noise.child("pigdm")
        for s, s_next in pairwise(sigmas):
            x0, g = yield from score(D, x, s, cond)
            eps, right = (x - x0) / s, x0 + scale * g
            c = eta * s_next * math.sqrt(1 - (s_next / s) ** 2)
            x = yield Step(right + math.sqrt(s_next**2 - c**2) * eps + c * fresh(x), right, s_next)
        return x

    return bayes if weights == "exact" else adaptive


def corrections(measured: Measurement, backbone: Any = None) -> Callable[[Tensor, float], Tensor]:
    """x0 (B, C, h, w) and r^2 -> A^T (A A^T + sigma_y^2 / r^2)^-1 (y - A x0), in the state's space."""
    operator, sigma_y = measured.operator, measured.sigma_y
    if sigma_y > 0 and isinstance(operator, Linear) and state_is_pixels(backbone):

        def spectral(x0: Tensor, r2: float) -> Tensor:
            s = operator.s.to(x0)  # (1 or B, D)
            miss = operator.Ut(measured.y.to(x0)) - s * operator.Vt(x0)
            return operator.V(s / (s**2 + sigma_y**2 / r2) * miss)

        return spectral
    project = projection(measured, backbone)
    return lambda x0, r2: r2 / (r2 + sigma_y**2) * (project(x0) - x0)
