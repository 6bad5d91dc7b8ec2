"""What a run does not use of its recipe is said at the field, changes no pixel, and is neither written nor searched."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import backbones
from app.comparison.idle_axes import idle_axes
from app.comparison.spec import Axis, Change, Comparison
from app.engine.engine import Engine
from app.engine.planner import Encoder, plan, problems
from app.engine.tuned_schedules import TunedSchedules
from app.engine.unused_settings import settings_used, unused, unusual_guidance, used
from app.forms.stack import formula as on_the_page
from app.schema import png_metadata
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe
from conditioning.registry import METHODS
from samplers import SAMPLERS
from tests.support.doubles import recipe
from tests.support.full_methods import IMAGES, SHA, full

ORACLE = backbones.load("exact")
DDNM = full("ddnm")
UNUSED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "steps of a method": (
        {"methods": [DDNM], "sampler": "ancestral", "sampler_knobs": {"eta": 0.5}, "afs": True, "stop_sigma": 1.0},
        {"sampler", "sampler.knobs.eta", "afs", "stop_sigma"},
    ),
    "noise of no climb": (
        {"sampler": "churn", "sampler_knobs": {"s_churn": 0, "s_noise": 0.9, "s_tmax": 9}},
        {"sampler.knobs.s_noise", "sampler.knobs.s_tmax"},
    ),
    "levels of no restart": (
        {"sampler": "restart", "sampler_knobs": {"restarts": 0, "t_max": 9}},
        {"sampler.knobs.t_max"},
    ),
    "no guidance": (
        {"cfg_scale": 1.0, "negative": "blue", "cfg_rescale": 0.5, "cfg_start": 0.2, "cfg_end": 0.8},
        {"negative", "cfg_rescale", "cfg_start", "cfg_end"},
    ),
    "guidance of no step": ({"cfg_start": 0.05, "cfg_end": 0.15}, {"cfg_start"}),
    "a method at zero": ({"methods": [full("dps", zeta=0)]}, {"methods.0.knobs.zeta"}),
    "an interval the wrong way": (
        {"methods": [full("energy_guidance", start=0.6, end=0.4)]},
        {"methods.0.knobs.start"},
    ),
    "jumps longer than the run": ({"methods": [full("repaint", jump=10, times=3)]}, {"methods.0.knobs.jump"}),
    "a window as large as the image": ({"methods": [{"name": "panorama"}]}, {"methods.0.knobs.window"}),
    "a variation of no strength": ({"variation_seed": 3}, {"variation_seed"}),
    "a variation to the seed itself": (
        {"seed": 3, "variation_seed": 3, "variation_strength": 0.4},
        {"variation_seed", "variation_strength"},
    ),
    "a variation where an image is encoded": (
        {"methods": [full("ddim_inversion")], "variation_seed": 3, "variation_strength": 0.4, "count": 2},
        {"variation_seed", "variation_strength"},
    ),
    "a variation where no step is left": (
        {"methods": [full("sdedit", strength=0.0)], "cfg_scale": 1.0, "variation_strength": 0.4},
        {"sampler", "variation_strength"},
    ),
    "layers of no CLIP": ({"clip_skip": 2}, {"clip_skip"}),
    "a low first level": (
        {"afs": True, "methods": [full("sdedit", strength=0.3)]},
        {"afs"},
    ),
}


@pytest.fixture(scope="module")
def engine() -> Any:
    with_exact = Engine(backbones.load("exact"))
    assert with_exact.wait(60)
    yield with_exact
    with_exact.close()


def made(engine: Engine, asked: Recipe) -> Any:
    return engine.submit(asked, IMAGES).result()


@pytest.mark.parametrize("name", UNUSED)
def test_it_is_said_at_its_field_and_changes_no_pixel(name: str, engine: Engine) -> None:
    settings, fields = UNUSED[name]
    whole = recipe(**{"steps": 6, **settings})
    said = unused(whole, ORACLE)
    assert {field for field, _ in said} == fields and all(words.endswith(".") for _, words in said)
    without = used(whole, ORACLE)
    assert without != whole
    assert np.array_equal(np.asarray(made(engine, whole).images[0]), np.asarray(made(engine, without).images[0]))


@pytest.mark.parametrize("name", UNUSED)
def test_it_is_not_in_the_image_and_its_text_reads_back_exactly(name: str, engine: Engine) -> None:
    settings, fields = UNUSED[name]
    image = made(engine, recipe(**{"steps": 6, **settings})).images[0]
    text = image.info["parameters"]
    reading = png_metadata.read(text)
    assert reading.exact and reading.recipe is not None
    kept = json.loads(json.loads(text[text.rindex("Nine Ways: ") + len("Nine Ways: ") :]))
    assert not fields & set(kept) and {field for field in fields if "." not in field} <= set(kept.get("unused", []))
    for field in (field.split(".") for field in fields if field.startswith("methods.")):
        assert not kept["methods"] or field[3] not in kept["methods"][0]["knobs"]


def test_images_of_a_batch_are_counted_by_the_seed_that_is_used(engine: Engine) -> None:
    """The variation seed where it acts; where an image is encoded, the seed, so that its noise on the way differs."""
    asked = recipe(steps=2, seed=3, variation_seed=8, variation_strength=0.4, count=2)
    made_by = made(engine, asked).recipes
    assert [(one.seed, one.variation_seed) for one in made_by] == [(3, 8), (3, 9)]
    encoded = asked.but(methods=(full("edit_friendly_ddpm"),))
    assert [(one.seed, one.variation_strength) for one in made(engine, encoded).recipes] == [(3, 0), (4, 0)]


def test_a_variation_lies_between_the_images_of_its_two_seeds(engine: Engine) -> None:
    """On the exact denoiser without noise on the way: at 0 and 1 it is one of them, up to rounding."""
    seeds = {seed: np.asarray(made(engine, recipe(steps=4, seed=seed)).images[0], int) for seed in (3, 8)}
    varied = {strength: np.asarray(made(engine, recipe(steps=4, seed=3, variation_seed=8, variation_strength=strength))
              .images[0], int) for strength in (0.05, 1.0)}  # fmt: skip
    assert abs(varied[1.0] - seeds[8]).max() <= 1
    assert 0 < abs(varied[0.05] - seeds[3]).mean() < abs(varied[0.05] - seeds[8]).mean()


def test_the_formula_has_what_is_called_and_nothing_else() -> None:
    asked = recipe(**{**UNUSED["steps of a method"][0], "steps": 6, "cfg_scale": 4.0})
    assert plan(asked, ORACLE, Encoder(ORACLE), IMAGES).formula == "ddnm over cfg(ask)"
    asked = recipe(methods=[full("dps", zeta=0)], sampler="euler", cfg_scale=1.0)
    assert plan(asked, ORACLE, Encoder(ORACLE), IMAGES).formula == "euler over ask"
    no_step = full("energy_guidance", start=0.6, end=0.4)
    asked = recipe(methods=[no_step], sampler="euler", cfg_scale=1.0)
    assert plan(asked, ORACLE, Encoder(ORACLE), IMAGES).formula == "euler over ask" == on_the_page(asked)
    unguided = recipe(cfg_start=0.3, cfg_end=0.3, sampler="euler")
    assert plan(unguided, ORACLE, Encoder(ORACLE), {}).formula == "euler over ask" == on_the_page(unguided)


@pytest.mark.parametrize("sampler", ["euler", "amed"])
def test_nothing_is_searched_for_a_solver_that_is_not_called(sampler: str) -> None:
    asked = recipe(methods=[DDNM], sampler=sampler, steps=5)
    assert not problems(asked, ORACLE, asked.backbone)
    assert TunedSchedules(ORACLE).search(settings_used(asked, ORACLE)) is None
    called = recipe(sampler="amed", steps=5)
    assert TunedSchedules(ORACLE).search(settings_used(called, ORACLE)) is not None


def test_a_schedule_of_a_solver_that_is_not_called_is_refused() -> None:
    (problem,) = problems(recipe(methods=[DDNM], schedule="ld3", steps=5), ORACLE, recipe().backbone)
    assert problem.field == "schedule" and "calls none" in problem.message


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_plain_recipe_uses_all_that_it_says(name: str) -> None:
    assert not unused(recipe(sampler=name, negative="blue", cfg_rescale=0.3, cfg_start=0.2), ORACLE)
    for knob, one in SAMPLERS[name].knobs.items():
        assert not unused(recipe(sampler=name, sampler_knobs={knob: not one.default if one.type is bool else one.high}))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cfg"}))
def test_a_method_at_its_defaults_leaves_nothing_unused_but_the_sampler(name: str) -> None:
    fields = {field for field, _ in unused(recipe(methods=[full(name)], steps=20))}
    assert fields <= {"sampler"}


def test_another_recipe_cannot_say_what_is_unused() -> None:
    """The names come from the run, not from whoever wrote the file."""
    asked = recipe(sampler="heun", unused=("sampler", "prompt"))
    assert settings_used(asked).unused == () and settings_used(asked).sampler == "heun"
    restored = used(recipe(methods=[DDNM], sampler="heun"))
    assert restored.unused == ("sampler",) and '"sampler":' not in restored.to_json()
    assert '"sampler":{"name":"lms","knobs":{"order":4}}' in restored.but(sampler="lms").to_json()
    axis = Axis(name="s", values=tuple(Change(label=key, recipe={"sampler": key}) for key in ("lms", "euler")))
    cells = Comparison(base=restored, axes=(axis,)).cells()
    assert [cell.recipe.sampler for cell in cells if cell.recipe] == ["lms", "euler"] and cells[0].key != cells[1].key
    assert Use(name="ddnm", inputs={"measured": {"name": "super_resolution", "image": SHA}}).name == "ddnm"


@pytest.mark.parametrize("base, axis, words", [
    ({}, {"variation_seed": (1, 2)}, "at a Variation strength of 0"),
    ({"methods": [full("ddim_inversion")]}, {"variation_strength": (0.1, 0.2)}, "DDIM inversion starts the run"),
    ({}, {"clip_skip": (2, 3)}, "Clip skip: this model has no CLIP"),
    ({"variation_strength": 0.3}, {"variation_seed": (1, 2)}, ""), ({}, {"variation_strength": (0, 0.2)}, ""),
])  # fmt: skip
def test_an_axis_of_variations_that_cannot_act_is_refused(base: Any, axis: Any, words: str) -> None:
    ((name, numbers),) = axis.items()
    changes = tuple(Change(label=str(number), recipe={name: number}) for number in numbers)
    comparison = Comparison(base=recipe(variation_seed=7, **base), axes=(Axis(name="v", values=changes),))
    refused, _ = idle_axes(comparison, lambda id: ORACLE)
    assert [words in one for one in refused] == [True] * bool(words)


@pytest.mark.parametrize("scale, words", [
    (0.0, "CFG Scale: 0 is the negative prompt alone, without the prompt. No guidance, the prompt alone, is 1 here"),
    (0.25, "CFG Scale: 0.25 is 25% of the way from the negative prompt to the prompt. No guidance, the prompt alone"),
    (1.0, ""), (4.0, ""),
])  # fmt: skip
def test_guidance_below_1_is_said_to_be_what_it_is(engines: Any, scale: float, words: str) -> None:
    """The cards of Turbo models say 0 and mean the prompt alone, as diffusers does."""
    said = unusual_guidance(recipe(cfg_scale=scale))
    assert [one.field for one in said] == ["cfg_scale"] * bool(words)
    assert not words or (said[0].message.startswith(words) and "give 1 where the card of a model" in said[0].message)
    assert not unusual_guidance(recipe(cfg_scale=scale, cfg_start=0.05, cfg_end=0.06, steps=8)), "no step is guided"


def test_guidance_0_is_the_negative_prompt_alone(engines: Any) -> None:
    zero, alone = (engines(ORACLE).submit(one).result().images[0] for one in (
        recipe(prompt="a red disc", negative="a blue square", cfg_scale=0.0),
        recipe(prompt="a blue square", cfg_scale=1.0),
    ))  # fmt: skip
    assert np.abs(np.asarray(zero, float) - np.asarray(alone, float)).max() <= 1


def test_guidance_on_top_of_guidance_that_is_built_in_is_said():
    distilled = SimpleNamespace(offers={"distilled guidance"})
    (said,) = unusual_guidance(recipe(cfg_scale=4.0), distilled)
    assert said.field == "cfg_scale" and "built in" in said.message and "Give 1" in said.message
    assert not unusual_guidance(recipe(cfg_scale=1.0), distilled)
    assert not unusual_guidance(recipe(cfg_scale=4.0, cfg_start=0.05, cfg_end=0.06, steps=8), distilled)
    assert not unusual_guidance(recipe(cfg_scale=4.0), SimpleNamespace(offers=()))
