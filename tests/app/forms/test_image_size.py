"""Sizes by their aspect."""

import math

import pytest

from app.forms.image_size import ASPECTS, of_aspect
from app.schema.recipe import LIMITS


@pytest.mark.parametrize("usual, multiple", [(128, 8), (64, 8), (512, 8), (1024, 64)])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_an_aspect_keeps_the_area_nearly_and_fits_the_network(aspect, usual, multiple):
    width, height = of_aspect(aspect, usual, multiple)
    wide, high = map(int, aspect.split(":"))
    assert width % multiple == height % multiple == 0
    assert abs(math.log(width / height / (wide / high))) < 0.13
    assert 0.7 < width * height / usual**2 < 1.35
    assert of_aspect("1:1", usual, multiple) == (usual, usual)


@pytest.mark.parametrize("usual, multiple", [(128, 8), (512, 8), (1024, 64)])
@pytest.mark.parametrize("aspect", ["640:481", "1000:999", "9000:3", "1:4000"])
def test_the_shape_of_any_image_gives_a_size_that_can_be_made(aspect, usual, multiple):
    for side in of_aspect(aspect, usual, multiple):
        assert LIMITS["width"].low <= side <= LIMITS["width"].high and side % multiple == 0


@pytest.mark.parametrize("aspect", ["", "3", "0:1", "a:b", "1:2:3", "-1:1"])
def test_what_is_no_aspect_is_refused(aspect):
    with pytest.raises(ValueError):
        of_aspect(aspect, 128, 8)
