"""What a recipe says its images should be: maps as the method sees them, targets in what they are targets of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import backbones
from app.comparison.targets import targets
from app.comparison.task import Task
from app.engine import method_checks
from app.schema.method_inputs import BoxValue, DegradationValue, Use
from app.schema.recipe import Recipe
from app.storage.image_files import content_hash
from backbones.contrastive import Contrastive
from conditioning.operators.annotators import canny
from fidelity.measures import evaluate, left_out

IMAGE = Image.fromarray(np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2, 1) * 60, np.ones((32, 32, 3), np.uint8)))
SHA = content_hash(IMAGE)
ORACLE = backbones.load("exact")


def of(*uses, task=None):
    return targets(Recipe(backbone="exact", width=64, height=64, methods=uses), {SHA: IMAGE}, ORACLE, task)


@pytest.mark.parametrize(
    "energy, says, silent",
    [
        ("colours", "colours", {"colours"}), ("style", "colours", {"colours"}), ("edge map", "edges", {"edges"}),
        ("edges", "edges", {"edges"}), ("depth map", "near", set()), ("depth", "", set()), ("shapes", "", set()),
    ],
)  # fmt: skip
def test_the_target_of_an_energy_counts_in_its_own_respect_only(energy, says, silent):
    one = of(Use(name="energy_guidance", knobs={"energy": energy}, inputs={"target": SHA}))
    assert {name for name in ("colours", "edges", "near") if getattr(one, name) is not None} == ({says} - {""})
    assert one.guided_by == silent


def test_edges_are_those_that_the_annotator_finds():
    given, found = (
        of(Use(name="controlnet", knobs={"edges_by": by}, inputs={"edges": SHA})).edges for by in ("as it is", "canny")
    )
    assert torch.equal(found, canny(given)) and not torch.equal(found, given)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_target_is_fitted_as_the_image_that_the_method_gets(fit):
    """Also that of a task: else an image would be measured against another cut of its source."""
    use = Use(name="repaint", inputs={"known": SHA, "mask": SHA}, fit={"known": fit})
    made = Recipe(backbone="exact", width=64, height=32, methods=(use,))
    of_recipe, of_task = (
        targets(made, {SHA: IMAGE}, ORACLE, task) for task in (None, Task(source=SHA, mask=SHA, fit=fit))
    )
    _, values = method_checks.used(0, use, made, ORACLE, {SHA: IMAGE})
    for one in (of_recipe, of_task):
        assert torch.equal(ORACLE.encode_image(one.source), values["known"])
        assert torch.equal(one.mask, of_recipe.mask)


def test_a_known_image_is_a_source_and_no_truth_but_a_measured_one_is():
    assert of(Use(name="repaint", inputs={"known": SHA})).ground_truth is None
    assert of(Use(name="repaint", inputs={"known": SHA})).source is not None
    given = DegradationValue(image=SHA, name="super_resolution", parameters={"factor": 4})
    one = targets(
        Recipe(backbone="exact", width=64, height=64, methods=(Use(name="ddnm", inputs={"measured": given}),)),
        {SHA: IMAGE}, ORACLE,
    )  # fmt: skip
    assert one.ground_truth is not None


@pytest.mark.parametrize("prompt, why", [
    ("a red cube and a zebra", "does not know 'zebra'"), ("a red cube " * 30, "was given 90 words"), ("a red cube", ""),
    ("", ""),
])  # fmt: skip
def test_a_prompt_that_the_text_score_cannot_read_is_said_and_costs_no_other_figure(prompt, why):
    """A comparison whose prompt has a word that no network here knows is made and measured all the same."""
    network = SimpleNamespace(contrastive=Contrastive(["a", "red", "cube", "and", "blue"]).eval())
    one = targets(Recipe(backbone="still-life", prompt=prompt), {}, network)
    image = torch.full((1, 3, 128, 128), 0.5)
    assert ("text" in evaluate(image, one)) is bool(prompt and not why)
    assert (why in left_out(one, image)) if why else ("Text score" not in left_out(one, image))


def test_an_image_is_judged_by_the_words_and_not_by_their_weights():
    uses = (
        Use(name="ddim_inversion", inputs={"source": SHA, "source_prompt": "a (blue:2) cube"}),
        Use(name="multidiffusion", inputs={"regions": (BoxValue(left=0, top=0, right=1, bottom=1, text="[a cone]"),)}),
    )
    recipe = Recipe(backbone="exact", width=64, height=64, prompt="a ((red)) cube <lora:x:1>", methods=uses)
    for task, prompt in ((None, "a red cube"), (Task(prompt="a (green:0.5) cube"), "a green cube")):
        one = targets(recipe, {SHA: IMAGE}, ORACLE, task)
        assert (one.prompt, one.source_prompt, [box.text for box in one.boxes]) == (prompt, "a blue cube", ["a cone"])


# ---- the task of a comparison ------------------------------------------------------------------------------------


def test_what_the_task_says_comes_before_what_a_column_was_given():
    """A column whose prompt, source and mask are others is not judged by them."""
    other = Image.new("RGB", (64, 64), "white")
    images = {SHA: IMAGE, content_hash(other): other}
    use = Use(name="repaint", inputs={"known": content_hash(other), "mask": content_hash(other)})
    recipe = Recipe(backbone="exact", prompt="at sunset", width=64, height=64, methods=(use,))
    task = Task(prompt="a yellow cube", source=SHA, source_prompt="a red cube", mask=SHA)
    one = targets(recipe, images, ORACLE, task)
    assert (one.prompt, one.source_prompt) == ("a yellow cube", "a red cube")
    assert not torch.equal(one.source, torch.ones_like(one.source)) and not bool((one.mask > 0.5).all())


def test_a_run_that_was_given_nothing_is_measured_against_the_task_too():
    given = DegradationValue(image=SHA, name="super_resolution", parameters={"factor": 4})
    boxes = (BoxValue(left=0, top=0, right=0.5, bottom=1, text="a cube"),)
    one = of(task=Task(depth=SHA, edges=SHA, edges_by="canny", boxes=boxes, references=(SHA,), observation=given))
    assert torch.equal(one.edges, canny(one.near)) and one.boxes[0].text == "a cube" and len(one.references) == 1
    assert one.observation.error(one.ground_truth * 2 - 1).max() < 1e-6


def test_an_observation_of_the_task_is_the_one_that_the_methods_are_given():
    given = DegradationValue(image=SHA, name="super_resolution", parameters={"factor": 4}, sigma_y=0.3, seed=5)
    recipe = Recipe(backbone="exact", width=64, height=64, methods=(Use(name="dps", inputs={"measured": given}),))
    pixels = SimpleNamespace(offers=("pixels",), encode_image=lambda image: image * 2 - 1,
                             latent_shape=lambda width, height: (3, height, width))  # fmt: skip
    own, task = (targets(recipe, {SHA: IMAGE}, pixels, task) for task in (None, Task(observation=given)))
    assert torch.equal(own.observation.y, task.observation.y)
