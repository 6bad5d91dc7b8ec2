"""Networks whose state is the image: tiny random ones against diffusers' own pipeline, and the embedded one."""

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline

import backbones
from backbones.base import Backbone
from backbones.checkpoint import CheckpointError
from backbones.latent import LatentBackbone
from backbones.outline import outline
from conditioning.compose import refusals
from conditioning.sampling.guidance.cfg import cfg
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, run
from samplers.protocol import Ask
from tests.support.networks import embedded
from tests.support.tiny_pixels import save_pixels
from world.render import render
from world.scene import draw

euler = SAMPLERS["euler"]


def load(folder, engine="torch"):
    """A tiny network: torch needs no conversion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", engine)
        patch.setenv("NINE_WAYS_CACHE", f"{folder}-cache")
        return backbones.load(folder)


def asked(b, rows=3, sigma=1.5):
    x = 2 * torch.randn(
        rows, *b.latent_shape(b.default_size, b.default_size), generator=torch.Generator().manual_seed(1)
    )
    return Ask(x, torch.full((rows,), sigma), b.encode_prompt([""] * rows))


def test_agrees_with_diffusers_pipeline(tmp_path):
    """The same noise through DDIMPipeline: the same image."""
    folder = save_pixels(tmp_path / "one")
    pipe, b = DDIMPipeline.from_pretrained(folder), load(folder)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(num_inference_steps=8, output_type="np", generator=torch.Generator().manual_seed(5)).images
    z = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    times = pipe.scheduler.timesteps
    sigmas = [*b.sigmas[times].tolist(), float(b.sigmas[0])]  # this scheduler ends at the first level
    ours = run(euler(ask, z * (1 + sigmas[0] ** 2) ** 0.5, sigmas, {}, Noise([0])), b.denoise)
    got = b.decode(ours / (1 + sigmas[-1] ** 2) ** 0.5)
    torch.testing.assert_close(got, torch.from_numpy(theirs).permute(0, 3, 1, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("patch", [1, 2])
def test_is_a_backbone(tmp_path, patch):
    b = load(save_pixels(tmp_path / "one", patch))
    assert isinstance(b, Backbone) and isinstance(b, LatentBackbone)
    assert b.default_size == 16 * patch and b.size_multiple == 2 * patch
    assert b.latent_shape(24, 32) == (3, 32, 24)
    with pytest.raises(ValueError, match="multiples of"):
        b.latent_shape(25, 32)
    assert b.encode_prompt(["a red cube"]) == {} and b.unknown_words("a red red cube") == ["a", "red", "cube"]
    x0 = b.denoise(asked(b))
    assert x0.shape == (3, 3, 16 * patch, 16 * patch) and x0.dtype == torch.float32 and not x0.requires_grad
    wide = Ask(torch.zeros(1, 3, 32, 16), torch.ones(1), {})
    assert b.denoise(wide).shape == (1, 3, 32, 16)
    pixels = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(b.decode(b.encode_image(pixels)), pixels)


def test_patches_are_a_permutation_of_the_image(tmp_path):
    """A network on 2 x 2 blocks is the UNet on the blocks, in the order of pixel_unshuffle."""
    b = load(save_pixels(tmp_path / "one", 2))
    one = asked(b)
    seen, t = b.coordinates.enter(one.x, one.sigma)
    blocks = seen.reshape(3, 3, 16, 2, 16, 2).permute(0, 1, 3, 5, 2, 4).reshape(3, 12, 16, 16)
    with torch.no_grad():
        out = b.network.blocks.unet(blocks, t).sample
    out = out.reshape(3, 3, 2, 2, 16, 16).permute(0, 1, 4, 2, 5, 3).reshape(3, 3, 32, 32)
    torch.testing.assert_close(b.denoise(one), b.coordinates.leave(one.x, one.sigma, out), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_engines_agree_and_rows_do_not_see_each_other(tmp_path, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    b = load(save_pixels(tmp_path / "one", 2), engine)
    assert b.engine.name.startswith(engine)
    one = asked(b)
    whole = b.denoise(one)
    torch.testing.assert_close(
        whole, b.denoise(Ask(one.x, one.sigma, {}, tape=object())).detach(), atol=1e-4, rtol=1e-4
    )
    for i in range(3):
        assert torch.equal(whole[i : i + 1], b.denoise(Ask(one.x[i : i + 1], one.sigma[i : i + 1], {})))


def test_gradients_run_through_with_a_tape_only(tmp_path):
    b = load(save_pixels(tmp_path / "one"))
    x = asked(b).x[:1].requires_grad_()
    assert not b.denoise(Ask(x, torch.ones(1), {})).requires_grad
    (g,) = torch.autograd.grad(b.denoise(Ask(x, torch.ones(1), {}, tape=object())).square().sum(), x)
    assert g.abs().sum() > 0
    assert not any(p.requires_grad for p in b.network.blocks.parameters())


def test_a_ddpm_pipeline_opens_and_others_are_refused(tmp_path):
    b = load(save_pixels(tmp_path / "ddpm", pipeline=DDPMPipeline))
    assert b.coordinates.prediction == "epsilon"
    with pytest.raises(CheckpointError, match="class"):
        load(save_pixels(tmp_path / "classes", class_embed_type="timestep"))


def test_guidance_makes_no_second_pass_where_there_are_no_prompts(tmp_path):
    b = load(save_pixels(tmp_path / "one"))
    driver = Driver(b.denoise)
    driver.add(0, cfg(ask, {**b.encode_prompt([""])}, 4.0)(asked(b).x, 1.5, b.encode_prompt(["a cube"])))
    while len(driver):
        driver.round()
    assert driver.rows == 3


def test_methods_that_need_pixels_fit_and_those_that_need_attention_do_not(tmp_path):
    b = load(save_pixels(tmp_path / "one"))
    assert refusals([("ddrm", {}), ("snips", {}), ("ddnm", {})], b) == []
    assert refusals([("ddrm", {})], outline("still-life")) != []


# ---- the embedded one ------------------------------------------------------------------------------------------

shipped = pytest.mark.skipif(not backbones.PIXELS.exists(), reason="no weights yet: python -m training.pixels")


@shipped
def test_weights_fit_where_they_must():
    sizes = [path.stat().st_size for path in backbones.PIXELS.rglob("*.safetensors")]
    assert len(sizes) == 1 and sizes[0] < 8e6


@shipped
def test_it_denoises_held_out_renders():
    """Scenes it has never seen, by how many dB better than they came."""
    life = embedded("still-life-pixels")
    assert life.default_size == 64 and life.id == "still-life-pixels"
    x0 = life.encode_image(render([draw("test", n) for n in range(8)], 64).rgb)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    for sigma, bar in ((0.1, 11.0), (0.4, 16.5), (1.5, 23.0)):
        error = life.denoise(Ask(x0 + sigma * noise, torch.full((8,), sigma), {})) - x0
        assert -20 * (error.square().mean().sqrt() / sigma).log10() > bar, sigma
