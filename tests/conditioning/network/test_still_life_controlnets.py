"""The ControlNets of Still Life, where they are shipped: the denoised prediction at high noise lies nearer to the scene
whose map was given, and farther from it with another's."""

import pytest
import torch

import backbones
import conditioning  # noqa: F401  fills the registry
from conditioning.registry import METHODS
from samplers.flow import Ask
from tests.support.networks import embedded
from world.render import render
from world.scene import draw

FOLDER = backbones.STILL_LIFE.with_name("still_life_controlnets")
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="not trained yet: python -m training controlnet")
N, SIGMA = 4, 4.0


@pytest.fixture(scope="module")
def scenes():
    """Maps of 4 test scenes by condition, the error of a denoised prediction without a prompt for given maps, and the
    one without a map."""
    b = embedded("still-life")
    seen = render([draw("test", n) for n in range(N)], b.default_size)
    maps = {"depth": seen.near, "edges": seen.edges.float()}
    maps = {name: one[:, None].expand(-1, 3, -1, -1) for name, one in maps.items()}
    z, cond = b.encode_image(seen.rgb), b.encode_prompt([""] * N)
    x = z + SIGMA * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))

    def error(**given):
        keys = METHODS["controlnet"].function(b, **given)(SIGMA, cond) if given else {}
        keys = {key: value.expand(N, *value.shape[1:]) for key, value in keys.items()}
        return (b.denoise(Ask(x, torch.full((N,), SIGMA), {**cond, **keys})) - z).square().mean().item()

    return maps, error, error()


@pytest.mark.parametrize("name", ["depth", "edges"])
def test_the_right_map_helps_and_a_wrong_one_misleads(scenes, name):
    maps, error, plain = scenes
    right, wrong = error(**{name: maps[name]}), error(**{name: maps[name].roll(1, 0)})
    assert right < 0.97 * plain and right < 0.9 * wrong


def test_two_at_half_weight_help_as_well(scenes):
    maps, error, plain = scenes
    assert error(**maps, depth_weight=0.5, edges_weight=0.5) < 0.97 * plain


def test_files_are_small():
    sizes = [file.stat().st_size for file in FOLDER.rglob("*.safetensors")]
    assert len(sizes) >= 2 and max(sizes) < 10e6 and sum(sizes) < 12e6
