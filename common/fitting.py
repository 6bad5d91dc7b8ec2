"""How an image of any size becomes one of the size of the result, and its mask with it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

Fit = Literal["crop", "stretch", "pad"]
#: What each is called, in the words of A1111.
FITS: dict[Fit, str] = {"crop": "Crop and resize", "stretch": "Just resize", "pad": "Resize and fill"}
Mask = np.ndarray[Any, np.dtype[np.bool_]]
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


def with_edge(mask: Image.Image, grow: int = 0, feather: float = 0) -> Image.Image:
    """A mask, 8 bits a pixel, in black and white, `grow` pixels larger on all sides (less than 0: smaller), and then
    with an edge blurred by a Gaussian of `feather` pixels."""
    painted = np.asarray(mask.convert("L")) > WHITE // 2
    area = painted if grow >= 0 else ~painted
    for i in range(abs(grow)):
        area = _grown(area, diagonally=i % 2 == 1)  # by turns: an octagon, which is nearly round
    edged = Image.fromarray(np.where(area if grow >= 0 else ~area, WHITE, 0).astype(np.uint8))
    return edged.filter(ImageFilter.GaussianBlur(feather)) if feather else edged


def _grown(area: Mask, diagonally: bool) -> Mask:
    """One pixel larger: along rows and columns, or along the diagonals as well."""
    padded = np.pad(area, 1)
    rows = padded[1:-1, :-2] | padded[1:-1, 2:] | area
    if not diagonally:
        return rows | padded[:-2, 1:-1] | padded[2:, 1:-1]
    wide = np.pad(rows, ((1, 1), (0, 0)))
    return rows | wide[:-2] | wide[2:]


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
