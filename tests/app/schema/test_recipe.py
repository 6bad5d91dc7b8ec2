"""Recipes: checked in words, and the same after every round trip."""

import json
import random
import string
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

import samplers
from app import __version__
from app.schema import png_metadata
from app.schema.recipe import LIMITS, SAMPLERS, SCHEDULES, Recipe, RecipeError, random_seed
from app.schema.this_machine import Here, differences
from app.storage.image_files import open_upload, save_png
from backbones.names import name_of

ROOT = Path(__file__).parents[3]
ALPHABET = string.printable + 'äß☃漢😀"\\:,{}()<>\u2028\x00'


def drawn(rng: random.Random) -> Recipe:
    """Any recipe at all."""

    def text(longest: int) -> str:
        return "".join(rng.choices(ALPHABET, k=rng.randint(0, longest)))

    def number(name: str) -> float:
        limit = LIMITS[name]
        return rng.choice([limit.low, limit.high, rng.uniform(limit.low, limit.high)])

    start, end = sorted((number("cfg_start"), number("cfg_end")))
    knobs = {text(5): rng.choice([True, 3, 0.1, text(9)]) for _ in range(rng.randint(0, 3))}
    strength = rng.choice([0.0, 0.0, number("variation_strength")])
    methods = [{"name": text(8), "knobs": knobs, "inputs": {"mask": "ab" * 32}} for _ in range(rng.randint(0, 2))]
    return Recipe.make(
        prompt=text(60), negative=text(30), backbone=text(12), revision=text(20), methods=methods,
        sampler=rng.choice(list(SAMPLERS)), schedule=rng.choice(list(SCHEDULES)),
        cfg_scale=number("cfg_scale"), cfg_rescale=number("cfg_rescale"), cfg_start=start, cfg_end=end,
        **{name: int(number(name)) for name in ("width", "height", "steps", "seed", "count", "variation_seed",
                                               "clip_skip")},
        variation_strength=strength,
        versions={text(6): text(6)},
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(100))
def test_every_recipe_survives_json_and_the_text_of_a_png(seed: int) -> None:
    recipe = drawn(random.Random(seed))
    assert Recipe.from_json(recipe.to_json()) == recipe
    reading = png_metadata.read(png_metadata.write(recipe))
    recipe = recipe.model_copy(update={"backbone": name_of(recipe.backbone)})  # which is no path
    assert reading.recipe == recipe and reading.exact and not reading.notes


def test_a_recipe_survives_a_png_file(tmp_path: Path) -> None:
    for seed in range(20):
        recipe = drawn(random.Random(seed))
        save_png(Image.new("RGB", (8, 8)), tmp_path / "one.png", png_metadata.write(recipe))
        recipe = recipe.model_copy(update={"backbone": name_of(recipe.backbone)})
        assert png_metadata.read(open_upload(tmp_path / "one.png").parameters).recipe == recipe


def test_a_variation_is_written_where_it_is_set_only() -> None:
    """So recipes of before are the same text, and cells of comparisons are found under their keys."""
    assert "variation" not in Recipe.make(seed=3).to_json() + png_metadata.write(Recipe.make(seed=3))
    text = png_metadata.write(Recipe.make(seed=3, variation_seed=8, variation_strength=0.25))
    assert ", Variation seed: 8, Variation seed strength: 0.25, " in text  # by A1111's names


def test_clip_skip_has_a1111s_name_and_is_written_where_it_is_set_only() -> None:
    assert "lip" not in Recipe.make(seed=3).to_json() + png_metadata.write(Recipe.make(seed=3))
    text = png_metadata.write(Recipe.make(seed=3, clip_skip=2))
    assert ", Clip skip: 2, " in text and png_metadata.read(text).recipe == Recipe.make(seed=3, clip_skip=2)
    foreign = "a cube\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Clip skip: 2, Version: v1.10.1"
    assert png_metadata.read(foreign).recipe.clip_skip == 2
    fooocus = '{"prompt": "a cube", "steps": 20, "clip_skip": 2}'
    assert png_metadata.read(fooocus).recipe.clip_skip == 2


