"""Networks that edit by instruction, beside diffusers' own pipelines."""

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from backbones import stable_diffusion
from backbones.outline import outline
from conditioning.compose import compose, refusals
from samplers import SAMPLERS
from samplers.flow import Noise, once_each, run, tap
from tests.support import tiny

PROMPT, NEGATIVE, SCALE, IMAGE_SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 1.7, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny.save(tmp_path_factory.mktemp(kind), f"{kind}-pix2pix") for kind in ("eps", "xl")}


@pytest.fixture(scope="module")
def backbones(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return {kind: stable_diffusion.load(str(folder)) for kind, folder in folders.items()}


def sample(b, x, sigmas, image, image_scale=IMAGE_SCALE, scale=SCALE):
    """The last x, and how many rows were asked at each step."""
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt([NEGATIVE])
    given = {"image": b.encode_image(image), "image_scale": image_scale}
    stack = [("instruct_pix2pix", given), ("cfg", {"scale": scale})]
    D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=b)
    rows = []
    flow = tap(once_each(solver(D, x, sigmas, cond, Noise([0]))),
               lambda message, _: rows.append(sum(len(one.x) for one in message)) if isinstance(message, list) else 0
               )  # fmt: skip
    return run(flow, b.denoise), rows


@pytest.mark.parametrize("width, height, image_scale", [(32, 32, IMAGE_SCALE), (48, 24, 1.0)])
@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_euler_is_the_pipeline_s_ddim_in_three_rows(folders, backbones, kind, width, height, image_scale):
    b = backbones[kind]
    pipe = DiffusionPipeline.from_pretrained(folders[kind], safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    sized = {"width": width, "height": height} if kind == "xl" else {}
    theirs = pipe(PROMPT, negative_prompt=NEGATIVE, image=image, latents=noise, guidance_scale=SCALE,
                  image_guidance_scale=image_scale, num_inference_steps=STEPS, output_type="latent", **sized
                  ).images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    ours, rows = sample(b, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas, image, image_scale)
    ours = ours / (1 + end**2) ** 0.5
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert rows == [2 if image_scale == 1 else 3] * STEPS


def test_the_image_is_kept_more_at_a_higher_scale(backbones):
    """Of random weights at least: the scales change the result, each another way."""
    b = backbones["eps"]
    x, image = torch.randn(1, *b.latent_shape(32, 32)), torch.rand(1, 3, 32, 32)
    sigmas = [3.0, 1.0, 0.0]
    one, other, third = (sample(b, x, sigmas, image, *scales)[0] for scales in ((1.0, 4.0), (3.0, 4.0), (1.0, 8.0)))
    assert (one - other).abs().max() > 1e-3 and (one - third).abs().max() > 1e-3
    assert (other - third).abs().max() > 1e-3


def test_who_offers_it_is_said_before_the_weights_are_read(folders, backbones, tmp_path_factory):
    plain = outline(str(tiny.save(tmp_path_factory.mktemp("plain"), "eps")))
    known = outline(str(folders["eps"]))
    assert known.offers == backbones["eps"].offers and "editing network" in known.offers
    assert refusals([("instruct_pix2pix", {})], known) == []
    (why,) = refusals([("instruct_pix2pix", {})], plain)
    assert "editing by instruction" in why


@pytest.mark.parametrize("other", ["composable", "perturbed_attention", "sdedit", "ilvr", "prompt_to_prompt"])
def test_it_stacks_with(backbones, other):
    """Both act: the image is neither the one's nor the other's."""
    b = backbones["eps"]
    draw = torch.Generator().manual_seed(6)
    image = torch.randn(1, *b.latent_shape(32, 32), generator=draw)
    x = torch.randn(1, *b.latent_shape(32, 32), generator=draw) * 3
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt([NEGATIVE])
    given = {"composable": {"also": b.encode_prompt(["a cube"])}, "sdedit": {"source": image, "strength": 0.75},
             "ilvr": {"reference": image}, "prompt_to_prompt": {"source_prompt": b.encode_prompt(["a blue sphere"])}}

    def ended(*names):
        stack = [(name, {"image": image} if name == "instruct_pix2pix" else given.get(name, {})) for name in names]
        sigmas = [3.0, 2.0, 1.0, 0.5, 0.0]
        D, solver, _ = compose([*stack, ("cfg", {"scale": SCALE})], SAMPLERS["euler"], sigmas=sigmas, null=null,
                               backbone=b)  # fmt: skip
        return run(once_each(solver(D, x, sigmas, cond, Noise([0]))), b.denoise)

    both, one, two = ended("instruct_pix2pix", other), ended("instruct_pix2pix"), ended(other)
    assert both.isfinite().all()
    assert (both - one).abs().max() > 1e-3 and (both - two).abs().max() > 1e-3
