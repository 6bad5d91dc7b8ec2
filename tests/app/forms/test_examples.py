"""The example of every method: fixed, right for its prompt, and measured as it is."""

import json
from pathlib import Path

import pytest

from app.engine import method_checks
from app.engine.unused_settings import unused
from app.forms import examples
from app.forms.example_recipes import OPEN, SHOWN, Shown
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe
from backbones.embedded import EMBEDDED
from backbones.outline import outline
from conditioning.registry import METHODS
from fidelity.measures import better
from tests.support.networks import with_an_example
from world.captions import parse

DOCS = Path(__file__).parents[3] / "docs"
FIGURES = json.loads((DOCS / "examples.json").read_text())
NAMES = with_an_example()
VISIBLE = 3.0  # of 255, mean over the image: from here on a person sees a difference


def recipe(name: str) -> Recipe:
    """On the network that the page takes for it."""
    id = next(id for id in EMBEDDED if EMBEDDED[id].folder and set(METHODS[name].needs) <= set(outline(id).offers))
    made = examples.example(name, outline(id).default_size)
    use = Use(**made.card.model_dump(include={"name", "knobs", "inputs"}))
    return Recipe.make(backbone=id, methods=[use], **made.settings)


def test_every_method_has_an_example_of_its_own_and_nothing_else_has():
    assert set(SHOWN) == set(METHODS) - {"cfg"}


@pytest.mark.parametrize("name", NAMES)
def test_a_click_gives_the_same_run_each_time_on_which_all_that_is_given_acts(name):
    one = recipe(name)
    assert one == recipe(name) and one.count == 1
    assert "seed" in examples.example(name, 64).settings
    known = outline(one.backbone)
    assert not method_checks.problems(one, known)
    assert not [problem for problem in unused(one, known) if problem.field.startswith("methods")]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_given_fits_the_prompt(name):
    """Words to attend to stand in it, boxes hold what it names or have a scene of their own, a source prompt is true of
    the source and differs in what the edit is about."""
    one, use = recipe(name), recipe(name).methods[0]
    asked, size = parse(one.prompt), one.height
    for key, value in use.inputs.items():
        kind = method_checks.wanted(METHODS[name])[key].kind
        if kind == "words" and key == "words":
            assert all(word.strip() in one.prompt.split() for word in value.split(","))
        elif kind == "boxes" and METHODS[name].nfe != 1:
            named = {(solid.colour, solid.shape) for solid in asked.solids}
            assert {(solid.colour, solid.shape) for box in value for solid in parse(box.text).solids} <= named
        elif kind == "prompt" and "source" in key:
            assert value != one.prompt and len(parse(value).solids) == len(asked.solids)
    assert size == one.width or METHODS[name].task == "panorama"


@pytest.mark.parametrize("name", NAMES)
def test_its_figures_are_of_the_example_as_it_is_and_show_that_the_method_works(name):
    """After a change: `python -m tools.example_images NAME`, and look at docs/images/examples/NAME.webp."""
    one = FIGURES[name]
    assert one["recipe"] == examples.example_key(name, SHOWN[name]), (
        f"measure it again: python -m tools.example_images {name}"
    )
    assert one["moved"] >= VISIBLE
    assert name in OPEN or better(one["measure"], one["with"], one["without"])
    assert (DOCS / "images" / "examples" / f"{name}.webp").is_file()


def test_another_seed_prompt_knob_or_input_is_another_recipe():
    one = Shown("a red cube", 1, "kept", {"words": "cube"}, {"strength": 1.0})
    others = [
        Shown("a red cone", 1, "kept", {"words": "cube"}, {"strength": 1.0}),
        Shown("a red cube", 2, "kept", {"words": "cube"}, {"strength": 1.0}),
        Shown("a red cube", 1, "kept", {"words": "cone"}, {"strength": 1.0}),
        Shown("a red cube", 1, "kept", {"words": "cube"}, {"strength": 2.0}),
    ]
    keys = {examples.example_key("attend_and_excite", other) for other in others}
    assert len(keys) == 4 and keys.isdisjoint({examples.example_key("attend_and_excite", one)})
    assert examples.example_key("sdedit", one) == examples.example_key("sdedit", Shown(**vars(one)))
