"""Inpainting UNets, and the method that gives them mask and image, beside diffusers' own inpainting pipelines."""

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, DiffusionPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from backbones import stable_diffusion
from backbones.outline import outline
from conditioning.compose import compose, refusals
from conditioning.inputs import prepare_input
from samplers import SAMPLERS
from samplers.flow import Ask, Noise, run
from tests.support import tiny

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a tiny inpainting checkpoint."""
    return {kind: tiny.save(tmp_path_factory.mktemp(kind), f"{kind}-inpaint") for kind in ("eps", "xl")}


@pytest.fixture(scope="module")
def backbones(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return {kind: stable_diffusion.load(str(folder)) for kind, folder in folders.items()}


def inputs(b, width, height):
    """An image (1, 3, H, W) and a mask (1, 1, H, W) whose edges are those of latents; both as methods receive them."""
    draw = torch.Generator().manual_seed(3)
    image, mask = torch.rand(1, 3, height, width, generator=draw), torch.zeros(1, 1, height, width)
    mask[..., height // 4 : height // 2, : width // 2] = 1
    shape = b.latent_shape(width, height)
    given = {name: prepare_input(kind, value, b, 1, shape) for name, kind, value in
             (("image", "map", image), ("mask", "mask", mask))}  # fmt: skip
    return image, mask, given


def sample(b, x, sigmas, stack=(), sampler="euler"):
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt([NEGATIVE])
    made = compose([*stack, ("cfg", {"scale": SCALE})], SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=b)
    D, solver, _ = made
    return run(solver(D, x, sigmas, cond, Noise([0])), b.denoise)


@pytest.mark.parametrize("width, height", [(32, 32), (48, 24)])
@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_euler_is_the_inpainting_pipeline_s_ddim(folders, backbones, kind, width, height, monkeypatch):
    """The same latents, prompt, image, mask and guidance. diffusers draws the image's latents from the autoencoder's
    distribution, we take its mode."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    b = backbones[kind]
    pipe = DiffusionPipeline.from_pretrained(folders[kind], safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    image, mask, given = inputs(b, width, height)
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, negative_prompt=NEGATIVE, image=image, mask_image=mask, latents=noise, strength=1.0,
                  width=width, height=height, guidance_scale=SCALE, num_inference_steps=STEPS,
                  output_type="latent").images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    ours = sample(b, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas, [("inpainting_network", given)])
    ours = ours / (1 + end**2) ** 0.5
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_without_an_image_all_is_to_be_new(backbones):
    """As an image of mid gray under a mask of everything; at every size, for each row."""
    b = backbones["eps"]
    for width, height in ((32, 32), (32, 16)):
        x = torch.randn(2, *b.latent_shape(width, height))
        gray = b.encode_image(torch.full((1, 3, height, width), 0.5))
        cond, sigma = b.encode_prompt([PROMPT, NEGATIVE]), torch.tensor([3.0, 0.5])
        beside = torch.cat([torch.ones_like(gray[:, :1]), gray], 1).expand(2, -1, -1, -1)
        torch.testing.assert_close(
            b.denoise(Ask(x, sigma, cond)), b.denoise(Ask(x, sigma, {**cond, "c_concat": beside}))
        )


def test_mask_and_image_both_act(backbones):
    b = backbones["eps"]
    _, _, given = inputs(b, 32, 32)
    x, sigmas = 10 * torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(0)), [10.0, 2.0, 0]
    plain = sample(b, x, sigmas)
    made = sample(b, x, sigmas, [("inpainting_network", given)])
    other = sample(b, x, sigmas, [("inpainting_network", {**given, "image": 1 - given["image"]})])
    inverse = sample(b, x, sigmas, [("inpainting_network", {**given, "mask": ~given["mask"]})])
    assert all((made - one).abs().max() > 1e-3 for one in (plain, other, inverse))


def test_a_controlnet_of_the_plain_network_acts_beside_it(tmp_path, monkeypatch):
    """It reads the noisy latents alone, as those of Stable Diffusion do beside its inpainting network."""
    torch.manual_seed(1)
    depth = ControlNetModel.from_unet(tiny.unet(32), conditioning_embedding_out_channels=(8, 16))
    for weights in depth.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    folder = tiny.save(tmp_path / "net", "eps-inpaint")
    depth.save_pretrained(tmp_path / "net_controlnets" / "depth")
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    b = stable_diffusion.load(str(folder))
    _, _, given = inputs(b, 32, 32)
    x, sigmas = 10 * torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(0)), [10.0, 2.0, 0]
    stacks = {"inpainting_network": given, "controlnet": {"depth": torch.rand(1, 3, 32, 32)}}
    both = sample(b, x, sigmas, list(stacks.items()))
    assert all((both - sample(b, x, sigmas, [one])).abs().max() > 1e-3 for one in stacks.items())


def test_it_is_known_before_it_is_loaded_and_refused_elsewhere(folders, tmp_path):
    assert "inpainting network" in outline(str(folders["eps"])).offers
    plain = outline(str(tiny.save(tmp_path, "eps")))
    assert "inpainting network" not in plain.offers
    (why,) = refusals([("inpainting_network", {})], plain)
    assert "needs a network made for inpainting" in why


def test_a_plain_network_reads_no_channels_beside(tmp_path):
    b = stable_diffusion.load(str(tiny.save(tmp_path, "eps")))
    x = torch.randn(1, 4, 16, 16)
    with pytest.raises(ValueError, match="c_concat"):
        b.denoise(Ask(x, torch.ones(1), {**b.encode_prompt([PROMPT]), "c_concat": torch.zeros(1, 5, 16, 16)}))


def test_maps_arrive_in_the_image_s_size(backbones):
    b = backbones["eps"]
    shown = prepare_input("map", torch.rand(1, 3, 100, 70), b, 2, b.latent_shape(48, 32))
    assert shown.shape == (2, 3, 32, 48) and 0 <= shown.min() and shown.max() <= 1
    flat = prepare_input("map", torch.full((1, 3, 50, 50), 0.25), b, 1, b.latent_shape(32, 32))
    torch.testing.assert_close(flat, torch.full((1, 3, 32, 32), 0.25))