def test_the_text_reads_like_everybody_elses() -> None:
    recipe = Recipe.make(prompt="a red sphere", negative="blur", seed=7, sampler="dpmpp_2m", schedule="karras")
    lines = png_metadata.write(recipe).splitlines()
    assert lines[:2] == ["a red sphere", "Negative prompt: blur"]
    assert lines[2].startswith(
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4, Seed: 7, Size: 128x128, Model: still-life"
    )
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steps", 151, "Sampling steps: 151 is out of range. Give a whole number from 1 to 150."),
        ("steps", 0, "out of range"),
        ("steps", 2.5, "not a whole number"),
        ("steps", "many", "Sampling steps: 'many' is not a number"),
        ("steps", True, "not a whole number"),
        ("width", 8, "Width: 8 is out of range. Give a whole number from 16 to 2048 pixels."),
        ("cfg_scale", float("nan"), "CFG Scale: nan is not a number"),
        ("cfg_scale", -1, "from 0 to 30"),
        ("cfg_rescale", 1.1, "CFG rescale"),
        ("seed", -1, "Seed: -1 is out of range"),
        ("seed", 2**64, "18446744073709551615"),
        ("seed", 1.7, "Seed: 1.7 is not a whole number"),
        ("seed", "1.7", "Seed: '1.7' is not a whole number"),
        ("steps", None, "Sampling steps: nothing is given. Give a whole number from 1 to 150"),
        ("steps", "", "Sampling steps: nothing is given"),
        ("steps", 300, "Sampling steps: 300 is out of range. Give a whole number from 1 to 150"),
        ("cfg_scale", "4,5,6", "CFG Scale: '4,5,6' is not a number"),
        ("count", 65, "Batch count: 65"),
        ("variation_strength", 1.2, "Variation strength: 1.2 is out of range. Give a number from 0 to 1"),
        ("clip_skip", 13, "Clip skip: 13 is out of range. Give a whole number from 1 to 12"),
        ("variation_seed", "many", "Variation seed: 'many' is not a number"),
        ("sampler", "plms", "Sampling method: 'plms' is unknown. Choose one of: euler, heun, dpmpp_2m, ancestral, "),
        ("schedule", "gamma", "karras"),
        ("prompt", 7, "Prompt: 7 is not text"),
        ("prompt", "x" * 10_001, "10,001 characters are too many. At most 10,000"),
        ("colour", 1, "there is no such field"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(field: str, value: object, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.make(**{field: value})
    (problem,) = caught.value.problems
    assert problem.field == field and said in problem.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.make(steps=0, width=1, sampler="?")
    assert {p.field for p in caught.value.problems} == {"steps", "width", "sampler"}
    with pytest.raises(RecipeError, match=r"Guidance start: 0\.9 lies after the guidance end 0\.2"):
        Recipe.make(cfg_start=0.9, cfg_end=0.2)


def test_json_that_is_no_recipe_is_refused() -> None:
    for text in ("", "{", "[]", "3", '{"steps": 999}', '{"methods": [{"name": 1}]}', "[" * 10_000, "nan"):
        with pytest.raises(RecipeError):
            Recipe.from_json(text)


def test_an_image_of_a_batch_has_a_recipe_of_its_own() -> None:
    recipe = Recipe.make(seed=2**32 - 2, count=4)  # as A1111 counts
    assert [recipe.one(i).seed for i in range(4)] == [2**32 - 2, 2**32 - 1, 0, 1]
    large = Recipe.make(seed=2**64 - 1, count=2)
    assert [large.one(i).seed for i in range(2)] == [2**64 - 1, 0]
    varied = Recipe.make(seed=5, variation_seed=2**32 - 1, variation_strength=0.2, count=2)  # A1111, SwarmUI too
    assert [(one.seed, one.variation_seed, one.count) for one in map(varied.one, range(2))] == [
        (5, 2**32 - 1, 1), (5, 0, 1)
    ]  # fmt: skip
    unvaried = Recipe.make(seed=5, variation_seed=9, count=2).one(1)
    assert (unvaried.seed, unvaried.variation_seed) == (6, 9)
    recipe = Recipe.make(seed=2**32 - 1, count=3)
    assert [recipe.one(i).seed for i in range(3)] == [2**32 - 1, 0, 1]
    assert recipe.one(2).count == 1
    assert 0 <= random_seed() < 2**32


@pytest.mark.parametrize("seed", [0, 2**32, 99999999999, 2**53 + 1, 12345678901234567891, 2**64 - 1])
def test_a_seed_of_64_bits_is_taken_to_the_last_digit(seed: int) -> None:
    for given in (seed, str(seed), f" {seed} "):
        assert Recipe.make(seed=given).seed == seed
    recipe = Recipe.make(seed=seed)
    assert Recipe.from_json(recipe.to_json()) == recipe
    foreign = png_metadata.read(f"a cube\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: {seed}, Size: 64x64")
    assert foreign.recipe.seed == seed


@pytest.mark.parametrize("given, value", [("4,5", 4.5), (" 0,5 ", 0.5), ("4.5", 4.5), ("12", 12), ("7,", 7)])
def test_a_comma_is_a_point(given: str, value: float) -> None:
    assert Recipe.make(cfg_scale=given).cfg_scale == value


def test_the_names_here_are_those_of_the_samplers() -> None:
    """Beside them, what is found on a network first (app/engine/tuned_schedules/)."""
    assert {**{key: one.label for key, one in samplers.SAMPLERS.items()}, "amed": "AMED-Solver"} == SAMPLERS
    assert {**{key: one.label for key, one in samplers.SCHEDULES.items()}, "gits": "GITS", "ld3": "LD3"} == SCHEDULES


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_differences_are_told_in_words() -> None:
    there = {"torch": "2.8", "device": "cuda"}
    made = Recipe.make(backbone="still-life", revision="aaaa", versions=there, methods=[{"name": "repaint"}])
    same = Here({"still-life": "aaaa"}, ["repaint"], there)
    assert differences(made, same) == []
    other = differences(made, Here({"still-life": "bbbb"}, [], {"torch": "2.9", "device": "cpu"}))
    assert [
        word in line for word, line in zip(["other weights", "repaint", "torch 2.8; here it is 2.9", "cuda"], other)
    ]
    assert len(other) == 4
    assert "still-life is not here. There is: sd15" in differences(made, Here({"sd15": ""}))[0]
    assert differences(Recipe(), Here()) == []


def test_pages_can_be_served_before_torch_is_there() -> None:
    modules = "app.schema.recipe, app.storage.image_history, app.engine.events"
    code = f"import json, sys, {modules}; print(json.dumps('torch' in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) is False
