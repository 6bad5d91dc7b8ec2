"""Uploads that are no image, or one that is meant to hurt: a sentence each, at once and in little memory."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.storage.image_files import ImageError, open_upload


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG whose header claims this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 2**20), 9)


def real() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


HOSTILE = {
    "nothing": (b"", "empty"),
    "text": (b"hello, I am an image", "no image of a kind that is read here. Give PNG, JPEG"),
    "html": (b"<html><script>alert(1)</script>", "no image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "no image"),
    "pdf": (b"%PDF-1.7\n" + bytes(100), "no image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image"),
    "zip": (b"PK\x03\x04" + bytes(100), "no image"),
    "elf": (b"\x7fELF" + bytes(100), "no image"),
    "only a header": (b"\x89PNG\r\n\x1a\n", "image"),
    "cut off": (real()[:4000], "damaged or cut off"),
    "bomb": (png(60_000, 60_000, chunk(b"IDAT", zeros(64))), "at most 50 million"),
    "smaller bomb": (png(9_000, 9_000, chunk(b"IDAT", zeros(64))), "9000 x 9000 = 81 million pixels; at most 50"),
    "no size": (png(0, 10), "damaged|no image|nothing in it"),
    "text bomb": (png(8, 8, chunk(b"zTXt", b"parameters\0\0" + zeros(128)), chunk(b"IDAT", zeros(1))), "damaged"),
    "too many bytes": (bytes(64 * 2**20 + 1), "more than 64 MB"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("given", ["bytes", "path"])
def test_what_is_no_image_gets_a_sentence(kind: str, given: str, tmp_path: Path) -> None:
    data, said = HOSTILE[kind]
    path = tmp_path / "upload.png"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ImageError, match=said) as caught:
        open_upload(path if given == "path" else data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
    assert str(tmp_path) not in str(caught.value) and str(caught.value).endswith(".")


def test_an_image_that_somebody_else_opened_is_no_less_checked() -> None:
    bomb = Image.open(io.BytesIO(png(9_000, 9_000, chunk(b"IDAT", zeros(1)))))
    with pytest.raises(ImageError, match="at most 50 million"):
        open_upload(bomb)


def test_random_damage_never_escapes() -> None:
    rng, data = np.random.default_rng(0), real()
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 30)):
            broken[at] = rng.integers(0, 256)
        try:
            assert open_upload(bytes(broken)).image.mode == "RGB"
        except ImageError:
            pass
