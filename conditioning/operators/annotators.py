"""Annotators: from an image to the map that a network is conditioned on. Those that need no weights.

ANNOTATORS[name](image) takes and gives (B, 3, H, W) in [0, 1].
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


def as_it_is(image: Tensor) -> Tensor:
    """What was given is a map already."""
    return image


ANNOTATORS: dict[str, Callable[[Tensor], Tensor]] = {"as it is": as_it_is, "canny": canny, "lineart": lineart}


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
