"""Numbers in [0, 1] to 8 bits, and images into the text of a page."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from common.image_bytes import data_uri, encoded, to_pixels, to_uint8


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, lambda x: torch.tensor(x, dtype=torch.bfloat16)])
def test_numbers_go_to_the_nearest_byte_and_no_further(kind):
    values = [-0.5, 0.0, 0.00195, 0.00197, 0.5, 1.0, 7.0, float("nan")]
    assert to_uint8(kind(values)).tolist() == [0, 0, 0, 1, 128, 255, 255, 0]


def test_every_byte_comes_back_from_its_own_number():
    assert (to_uint8(torch.arange(256) / 255) == np.arange(256)).all()


def test_pixels_have_their_channels_last():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pixels = to_pixels(images)
    assert pixels.shape == (2, 4, 5, 3) and pixels.flags.c_contiguous
    assert pixels[1, 2, 3, 0] == to_uint8(images[1, 0, 2, 3])
    assert (to_pixels(images[0]) == pixels[0]).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_lies_in_its_address(kind):
    image = Image.fromarray(np.full((4, 6, 3), 200, np.uint8))
    head, _, text = data_uri(image, kind).partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as opened:
        assert (opened.format, opened.size) == (kind, (6, 4))
    assert data_uri(np.asarray(image), kind) == data_uri(encoded(image, kind), kind) == data_uri(image, kind)
