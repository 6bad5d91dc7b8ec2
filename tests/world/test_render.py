"""Rendering: every map against closed forms, and against each other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from world.render import GROUND, SKY, _render, render
from world.scene import COLOURS, SHAPES, Camera, Scene, Solid, draw

MATTE = Solid("sphere", "red", "large", "matte", 0.0, 0.0)
PLAIN = Scene((MATTE,), "sand", "day")
FIELDS = ("rgb", "depth", "near", "normals", "instances", "classes", "edges", "boxes", "visible")


def rays(camera: Camera, size: int) -> np.ndarray:
    """(size, size, 3) unit vectors in the world through the middles of the pixels, by another road than the
    renderer's."""
    right, up, forward = (np.array(axis) for axis in camera.axes)
    at = (np.arange(size) + 0.5) / size * 2 - 1
    f = 1 / math.tan(camera.fov / 2)
    way = at[None, :, None] * right - at[:, None, None] * up + f * forward
    return way / np.linalg.norm(way, axis=-1, keepdims=True)


def sphere_depth(scene: Scene, size: int) -> np.ndarray:
    """Depth of one sphere, inf elsewhere."""
    d, eye = rays(scene.camera, size), np.array(scene.camera.position)
    to = eye - np.array(scene.solids[0].centre)
    b = d @ to
    square = b * b - (to @ to - scene.solids[0].scale ** 2)
    t = np.where(square > 0, -b - np.sqrt(np.maximum(square, 0)), np.inf)
    return t * (d @ np.array(scene.camera.axes[2]))


def test_depth_of_a_sphere_and_of_the_ground() -> None:
    out = render([PLAIN], 96)
    d, camera = rays(PLAIN.camera, 96), PLAIN.camera
    ground = np.where(d[..., 2] < -1e-4, -camera.height / np.minimum(d[..., 2], -1e-4), np.inf)
    ground = ground * (d @ np.array(camera.axes[2]))
    ground_truth = np.minimum(sphere_depth(PLAIN, 96), ground)
    depth = out.depth[0].numpy()
    near = ground_truth < 20
    assert (np.isinf(depth) == np.isinf(ground_truth)).all()
    assert np.abs(depth[near] - ground_truth[near]).max() < 1e-3
    seen = sphere_depth(PLAIN, 96) < ground
    assert ((out.instances[0] == 0).numpy() == seen).mean() > 0.9995
    np.testing.assert_allclose(out.near[0].numpy(), ground_truth.min() / ground_truth, atol=1e-4)


def test_normals_of_a_sphere_and_of_the_ground() -> None:
    out, camera = render([PLAIN], 96), PLAIN.camera
    axes = np.array(camera.axes) * [[1], [1], [-1]]  # right, up, towards the camera
    normals = out.normals[0].permute(1, 2, 0).numpy()
    d = rays(camera, 96)
    t = sphere_depth(PLAIN, 96) / (d @ np.array(camera.axes[2]))
    point = np.array(camera.position) + np.where(np.isinf(t), 0, t)[..., None] * d
    ground_truth = ((point - np.array(MATTE.centre)) / MATTE.scale) @ axes.T
    mask = (out.instances[0] == 0).numpy()
    assert np.abs(normals - ground_truth)[mask].max() < 5e-3
    assert np.abs(normals[(out.instances[0] == GROUND).numpy()] - axes[:, 2]).max() < 1e-5
    assert (normals[(out.instances[0] == SKY).numpy()] == 0).all()
    assert (normals[mask][:, 2] > -1e-3).all()


def test_maps_agree_with_each_other(drawn) -> None:
    scenes = drawn("test", 20)
    out = render(scenes, 96)
    for i, scene in enumerate(scenes):
        ids, classes = out.instances[i], out.classes[i]
        assert (classes[ids == SKY] == 0).all() and (classes[ids == GROUND] == 1).all()
        assert out.depth[i][ids == SKY].isinf().all() and out.depth[i][ids != SKY].isfinite().all()
        assert (out.near[i][ids == SKY] == 0).all() and out.near[i].max() == 1
        for k, solid in enumerate(scene.solids):
            mask = ids == k
            assert (classes[mask] == 2 + SHAPES.index(solid.shape)).all()
            rows, columns = mask.nonzero().T
            box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
            torch.testing.assert_close(out.boxes[i, k], box.float())
            depth = out.depth[i][mask]
            assert depth.min() > scene.place(k)[2] - 1.5 and depth.max() < scene.place(k)[2] + 1.5
            others = set(range(len(scene.solids))) - {k}
            if not others:
                assert out.visible[i, k] == 1
        missing = slice(len(scene.solids), None)
        assert (out.boxes[i, missing] == 0).all() and (out.visible[i, missing] == 0).all()


