import math
from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor

from conditioning.curves import at
from conditioning.gradients import gradient, leaf
from conditioning.operators import measurable
from conditioning.registry import Knob, Operator, method
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step
from samplers.schedules import highest


@method(
    task="restoration",
    paper="2209.14687",
    search=(
        "deblur", "blur", "restore", "super-resolution", "upscale", "inverse problem", "JPEG", "denoise",
        "inpaint", "colourise",
    ),
    needs=("gradients",),
    traits=("follows_observation",),
    order_in_family=2,
)
def dps(
    sampler: Sampler,
    measured: Operator,
    zeta: Annotated[
        float, Knob(0, 20, neutral=0, curve=True, label="Step size ζ",
                    help="How strongly every step is pulled towards the observation")
    ] = 3.0,
    made_sigmas: Sequence[float] = (),
    backbone: Any = None,
) -> Sampler:
    """DPS.

    After every step the state goes down the gradient, through the network, of the distance between the observation and
    what would be observed of the denoised prediction (Chung et al. 2023, "Diffusion Posterior Sampling", Algorithm 1).
    Any degradation with gradients will do, JPEG too; the observation is approached, and not kept exactly.

        x = x - zeta sqrt((1 + s'^2) (1 + s^2)) grad_x ||y - A(x0)||

    s is the level the step came from and s' the one it reached. The roots bring the paper's step, made in
    variance-preserving coordinates, to these ones. The gradient is that of the norm, not of its square, so its length
    does not depend on the misfit: the paper's zeta of 0.3 to 1 is one for 1000 ancestral steps, fewer want more. A
    solver that asks twice a step is asked for gradients once. On a pixel network A acts on the denoised prediction
    itself, on a latent one on its decoded image, and the gradient runs through the decoder.

    made_sigmas: the schedule of the run, over which a curve of `zeta` goes.

    The authors do otherwise: they clip x0 to [-1, 1]; here it is left as the network gives it.
    """
    if zeta == 0:
        return sampler
    operator = measured.operator

    def posterior(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        slopes: list[tuple[float, Tensor]] = []  # of the step under way: its level, and the gradient there

        def measuring(x: Tensor, sigma: float | Tensor, cond: Cond, tape: object | None = None, **kw: Any) -> Flow:
            if slopes:
                return (yield from D(x, sigma, cond, tape=tape, **kw))
            x, tape, outer = leaf(x, tape)
            x0 = yield from D(x, sigma, cond, tape=tape, **kw)
            miss = measured.y.to(x0) - operator.A(measurable(x0, backbone))  # (B, *y_shape)
            slopes.append((highest(sigma), gradient(miss.flatten(1).norm(dim=1), x, outer)))
            return x0 if outer else x0.detach()

        def down(step: Step) -> Tensor:
            if not slopes:  # a first step that asked nothing: see samplers/afs.py
                return step.x
            s, slope = slopes.pop()
            factor = math.sqrt((1 + step.sigma**2) * (1 + s**2))
            return step.x - at(zeta, made_sigmas or sigmas, s) * factor * slope

        return (yield from on_step(sampler(measuring, x, sigmas, cond, noise), down))

    return posterior
