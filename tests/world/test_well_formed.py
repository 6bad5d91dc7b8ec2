"""The measure of well-formed solids: clean renders pass, wrong claims, warps and blur do not, and the eye agrees.

In well_formed_images/ are images of the shipped model and renders (clean, warped, blurred), and in verdicts.json what
a viewer said of one solid of each before the measure had seen it. The thresholds were chosen on every second of them.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bench import well_formed as bench
from world import shapes
from world.evaluator import Detection, SceneReading
from world.render import render
from world.scene import SHAPES, Scene, Solid, draw
from world.well_formed import Fit, assess, well_formed

IMAGES = Path(__file__).parent / "well_formed_images"
AGREED, KAPPA = 0.8, 0.45


def true_reading(scene: Scene) -> tuple[Tensor, SceneReading]:
    """The image of a scene (1, 3, 128, 128), and the ground truth as a reading of the evaluator."""
    drawn = render([scene], 128)
    detections = []
    for i, solid in enumerate(scene.solids):
        u, v, distance = scene.place(i)
        box = tuple(drawn.boxes[0, i].tolist())
        detections.append(
            Detection(solid.shape, solid.colour, solid.size, solid.material, 1.0, {}, box, u, v, distance)
        )
    return drawn.rgb, SceneReading(tuple(detections), scene.ground, scene.sky, {})


def alone(shape: str, size: str = "large", turn: float = 0.5, colour: str = "red", material: str = "matte") -> Scene:
    return Scene((Solid(shape, colour, size, material, 0.2, 0.1, turn),), "snow", "day")


def fits(scenes: list[Scene], change: Callable[[Tensor, int], Tensor] = lambda x, n: x) -> list[Fit]:
    fitted = []
    for n, scene in enumerate(scenes):
        image, reading = true_reading(scene)
        fitted += assess(change(image, n), [reading])[0]
    return fitted


def share(fitted: list[Fit]) -> float:
    return float(np.mean([fit.well_formed for fit in fitted]))


def claimed(scene: Scene, shape: str) -> Fit:
    image, reading = true_reading(scene)
    return assess(image, [replace(reading, solids=(replace(reading.solids[0], shape=shape),))])[0][0]


def warped(images: Tensor, amplitude: float, seed: int) -> Tensor:
    """A smooth random displacement; amplitude: its deviation in pixels."""
    draws = torch.Generator().manual_seed(seed)
    shift = F.interpolate(torch.randn(1, 2, 8, 8, generator=draws), (128, 128), mode="bicubic") * amplitude * 2 / 128
    at = (torch.arange(128) + 0.5) / 64 - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    where = torch.stack([x, y], -1)[None] + shift.permute(0, 2, 3, 1)
    return F.grid_sample(images, where, "bicubic", "reflection", align_corners=False).clamp(0, 1)


def blurred(images: Tensor, sigma: float) -> Tensor:
    reach = int(3 * sigma) + 1
    line = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    line = (line / line.sum()).expand(3, 1, 1, -1)
    images = F.pad(images, (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(images, line, groups=3), line.transpose(2, 3), groups=3)


@contextmanager
def rounded_cubes(power: float) -> Iterator[None]:
    """Cubes are drawn as |x|^p + |y|^p + |z|^p = 0.8^p meanwhile: at p = 2 a sphere, at p = 20 all but a cube."""

    def size(p: Tensor) -> Tensor:
        return p.abs().clamp(min=1e-6).pow(power).sum(0).pow(1 / power)

    def hit(o: Tensor, d: Tensor) -> Tensor:
        middle = -(o * d).sum(0)
        steps = torch.linspace(-1.4, 1.4, 113)[:, None]
        t = middle + steps  # (113, K)
        inside = size(o[:, None] + t * d[:, None]) < 0.8
        first = inside.float().argmax(0)
        far = t.gather(0, first[None])[0]
        near = far - 2.8 / 112
        for _ in range(12):
            half = (near + far) / 2
            within = size(o + half * d) < 0.8
            near, far = torch.where(within, near, half), torch.where(within, half, far)
        return torch.where(inside.any(0) & (far > 0), far, torch.inf)

    def normal(p: Tensor) -> Tensor:
        return shapes.unit(p.sign() * (p.abs() / 0.8).pow(power - 1))

    original = shapes.SOLIDS["cube"]
    shapes.SOLIDS["cube"] = shapes.Shape(hit, normal)
    try:
        yield
    finally:
        shapes.SOLIDS["cube"] = original


def cubes() -> list[Scene]:
    places = [(0.3, "large"), (0.8, "small"), (1.2, "large")]
    return [alone("cube", size, turn, "blue") for turn, size in places]


def morphed(power: float) -> list[Fit]:
    """Cubes drawn with round corners, claimed to be cubes, fitted with true ones."""
    with rounded_cubes(power):
        pairs = [true_reading(scene) for scene in cubes()]
    return [assess(image, [reading])[0][0] for image, reading in pairs]


# ------------------------------------------------------------------------------------------------ clean, and wrong


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_solid_is_well_formed_and_where_it_was_put(shape: str) -> None:
    scene = alone(shape)
    (fit,) = fits([scene])
    assert fit.well_formed
    assert fit.iou > 0.95 and fit.residual < 0.05
    assert fit.solid.scale == pytest.approx(scene.solids[0].scale, rel=0.2)
    assert abs(fit.solid.x - 0.2) < 0.2


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_solid_is_no_other_shape(shape: str) -> None:
    wrong = SHAPES[(SHAPES.index(shape) + 2) % len(SHAPES)]
    fit = claimed(alone(shape), wrong)
    assert not fit.well_formed
    assert fit.margin < 0


def test_a_solid_partly_hidden_is_well_formed() -> None:
    behind = Solid("cylinder", "yellow", "large", "matte", 0.0, 1.6)
    before = Solid("sphere", "blue", "small", "matte", 0.45, -0.4)
    image, reading = true_reading(Scene((behind, before), "snow", "overcast"))
    hidden = render([Scene((behind, before), "snow", "overcast")], 128).visible[0, 0]
    assert 0.6 < hidden < 0.95
    assert well_formed(assess(image, [reading])[0])


def test_a_disc_is_no_torus() -> None:
    """A ring without its hole: the pixels of the hole in the colours of the ring."""
    image, reading = true_reading(alone("torus"))
    x0, y0, x1, y1 = (round(side * 128) for side in reading.solids[0].box)
    wide, high = x1 - x0, y1 - y0
    filled = image.clone()
    patch = filled[..., y0 + high // 6 : y0 + 3 * high // 5, x0 + wide // 4 : x1 - wide // 4]
    patch[:] = image[0, :, y1 - high // 4, (x0 + x1) // 2][None, :, None, None]
    assert assess(image, [reading])[0][0].well_formed
    assert not assess(filled, [reading])[0][0].well_formed


def test_strong_warps_and_blur_are_refused() -> None:
    scenes = [alone(shape, turn=0.3) for shape in ("cube", "cone")]
    assert share(fits(scenes)) == 1
    assert share(fits(scenes, lambda x, n: warped(x, 5, n))) == 0
    assert share(fits(scenes, lambda x, n: blurred(x, 5))) == 0


def test_the_same_twice_and_one_image_as_in_a_batch() -> None:
    pairs = [true_reading(alone("cone")), true_reading(alone("cube", "small"))]
    images, readings = torch.cat([p for p, _ in pairs]), [r for _, r in pairs]
    once = assess(images, readings)
    assert once == assess(images, readings)
    assert once[1] == assess(images[1:], readings[1:])[0]


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="must be \\(B, 3, H, W\\)"):
        assess(torch.zeros(3, 128, 128), [])
    with pytest.raises(ValueError, match="as many"):
        assess(torch.zeros(2, 3, 128, 128), [SceneReading((), "snow", "day", {})])
    assert assess(torch.zeros(1, 3, 128, 128), [SceneReading((), "snow", "day", {})]) == [[]]
    assert not well_formed([])


# ------------------------------------------------------------------------------------------------ many of them


@pytest.mark.slow
def test_clean_held_out_renders_are_well_formed() -> None:
    assert share(fits([draw("test", n) for n in range(60_000, 60_006)])) >= 0.9


@pytest.mark.slow
def test_wrong_claims_on_clean_renders_are_refused() -> None:
    """Each two shapes, one for the other, alone; beside `test_a_clean_solid_is_no_other_shape`."""
    pairs = [(a, b) for n, a in enumerate(SHAPES) for b in SHAPES[n + 1 :]]
    accepted = [(a, b) for a, b in pairs if claimed(alone(a, "small", 0.9, "green"), b).well_formed]
    assert len(accepted) <= 1, accepted


@pytest.mark.slow
@pytest.mark.parametrize("change", ["warp", "blur", "morph"])
def test_the_share_falls_with_the_strength(change: str) -> None:
    scenes = [scene for scene in (draw("test", n) for n in range(61_000, 61_020)) if len(scene.solids) == 1][:3]
    if change == "warp":
        shares = [share(fits(scenes, lambda x, n, s=s: warped(x, s, n))) for s in (0.3, 2, 5)]
    elif change == "blur":
        shares = [share(fits(scenes, lambda x, n, s=s: blurred(x, s))) for s in (0.3, 1.5, 4)]
    else:
        shares = [share(morphed(power)) for power in (20, 5, 2.5)]
    assert shares[0] > shares[1] >= shares[2]
    assert shares[0] >= 0.8 and shares[2] <= 0.2


@pytest.mark.slow
def test_the_eye_agrees() -> None:
    """On those that the thresholds were not chosen on, where an image shows one or two solids; on all 37 of them 84 %
    are agreed, kappa 0.59."""
    pairs = []
    for entry in json.loads((IMAGES / "verdicts.json").read_text())[1::2]:
        if len(entry["solids"]) > 2:
            continue
        image = torch.from_numpy(np.array(Image.open(IMAGES / entry["image"]))).permute(2, 0, 1)[None] / 255
        detections = tuple(
            Detection(**{**solid, "box": tuple(solid["box"])}, score=1.0, confidence={}) for solid in entry["solids"]
        )
        fit = assess(image, [SceneReading(detections, entry["ground"], entry["sky"], {})])[0][entry["solid"]]
        pairs.append((entry["well_formed"], fit.well_formed))
    eye, measure = np.array(pairs).T
    agreed = float((eye == measure).mean())
    chance = eye.mean() * measure.mean() + (1 - eye.mean()) * (1 - measure.mean())
    assert agreed >= AGREED
    assert (agreed - chance) / (1 - chance) >= KAPPA


def test_the_bench_reaches_the_ceiling_on_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Copier:
        """An autoencoder that loses nothing."""

        def encode_image(self, pixels: Tensor) -> Tensor:
            return pixels

        decode = encode_image

    monkeypatch.setattr(bench, "load", lambda name: Copier())
    figures = []
    for more in (["--backbone", "renderer"], ["--autoencoder"]):
        bench.main(["--captions", "1", *more, "--json", str(tmp_path / "figures.json")])
        figures.append(json.loads((tmp_path / "figures.json").read_text()))
    assert figures[0]["solids"] >= 75
    assert figures[0] == figures[1]
