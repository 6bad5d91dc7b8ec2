"""An image of any size at the size of the result: nothing is invented, and masks go where their images go."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from common.fitting import FITS, fitted, fitted_mask, with_edge

SIZES = [(64, 64), (128, 64), (48, 96), (40, 24)]
RAMP = Image.fromarray(np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2))  # 200 x 100


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", FITS)
def test_it_is_exactly_the_size_and_within_the_values_of_the_image(fit, size):
    image = fitted(RAMP, size, fit)
    assert image.size == size and image.mode == "RGB"
    assert np.asarray(image).max() <= 199
    assert fitted(RAMP, RAMP.size, fit).tobytes() == RAMP.tobytes()


def test_cropping_takes_the_middle_stretching_all_of_it_and_filling_goes_on_with_the_edges():
    crop, stretch, pad = (np.asarray(fitted(RAMP, (100, 100), fit))[:, :, 0].astype(int) for fit in FITS)
    assert (crop == np.asarray(ImageOps.fit(RAMP, (100, 100), Image.Resampling.LANCZOS))[:, :, 0]).all()
    assert 45 < crop.min() and crop.max() < 155  # the outer quarters are gone
    assert stretch.min() < 3 and stretch.max() > 196 and (stretch == stretch[0]).all()
    assert pad.min() < 3 and pad.max() > 196 and (pad[:25] == pad[25]).all() and (pad[75:] == pad[74]).all()


def test_a_mask_as_large_as_its_image_goes_where_the_image_goes():
    """The mark in the image and the mask of it, fitted apart, still lie on one another."""
    mark = np.zeros((100, 200, 3), np.uint8)
    mark[30:70, 60:120] = 255
    image = Image.fromarray(mark)
    for fit in FITS:
        for size in SIZES:
            seen = np.asarray(fitted(image, size, fit).convert("L")) > 127
            mask = np.asarray(fitted_mask(image, size, image.size, fit)) > 127
            if fit == "pad":  # what is added has no image under it: it is to be made
                scale = min(size[0] / 200, size[1] / 100)
                high, wide = round(100 * scale), round(200 * scale)
                top, left = (size[1] - high) // 2, (size[0] - wide) // 2
                outside = np.ones(seen.shape, bool)
                outside[top : top + high, left : left + wide] = False
                assert mask[outside].all()
                mask = mask & ~outside
            assert (mask ^ seen).mean() < 0.06, (fit, size)


def test_any_other_mask_is_stretched_over_the_frame_however_the_image_is_fitted():
    band = Image.new("L", (64, 64))
    band.paste(255, (0, 0, 64, 16))
    for fit in FITS:
        rows = np.asarray(fitted_mask(band, (128, 32), (200, 100), fit)) > 127
        assert rows[:8].all() and not rows[8:].any()
        assert fitted_mask(band, (128, 32), None, fit).size == (128, 32)


def test_masks_stay_black_and_white():
    mask = Image.fromarray((np.indices((50, 50)).sum(0) // 7 % 2 * 255).astype(np.uint8))
    for fit in FITS:
        assert set(np.unique(np.asarray(fitted_mask(mask, (64, 40), (50, 50), fit)))) <= {0, 255}


DISC = Image.fromarray((np.hypot(*(np.indices((64, 64)) - 32)) < 12).astype(np.uint8) * 255)


def painted(mask):
    return np.asarray(mask) > 127


@pytest.mark.parametrize("grow", [1, 4, 9, -1, -5])
def test_a_mask_grows_by_so_many_pixels_on_all_sides_and_shrinks_as_its_outside_grows(grow):
    grown, around = painted(with_edge(DISC, grow)), np.hypot(*(np.indices((64, 64)) - 32))
    assert grown[around < 11 + grow - 0.08 * abs(grow)].all()
    assert not grown[around > 12 + 1.1 * max(grow, 0.9 * grow)].any()
    inverse = Image.fromarray(255 - np.asarray(DISC))
    assert (painted(with_edge(inverse, -grow)) == ~grown).all()
    assert set(np.unique(np.asarray(with_edge(DISC, grow)))) == {0, 255}


def test_a_feather_is_symmetric_about_the_edge_and_as_wide_as_it_says():
    half = Image.new("L", (128, 8))
    half.paste(255, (64, 0, 128, 8))
    levels = np.asarray(with_edge(half, 0, 6))[4] / 255
    assert abs(levels[63] + levels[64] - 1) < 0.02 and (np.diff(levels) >= 0).all()
    assert 0.12 < levels[64 - 6] < 0.2 and 0.8 < levels[63 + 6] < 0.88  # a Gaussian's 16 % at its deviation
    assert not levels[:40].any() and (levels[88:] == 1).all()
    assert with_edge(half).tobytes() == half.tobytes()


def test_grey_is_black_or_white_before_it_is_grown_or_feathered():
    grey = Image.fromarray(np.tile(np.array([100, 200], np.uint8).repeat(16), (8, 1)))
    assert (painted(with_edge(grey)) == [False] * 16 + [True] * 16).all()
