"""What models were made for: known of families by their pipelines, of few-step UNets by their names."""

import inspect
from types import SimpleNamespace

import diffusers
import pytest

from app.engine import model_settings
from app.engine.model_settings import unusual_settings
from app.schema.recipe import Recipe
from backbones import families
from backbones.outline import outline
from backbones.unet import OFFERS
from tests.support import tiny, tiny_transformers

ALL = {one.name: one for one in families.ALL}
settings_of = model_settings.model_settings


def unet(id, *more):
    return SimpleNamespace(id=id, offers=OFFERS | set(more))


def transformer(name, id="one", distilled=False, *offers):
    return SimpleNamespace(id=id, offers={"prompts", *offers}, family=ALL[name], settings={"is_distilled": distilled})


@pytest.mark.parametrize("name", ALL)
def test_of_a_family_they_are_the_defaults_of_its_pipeline(name):
    """True guidance where it is an argument of its own; an embedded scale is no CFG Scale; Krea 2 counts one less."""
    pipeline = getattr(diffusers, ALL[name].networks[0].pipelines[0])
    given = {name: one.default for name, one in inspect.signature(pipeline.__call__).parameters.items()}
    found = settings_of(transformer(name, "one", False, "distilled guidance"))
    scale = given.get("true_cfg_scale", given["guidance_scale"]) + (name == "Krea 2")
    scale = 1.0 if name == "FLUX.1 Fill" else scale
    assert (found.steps, found.cfg_scale, found.few) == (given["num_inference_steps"], scale, False)


@pytest.mark.parametrize("id, sampler, steps", [
    ("stabilityai/sdxl-turbo", "ancestral", 4), ("SDXL-Lightning_4step", "euler", 4), ("sdxl_lightning_8step_unet",
     "euler", 8), ("Hyper-SD15-1step", "euler", 1), ("dreamshaper-hyper", "euler", 8),
])  # fmt: skip
def test_few_step_unets_are_known_by_their_names(id, sampler, steps):
    found = settings_of(unet(id))
    assert (found.sampler, found.steps, found.cfg_scale, found.few) == (sampler, steps, 1.0, True)
    Recipe.make(**found.values)


def test_what_is_known_by_its_files(tmp_path):
    lcm, plain = tiny.save(tmp_path / "a", "eps-lcm"), tiny.save(tmp_path / "b")
    assert settings_of(outline(str(lcm))).values == {
        "steps": 4, "cfg_scale": 1.0, "sampler": "lcm", "schedule": "native"
    }  # fmt: skip
    assert settings_of(outline(str(plain))) is None and settings_of(None) is None
    kinds = {"flux-schnell": (4, True), "flux-dev": (28, False), "qwen-image": (50, False)}
    for kind, (steps, few) in kinds.items():
        found = settings_of(outline(str(tiny_transformers.save(tmp_path / kind, kind))))
        assert (found.steps, found.few) == (steps, few)
    assert settings_of(transformer("FLUX.2 klein", distilled=True)).values["steps"] == 4
    assert settings_of(transformer("Z-Image", "Tongyi-MAI/Z-Image-Turbo")).cfg_scale == 1.0
    assert settings_of(SimpleNamespace(id="my-turbo-dogs-in-pixels", offers={"pixels"})) is None


def test_what_a_few_step_model_was_not_made_for_is_said_at_its_field():
    turbo = unet("sdxl-turbo")
    assert [one.field for one in unusual_settings(Recipe(steps=30, cfg_scale=7.0), turbo)] == ["cfg_scale", "steps"]
    assert not unusual_settings(Recipe(steps=4, cfg_scale=1.0), turbo)
    assert not unusual_settings(Recipe(steps=30, cfg_scale=7.0), unet("sd15"))
    lcm = unet("one", "distilled guidance")
    assert [one.field for one in unusual_settings(Recipe(steps=30, cfg_scale=7.0), lcm)] == ["steps"]  # see Guidance
