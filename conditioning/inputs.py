"""What a method may be given besides its knobs. Annotate a parameter with one of these and the page shows its field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common.curves import Curve
from common.lora_tags import lora_tags
from conditioning.operators import Degradation, Measurement
from samplers.protocol import Cond


@dataclass(frozen=True)
class Input:
    kind: str  # which field the page shows
    arrives: str  # what the method receives
    help: str = ""  # what a person is to give, in a few plain words
    label: str = ""  # what it is called; "": as the parameter
    square: bool = False  # of references: as pixels, each fitted to a square of its own size and not to the result
    of: str = ""  # of a network: which of the model's it is one of, by its key of `registry.NEEDS`


@dataclass(frozen=True)
class Help:
    """What a person is to give there: Annotated[Prompt, Help("What the image shows now, in words")]."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Box:
    """Edges as fractions 0..1 of the image, and what should be in it."""

    left: float
    top: float
    right: float
    bottom: float
    text: str = ""


@dataclass(frozen=True)
class Point:
    """A place as fractions 0..1 of the image, and where it should move."""

    x: float
    y: float
    to_x: float | None = None
    to_y: float | None = None


@dataclass(frozen=True)
class Lora:
    """An opened LoRA file: the key of cond by which an ask has it, and its weight, a number or a curve over the steps.

    text_weight: of its layers in the text encoder, which have been at work when the prompt was encoded."""

    key: str
    weight: float | Curve
    text_weight: float = 0.0


Image = Annotated[Tensor, Input("image", "an image as latents (B, C, h, w); backbone.decode gives its pixels")]
Map = Annotated[Tensor, Input("map", "an image or a map of one, (B, 3, H, W) in [0, 1], as large as the result")]
Mask = Annotated[
    Tensor, Input("mask", "(B, 1, h, w) in latents: bool, True where it was painted; in [0, 1] where it is feathered")
]
Prompt = Annotated[Cond, Input("prompt", "a prompt as a cond of B rows")]
Words = Annotated[str, Input("words", "words of the prompt, str; a comma between those that stand apart in it")]
NetworkName = Annotated[str, Input("network", "the name of a ControlNet that the model has, str", of="controlnet")]
T2IAdapterName = Annotated[str, Input("network", "the name of a T2I-Adapter that it has, str", of="t2i adapter")]
Boxes = Annotated[Sequence[Box], Input("boxes", "boxes with what is in them")]
Points = Annotated[Sequence[Point], Input("points", "points, and where they should go")]
Loras = Annotated[Sequence[Lora], Input("loras", "opened LoRA files with their weights")]
References = Annotated[Sequence[Tensor], Input("references", "images as latents, each (B, C, h, w)")]
ImagePrompts = Annotated[
    Sequence[Tensor], Input("references", "images as pixels, (1, 3, S, S) in [0, 1] each", square=True)
]
IPAdapterName = Annotated[str, Input("network", "the name of an IP-Adapter that it has, str", of="ip adapter")]
Operator = Annotated[
    Measurement,
    Input(
        "operator", "a measurement y = A(x) + sigma_y n, from conditioning/operators",
        help="An image and what is done to it. The method sees only what is left of it: the observation, y in papers",
        label="Observation y",
    ),
]  # fmt: skip


def prepare_input(kind: str, value: Any, backbone: Any, rows: int, latent: tuple[int, int, int]) -> Any:
    """What a person gave, as the method receives it.

    kind: of the Input. rows: B. latent: (C, h, w). Images are (1, 3, H, W) in [0, 1]; a mask is (1, 1, H, W) and
    counts as painted in a latent where any of its pixels is above 0.5, a feathered one, with values between 0 and 1, by
    the mean of its pixels; prompts, words and LoRA files (`common.lora_tags`) are str; an operator
    is a Degradation, measured in the state's own space where that is pixels. The rest passes unchanged.
    """
    if kind == "image":
        return backbone.encode_image(value).expand(rows, *latent)
    if kind == "references":
        return [backbone.encode_image(one).expand(rows, *latent) for one in value]
    if kind == "map":
        factor = backbone.default_size // backbone.latent_shape(backbone.default_size, backbone.default_size)[1]
        size = latent[1] * factor, latent[2] * factor
        shown = F.interpolate(value.float(), size, mode="bilinear", align_corners=False, antialias=True)
        return shown.clamp(0, 1).expand(rows, 3, *size)
    if kind == "mask":
        values = torch.as_tensor(value).float()
        is_feathered = bool(((values > 0) & (values < 1)).any())
        painted = (
            F.adaptive_avg_pool2d(values, latent[1:]) if is_feathered
            else F.adaptive_max_pool2d(values, latent[1:]) > 0.5
        )  # fmt: skip
        return painted.expand(rows, 1, *latent[1:])
    if kind == "prompt":
        return {k: v.expand(rows, *v.shape[1:]) for k, v in backbone.encode_prompt([value]).items()}
    if kind == "loras" and isinstance(value, str):
        return opened_loras(value, backbone)
    if kind == "operator" and isinstance(value, Degradation):
        return value.measured(backbone, rows)
    return value


def opened_loras(text: str, backbone: Any) -> list[Lora]:
    """The LoRA files that a text names (`common.lora_tags`). Raises ValueError and OSError, in words."""
    return [Lora(backbone.lora(one.name), one.weight, one.text_weight) for one in lora_tags(text)]
