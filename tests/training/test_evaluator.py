"""What the evaluator is trained to say, the images it is trained on, and a few steps of its training."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from training import evaluator as training
from training import softening
from world.eye import CELLS, NAMES, NEAREST
from world.render import render
from world.scene import draw


@pytest.fixture(scope="module")
def renders():
    scenes = [draw("train", n) for n in range(24)]
    out = render(scenes, 128)
    return scenes, out, out.instances[:, 2::4, 2::4].to(torch.int8)


def test_targets_are_where_the_solids_are(renders) -> None:
    scenes, out, masks = renders
    ground_truth = training.scene_targets(scenes)
    target = training.targets(masks, ground_truth["attributes"], ground_truth["centres"])
    assert (target["heat"] == 1).sum() == sum(len(s.solids) for s in scenes)
    for b, scene in enumerate(scenes):
        weight = target["weight"][b]
        assert weight.sum().item() == pytest.approx(len(scene.solids), abs=1e-4)
        for i, solid in enumerate(scene.solids):
            u, v, distance = scene.place(i)
            x, y = (u + 1) / 2 * CELLS, (1 - v) / 2 * CELLS
            row, column = int(y), int(x)
            assert target["heat"][b, row, column] == 1
            way = target["way"][b, :, row, column]
            assert (column + 0.5 + way[0], row + 0.5 + way[1]) == pytest.approx((x, y), abs=1e-3)
            assert target["distance"][b, 0, row, column].exp() * NEAREST == pytest.approx(distance, rel=1e-4)
            names = [
                values[k] for values, k in zip(NAMES.values(), target["attributes"][b, :, row, column], strict=True)
            ]
            assert names == [solid.shape, solid.colour, solid.size, solid.material]
            here = torch.tensor([column, row, column, row]) + 0.5
            box = (target["box"][b, :, row, column] + here) / CELLS
            assert (box - out.boxes[b, i]).abs().max() < 1.01 / CELLS


def test_a_mirrored_scene_has_mirrored_targets(renders) -> None:
    scenes, _, masks = renders
    ground_truth = training.scene_targets(scenes)
    mirrored = ground_truth["centres"] * torch.tensor([-1.0, 1.0, 1.0])
    a = training.targets(masks, ground_truth["attributes"], ground_truth["centres"])
    b = training.targets(masks.flip(2), ground_truth["attributes"], mirrored)
    torch.testing.assert_close(a["heat"].flip(2), b["heat"])
    torch.testing.assert_close(a["weight"].flip(2), b["weight"])
    here = a["weight"] > 0
    torch.testing.assert_close(a["way"][:, 0][here], -b["way"].flip(3)[:, 0][here], atol=1e-4, rtol=0)


def test_softening_keeps_the_image(renders) -> None:
    x = renders[1].rgb
    for seed in range(12):
        soft = softening.soften(x, np.random.default_rng(seed))
        assert soft.shape == x.shape and 0 <= soft.min() and soft.max() <= 1
        assert 0 < (soft - x).abs().mean() < 0.05


def test_lumps_are_solids_of_no_shape(renders) -> None:
    _, out, masks = renders
    x, solid = out.rgb, masks >= 0
    bent = softening.warped(x, solid, np.random.default_rng(0), 4.0)
    far = F.interpolate(F.max_pool2d(solid[:, None].float(), 7, 1, 3), scale_factor=4.0) == 0
    assert ((bent - x).abs() * far).max() < 1e-4  # the ground stays
    changed = [(softening.warped(x, solid, np.random.default_rng(0), p) - x).abs().mean().item() for p in (0.5, 2, 4)]
    assert 0 < changed[0] < changed[1] < changed[2]


def test_mixing_says_how_much_of_the_other_image_is_where() -> None:
    x, other = torch.zeros(3, 3, 128, 128), torch.ones(3, 3, 128, 128)
    between, share = softening.mixed(x, other, np.random.default_rng(0))
    torch.testing.assert_close(between, share.expand(-1, 3, -1, -1))
    assert 0 <= share.min() < share.max() <= 1


def test_a_lump_is_taken_for_no_shape() -> None:
    masks = torch.full((1, 32, 32), -1, dtype=torch.int8)
    masks[0, 4:8, 4:8], masks[0, 20:24, 4:8] = 0, 1
    shapes, others = torch.tensor([[2, 0, -1, -1]]), torch.tensor([[3, 5, -1, -1]])
    share = torch.zeros(1, 32, 32)
    share[0, 20:22] = 1  # half of the second solid
    lump = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    found = training.certainty(masks, shapes, others, share, lump)
    assert found[0, 0, 2] == 1 and found[0, 1, 0] == found[0, 1, 5] == 0.5
    gone = training.certainty(masks, shapes, others, share, torch.ones(1, 4))
    torch.testing.assert_close(gone, torch.full_like(gone, 1 / 6))
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 4))


def test_focal_loss_is_least_at_the_truth() -> None:
    heat = torch.zeros(1, 8, 8)
    heat[0, 3, 4] = 1
    right, wrong = torch.where(heat == 1, 8.0, -8.0), torch.where(heat.roll(1, 1) == 1, 8.0, -8.0)
    assert training.focal(right, heat) < 1e-3 < 1 < training.focal(wrong, heat)


def test_a_few_steps_lower_the_loss(monkeypatch) -> None:
    for name, few in (("FIRST", 24), ("RENEWED", 1), ("CHECKED", 4)):
        monkeypatch.setattr(training, name, few)
    spec = training.Evaluator()
    spec.rows = 16
    rng, device = np.random.default_rng(0), torch.device("cpu")
    optimiser = torch.optim.AdamW(spec.network.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        loss, figures = spec.loss(spec.network, spec.batch(rng, device), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert set(figures) >= {"heat", "shape", "colour", "box", "ground"}
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
