"""The number of network evaluations that is known before a run is the number that the run makes."""

import pytest
import torch

from app.engine.planner import Encoder, plan
from app.forms.examples import example
from app.schema.recipe import SAMPLERS, Recipe
from app.service import counting
from app.service.checking import check
from app.service.reading import Request
from backbones.outline import outline
from conditioning.registry import METHODS
from samplers.driver import run
from tests.support.networks import embedded

STEPS = 6
BACKBONES = ("still-life", "still-life-pixels", "exact")


def request(name: str, id: str, shrink: int = 1) -> Request:
    """The method with its example, at a part of the network's size."""
    size = embedded(id).default_size // shrink
    made = example(name, size)
    use = made.card.model_dump(include={"name", "knobs", "inputs"})
    settings = {**made.settings, "width": size, "height": size, "steps": STEPS, "backbone": id, "methods": [use]}
    return Request(Recipe.make(**settings), made.images)


def made_by(asked: Request) -> tuple[int, int]:
    """Network evaluations and rows of the first image, by the loaded network."""
    backbone = embedded(asked.recipe.backbone)
    made = plan(asked.recipe.one(0), backbone, Encoder(backbone), asked.images)
    run(made.flow, backbone.denoise)
    return made.tally.nfe, made.tally.rows


@pytest.mark.slow
@pytest.mark.parametrize("id", BACKBONES)
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cfg"}))
def test_of_every_method_what_the_loaded_network_is_called_or_why_it_is_not_known(name, id):
    found = check(asked := request(name, id, shrink=1 if id == "exact" else 2))
    if found.nfe is None:
        assert found.rows is None and found.nfe_reason
    else:
        assert ((found.nfe, found.rows), found.nfe_reason) == (made_by(asked), "")


def test_most_methods_are_counted_and_the_others_say_why():
    found = {name: check(request(name, "still-life")) for name in sorted(set(METHODS) - {"cfg"})}
    energy = request("energy_guidance", "still-life")  # whose example needs no perception model, as others do
    (use,) = energy.recipe.methods
    read = use.model_copy(update={"knobs": {**use.knobs, "energy": "depth map"}})
    assert found["energy_guidance"].nfe is not None
    found["energy_guidance"] = check(Request(energy.recipe.but(methods=(read,)), energy.images))
    said = {name: one.nfe_reason for name, one in found.items() if one.nfe is None and not one.problems}
    assert set(said) == {
        "attend_and_excite", "classifier_guidance", "diffedit", "direct_inversion", "energy_guidance",
        "layout_guidance", "null_text",
    }  # fmt: skip
    assert all("depends on" in words or "perception model" in words for words in said.values()), said


@pytest.mark.parametrize("name", SAMPLERS)
def test_of_every_solver_all_images_of_the_run(name):
    one = Recipe(backbone="still-life-pixels", width=32, height=32, sampler=name, steps=4, cfg_scale=1.0)
    found = check(Request(one.but(count=3)))
    if found.nfe is None:
        assert name == "amed" and "tuned on the network" in found.nfe_reason
    else:
        assert (found.nfe, found.rows) == tuple(3 * n for n in made_by(Request(one)))


def test_what_takes_too_long_is_not_counted(monkeypatch):
    monkeypatch.setattr(counting, "PATIENCE", 0.0)
    found = check(Request(Recipe(steps=4)))
    assert found.nfe is None and "more than 0 s" in found.nfe_reason


def test_a_stand_in_speaks_of_the_words_of_a_prompt():
    one = counting.StandIn(outline("still-life"))
    cond = one.encode_prompt(["a red cube", "cube"])
    assert cond["text"].shape == embedded("still-life").encode_prompt(["a", "b"])["text"].shape
    assert [word for word, _ in one.words(cond["tokens"][0])] == ["a", "red", "cube"]
    assert one.words(cond["tokens"][1]) == [("cube", [1])]
    weighed = one.encode_prompt(["a (red:1.3) [cube] <lora:x:1>"])["tokens"]
    assert weighed.equal(cond["tokens"][:1]), "as the network itself finds them"
    shape = one.latent_shape(64, 64)
    assert one.encode_image(torch.zeros(2, 3, 64, 64)).shape == (2, *shape)
    assert one.decode(torch.zeros(2, *shape)).shape == (2, 3, 64, 64)
