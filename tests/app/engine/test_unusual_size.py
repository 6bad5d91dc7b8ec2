"""What is said of sizes that the network was not trained on."""

from types import SimpleNamespace

import pytest

from app.engine.unusual_size import unusual_size
from app.schema.recipe import Recipe

NET = SimpleNamespace(default_size=128)


@pytest.mark.parametrize(
    "size, word",
    [
        ((128, 128), None), ((128, 96), None), ((144, 112), None),
        ((256, 256), "4 times as long"), ((512, 128), "panorama"), ((64, 64), "coarse"), ((64, 256), "twice"),
    ],
)  # fmt: skip
def test_far_from_the_usual_size_it_is_said_at_the_width(size, word):
    width, height = size
    said = unusual_size(Recipe.make(width=width, height=height), NET)
    assert [one.field for one in said] == (["width"] if word else [])
    assert word is None or (word in said[0].message and "128 × 128" in said[0].message)


def test_nothing_is_said_where_the_image_is_made_of_windows_or_nothing_is_known():
    wide = Recipe.make(width=512, height=128, methods=[{"name": "panorama"}])
    assert not unusual_size(wide, NET) and not unusual_size(Recipe.make(width=512), None)
