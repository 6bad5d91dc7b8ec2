"""How an image of any size becomes one of the size of the result, and its mask with it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageOps

Fit = Literal["crop", "stretch", "pad"]
#: What each is called, in the words of A1111.
FITS: dict[Fit, str] = {"crop": "Crop and resize", "stretch": "Just resize", "pad": "Resize and fill"}
Size = tuple[int, int]  # width, height in pixels
WHITE = 255  # of a mask: what is there is to be made


def fitted(image: Image.Image, size: Size, fit: Fit = "crop") -> Image.Image:
    """The RGB image at this size. "crop": its middle fills it; "stretch": width and height by themselves; "pad": the
    whole image in the middle, and around it the pixels of its edges go on."""
    image = image.convert("RGB")
    if image.size == size:
        return image
    return _fitted(image, size, fit, Image.Resampling.LANCZOS)


def fitted_mask(mask: Image.Image, size: Size, under: Size | None = None, fit: Fit = "crop") -> Image.Image:
    """The mask, 8 bits a pixel, at this size. under: the size of the image that is given with it, which is fitted by
    `fit`.

    A mask as large as that image belongs to it and goes where it goes; what "pad" adds around it is white: there is
    no image there to keep. Any other mask was drawn over the frame of the result, as boxes and points are, and is
    stretched over that frame.
    """
    mask = mask.convert("L")
    if mask.size == size:
        return mask
    if mask.size == under:
        return _fitted(mask, size, fit, Image.Resampling.NEAREST)
    return mask.resize(size, Image.Resampling.NEAREST)


def _fitted(image: Image.Image, size: Size, fit: Fit, how: Image.Resampling) -> Image.Image:
    if fit == "crop":
        return ImageOps.fit(image, size, how)
    if fit == "stretch":
        return image.resize(size, how)
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    around = ((top, size[1] - inner[1] - top), (left, size[0] - inner[0] - left))
    pixels = np.asarray(image.resize(inner, how))
    if image.mode == "L":
        return Image.fromarray(np.pad(pixels, around, constant_values=WHITE))
    return Image.fromarray(np.pad(pixels, (*around, (0, 0)), mode="edge"))
