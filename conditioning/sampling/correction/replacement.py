from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from torch import Tensor

from conditioning.registry import Help, Image, Knob, Mask, method
from conditioning.sampling.masks import kept_outside
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, stepwise


@method(
    task="inpainting",
    paper="2011.13456",
    search=(
        "inpaint", "mask", "outpaint", "fill a hole", "paint into a mask", "remove an object",
    ),
    nfe=None,
    rows=None,
)
def replacement(
    sampler: Sampler,
    known: Annotated[Image, Help("The image outside the mask", label="Image")],
    mask: Annotated[Mask, Help("Paint what is to be made anew")],
    corrector: Annotated[
        int, Knob(0, 10, label="Corrector steps",
                  help="Small extra steps at each level that let the new part settle; each asks the network (Langevin)")
    ] = 1,
    snr: Annotated[
        float,
        Knob(
            0.01,
            0.5,
            ignored_when=("corrector", 0),
            label="Corrector SNR",
            help="How far one of these extra steps goes; 0.075 for large images in the paper",
        ),
    ] = 0.16,
) -> Sampler:
    """Replacement (score-SDE inpainting).

    After every update what lies outside the mask becomes the known image, noised to the level; between two levels
    Langevin steps let the new part settle (Song et al. 2021, Appendix I.2 and Algorithm 4).

        x = m x + (1 - m) (known + sigma z)
        corrector:  x + e score + sqrt(2 e) z,  e = 2 (snr |z| / |score|)^2

    known: the image, latents (B, C, h, w). mask: (B, 1, h, w), True (or 1) where it is to be new.

    snr is the paper's for CIFAR, 0.075 for larger images. Of a latent network the known part is what the autoencoder
    gives back.

    The authors do otherwise: they noise the known part to the level before the step, here it is the level that the step
    reaches; they take the mean of the norms over a batch, here each image has its own; their Langevin steps have no
    bound, here |z| / |score| counts as at most twice the level.
    """

    def replaced(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        fresh, push = noise.child("replacement"), noise.child("replacement/corrector")

        def put(x: Tensor, sigma: float) -> Tensor:
            return kept_outside(mask, x, known.to(x) + sigma * fresh(x), sigma)

        def after(step: Step) -> Flow:
            x, s = put(step.x, step.sigma), step.sigma
            for _ in range(corrector if s > 0 else 0):
                x0 = yield from D(x, s, cond)
                x = put(langevin(x, (x0 - x) / s**2, push(x), snr, s), s)
            return (yield replace(step, x=x))

        return (yield from stepwise(sampler(D, put(x, sigmas[0]), sigmas, cond, noise), after))

    return replaced


def langevin(x: Tensor, score: Tensor, z: Tensor, snr: float, sigma: float) -> Tensor:
    """Algorithm 4 of the paper, the step size of each image by itself. All (B, C, h, w).

    |z| / |score| is near sigma for images; twice that is the limit, which keeps e below the curvature of any density.
    """

    def norm(v: Tensor) -> Tensor:
        return v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    e = 2 * (snr * (norm(z) / norm(score).clamp(min=1e-30)).clamp(max=2 * sigma)) ** 2
    return x + e * score + (2 * e).sqrt() * z
