"""Settings from other people's images: understood as well as possible, and never trusted."""

import json
import random

import pytest

from app.schema.png_metadata import read, write
from app.schema.recipe import Recipe
from app.schema.solvers import KNOBS, SAMPLERS

A1111 = """masterpiece, a (cat:1.2) on grass
by a window <lora:cats:0.8>
Negative prompt: blurry,
low quality
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x768, \
Model hash: 45dee52b, Model: v1-5, Lora hashes: "cats: 0a1b2c3d4e5f", ENSD: 31337, Version: v1.10.1"""


def test_eta_of_others_is_read() -> None:
    reading = read("a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Eta: 0.67")
    assert reading.recipe is not None and reading.recipe.sampler_knobs == {"eta": 0.67}
    assert not any("Eta" in note for note in reading.notes)
    assert read("a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Eta: 0.67, Sigma churn: 3").recipe == reading.recipe.but(
        cfg_scale=4, width=128, height=128
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_knobs_of_a_solver_are_read_back_from_the_readable_text(sampler: str) -> None:
    other = {"eta": 0.25, "s_churn": 12.5, "s_noise": 1.005, "s_tmin": 0.5, "s_tmax": 80.0, "restarts": 2, "t_min": 0.2,
             "t_max": 3.5, "order": 2, "tau": 0.75, "corrector": False, "corrector_order": 0}  # fmt: skip
    recipe = Recipe.make(sampler=sampler, sampler_knobs={name: other[name] for name in KNOBS[sampler]})
    assert not KNOBS[sampler] or recipe != Recipe.make(sampler=sampler)
    text = write(recipe)
    assert read(text).recipe == recipe and read(text).exact
    cut = read(text.partition(", Nine Ways: ")[0])
    assert cut.recipe is not None and cut.recipe.sampler_knobs == recipe.sampler_knobs
    assert not any("Not understood" in note for note in cut.notes)


def test_a_knob_of_another_solver_in_a_text_is_left_out_and_said() -> None:
    reading = read("a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Eta: 0.67")
    assert reading.recipe is not None and reading.recipe.sampler_knobs == {}
    assert [note for note in reading.notes if note.startswith("Eta: Euler takes none.")]
    wrong = read("a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Eta: 7")
    assert wrong.recipe is not None and wrong.recipe.sampler_knobs == {"eta": 1.0}
    assert any("Eta: '7' is out of range" in note for note in wrong.notes)


def test_a1111() -> None:
    reading = read(A1111)
    assert reading.recipe is not None and not reading.exact
    assert reading.recipe == Recipe.make(
        prompt="masterpiece, a (cat:1.2) on grass\nby a window <lora:cats:0.8>",
        negative="blurry,\nlow quality",
        steps=28,
        sampler="dpmpp_2m",
        schedule="karras",
        cfg_scale=6.5,
        seed=965400086,
        width=512,
        height=768,
        lora_hashes={"cats": "0a1b2c3d4e5f"},
    )
    said = " ".join(reading.notes)
    assert "v1-5" in said and "Not understood: ENSD." in said and "weights" not in said.lower()


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("Euler a", ("ancestral", "linspace")),
        ("DDIM", ("euler", "leading")),
        ("Heun", ("heun", "linspace")),
        ("UniPC", ("unipc", "linspace")),
        ("DPM++ 2M SDE Karras", ("dpmpp_2m_sde", "karras")),
        ("DPM++ 3M SDE Exponential", ("dpmpp_3m_sde", "exponential")),
        ("DPM++ SDE Karras", ("dpmpp_sde", "karras")),
        ("DPM++ 2S a", ("dpmpp_2s_a", "linspace")),
        ("DPM2 a Karras", ("dpm_solver_2_a", "karras")),
        ("DPM2", ("dpm_solver_2", "linspace")),
        ("LMS", ("lms", "linspace")),
        ("PLMS", ("ipndm", "leading")),
        ("DEIS", ("deis", "linspace")),
        ("Restart", ("restart", "linspace")),
        ("LCM", ("lcm", "linspace")),
        ("uni_pc_bh2", ("unipc", "linspace")),
        ("ipndm_v", ("lms", "linspace")),
        ("DPM adaptive", ("euler", "linspace")),
    ],
)
def test_names_of_samplers(sampler: str, expected: tuple[str, str]) -> None:
    reading = read(f"x\nSteps: 20, Sampler: {sampler}, CFG scale: 7, Seed: 1")
    assert reading.recipe is not None
    assert (reading.recipe.sampler, reading.recipe.schedule) == expected
    assert ("is not here" in " ".join(reading.notes)) == (sampler == "DPM adaptive")


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [("Euler", "linspace"), ("DPM++ 2M", "karras"), ("DPM++ 2M SDE", "exponential"), ("DPM2 a", "karras"),
     ("DDIM", "leading"), ("UniPC", "linspace")],
)  # fmt: skip
def test_automatic_is_what_a1111_takes_for_the_sampler(sampler: str, expected: str) -> None:
    reading = read(f"x\nSteps: 20, Sampler: {sampler}, Schedule type: Automatic, CFG scale: 7, Seed: 1")
    assert reading.recipe is not None and reading.recipe.schedule == expected


