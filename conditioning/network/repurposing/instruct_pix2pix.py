from typing import Annotated, Any

from torch import Tensor

from conditioning.network.repurposing.inpainting_network import KEY
from conditioning.registry import Help, Image, Knob, Prompt, method
from samplers.flow import Cond, Denoiser, Flow, together


@method(
    task="editing",
    paper="2211.09800",
    search=("edit by instruction", "instruction", "ip2p", "pix2pix", "make it", "change the picture", "cosxl edit"),
    needs=("editing network",),
    rows=3,
)
def instruct_pix2pix(
    D: Denoiser,
    image: Annotated[Image, Help("The image that is edited")],
    null: Prompt,
    image_scale: Annotated[
        float,
        Knob(0, 5, curve=True, label="Image CFG Scale",
             help="How much of the image is kept; CFG Scale is how strongly the instruction is followed"),
    ] = 1.5,
) -> Denoiser:
    """InstructPix2Pix.

    A network that was trained on for this task reads the image beside the noisy latents, and the prompt is an
    instruction: "make the sphere blue". Guidance has two scales, one for the image and one for the instruction (Brooks
    et al. 2022, Eq. 3); the latter is CFG Scale.

        x0 = D(c, image) + (image_scale - 1) (D(u, image) - D(u))

    image: latents (B, C, h, w) of the image. null: cond u of the negative prompt. Under classifier-free guidance of
    scale s this is D(u) + image_scale (D(u, image) - D(u)) + s (D(c, image) - D(u, image)), the paper's equation; its
    three rows are asked once each. At an image scale of 1 the row without the image is not asked.
    """

    def edited(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        beside = {KEY: image.expand(len(x), -1, -1, -1)}
        given, nothing = {**cond, **beside}, {**null, **beside}
        if image_scale == 1:
            return (yield from D(x, sigma, given, **kw))
        c, i, u = yield from together(*(D(x, sigma, one, **kw) for one in (given, nothing, null)))  # (B, C, h, w) each
        return c + (image_scale - 1) * (i - u)

    return edited
