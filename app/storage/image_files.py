"""Images from outside and onto the disk: opened with suspicion, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from common.files import atomic_write
from common.image_bytes import encoded, to_uint8

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
_USER_COMMENT = 0x9286  # where JPEG and WebP writers keep A1111's text
_EXIF = 0x8769


class ImageError(ValueError):
    """A file that cannot be taken as an image, in words."""


@dataclass(frozen=True, eq=False)
class Upload:
    """An image from outside: RGB, upright, 8 bits; the settings text it carried, if any; what was done to it."""

    image: Image.Image
    parameters: str | None
    notes: tuple[str, ...] = ()


def open_upload(source: str | Path | bytes | IO[bytes] | Image.Image) -> Upload:
    """Opens a file, bytes, or an image somebody else opened. Raises ImageError.

    The size is read from the header, before a single pixel is unpacked.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is stricter
            image = source if isinstance(source, Image.Image) else Image.open(_stream(source), formats=FORMATS)
            _check_size(*image.size)
            return _upload(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"This file is no image of a kind that is read here. Give {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large("more than 170 million")) from None
    except MemoryError:
        raise ImageError("The memory does not suffice to open this image. Make it smaller first.") from None
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, TypeError, KeyError) as error:
        # what Pillow raises for files that begin well and go wrong later
        raise ImageError(f"The image is damaged or cut off ({error}). Save or upload it once more.") from None


def _stream(source: str | Path | bytes | IO[bytes]) -> IO[bytes]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.is_file():
            raise ImageError("The file is not there any more. Upload it once more.")
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    else:
        data = source if isinstance(source, bytes) else source.read(MAX_BYTES + 1)
        size = len(data)
    if size > MAX_BYTES:
        raise ImageError(f"The file has more than {MAX_BYTES >> 20} MB. Give a smaller one.")
    if not size:
        raise ImageError("The file is empty. Upload it once more.")
    return io.BytesIO(data)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} = {width * height / 1e6:.0f} million"))
    if min(width, height) < 1:
        raise ImageError(f"The image is {width} x {height} pixels: there is nothing in it.")


def _too_large(pixels: str) -> str:
    return f"The image has {pixels} pixels; at most {MAX_PIXELS // 10**6} million are opened. Make it smaller first."


def _upload(image: Image.Image) -> Upload:
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        image.seek(0)
        notes.append(f"The image has {frames} frames: the first is taken.")
    image.load()
    parameters = _parameters(image)
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size:
        notes.append("The image was turned upright, as its camera notes say.")
    if upright.mode.startswith(("I", "F")):
        upright = _eight_bits(upright)
    upright, note = _in_srgb(upright)
    notes += [note] if note else []
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        if np.asarray(rgba.getchannel("A")).min() < 255:
            notes.append("Transparent parts were laid on white.")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    flat = upright.convert("RGB")
    flat.info.clear()
    return Upload(flat, parameters, tuple(notes))


def _in_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The image with the colours that its profile says, as sRGB; and what was done, "" where nothing was."""
    data = image.info.get("icc_profile")
    if not data:
        return image, ""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(profile).strip()
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        plain = image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")
        converted = ImageCms.profileToProfile(plain, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, "The colour profile of the image cannot be read: its colours are taken as sRGB."
    assert converted is not None
    same = np.abs(np.asarray(converted, np.int16) - np.asarray(plain.convert("RGB"), np.int16)).max() <= 1
    if same:
        return image, ""
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, f"The colours were converted from the profile {name[:60] or 'of the image'} to sRGB."


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 and 32 bits a pixel, and floats: 16-bit images by their range, the others by their own extremes."""
    values = np.nan_to_num(np.asarray(image, np.float64))
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (min(values.min(), 0.0), max(values.max(), 1.0))
    return Image.fromarray(to_uint8((values - low) / (high - low)))


def _parameters(image: Image.Image) -> str | None:
    text: Any = image.info.get("parameters")
    if text is None:
        with contextlib.suppress(Exception):  # camera notes are written by everything on earth
            raw = image.getexif().get_ifd(_EXIF).get(_USER_COMMENT)
            if isinstance(raw, bytes) and raw.startswith(b"UNICODE\0"):
                text = _utf16(raw[8:])
            elif isinstance(raw, bytes):
                text = raw.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")
            else:
                text = raw
    elif isinstance(text, str):
        with contextlib.suppress(UnicodeError):  # Pillow reads a tEXt chunk as Latin-1, and many write UTF-8 into it
            text = text.encode("latin-1").decode("utf-8")
    return text if isinstance(text, str) and text.strip() else None


def _utf16(data: bytes) -> str:
    """With a mark of its byte order, or in the order in which more of it is plain letters: settings are mostly that."""
    for mark, order in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[2:].decode(order, "replace")
    both = [data.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
    return max(both, key=lambda text: sum(letter.isascii() for letter in text))


def content_hash(image: Image.Image) -> str:
    """sha256 of size and RGB values: the same for the same image in another file."""
    rgb = image.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode() + rgb.tobytes()).hexdigest()


def png_bytes(image: Image.Image, parameters: str | None = None) -> bytes:
    """A PNG file with this settings text; without one, with the text that the image carries."""
    text = PngImagePlugin.PngInfo()
    if parameters := parameters or str(image.info.get("parameters", "")):
        text.add_text("parameters", parameters)
    return encoded(image, "PNG", pnginfo=text)


def save_png(image: Image.Image, path: Path, parameters: str | None = None) -> None:
    """`png_bytes` into a file, whole or not at all. Raises OSError (ENOSPC where the disk is full)."""
    with atomic_write(path) as file:
        file.write(png_bytes(image, parameters))