def test_our_own_readable_settings_mean_our_own_schedules() -> None:
    recipe = Recipe.make(sampler="dpmpp_2m", schedule="native", steps=9)
    cut = read(write(recipe).partition(", Nine Ways: ")[0])
    assert cut.recipe is not None and cut.recipe.schedule == "native"


FOREIGN = {  # settings as other tools write them: what they mean, and a word of the note on what is not read
    "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7,5, Seed: 5, Size: 512x512": ({"cfg_scale": 7.5, "seed": 5}, ""),
    "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512, Model: m\nTemplate: a {fox|wolf}\n"
    "Negative Template: bad": ({"prompt": "a fox", "steps": 20, "width": 512}, "Template, Negative Template"),
    "a sign, Steps: 99, Sampler: Nothing, Seed: 12\nanother line\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5": (
        {"prompt": "a sign, Steps: 99, Sampler: Nothing, Seed: 12\nanother line", "steps": 20, "seed": 5}, ""),
    "a fox\nSteps: 20, Seed: 5": ({"prompt": "a fox", "steps": 20, "seed": 5}, ""),
    "a fox\r\nNegative prompt: x\r\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5": ({"negative": "x"}, ""),
    "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size-1: 512, Size-2: 640": (
        {"width": 512, "height": 640}, ""),
    "a fox\nSteps: 1, Sampler: Euler a, Schedule type: Turbo, CFG scale: 1, Seed: 5": ({"schedule": "native"}, ""),
    "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 804822466654819": ({"seed": 804822466654819}, ""),
    "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Denoising strength: 0.6": ({}, "another image"),
    "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Variation seed: 8, Variation seed strength: 0.2": (
        {"seed": 5, "variation_seed": 8, "variation_strength": 0.2}, ""),
    "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Variation seed: 8, Variation strength: 0.2": (
        {"variation_seed": 8, "variation_strength": 0.2}, ""),
    "a fox\nSteps: 20, Sampler: DPM++ 2M SDE Heun, CFG scale: 7, Seed: 5": ({"sampler": "dpmpp_2m_sde"}, "nearest"),
    '{"prompt": "a fox", "negative_prompt": "blur", "seed": "12345", "steps": 30, "guidance_scale": 4.0, "resolution": '
    '"(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "version": "Fooocus v2.5.5"}': (
        {"prompt": "a fox", "negative": "blur", "seed": 12345, "steps": 30, "cfg_scale": 4, "width": 1152,
         "sampler": "dpmpp_2m_sde", "schedule": "karras"}, ""),
    '{"sui_image_params": {"prompt": "a fox", "negativeprompt": "blur", "seed": 58, "steps": 25, "cfgscale": 4.0, '
    '"width": 1024, "height": 1024, "sampler": "dpmpp_2m", "scheduler": "karras", "model": "m", '
    '"variationseed": 9, "variationseedstrength": 0.3}}': (
        {"prompt": "a fox", "negative": "blur", "seed": 58, "steps": 25, "height": 1024, "variation_seed": 9,
         "variation_strength": 0.3}, "model"),
}  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_settings_mean_what_the_tool_means_that_wrote_them(text: str) -> None:
    fields, note = FOREIGN[text]
    reading = read(text)
    assert reading.recipe is not None
    assert {name: getattr(reading.recipe, name) for name in fields} == fields
    assert note in " ".join(reading.notes)


def test_what_is_out_of_range_is_left_out_and_said() -> None:
    reading = read("x\nSteps: 900, Sampler: Euler, CFG scale: a lot, Seed: -1, Size: 9x9")
    assert reading.recipe == Recipe.make(prompt="x", schedule="linspace")
    assert len(reading.notes) == 6


