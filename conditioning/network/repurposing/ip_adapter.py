from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Choice, Help, ImagePrompts, Interval, IPAdapterName, Knob, Mask, method
from samplers.flow import Cond, role_of
from samplers.schedules import highest, interval

NEED = "ip adapter"
ALL, STYLE, LAYOUT, BOTH = "all", "style", "layout", "style and layout"


@method(
    task="visual-signal-to-image",
    paper="2308.06721",
    search=(
        "IP-Adapter", "image prompt", "style reference", "reference image", "style transfer", "InstantStyle", "style",
        "character", "face", "adapter", "reference only",
    ),
    needs=(NEED,),
    intervals=(Interval("start", "end"),),
)
def ip_adapter(
    backbone: Any,
    images: Annotated[
        ImagePrompts,
        Help("What the result takes after, one image or several: the middle square of each is read", "Image prompt"),
    ],
    adapter: Annotated[
        IPAdapterName,
        Help(
            "To attach one, put its .safetensors file and the folder image_encoder into <model>_ip_adapters/, beside "
            "the model",
            label="IP-Adapter",
        ),
    ],
    where: Annotated[Mask, Help("Where the images act; everywhere without it", label="Region of the images")]
    | None = None,
    weight: Annotated[
        float,
        Knob(0, 2, neutral=0, curve=True, label="Image weight",
             help="How much the images count beside the prompt; at 1 they mostly outweigh it"),
    ] = 0.6,
    parts: Annotated[
        str,
        Choice((ALL, STYLE, LAYOUT, BOTH), label="What is taken over",
               help="Style or layout alone: the images are read by one block of the network (found on SDXL)"),
    ] = ALL,
    start: Annotated[float, Knob(0, 1, label="Starting adapter step", help="From this fraction of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, label="Ending adapter step", help="Up to this fraction of the steps")] = 1.0,
    sigmas: Sequence[float] = (),
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:  # fmt: skip
    """IP-Adapter.

    Images stand beside the prompt as a prompt of their own: an image encoder reads them, a small trained projection
    makes tokens of that, and every cross-attention layer attends to these with keys and values of their own, beside
    those of the text (Ye et al. 2023, Section 3.2, decoupled cross-attention). The network itself is left as it is.

        z = softmax(Q K^T / sqrt(d)) V + weight softmax(Q K_img^T / sqrt(d)) V_img

    images: (1, 3, S, S) in [0, 1] each; the tokens of several stand in one row. adapter: one of those that the backbone
    has. where: (B, 1, h, w) in the latents, 0..1, by which the second term is multiplied. sigmas: the schedule of the
    run, of which `start` and `end` are parts 0..1.

    parts: the layers that read the images (InstantStyle, Wang et al. 2024, arXiv 2404.02733): of style
    those of the second attention of the first block with attention on the way up, of layout those of the last one on
    the way down. That was found on SDXL; on Stable Diffusion 1 style lies in more blocks than this.

    The negative prompt has tokens of no image, as in the authors' code; at weight 0 and outside of its steps an ask
    goes to the network unchanged. It returns the further keys of an ask. Raises ValueError where the backbone has no
    such adapter, or it was made for another network or encoder; what `check` of its adapters raises where it is not on
    this machine yet.
    """
    adapters = backbone.adapters_of(NEED)
    adapters.check(adapter)
    low, high = interval(sigmas, start, end)
    if not weight:
        return lambda sigma, cond: {}
    seen, nothing = adapters.tokens(adapter, images)
    weights = weight * _reading(adapters.blocks, parts)
    mask = None if where is None else where.float()
    of_prompt, of_negative = (adapters.keys(adapter, tokens, weights, mask) for tokens in (seen, nothing))

    def keys(sigma: float | Tensor, cond: Cond) -> Mapping[str, Tensor]:
        if not low < highest(sigma) <= high:
            return {}
        return of_negative if role_of(cond) == "negative" else of_prompt

    return keys


def _reading(blocks: Sequence[str], parts: str) -> Tensor:
    """(1, layers): 1 where a layer reads the images. blocks: of each layer, "up_blocks.0.attentions.1"."""
    if parts == ALL:
        return torch.ones(1, len(blocks))
    up = min((block for block in blocks if block.startswith("up")), default="")
    down = max((block for block in blocks if block.startswith("down")), default="")
    style = f"{up.rpartition('.')[0]}.1"
    chosen = {STYLE: (style,), LAYOUT: (down,), BOTH: (style, down)}[parts]
    return torch.tensor([[float(block in chosen) for block in blocks]])
