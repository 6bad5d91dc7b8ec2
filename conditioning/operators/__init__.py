"""Operators: how a measurement y = A(x) + sigma_y n came from an image, one file an operator.

`OPERATORS[name](shape, **parameters)` is the operator on images (C, H, W) of [-1, 1]; `measure` degrades an image
with it. Methods receive the Measurement: the operator, y and sigma_y. All but JPEG are linear and know their singular
value decomposition; what every one can do is in `operators.base`.

Where the state of a backbone is pixels (the oracle, pixel networks), methods apply the operator to the state itself.
Where the state is a latent, A is still a matter of pixels: `projection` goes there and back through the autoencoder,
which keeps the measurement as well as the autoencoder keeps images, and not exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from conditioning.operators.blur import GaussianBlur, MotionBlur
from conditioning.operators.colour import Grey
from conditioning.operators.inpainting import Inpainting
from conditioning.operators.jpeg import JPEG
from conditioning.operators.operator import Linear, Measurement, Operator, Shape
from conditioning.operators.sensing import CompressedSensing
from conditioning.operators.super_resolution import Bicubic, BlockAverage
from samplers.noise import Noise

__all__ = [
    "JPEG", "OPERATORS", "Bicubic", "BlockAverage", "CompressedSensing", "Degradation", "GaussianBlur", "Grey",
    "Inpainting", "Linear", "Measurement", "MotionBlur", "Operator", "Shape", "measurable", "measure", "projection",
    "state_is_pixels",
]  # fmt: skip

OPERATORS: dict[str, Callable[..., Operator]] = {
    "inpainting": Inpainting,
    "super_resolution": BlockAverage,
    "super_resolution_bicubic": Bicubic,
    "gaussian_blur": GaussianBlur,
    "motion_blur": MotionBlur,
    "colourisation": Grey,
    "compressed_sensing": CompressedSensing,
    "jpeg": JPEG,
}


def measure(operator: Operator, x: Tensor, sigma_y: float = 0.0, noise: Noise | None = None) -> Measurement:
    """y = A(x) + sigma_y n of images x (B, C, H, W) in [-1, 1]; the noise is drawn where something was measured."""
    if sigma_y < 0 or (sigma_y > 0 and noise is None):
        raise ValueError(f"sigma_y is {sigma_y}: give 0 or more, and with more the noise to draw from")
    y = operator.A(x)
    if sigma_y > 0 and noise is not None:
        y = operator.clean(y + sigma_y * noise.child("measurement")(y))
    return Measurement(operator, y, sigma_y)


@dataclass(frozen=True)
class Degradation:
    """What a person gives for an operator: an image, what is done to it, and the noise of the measurement.

    image: (1, 3, H, W) in [0, 1]. name: of OPERATORS. sigma_y: in units of [-1, 1], twice that of [0, 1].
    """

    image: Tensor
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sigma_y: float = 0.0
    seed: int = 0

    def measured(self, backbone: Any, rows: int) -> Measurement:
        """The measurement of B rows, in the space where this backbone is asked about it (see `projection`)."""
        if self.name not in OPERATORS:
            raise ValueError(f"no degradation {self.name!r}: there are {', '.join(OPERATORS)}")
        x = backbone.encode_image(self.image) if state_is_pixels(backbone) else self.image * 2 - 1
        C, H, W = x.shape[1:]
        one = measure(OPERATORS[self.name]((C, H, W), **self.parameters), x, self.sigma_y, Noise([self.seed]))
        return Measurement(one.operator, one.y.expand(rows, *one.y.shape[1:]), self.sigma_y)


def state_is_pixels(backbone: Any) -> bool:
    """Whether the operator acts on the state itself. Without a backbone it does."""
    return backbone is None or "pixels" in getattr(backbone, "offers", ())


def measurable(x0: Tensor, backbone: Any = None) -> Tensor:
    """x0 (B, C, h, w) in the state's space -> the images in [-1, 1] that an operator takes; gradients run through."""
    return x0 if state_is_pixels(backbone) else backbone.decode(x0) * 2 - 1


def projection(measured: Measurement, backbone: Any = None) -> Callable[[Tensor], Tensor]:
    """x0 (B, C, h, w) in the state's space -> the nearest x0' there that would have given y.

    On pixels this is exact. On latents, with the encoder E and the decoder D, it is x0 + E(P(D(x0))) - E(D(x0)): only
    what the measurement corrects goes through the autoencoder, and a denoised prediction that agrees with y stays as it
    is."""
    project, y = measured.operator.project, measured.y
    if state_is_pixels(backbone):
        return lambda x0: project(x0, y.to(x0))

    def through(x0: Tensor) -> Tensor:
        decoded = backbone.decode(x0) * 2 - 1  # (B, 3, H, W)
        right = project(decoded, y.to(decoded))
        return x0 + (backbone.encode_image((right + 1) / 2) - backbone.encode_image((decoded + 1) / 2)).to(x0)

    return through
