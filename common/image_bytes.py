"""Images as bytes: from numbers in [0, 1] to 8 bits, and into the text of a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[np.uint8]]


def to_uint8(values: Any) -> Array:
    """An array or a tensor in [0, 1] -> the nearest of 0 ... 255. What lies outside is cut off; no number is 0."""
    if hasattr(values, "detach"):  # in torch, where it takes half of the time, and on the device that they are on
        rounded: Array = values.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte().cpu().numpy()
        return rounded
    return (np.nan_to_num(values).clip(0, 1) * 255).round().astype(np.uint8)


def to_pixels(images: Any) -> Array:
    """Tensors (..., 3, H, W) in [0, 1], as networks have images -> (..., H, W, 3) in 8 bits, as Pillow has them."""
    return np.ascontiguousarray(np.moveaxis(to_uint8(images), -3, -1))


def encoded(image: Image.Image | Array, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file of this kind; `options` as Pillow's writer has them."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **({} if kind == "PNG" else {"quality": 88}), **options)
    return buffer.getvalue()


def data_uri(image: Image.Image | Array | bytes, kind: str = "PNG", **options: Any) -> str:
    """An image, or the bytes of an image file of this kind, as an address that holds it."""
    data = image if isinstance(image, bytes) else encoded(image, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
