"""What is known of a comparison before it is made: its network evaluations, and values that cannot be."""

from types import SimpleNamespace

import pytest

from app.comparison.spec import Axis, Change, Comparison
from app.forms.comparison_form import duration
from app.schema.recipe import Recipe
from app.service.reading import Request
from app.service.runs import Runs
from backbones.outline import outline

BASE = Recipe(prompt="a red cube", backbone="still-life", width=64, height=64, cfg_scale=1.0)


def never(*given):
    raise AssertionError("a loaded network belongs to the thread that runs it")


def runs():
    """Of a page whose network is loaded, and must not be asked."""
    return Runs(never, None, lambda id: SimpleNamespace(denoise=never))


def compared(*axes):
    made = [Axis(name=name, values=tuple(Change(label=str(v), recipe={name: v}) for v in values))
            for name, values in axes]  # fmt: skip
    return Comparison(base=BASE, axes=tuple(made))


def test_evaluations_are_counted_without_the_network_and_for_every_seed():
    assert runs().evaluations(compared(("steps", (2, 3)), ("seed", (0, 1, 2))), {}) == (15, True)
    assert runs().evaluations(compared(("steps", (2, 0))), {}) == (2, True), "what cannot be costs nothing"


def test_what_is_tuned_first_is_left_out_and_said():
    assert runs().evaluations(compared(("schedule", ("native", "gits"))), {}) == (BASE.steps, False)


def test_values_with_which_no_cell_can_be_are_found():
    found = Runs(never).wrong_values(compared(("steps", (2, 0)), ("seed", (0, 1))), {})
    assert len(found) == 1 and "0 is out of range" in found[0].message


@pytest.mark.parametrize("seconds, words", [(0.2, "1 s"), (59, "59 s"), (90, "2 min"), (5400, "1.5 h")])
def test_a_time_has_the_unit_that_fits(seconds, words):
    assert duration(seconds) == words


class Loaded:
    """A network that is loaded, and runs something else just now."""

    denoise = staticmethod(never)

    def __getattr__(self, name):
        return getattr(outline("still-life"), name)


def test_a_recipe_is_checked_without_asking_the_network_that_is_loaded():
    found = Runs(never, None, lambda id: Loaded()).check(Request(BASE))
    assert (found.problems, found.nfe) == ((), BASE.steps)
