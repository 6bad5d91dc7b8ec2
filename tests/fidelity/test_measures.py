"""The measures on renders: the target scene is faithful, another is not; each has a title, unit and direction."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conditioning.inputs import Box
from conditioning.operators import BlockAverage, Measurement
from fidelity.evaluator_words import seen
from fidelity.measures import MEASURES, better, evaluate, in_page_order, left_out
from fidelity.target import Perception, Target
from world import edits
from world.captions import describe
from world.render import render
from world.scene import draw


@pytest.fixture(scope="module")
def scenes():
    """Two test scenes of two solids, and what is known of them. Not the first: its solids are white on snow, and of
    such the measure of form says yes to a part only."""
    drawn = [s for s in (draw("test", n) for n in range(20_000, 20_100)) if len(s.solids) == 2][1:5:3]
    return drawn, render(drawn, 128)


def target_of(scenes, i):
    drawn, out = scenes
    text = describe(drawn[i], np.random.default_rng(i)).text
    names = [f"a {s.colour} {s.shape}" for s in drawn[i].solids]
    boxes = [Box(*edges, text=name) for edges, name in zip(out.boxes[i].clamp(0, 1).tolist(), names)]
    rgb = out.rgb[i : i + 1]
    operator = BlockAverage((3, 128, 128), 4)
    return Target(
        prompt=text, ground_truth=rgb, source=rgb, edges=out.edges[i][None, None].float(), near=out.near[i][None, None],
        boxes=boxes, observation=Measurement(operator, operator.A(rgb * 2 - 1), 0.0), colours=rgb, references=[rgb],
        world=True,
    )  # fmt: skip


def values_of(image, target, *keys):
    """These measures alone: all of them take seconds."""
    perception = Perception(image)
    with torch.no_grad():
        return [MEASURES[key].compute(image, target, perception) for key in keys]


def test_every_measure_prefers_the_scene_itself_to_another(scenes):
    _, out = scenes
    own, other = (evaluate(out.rgb[i : i + 1], target_of(scenes, 0)) for i in (0, 1))
    assert set(own) == set(MEASURES) - {"text", "clip", "done", "inside", "done_and_kept"}
    assert own["well_formed"] == other["well_formed"] == 100  # both are renders
    for key, value in own.items():
        assert key == "well_formed" or better(key, value, other[key]), (key, value, other[key])
        assert MEASURES[key].low <= value <= MEASURES[key].high


def test_what_the_evaluator_saw_is_what_was_rendered(scenes):
    drawn, out = scenes
    for i, scene in enumerate(drawn):
        words = seen(out.rgb[i : i + 1], target_of(scenes, i))
        assert words.startswith("The evaluator saw 2 solids: ") and scene.ground in words and scene.sky in words
        assert all(f"{one.size} {one.colour} {one.shape}" in words for one in scene.solids), words
        assert "not well formed" not in words
    image = out.rgb[:1]
    assert seen(image, Target(prompt="a cat", world=False)) == seen(image, Target(prompt="", world=True)) == ""
    assert seen(torch.zeros(1, 3, 64, 64), Target(prompt="a red cube", world=True)).startswith("The evaluator saw")


def test_a_lump_of_the_right_colour_is_not_right(scenes):
    """The same image, warped: the evaluator still sees what the prompt says."""
    _, out = scenes
    image, target = out.rgb[1:], target_of(scenes, 1)
    shift = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    shift = F.interpolate(shift, (128, 128), mode="bicubic").permute(0, 2, 3, 1) * 2 / 64  # of two pixels
    at = F.affine_grid(torch.eye(2, 3)[None], [1, 3, 128, 128], align_corners=False)
    lumps = F.grid_sample(image, at + shift, "bicubic", "reflection", align_corners=False).clamp(0, 1)
    read = Perception(lumps)
    right, wrong = evaluate(image, target), evaluate(lumps, target, read)
    assert right["solids"] == wrong["solids"] == right["right"] == right["atoms"] == right["well_formed"] == 100
    assert wrong["right"] == wrong["well_formed"] == 0 < wrong["atoms"] < 100
    assert seen(lumps, target, read).count("(not well formed)") == 2, "so that these figures can be understood"


def test_solids_are_not_compared_where_the_image_is_no_square():
    image, target = torch.rand(1, 3, 64, 128), Target(prompt="a red cube on grass", world=True)
    assert {"right", "atoms", "well_formed"}.isdisjoint(found := evaluate(image, target)) and "solids" in found
    assert "Well-formed solids are left out" in left_out(target, image)


def test_caption_accuracy_of_before_which_took_lumps_for_solids_is_not_ranked_with_it():
    assert in_page_order({"caption": 100.0, "right": 0.0, "psnr": 20.0}) == ["right", "psnr"]


def test_edit_success_is_full_after_the_edit_and_none_before_it():
    edited = edits.edit(draw("test", 20_000), np.random.default_rng(0), "ground")
    before, after, _ = edits.render_edits([edited], 128)
    texts = [describe(scene, np.random.default_rng(3)).text for scene in (edited.before, edited.after)]
    target = Target(prompt=texts[1], source_prompt=texts[0], source=before.rgb, world=True)
    assert evaluate(after.rgb, target)["done"] == 100 and evaluate(before.rgb, target)["done"] == 0
    assert evaluate(before.rgb, target)["kept"] == 100


def test_a_hole_is_filled_by_what_the_prompt_names_and_the_rest_of_the_source_is_kept(scenes):
    """Full for the very scene; nothing is done by another one."""
    drawn, out = scenes
    source, mask = out.rgb[:1], torch.zeros(1, 1, 128, 128)
    left, top, right, bottom = (128 * out.boxes[0, 0]).int().tolist()
    mask[..., max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = 1
    prompt = describe(drawn[0], np.random.default_rng(0)).text
    target = Target(prompt=prompt, source=source, mask=mask, world=True)
    keys = ("inside", "background", "done_and_kept")
    assert values_of(source, target, *keys) == [100, 100, 100]
    asked, stays, both = values_of(out.rgb[1:], target, *keys)
    assert asked == both == 0 and stays < 60


def test_an_image_of_the_prompt_alone_is_not_the_best_edit():
    """It has all that was asked for, and kept less of the source than the edit."""
    edited = edits.edit(draw("test", 20_001), np.random.default_rng(0), "recolour")
    before, after, _ = edits.render_edits([edited], 128)
    texts = [describe(scene, np.random.default_rng(3)).text for scene in (edited.before, edited.after)]
    target = Target(prompt=texts[1], source_prompt=texts[0], source=before.rgb, world=True)
    alone = after.rgb.flip(-1)  # the same solids at other places
    best, mirrored, nothing = (
        values_of(image, target, "done_and_kept")[0] for image in (after.rgb, alone, before.rgb)
    )
    assert best > mirrored > nothing == 0


def test_psnr_is_of_the_inside_of_the_mask_and_background_psnr_of_the_outside():
    ground_truth, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    image = torch.where(mask > 0, (ground_truth - 0.1).clamp(min=0), ground_truth)
    values = evaluate(image, Target(ground_truth=ground_truth, source=ground_truth, mask=mask))
    assert values["kept"] == 100 and 19 < values["psnr"] < 22


def test_images_of_other_worlds_have_the_general_measures_only():
    image = torch.rand(1, 3, 64, 64)
    target = Target(prompt="a cat", ground_truth=image, colours=image, boxes=[Box(0, 0, 1, 1, "a cat")])
    assert set(evaluate(image, target)) == {"psnr", "ssim", "colours"}
    assert "left out" in left_out(target, image)


def test_what_guided_a_run_does_not_measure_it():
    image = torch.rand(1, 3, 64, 64)
    target = Target(colours=image, ground_truth=image, guided_by=frozenset({"colours"}))
    assert "colours" not in evaluate(image, target) and "Colour distance" in left_out(target, image)


def test_a_wrong_shape_is_refused_in_words():
    with pytest.raises(ValueError, match="one image is measured at a time"):
        evaluate(torch.rand(2, 3, 8, 8), Target())


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda measure: measure.key)
def test_a_measure_says_what_it_is(measure):
    assert measure.better in ("more", "less") and measure.title and measure.of and measure.low < measure.high
    assert measure.text(0.5).endswith(measure.unit)
