"""Annotators: from an image to the map that a network is conditioned on. Nothing is downloaded for them.

ANNOTATORS[name](image) makes a map of edges, DEPTH_ANNOTATORS[name](image, backbone) one of depth; they take and give
(B, 3, H, W) in [0, 1].
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.image_bytes import to_pixels


def canny(image: Tensor) -> Tensor:
    """White edges on black, one pixel wide (Canny 1986), with the thresholds 100 and 200 of 255."""
    return _by(_detectors("canny").CannyDetector(), image, sized=True)


def lineart(image: Tensor) -> Tensor:
    """White lines on black where the image is darker than its surroundings."""
    return _by(_detectors("lineart_standard").LineartStandardDetector(), image)


def nearness(image: Tensor, backbone: Any) -> Tensor:
    """White is near, black is far: the depth that the backbone's perception model reads, 1 at the nearest point, as the
    maps that depth ControlNets are trained on. Raises ValueError where the backbone has none."""
    if "perception_model" not in getattr(backbone, "offers", ()):
        raise ValueError(f"{backbone.id} has no network beside it that reads depth: give a finished depth map")
    H, W = image.shape[2:]
    sides = tuple(max(16, 16 * round(side / 16)) for side in (H, W))  # what the model takes
    read = backbone.perception_model(F.interpolate(image.detach().float(), sides, mode="bilinear"))
    near = read.nearness.detach().clamp(min=0)
    shown = F.interpolate(near, (H, W), mode="bilinear") / near.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
    return shown.clamp(0, 1).to(image).expand(-1, 3, -1, -1)


def as_it_is(image: Tensor, backbone: Any = None) -> Tensor:
    """What was given is a map already."""
    return image


ANNOTATORS: dict[str, Callable[[Tensor], Tensor]] = {"as it is": as_it_is, "canny": canny, "lineart": lineart}
DEPTH_ANNOTATORS: dict[str, Callable[[Tensor, Any], Tensor]] = {"as it is": as_it_is, "depth estimator": nearness}


def annotated(name: str, by: str, image: Tensor, backbone: Any) -> Tensor:
    """The map `name` ("depth", else edges) that the annotator `by` makes of an image. Raises ValueError, in words."""
    return DEPTH_ANNOTATORS[by](image, backbone) if name == "depth" else ANNOTATORS[by](image)


def _detectors(name: str) -> Any:
    """A module of controlnet-aux, which takes seconds to import and warns about the weights of others."""
    from importlib import import_module

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(f"controlnet_aux.{name}")
    except ImportError as error:
        raise ValueError(f"the annotator {name} wants controlnet-aux ({error}): `pip install controlnet-aux`, or give "
                         "a finished map") from error  # fmt: skip


def _by(detector: Any, image: Tensor, sized: bool = False) -> Tensor:
    """Each row through a detector of arrays (H, W, 3) uint8, which works in multiples of 64 pixels."""
    H, W = image.shape[2:]
    pixels = to_pixels(image)
    side = max(64, min(H, W))
    sizes = {"detect_resolution": side, **({"image_resolution": side} if sized else {})}
    maps = [detector(np.ascontiguousarray(one), output_type="np", **sizes) for one in pixels]
    shown = torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).to(image) / 255
    return F.interpolate(shown, (H, W), mode="nearest") if shown.shape[2:] != (H, W) else shown
