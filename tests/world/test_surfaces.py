"""The evaluator of surfaces reads depth, normals and classes of held-out renders; and how far two surfaces are
apart."""

import pytest
import torch

from world.render import render
from world.scene import draw
from world.surfaces import (
    CELLS,
    CLASSES,
    Surfaces,
    accuracy,
    depth_errors,
    mean_iou,
    normal_angle_error,
    read,
    rendered,
    surfaces_of_render,
)


def flat(depth=4.0, normal=(0.0, 1.0, 0.0), kind=1):
    """Of one distance, one way it faces, one class."""
    normals = torch.tensor(normal)[None, :, None, None].expand(1, 3, CELLS, CELLS)
    shape = (1, CELLS, CELLS)
    return Surfaces(torch.full(shape, depth), normals, torch.full(shape, kind))


def test_apart_as_they_were_made():
    errors = depth_errors(flat(5.0), flat(4.0))
    assert errors["abs_rel"].item() == pytest.approx(0.25) and errors["rmse"].item() == pytest.approx(1.0)
    assert normal_angle_error(flat(normal=(1.0, 0.0, 0.0)), flat()).item() == pytest.approx(90, abs=1e-3)
    assert mean_iou(flat(kind=1), flat(kind=2)).item() == 0 and mean_iou(flat(), flat()).item() == 1


def test_sky_and_what_is_far_are_not_compared():
    far = flat(500.0)
    assert depth_errors(flat(4.0), far)["rmse"].isnan().all()
    sky = flat(torch.inf, (0.0, 0.0, 0.0), 0)
    assert depth_errors(sky, flat(4.0))["rmse"].isnan().all() and normal_angle_error(sky, flat()).isnan().all()


def test_true_surfaces_are_those_of_the_rendering():
    out = render([draw("test", 5)], 128)
    true = surfaces_of_render(out)
    assert true.depth.shape == (1, CELLS, CELLS) and true.classes.max() < len(CLASSES)
    solid = true.classes > 1
    assert true.depth[solid].isfinite().all()
    assert true.normals.norm(dim=1)[solid].allclose(torch.ones(int(solid.sum())), atol=1e-3)


def test_held_out_renders_are_read_and_other_scenes_are_not():
    images, true = rendered("test", 40_000, 40)
    own = accuracy(images, true)
    others = accuracy(images.roll(1, 0), true)
    assert own["abs_rel"] < 0.09 and own["normals_degrees"] < 8 and own["mean_iou"] > 0.65 and own["cells_right"] > 0.95
    assert own["abs_rel"] < 0.4 * others["abs_rel"] and own["normals_degrees"] < 0.5 * others["normals_degrees"]


def test_any_size_is_read_and_another_shape_refused():
    assert read(torch.rand(2, 3, 64, 96)).depth.shape == (2, CELLS, CELLS)
    with pytest.raises(ValueError, match="images are"):
        read(torch.rand(3, 64, 64))
