from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.curves import at
from conditioning.inputs import Lora
from conditioning.registry import Help, Knob, Loras, method
from samplers.flow import Cond
from samplers.schedules import highest


@method(
    task="customization",
    paper="2106.09685",
    search=(
        "LoRA", "LyCORIS", "LoCon", "LoHa", "LoKr", "DoRA", "adapter", "style", "character", "custom concept",
        "fine-tune", "personalization", "safetensors",
    ),
    needs=("lora",),
)  # fmt: skip
def lora(
    backbone: Any,
    files: Annotated[Loras, Help("<lora:name:weight> for each file. In the prompt it means the same", label="Files")],
    weight: Annotated[
        float,
        Knob(-2, 2, neutral=0, curve=True, label="Weight", help="Multiplies the weight of each of these files"),
    ] = 1.0,
    prompt_files: Sequence[Lora] = (),
    sigmas: Sequence[float] = (),
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:
    """LoRA.

    The change that fine-tuning makes to a layer's weight is of low rank: a file holds two narrow matrices for each
    layer that it changes, and their product is added to the frozen weight (Hu et al. 2021, Section 4.1). LyCORIS files
    have other products for it (LoHa, LoKr, DoRA). Layers of the text encoder change how the prompt is read.

        W x + weight alpha / r  B A x

    files: opened by the backbone, each with its own weight, a number or a curve over the steps. prompt_files: those
    that the prompt of the run names, likewise; they stand beside `weight`. sigmas: the schedule of the run, for the
    curves. At a weight of 0 an ask goes to the network unchanged. Several files add up, and one that is given twice
    has the sum of its weights. It returns the further keys of an ask, one a file.

    The authors do otherwise: they add the product into the weights once; here it is a branch beside the frozen layer,
    there for the length of an evaluation, so that rows with other files, or none, can share the network.
    """

    def keys(sigma: float | Tensor, cond: Cond) -> dict[str, Tensor]:
        weights: dict[str, float] = {}
        for strength, given in ((weight, files), (1.0, prompt_files)):
            for one in given:
                weights[one.key] = weights.get(one.key, 0.0) + strength * at(one.weight, sigmas, highest(sigma))
        return {key: torch.tensor([value]) for key, value in weights.items() if value}

    return keys