def test_visible_fraction_is_the_mask_over_the_mask_alone(drawn) -> None:
    scenes = [s for s in drawn("test", 60) if len(s.solids) > 2][:8]
    for scene in scenes:
        out = render([scene], 64)
        for k, solid in enumerate(scene.solids):
            alone = render([replace(scene, solids=(solid,))], 64)
            whole, seen = (alone.instances == 0).sum(), (out.instances == k).sum()
            assert out.visible[0, k].item() == pytest.approx((seen / whole).item(), abs=1e-6)
            assert ((out.instances[0] == k) <= (alone.instances[0] == 0)).all()


def test_nothing_of_a_well_placed_scene_is_hidden_by_much(drawn) -> None:
    scenes = drawn("test", 120)
    seen = torch.cat([v[: len(s.solids)] for s, v in zip(scenes, render(scenes, 32).visible, strict=True)])
    assert seen.min() > 0.35 and seen.quantile(0.02) > 0.5


def test_the_same_alone_in_company_and_in_one_batch() -> None:
    """One scene, a list of them, and the batch of rays that a GPU is given."""
    scenes = [draw("test", n) for n in range(6)]
    batched, batch = render(scenes, 64), _render(scenes, 64, "cpu")
    for i, scene in enumerate(scenes):
        alone, n = render([scene], 64), len(scene.solids)
        for name in FIELDS:
            one, other = getattr(alone, name)[0], getattr(batched, name)[i]
            assert torch.equal(one, other[:n] if name in ("boxes", "visible") else other), name
    assert (batched.rgb - batch.rgb).abs().max() < 1 / 255
    for name in ("instances", "classes", "edges", "boxes", "visible"):
        assert torch.equal(getattr(batched, name), getattr(batch, name)), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_gpu() -> None:
    scenes = [draw("test", n) for n in range(16)]
    here, there = render(scenes, 96), render(scenes, 96, "cuda")
    differ = (here.rgb - there.rgb.cpu()).abs().amax(1) > 1 / 255
    assert differ.float().mean() < 1e-3
    assert (here.instances != there.instances.cpu()).float().mean() < 1e-3


@pytest.mark.parametrize("size", [8, 33, 64, 200])
def test_any_size_shows_the_same_scene(size: int) -> None:
    scene = draw("test", 3)
    out = render([scene], size)
    assert out.rgb.shape == (1, 3, size, size) and out.rgb.isfinite().all()
    assert 0 <= out.rgb.min() and out.rgb.max() <= 1
    big = render([scene], 128)
    small = torch.nn.functional.interpolate(big.rgb, size=(size, size), mode="area" if size < 128 else "bilinear")
    assert (small - out.rgb).abs().mean() < 0.03
    if size >= 33:
        assert (out.boxes - big.boxes).abs().max() < 1.5 / size + 1.5 / 128


def test_edges_are_softened_towards_the_supersampled_image() -> None:
    """Against 8 x 8 rays a pixel: nearer than one ray a pixel, and near on the whole."""
    scene = draw("test", 11)
    ground_truth = torch.nn.functional.avg_pool2d(render([scene], 512).rgb, 8)
    soft = render([scene], 64).rgb
    hard = render([scene], 512).rgb[:, :, 4::8, 4::8]
    assert (soft - ground_truth).square().mean() < 0.35 * (hard - ground_truth).square().mean()
    assert (soft - ground_truth).abs().mean() < 0.01


