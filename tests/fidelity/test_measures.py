"""The measures on renders: the very scene is faithful, another one is not; and each says what it is."""

import numpy as np
import pytest
import torch

from conditioning.inputs import Box
from conditioning.operators import BlockAverage, Measurement
from fidelity.measures import MEASURES, Told, better, left_out, measured
from world import edits
from world.captions import describe
from world.render import render
from world.scene import draw


@pytest.fixture(scope="module")
def scenes():
    """Two test scenes of two solids, and what is known of them."""
    found = [s for s in (draw("test", n) for n in range(20_000, 20_100)) if len(s.solids) == 2][:2]
    return found, render(found, 128)


def told_of(scenes, i):
    found, out = scenes
    text = describe(found[i], np.random.default_rng(i)).text
    names = [f"a {s.colour} {s.shape}" for s in found[i].solids]
    boxes = [Box(*edges, text=name) for edges, name in zip(out.boxes[i].clamp(0, 1).tolist(), names)]
    rgb = out.rgb[i : i + 1]
    operator = BlockAverage((3, 128, 128), 4)
    return Told(
        prompt=text, truth=rgb, source=rgb, edges=out.edges[i][None, None].float(), near=out.near[i][None, None],
        boxes=boxes, measured=Measurement(operator, operator.A(rgb * 2 - 1), 0.0), colours=rgb, references=[rgb],
        world=True,
    )  # fmt: skip


def test_every_measure_prefers_the_scene_itself_to_another(scenes):
    _, out = scenes
    own, other = (measured(out.rgb[i : i + 1], told_of(scenes, 0)) for i in (0, 1))
    assert set(own) == set(MEASURES) - {"text", "clip", "done"}
    for key, value in own.items():
        assert better(key, value, other[key]), (key, value, other[key])
        assert MEASURES[key].low <= value <= MEASURES[key].high


def test_an_edit_is_done_in_the_scene_so_edited_and_not_before():
    one = edits.edit(draw("test", 20_000), np.random.default_rng(0), "ground")
    before, after, _ = edits.pictures([one], 128)
    texts = [describe(scene, np.random.default_rng(3)).text for scene in (one.before, one.after)]
    told = Told(prompt=texts[1], source_prompt=texts[0], source=before.rgb, world=True)
    assert measured(after.rgb, told)["done"] == 100 and measured(before.rgb, told)["done"] == 0
    assert measured(before.rgb, told)["kept"] == 100


def test_the_hole_is_measured_inside_and_what_is_kept_outside():
    truth, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    picture = torch.where(mask > 0, (truth - 0.1).clamp(min=0), truth)
    found = measured(picture, Told(truth=truth, source=truth, mask=mask))
    assert found["kept"] == 100 and 19 < found["psnr"] < 22


def test_pictures_of_other_worlds_are_measured_by_what_is_general():
    picture = torch.rand(1, 3, 64, 64)
    told = Told(prompt="a cat", truth=picture, colours=picture, boxes=[Box(0, 0, 1, 1, "a cat")])
    assert set(measured(picture, told)) == {"psnr", "ssim", "colours"}
    assert "left out" in left_out(told)


def test_what_a_run_went_by_does_not_measure_it():
    picture = torch.rand(1, 3, 64, 64)
    told = Told(colours=picture, truth=picture, steered=frozenset({"colours"}))
    assert "colours" not in measured(picture, told) and "Colours off by" in left_out(told)


def test_a_wrong_shape_is_refused_in_words():
    with pytest.raises(ValueError, match="one picture is measured at a time"):
        measured(torch.rand(2, 3, 8, 8), Told())


@pytest.mark.parametrize("one", MEASURES.values(), ids=lambda one: one.key)
def test_a_measure_says_what_it_is(one):
    assert one.better in ("more", "less") and one.title and one.of and one.low < one.high
    assert one.text(0.5).endswith(one.unit)
