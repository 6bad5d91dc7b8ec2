from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Annotated, Any

from torch import Tensor

from conditioning.operators.annotators import ANNOTATORS, DEPTH_ANNOTATORS, annotated
from conditioning.registry import Choice, Help, Interval, Knob, Map, T2IAdapterName, method
from samplers.flow import Cond
from samplers.schedules import highest, interval

NEED = "t2i adapter"


@method(
    task="visual-signal-to-image",
    paper="2302.08453",
    search=(
        "T2I-Adapter", "adapter", "sketch", "colour palette", "depth", "depth map", "edges", "canny", "line art",
        "pose", "segmentation map", "map to image", "structure",
    ),
    needs=(NEED,),
    traits=("reads_whole_map",),
    intervals=(Interval("start", "end"),),
)
def t2i_adapter(
    backbone: Any,
    depth: Annotated[Map, Help("Near is white, far is black; or an image whose depth is found", label="Depth map")]
    | None = None,
    edges: Annotated[Map, Help("White lines on black, or an image whose edges are found", label="Edge map")]
    | None = None,
    other: Annotated[Map, Help("As its adapter reads it: a sketch, a pose, a segmentation, colours", label="Other map")]
    | None = None,
    other_adapter: Annotated[
        T2IAdapterName,
        Help(
            "To attach one, put its folder into <model>_t2i_adapters/, beside the model",
            label="T2I-Adapter of the other map",
        ),
    ]
    | None = None,
    depth_weight: Annotated[
        float,
        Knob(0, 2, curve=True, ignored_when=("depth", None), label="Adapter weight, depth",
             help="How much the depth map counts"),
    ] = 1.0,
    edges_weight: Annotated[
        float,
        Knob(0, 2, curve=True, ignored_when=("edges", None), label="Adapter weight, edges",
             help="How much the edge map counts"),
    ] = 1.0,
    other_weight: Annotated[
        float,
        Knob(0, 2, curve=True, ignored_when=("other", None), label="Adapter weight, other map",
             help="How much the other map counts"),
    ] = 1.0,
    edges_by: Annotated[
        str,
        Choice(tuple(ANNOTATORS), label="Edge preprocessor",
               help="How edges are found in the image; none where it is an edge map already"),
    ] = "as it is",
    depth_by: Annotated[
        str,
        Choice(tuple(DEPTH_ANNOTATORS), label="Depth preprocessor",
               help="How depth is found in the image; none where it is a depth map already"),
    ] = "as it is",
    start: Annotated[float, Knob(0, 1, label="Starting adapter step", help="From this fraction of the steps")] = 0.0,
    end: Annotated[float, Knob(0, 1, label="Ending adapter step", help="Up to this fraction of the steps")] = 1.0,
    sigmas: Sequence[float] = (),
) -> Callable[[float | Tensor, Cond], Mapping[str, Tensor]]:  # fmt: skip
    """T2I-Adapter.

    A small network reads a map once, before the run, and what it finds at four scales is added to the encoder of the
    frozen network at every step (Mou et al. 2023, Section 3.3). Several maps are added up, each with its own weight.

        x0 = D(x; F_enc_i + weight F_AD_i(map))

    depth: nearness, white is near and black is far. edges: white lines on black. Or images, for an annotator each.
    other: a map for `other_adapter`, one of the T2I-Adapters that the backbone has, as that reads it.
    sigmas: the schedule of the run, of which `start` and `end` are parts 0..1: the authors' and diffusers' factor
    is `end`, since most of the structure is made in the first steps.

    A ControlNet is asked at every step and sees the noisy image as well; an adapter is not, and costs nothing then.
    Outside of its steps and at weight 0 an ask goes to the network unchanged. It returns the further keys of an ask.
    Raises ValueError without a map, where the backbone has no adapter for one that fits, or the size does not; what
    `check` of its adapters raises where one is not on this machine yet.
    """
    maps: dict[str, list[tuple[Tensor, float]]] = {}
    if depth is not None:
        maps["depth"] = [(annotated("depth", depth_by, depth, backbone), depth_weight)]
    if edges is not None:
        maps["edges"] = [(annotated("edges", edges_by, edges, backbone), edges_weight)]
    if (other is None) is not (not other_adapter):
        lacks = "the map" if other is None else "the name of its adapter"
        raise ValueError(f"the other map and its T2I-Adapter go together: {lacks} is missing")
    if other is not None and other_adapter:
        maps.setdefault(other_adapter, []).append((other, other_weight))
    if not maps:
        raise ValueError("t2i_adapter has no map: give it depth, edges, or another with its adapter")
    adapters = backbone.adapters_of(NEED)
    for name in maps:
        adapters.check(name)
    low, high = interval(sigmas, start, end)
    found = [
        [weight * one for one in adapters.features(name, shown)]
        for name, given in maps.items()
        for shown, weight in given
        if weight > 0
    ]
    added = adapters.keys([_sum(stage) for stage in zip_longest(*found)])

    def keys(sigma: float | Tensor, cond: Cond) -> Mapping[str, Tensor]:
        return added if low < highest(sigma) <= high else {}

    return keys


def _sum(features: Sequence[Tensor | None]) -> Tensor:
    """Of one stage, (B, C, h, w) each; None of an adapter that adds nothing there."""
    first, *others = (one for one in features if one is not None)
    return sum(others, first)