def test_edge_map_marks_outlines_and_creases_only() -> None:
    cube = Scene((Solid("cube", "red", "large", "matte", 0.0, 0.0, 0.6),), "snow", "overcast")
    out = render([cube], 128)
    ids, edges = out.instances[0], out.edges[0]
    assert (edges[:, :-1] >= (ids[:, 1:] != ids[:, :-1])).all()
    inside = torch.nn.functional.max_pool2d((ids != 0).float()[None], 5, 1, 2)[0] == 0  # away from the outline
    assert 40 < edges[inside].sum() < 300  # three creases meet in the corner that looks at us
    ball = render([PLAIN], 128)
    inside = torch.nn.functional.max_pool2d((ball.instances != 0).float(), 5, 1, 2)[0] == 0
    assert not ball.edges[0][inside].any()


def test_shadows_fall_away_from_the_sun() -> None:
    """The sun stands behind the camera to one side; the ground on the other side of the solid is darker."""
    for sun, side in ((0.9, "left"), (-0.9, "right")):
        scene = Scene((replace(MATTE, size="small"),), "snow", "day", sun=sun)
        bare = render([replace(scene, solids=(replace(MATTE, size="small", x=50.0),))], 96)
        out = render([scene], 96)
        ground = (out.instances[0] == GROUND) & (bare.instances[0] == GROUND)
        darker = ground & ((bare.rgb - out.rgb)[0].mean(0) > 0.15)
        u = scene.place(0)[0]
        middle = (darker.nonzero()[:, 1].float().mean() + 0.5) / 96 * 2 - 1
        assert darker.sum() > 20
        assert middle < u if side == "left" else middle > u, side


def test_shadow_of_a_sphere_is_where_geometry_puts_it() -> None:
    """A ground point is in the shadow if and only if its line to the sun passes within the radius of the centre."""
    scene = Scene((replace(MATTE, x=0.6, y=0.4),), "snow", "night", sun=0.8)
    out = render([scene], 128)
    bare = render([replace(scene, solids=(replace(MATTE, x=50.0),))], 128)
    up = 0.75  # elevation of the moon
    sun = np.array([math.cos(up) * math.sin(0.8), -math.cos(up) * math.cos(0.8), math.sin(up)])
    d, camera = rays(scene.camera, 128), scene.camera
    point = np.array(camera.position) - camera.height / np.minimum(d[..., 2], -1e-4)[..., None] * d
    to = np.array(scene.solids[0].centre) - point
    gap = np.linalg.norm(to - (to @ sun)[..., None] * sun, axis=-1) - scene.solids[0].scale
    ground = (out.instances[0] == GROUND).numpy()
    ratio = (out.rgb / bare.rgb.clamp(min=1e-3))[0].mean(0).numpy()
    assert ratio[ground & (gap < -0.3)].max() < 0.9
    far = np.linalg.norm(to[..., :2], axis=-1) > 2.2  # beyond the contact shadow
    ball = torch.nn.functional.max_pool2d((out.instances == 0).float(), 3, 1, 1)[0].numpy() > 0  # with its soft rim
    assert ratio[ground & ~ball & (gap > 0.3) & far].min() > 0.97  # further than a pixel reaches on the ground


def test_colours_stay_apart_under_every_sky() -> None:
    """Mean colour of the lit solid, named by the nearest reference of the same sky."""
    for sky in ("day", "overcast", "sunset", "night"):
        scenes = [Scene((replace(MATTE, colour=c),), "tiles", sky) for c in COLOURS]
        out = render(scenes, 64)
        means = torch.stack([out.rgb[i][:, out.instances[i] == 0].mean(1) for i in range(len(scenes))])
        gaps = torch.cdist(means, means) + 10 * torch.eye(len(means))
        assert gaps.min() > 0.1, (sky, gaps.min())


def test_a_metal_solid_is_not_a_matte_one() -> None:
    for shape in SHAPES:
        scenes = [Scene((replace(MATTE, shape=shape, material=m),), "grass", "day") for m in ("matte", "metal")]
        out = render(scenes, 64)
        mask = out.instances[0] == 0
        assert (out.rgb[0] - out.rgb[1]).abs().mean(0)[mask].mean() > 0.03, shape


def test_errors_in_words() -> None:
    with pytest.raises(ValueError, match="at least one scene"):
        render([])
    with pytest.raises(ValueError, match="at least 8 pixels"):
        render([PLAIN], 7)
