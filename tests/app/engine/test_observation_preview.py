"""The degraded image that a card shows: it is what a run is given."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from app.engine.observation_preview import preview, seen
from app.schema.recipe import RecipeError
from app.storage.image_files import content_hash
from conditioning.operators import OPERATORS, measure
from conditioning.operators.annotators import ANNOTATORS
from samplers.noise import Noise
from tests.support.doubles import recipe

IMAGE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))
MASK = Image.fromarray(np.kron([[0, 255], [0, 0]], np.ones((16, 16))).astype(np.uint8))
IMAGES = {content_hash(one): one for one in (IMAGE, MASK)}
SHA, HOLE = IMAGES
X = torch.from_numpy(np.asarray(IMAGE).copy()).permute(2, 0, 1)[None] / 127.5 - 1  # (1, 3, 32, 32)


class Latents(SimpleNamespace):
    """A network of latents, as far as measuring needs one."""

    offers = frozenset()

    def latent_shape(self, width, height):
        return 4, height // 8, width // 8


class Pixels(Latents):
    offers = frozenset({"pixels"})

    def latent_shape(self, width, height):
        return 3, height, width

    def encode_image(self, image):
        return image * 2 - 1

    def decode(self, x):
        return (x + 1) / 2


def look(name, network=None, sigma_y=0.0, **parameters):
    given = {"image": SHA, "name": name, "parameters": parameters, "sigma_y": sigma_y}
    one = recipe(width=32, height=32, methods=[{"name": "ddnm", "inputs": {"measured": given}}])
    image, words = preview(one, network or Latents(), IMAGES)
    assert image.size == (32, 32)
    return np.asarray(image).astype(float), words


def test_super_resolution_shows_its_averages_as_blocks():
    shown, words = look("super_resolution", factor=4)
    means = np.asarray(IMAGE).reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(shown - np.kron(means, np.ones((4, 4, 1)))).max() <= 0.51
    assert words == "Measured: 8 × 8 of 32 × 32 pixels."


def test_what_is_lost_is_grey_and_the_rest_as_it_was():
    shown, words = look("inpainting", mask=HOLE)
    hole = np.asarray(MASK) > 127
    assert np.abs(shown[~hole] - np.asarray(IMAGE)[~hole]).max() <= 0.51
    assert np.abs(shown[hole] - 127.5).max() <= 0.51 and "75 %" in words


def test_a_blur_is_shown_blurred_and_not_undone():
    for name in ("gaussian_blur", "motion_blur"):
        shown, _ = look(name)
        assert shown.std() < 0.6 * np.asarray(IMAGE).std()


def test_a_grey_image_has_one_colour():
    shown, words = look("colourisation")
    assert np.ptp(shown, axis=2).max() == 0 and "1 number each" in words


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"inpainting"}))
def test_every_degradation_can_be_seen_and_its_noise_too(name):
    clean, words = look(name)
    noisy, more = look(name, sigma_y=0.5)
    assert np.isfinite(clean).all() and np.abs(clean - noisy).mean() > 2
    assert "noise" not in words and more.endswith("with noise of 0.5.")


def test_pixels_and_latents_measure_the_same_image():
    assert np.abs(look("jpeg", quality=20)[0] - look("jpeg", Pixels(), quality=20)[0]).max() <= 1


def test_what_is_seen_of_coefficients_gives_them_again():
    operator = OPERATORS["compressed_sensing"]((3, 32, 32), ratio=0.5)
    one = measure(operator, X.double(), 0.1, Noise([1]))
    assert torch.allclose(operator.A(seen(one)), one.y)


def test_what_cannot_be_measured_is_said():
    with pytest.raises(RecipeError, match="factor that divides"):
        look("super_resolution", factor=5)
    with pytest.raises(RecipeError, match="draw one"):
        look("inpainting", mask="")


def test_a_map_is_shown_as_the_network_reads_it_and_what_cannot_be_made_is_said():
    """Of the image as it is fitted to the size."""
    for by in ("canny", "lineart"):
        use = {"name": "controlnet", "knobs": {"edges_by": by}, "inputs": {"edges": SHA}, "fit": {"edges": "stretch"}}
        image, words = preview(recipe(width=64, height=32, methods=[use]), Latents(id="bare"), IMAGES)
        fitted = torch.from_numpy(np.array(IMAGE.resize((64, 32), Image.Resampling.LANCZOS)) / 255.0)
        expected = ANNOTATORS[by](fitted.permute(2, 0, 1)[None].float())[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(np.asarray(image) - expected).max() <= 1 and words == "The map that the network reads."
    use = {"name": "controlnet", "knobs": {"depth_by": "depth estimator"}, "inputs": {"depth": SHA}}
    with pytest.raises(RecipeError, match="Depth map: bare has no network beside it that reads depth") as refused:
        preview(recipe(width=64, height=32, methods=[use]), Latents(id="bare"), IMAGES)
    assert refused.value.problems[0].field == "methods.0.inputs.depth"
