"""The tiles of the first view: each family, each task with its images, and what is given is what the example gives."""

import numpy as np
import pytest
from PIL import Image

from app import theme
from app.catalog import catalogue
from app.catalog.tasks import TASKS
from app.forms import tiles

SHOWN = {task.key: task for task in TASKS if (tiles.GIVEN / f"{task.example}.webp").is_file()}


def test_some_of_each_family_in_the_survey_s_order():
    families = [task.family for task in TASKS]
    assert list(dict.fromkeys(families)) == list(theme.FAMILIES)
    assert len(set(families)) == sum(one != next for one, next in zip(families, [*families[1:], ""]))  # side by side
    for task in TASKS:
        assert task.prompt or catalogue()["methods"][task.methods[0]]["family"] == task.family, task.key
        assert set(task.methods) <= set(catalogue()["methods"]), task.key


def test_every_tile_shows_what_comes_of_it_beside_what_is_given():
    html = tiles.board()
    for task in TASKS:
        assert (tiles.RESULTS / f"{task.example}.webp").is_file(), task.key
        assert f"taxonomy/examples/{task.example}.webp" in html
        assert task.given or task.key in SHOWN, task.key
    assert {path.stem for path in tiles.GIVEN.iterdir()} == {task.example for task in SHOWN.values()}


def test_rows_of_two_and_of_three_have_no_gaps():
    """A wide one takes two places of a row, and is not pushed into the next."""
    places = 0
    for task in TASKS:
        wide = f'<li data-wide><button type="button" class="nw-tile" data-task="{task.key}"' in tiles.board()
        assert wide == (task.key == "wide")
        assert not wide or (places % 2 == 0 and places % 3 < 2)
        places += 1 + wide
    assert places % 6 == 0


@pytest.mark.parametrize("key", [key for key in SHOWN if key not in ("edit", "restore")])  # those need a network
def test_what_is_shown_as_given_is_what_the_example_gives(key):
    from app.service.models import Model
    from tools.given_images import given

    name = TASKS[[task.key for task in TASKS].index(key)].example
    with Image.open(tiles.GIVEN / f"{name}.webp") as kept:
        shown = np.asarray(kept.convert("RGBA"), dtype=float)
    made = given(name, Model("still-life"))
    assert made is not None
    now = np.asarray(made.convert("RGBA"), dtype=float)
    again = "run python -m tools.given_images and python -m tools.example_images, and commit what they write"
    assert now.shape == shown.shape and np.abs(now - shown)[now[..., 3] > 0].mean() < 8, again
