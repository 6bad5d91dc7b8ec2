from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from conditioning.operators.annotators import ANNOTATORS, DEPTH_ANNOTATORS, annotated
from conditioning.registry import Choice, Help, Interval, Knob, Map, NetworkName, method
from samplers.flow import Cond, role_of
from samplers.schedules import highest, interval

PREFIX = "controlnet:"  # of the keys of cond: "controlnet:depth" (B, C, h, w), "controlnet:depth:weight" (B, 2)
SECOND = " 2"  # ends the name of a ControlNet that reads a second map
SHALLOW = 0.1  # of the weight is left for the first residual where one side is to matter more; the last has all of it


@method(
    task="visual-signal-to-image",
    paper="2302.05543",
    search=(
        "depth", "depth map", "edges", "canny", "sketch", "line art", "scribble", "line drawing",
        "pose of things", "structure", "map to image", "control",
    ),
    needs=("controlnet",),
    traits=("reads_whole_map",),
    intervals=(Interval("start", "end"),),
)
def controlnet(
    backbone: Any,
    depth: Annotated[Map, Help("Near is white, far is black; or an image whose depth is found", label="Depth map")]
    | None = None,
    edges: Annotated[Map, Help("White lines on black, or an image whose edges are found", label="Edge map")]
    | None = None,
    other: Annotated[Map, Help("As its ControlNet reads it: a pose, a segmentation, a scribble", label="Other map")]
    | None = None,
    other_network: Annotated[
        NetworkName,
        Help(
            "To attach one, put its folder or file into <model>_controlnets/, beside the model",
            label="ControlNet of the other map",
        ),
    ]
    | None = None,
    depth_weight: Annotated[
        float,
        Knob(
            0,
            2,
            curve=True,
            ignored_when=("depth", None),
            label="Control weight, depth",
            help="How much the depth map counts",
        ),
    ] = 1.0,
    edges_weight: Annotated[
        float,
        Knob(
            0,
            2,
            curve=True,
            ignored_when=("edges", None),
            label="Control weight, edges",
            help="How much the edge map counts",
        ),
    ] = 1.0,
    other_weight: Annotated[
        float,
        Knob(
            0,
            2,
            curve=True,
            ignored_when=("other", None),
            label="Control weight, other map",
            help="How much the other map counts",
        ),
    ] = 1.0,
    edges_by: Annotated[
        str,
        Choice(
            tuple(ANNOTATORS),
            label="Edge preprocessor",
            help="How edges are found in the image; none where it is an edge map already",
        ),
    ] = "as it is",
    depth_by: Annotated[
        str,
        Choice(
            tuple(DEPTH_ANNOTATORS),
            label="Depth preprocessor",
            help="How depth is found in the image; none where it is a depth map already",
        ),
    ] = "as it is",
    balance: Annotated[
        str,
        Choice(
            ("even", "prompt", "map"), label="Control mode", help="Which matters more, the prompt or the control map"
        ),
    ] = "even",
    start: Annotated[float, Knob(0, 1, label="Starting control step", help="From this fraction of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, label="Ending control step", help="Up to this fraction of the steps")] = 1.0,
    sigmas: Sequence[float] = (),
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:
    """ControlNet.

    A map says where things are: a trained copy of the network's encoder reads it together with the noisy image, and
    what it finds is added to the skips of the frozen network (of a transformer, to what its blocks make), through
    convolutions that were zero when its training began (Zhang et al. 2023, Eq. 3). Several maps together are added up,
    each with its own weight.

        x0 = D(x; h_i + weight Z_i(F_i(x, map)))

    depth: nearness, white is near and black is far. edges: white lines on black. Or images, for an annotator each.
    other: a map for the ControlNet `other_network`, one of those that the backbone has, as that reads it.
    sigmas: the schedule of the run, of which `start` and `end` are parts 0..1.

    balance: with "prompt" and "map" residuals count from a tenth at the image's own size to all at the coarsest (of a
    transformer, from its first block to its last), evenly in the logarithm; with "map" the ask for the negative prompt
    is left without, so that guidance drives at the map as well (the "guess mode" of the paper's code and of diffusers:
    take a scale of 3 to 5).
    Outside of its steps and at weight 0 an ask goes to the network unchanged. It returns the further keys of an ask.
    Raises ValueError without a map, and where the backbone has no ControlNet for one that fits; what
    `backbone.check_controlnet` raises where one is not on this machine yet.
    """
    maps: dict[str, tuple[Tensor, float]] = {}
    if depth is not None:
        maps["depth"] = annotated("depth", depth_by, depth, backbone), depth_weight
    if edges is not None:
        maps["edges"] = annotated("edges", edges_by, edges, backbone), edges_weight
    if (other is None) is not (not other_network):
        lacks = "the map" if other is None else "the name of its ControlNet"
        raise ValueError(f"the other map and its ControlNet go together: {lacks} is missing")
    if other is not None and other_network:
        name = other_network + SECOND if other_network in maps else other_network
        maps[name] = other, other_weight
    if not maps:
        raise ValueError("controlnet has no map: give it depth, edges, or another with its ControlNet")
    for name in maps:
        backbone.check_controlnet(name.removesuffix(SECOND))
    seen = {name: backbone.read_map(name.removesuffix(SECOND), shown) for name, (shown, _) in maps.items()}
    backbone.extend(PREFIX, partial(Controlled, open_all=backbone.controls))
    low, high = interval(sigmas, start, end)
    shallow = 1.0 if balance == "even" else SHALLOW

    def keys(sigma: float | Tensor, cond: Cond) -> dict[str, Tensor]:
        if not low < highest(sigma) <= high:
            return {}
        spared = balance == "map" and role_of(cond) == "negative"  # it still shares the evaluation
        given = {}
        for name, (_, weight) in maps.items():
            if weight > 0:
                given[PREFIX + name] = seen[name]
                given[f"{PREFIX}{name}:weight"] = torch.tensor([[0.0 if spared else weight, shallow]])
        return given

    return keys


class Controlled(nn.Module):
    """A network with ControlNets beside it: called as a UNet is, with the maps and weights among `added_cond_kwargs`.

    keys: of cond, as in PREFIX's comment; a weight is (B, 2): of the coarsest residual, and the part of it that the
    finest has. open_all: names of ControlNets -> all of them as one, and a hash of it.
    """

    def __init__(self, unet: Any, keys: Sequence[str], open_all: Callable[[Sequence[str]], tuple[Any, str]]):
        super().__init__()
        self.unet, self.config = unet, unet.config
        self.names = [key.removeprefix(PREFIX) for key in keys if not key.endswith(":weight")]
        self.controls, digest = open_all([name.removesuffix(SECOND) for name in self.names])
        self.key = "-".join([*([unet.key] if hasattr(unet, "key") else []), digest])
        self.more: dict[str, Tensor] = dict(getattr(unet, "more", {}))
        for name, control in zip(self.names, self.controls.controls):
            if control.example is not None:
                self.more |= {PREFIX + name: control.example, f"{PREFIX}{name}:weight": torch.ones(2, 2)}

    def forward(self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Any = None, **more: Any) -> Any:
        added = dict(added_cond_kwargs or {})
        maps = [(added.pop(PREFIX + name), added.pop(f"{PREFIX}{name}:weight")) for name in self.names]
        residuals = self.controls(x, t, text, maps, added)
        return self.unet(x, t, text, added_cond_kwargs=added or None, **residuals, **more)
