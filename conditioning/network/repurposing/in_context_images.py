from collections.abc import Callable, Mapping
from typing import Annotated, Any

from torch import Tensor

from conditioning.registry import Help, References, method
from samplers.flow import Cond

KEY = "reference."  # keys of cond begin so: (B, C, h, w) each, in their order


@method(
    task="editing",
    paper="2506.15742",
    search=(
        "Kontext", "edit by instruction", "instruction", "in-context", "reference image", "several images", "FLUX.2",
        "change the picture", "combine images",
    ),
    needs=("reference images",),
)
def in_context_images(
    backbone: Any,
    images: Annotated[References, Help("What is edited, or what the prompt speaks of: one image or several")],
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:
    """In-context images.

    A network that was trained for this task reads images as tokens beside those of the noisy one, and the prompt is an
    instruction: "make the sphere blue", "the sphere of the first image on the ground of the second". Attention carries
    over what the instruction leaves alone (FLUX.1 Kontext, Batifol et al. 2025, Section 3; FLUX.2).

        x0 = D([x, E(image_1), E(image_2), ...], c)

    images: latents (B, C, h, w) of each. It returns the further keys of an ask, the prompt's and the negative one's.

    The authors do otherwise: they scale a reference image to about a megapixel, Kontext to one of 17 sizes; here it has
    the size of the result.
    """
    given = {f"{KEY}{i}": image for i, image in enumerate(images)}

    def keys(sigma: float | Tensor, cond: Cond) -> Mapping[str, Tensor]:
        return given

    return keys
