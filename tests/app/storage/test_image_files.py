"""Uploads: whatever somebody drops on the page becomes an upright RGB image, or a sentence."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from app.storage.image_files import ImageError, content_hash, open_upload, save_png


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def gradient(mode: str = "RGB") -> Image.Image:
    values = np.linspace(0, 255, 12 * 8).reshape(8, 12).astype(np.uint8)
    return Image.fromarray(np.stack([values] * 3, -1)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("given", ["bytes", "path", "file", "image"])
def test_every_mode_becomes_rgb(mode: str, given: str, tmp_path: Path) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = encoded(gradient(mode), kind)
    (tmp_path / "one").write_bytes(data)
    source: Any = {
        "bytes": data, "path": str(tmp_path / "one"), "file": io.BytesIO(data), "image": Image.open(io.BytesIO(data))
    }[given]  # fmt: skip
    upload = open_upload(source)
    assert upload.image.mode == "RGB" and upload.image.size == (12, 8) and upload.parameters is None
    if mode in ("RGB", "L"):
        assert np.abs(np.asarray(upload.image, int) - np.asarray(gradient(), int)).max() <= 1


def test_sixteen_bits_and_floats_keep_their_tones() -> None:
    deep = Image.fromarray(np.asarray(gradient("L"), np.uint16) * 257)
    for data in (encoded(deep), encoded(Image.fromarray(np.asarray(gradient("L"), np.float32) / 255), "TIFF")):
        assert np.abs(np.asarray(open_upload(data).image, int) - np.asarray(gradient(), int)).max() <= 1


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    upload = open_upload(encoded(clear))
    assert upload.image.getpixel((0, 0)) == (255, 0, 0) and upload.image.getpixel((1, 1)) == (255, 255, 255)
    assert upload.notes == ("Transparent parts were laid on white.",)
    assert open_upload(encoded(Image.new("RGBA", (4, 4), "red"))).notes == ()


def test_a_camera_on_its_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upload = open_upload(encoded(gradient(), "JPEG", exif=exif))
    assert upload.image.size == (8, 12) and "upright" in upload.notes[0]


def test_a_film_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    upload = open_upload(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert upload.image.getpixel((0, 0)) == (255, 0, 0) and "3 frames" in upload.notes[0]


def test_settings_are_read_from_png_jpeg_and_webp() -> None:
    text = "a red sphere ☃\nSteps: 3, Seed: 4, Size: 8x8"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    assert open_upload(encoded(gradient(), pnginfo=info)).parameters == text
    for kind in ("JPEG", "WEBP"):
        for code in ("utf-16-be", "utf-16-le"):
            exif = Image.Exif()
            exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(code)
            assert open_upload(encoded(gradient(), kind, exif=exif)).parameters == text


def test_the_hash_is_of_the_content() -> None:
    assert content_hash(gradient()) == content_hash(
        open_upload(encoded(gradient("RGBA"), "WEBP", lossless=True)).image
    )
    assert content_hash(Image.new("RGB", (2, 8))) != content_hash(Image.new("RGB", (8, 2)))


def test_what_is_written_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_png(gradient(), tmp_path / "new" / "one.png", "settings")
    assert open_upload(tmp_path / "new" / "one.png").parameters == "settings"
    with pytest.raises(ValueError):
        save_png(Image.new("RGB", (0, 0)), tmp_path / "new" / "two.png")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("unplugged")))
    with pytest.raises(OSError, match="unplugged"):
        save_png(gradient(), tmp_path / "new" / "two.png")
    with pytest.raises(ImageError, match="not there any more"):
        open_upload(tmp_path / "new" / "two.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one.png"]


@pytest.mark.parametrize("prompt", ["a red sphere", "赤い球", "красный шар", "ein großer Ball", "球"])
@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [False, True])
def test_settings_in_a_user_comment_of_either_byte_order(prompt, order, mark):
    text = f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 4, Seed: 7"
    exif = Image.Exif()
    begin = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}[order] if mark else b""
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + begin + text.encode(order)
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", exif=exif)
    assert open_upload(file.getvalue()).parameters == text


@pytest.mark.parametrize("prompt", ["a red sphere", "赤い球", "ein großer Ball", "café"])
def test_settings_in_a_png_as_latin_1_or_utf_8(prompt):
    text = f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 4, Seed: 7"
    for encoding in ("utf-8", "latin-1"):
        try:
            raw = text.encode(encoding)
        except UnicodeError:
            continue
        info = PngImagePlugin.PngInfo()
        info.add(b"tEXt", b"parameters\0" + raw)
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, "PNG", pnginfo=info)
        assert open_upload(file.getvalue()).parameters == text, encoding


def wide() -> bytes:
    """sRGB with a deeper red."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ")  # its entry of the table says where the value lies
    place = int.from_bytes(profile[at + 4 : at + 8], "big") + 8
    profile[place : place + 4] = (int(0.6097 * 65536)).to_bytes(4, "big")  # a deeper red
    return bytes(profile)


def test_colours_of_a_wide_profile_are_converted_and_said():
    from PIL import ImageCms

    flat = Image.new("RGB", (8, 8), (180, 60, 40))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = open_upload(encoded(flat, icc_profile=srgb))
    assert plain.image.getpixel((0, 0)) == (180, 60, 40) and not plain.notes, "sRGB is what is meant anyway"
    for mode in ("RGB", "RGBA"):
        converted = open_upload(encoded(flat.convert(mode), icc_profile=wide()))
        assert converted.image.getpixel((0, 0))[0] > 190 and "converted from the profile" in converted.notes[0]
    damaged = open_upload(encoded(flat, icc_profile=b"no profile at all" * 20))
    assert damaged.image.getpixel((0, 0)) == (180, 60, 40) and "cannot be read" in damaged.notes[0]
