"""The judge's targets, its softening, its balancing scenes, and one step of its training."""

import numpy as np
import pytest
import torch

from training import data
from training import judge as training
from world.eye import CELLS, NAMES, NEAREST
from world.render import render
from world.scene import HELD_OUT, draw, well_placed


@pytest.fixture(scope="module")
def renders():
    scenes = [draw("train", n) for n in range(24)]
    out = render(scenes, 128)
    return scenes, out, out.instances[:, 2::4, 2::4].to(torch.int8)


def test_targets_tell_the_truth(renders) -> None:
    scenes, out, masks = renders
    told = training.shown(scenes)
    given = training.targets(masks, told.attributes, told.centres)
    assert (given["heat"] == 1).sum() == sum(len(s.solids) for s in scenes)
    for b, scene in enumerate(scenes):
        weight = given["weight"][b]
        assert weight.sum().item() == pytest.approx(len(scene.solids), abs=1e-4)
        for i, solid in enumerate(scene.solids):
            u, v, distance = scene.place(i)
            x, y = (u + 1) / 2 * CELLS, (1 - v) / 2 * CELLS
            row, column = int(y), int(x)
            assert given["heat"][b, row, column] == 1
            way = given["way"][b, :, row, column]
            assert (column + 0.5 + way[0], row + 0.5 + way[1]) == pytest.approx((x, y), abs=1e-3)
            assert given["distance"][b, 0, row, column].exp() * NEAREST == pytest.approx(distance, rel=1e-4)
            names = [
                values[k] for values, k in zip(NAMES.values(), given["attributes"][b, :, row, column], strict=True)
            ]
            assert names == [solid.shape, solid.colour, solid.size, solid.material]
            here = torch.tensor([column, row, column, row]) + 0.5
            box = (given["box"][b, :, row, column] + here) / CELLS
            assert (box - out.boxes[b, i]).abs().max() < 1.01 / CELLS


def test_a_mirrored_scene_has_mirrored_targets(renders) -> None:
    scenes, _, masks = renders
    told = training.shown(scenes)
    mirrored = told.centres * torch.tensor([-1.0, 1.0, 1.0])
    a = training.targets(masks, told.attributes, told.centres)
    b = training.targets(masks.flip(2), told.attributes, mirrored)
    torch.testing.assert_close(a["heat"].flip(2), b["heat"])
    torch.testing.assert_close(a["weight"].flip(2), b["weight"])
    here = a["weight"] > 0
    torch.testing.assert_close(a["way"][:, 0][here], -b["way"].flip(3)[:, 0][here], atol=1e-4, rtol=0)


def test_softening_keeps_the_picture(renders) -> None:
    x = renders[1].rgb
    for seed in range(12):
        soft = training.soften(x, np.random.default_rng(seed))
        assert soft.shape == x.shape and 0 <= soft.min() and soft.max() <= 1
        assert 0 < (soft - x).abs().mean() < 0.05


def test_balancing_scenes_show_what_training_lacks() -> None:
    scenes = [training.balancing(n) for n in range(60)]
    assert all(well_placed(scene) for scene in scenes) and scenes[3] == training.balancing(3)
    share = np.mean([(s.colour, s.shape) in HELD_OUT for scene in scenes for s in scene.solids])
    assert 0.3 < share < 0.6


def test_focal_loss_is_least_at_the_truth() -> None:
    heat = torch.zeros(1, 8, 8)
    heat[0, 3, 4] = 1
    right, wrong = torch.where(heat == 1, 8.0, -8.0), torch.where(heat.roll(1, 1) == 1, 8.0, -8.0)
    assert training.focal(right, heat) < 1e-3 < 1 < training.focal(wrong, heat)


def test_a_few_steps_lower_the_loss(renders, monkeypatch, tmp_path) -> None:
    scenes, out, masks = renders
    rgb = (out.rgb * 255).round().byte().permute(0, 2, 3, 1).numpy()
    monkeypatch.setattr(training, "RUNS", tmp_path)
    monkeypatch.setattr(data, "pictures", lambda split: rgb)
    monkeypatch.setattr(data, "instances", lambda split: masks.numpy())
    monkeypatch.setattr(training, "truth", lambda split, count: training.shown(scenes))
    monkeypatch.setattr(training, "balance", lambda count=8, made=training.balance: made(8))
    spec = training.Judge()
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