def test_a_text_without_settings_is_a_prompt() -> None:
    reading = read("just a cat: on a mat")
    assert reading.recipe == Recipe.make(prompt="just a cat: on a mat") and reading.notes


def test_recipes_of_another_version() -> None:
    text = write(Recipe.make(prompt="p", steps=7))
    newer = text.replace('{\\"schema\\"', '{\\"moon\\": 3, \\"schema\\"')
    assert newer != text
    reading = read(newer)
    assert reading.recipe == Recipe.make(prompt="p", steps=7) and not reading.exact
    assert "moon" in reading.notes[0]
    later = read(text.replace('\\"schema\\":2', '\\"schema\\":9'))
    assert later.recipe == reading.recipe and not later.exact and "newer version" in later.notes[0]
    older = read(text.replace('\\"steps\\":7', '\\"steps\\":700'))
    assert older.recipe == Recipe.make(prompt="p") and "700" in older.notes[0]


def test_knobs_that_do_not_hold_are_left_out_alone() -> None:
    recipe = Recipe.make(sampler="churn", sampler_knobs={"s_noise": 1.01, "s_churn": 20})
    text = write(recipe).replace('\\"s_churn\\":20.0', '\\"s_churn\\":2000, \\"moon\\": 1')
    reading = read(text)
    assert reading.recipe == recipe.but(sampler_knobs={"s_churn": 40}) and not reading.exact
    assert "2000" in reading.notes[0] and "moon" in reading.notes[1]
    for sampler in (
        "3",
        "[]",
        "{}",
        '{"name": 3}',
        '{"name": "euler", "knobs": 3}',
        '{"name": "lms", "knobs": {"order": {}}}',
    ):
        assert read(
            text.partition(", Nine Ways: ")[0] + ", Nine Ways: " + json.dumps(f'{{"sampler": {sampler}}}')
        ).recipe


def test_an_image_of_before_names_its_model_by_a_path() -> None:
    """Images that were written when the path stood in them, twice: now it is neither written nor read."""
    recipe = Recipe.make(prompt="p", backbone="/home/someone/models/sd15", revision="0123456789abcdef")
    text = write(recipe)
    assert "someone" not in text and text.count("sd15") == 2 and text.count("0123456789") == 2
    before = text.replace('\\"sd15\\"', '\\"/home/someone/models/sd15\\"')
    assert before != text
    for one in (text, before):
        assert read(one).exact and read(one).recipe == recipe.but(backbone="sd15")


def test_a_damaged_recipe_falls_back_to_the_readable_text() -> None:
    text = write(Recipe.make(prompt="p", steps=7))
    reading = read(text[:-20])
    assert reading.recipe is not None and reading.recipe.steps == 7 and not reading.exact


HOSTILE = [
    None, 3, b"bytes", "", " \n ", "{}", '{"3": {"class_type": "KSampler"}}', "<svg onload=alert(1)>", "Steps: " * 9999,
    "a:" * 90_000, "a " * 90_000, '"' * 100_000, 'a:"' * 60_000, "(" * 100_000, "[" * 100_000, "x" * 300_000,
    'Steps: 1, a: 2, b: 3, Nine Ways: "' + "[" * 90_000 + '"', 'Nine Ways: "[]"', 'Nine Ways: "null"', "Nine Ways: {}",
    'Steps: 1, a: 2, b: 3, Nine Ways: "{\\"prompt\\": \\"x\\", \\"unused\\": [[1], {}]}"',
    'Nine Ways: "{\\"versions\\": 3, \\"methods\\": {\\"a\\": 1}, \\"__class__\\": 1}"', "\ud800 Steps: 1",
    "Steps: 1e999, Seed: 0x10, CFG scale: inf, Size: 99999999x1", "Negative prompt:",
    "Negative prompt:\nSteps: 20, a: b, c: d",
    "__import__('os').system('false')\nSteps: 20, Sampler: eval, Seed: 1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_makes_it_raise_or_hang(text: object) -> None:
    reading = read(text)
    assert reading.recipe is None or reading.recipe == Recipe.from_json(reading.recipe.to_json())
    assert not reading.exact


def test_random_damage() -> None:
    rng, text = random.Random(0), write(Recipe.make(prompt="a red sphere", negative="blur", count=3))
    for _ in range(500):
        broken = list(text)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randint(0, 9)] = rng.choices('",:{}\\\n 0a☃', k=rng.randint(0, 4))
        read("".join(broken))
