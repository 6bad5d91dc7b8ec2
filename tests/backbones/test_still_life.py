"""The embedded model: diffusers reads its folder, its autoencoder keeps the image, and it obeys a prompt."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

import backbones
from backbones import STILL_LIFE, load
from conditioning.compose import compose
from samplers import SAMPLERS, SCHEDULES
from samplers.flow import Noise, run
from tests.support.networks import embedded
from world.captions import PLAIN_VOCABULARY, describe
from world.render import render
from world.scene import draw

PROMPT = "a large red sphere to the left of a small blue cube on grass at sunset"


@pytest.fixture(scope="module")
def life():
    return embedded("still-life")


def paint(life, prompt, steps=8, sampler="euler", scale=4.0, seed=0, schedule="native", size=128):
    """Latents (1, 4, size / 4, size / 4) of one image."""
    sigmas = SCHEDULES[schedule](steps, life.sigmas)
    D, solver, _ = compose(
        [("cfg", {"scale": scale})], SAMPLERS[sampler], sigmas=sigmas, null=life.encode_prompt([""]), backbone=life
    )
    noise = Noise([seed])
    x = sigmas[0] * noise(torch.zeros(1, *life.latent_shape(size, size)))
    return run(solver(D, x, sigmas, life.encode_prompt([prompt]), noise), life.denoise)


def test_weights_fit_where_they_must():
    sizes = [path.stat().st_size for path in STILL_LIFE.rglob("*.safetensors")]
    assert max(sizes) < 10e6, "a Space takes no larger file without LFS"
    assert sum(sizes) < 30e6


def test_diffusers_reads_the_folder_by_itself(life):
    pipe = DiffusionPipeline.from_pretrained(STILL_LIFE, use_safetensors=True, local_files_only=True)
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert pipe.vae_scale_factor == 4
    assert pipe.unet.config.sample_size * pipe.vae_scale_factor == 128


def test_agrees_with_diffusers_pipeline(life):
    """The same noise, prompt and guidance through StableDiffusionPipeline: the same latents.

    Eight steps, which divide 1000: else DDIMScheduler's own "trailing" levels are off by one where it steps to.
    """
    pipe = DiffusionPipeline.from_pretrained(STILL_LIFE, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3))
    theirs = pipe(PROMPT, latents=noise, guidance_scale=4.0, num_inference_steps=8, output_type="latent").images
    sigmas = [*life.sigmas[pipe.scheduler.timesteps].tolist(), 0.0]
    D, solver, _ = compose(
        [("cfg", {"scale": 4.0})], SAMPLERS["euler"], sigmas=sigmas, null=life.encode_prompt([""]), backbone=life
    )
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    ours = run(solver(D, x, sigmas, life.encode_prompt([PROMPT]), Noise([0])), life.denoise)
    assert (ours - theirs).abs().max() < 2e-3 * theirs.abs().max()


def test_autoencoder_keeps_held_out_renders(life):
    """At least 34 dB on scenes it has never seen, and latents of unit scale."""
    images = render([draw("test", n) for n in range(8)], 128).rgb
    latents = life.encode_image(images)
    psnr = -10 * torch.log10((life.decode(latents) - images).square().mean((1, 2, 3)))
    assert psnr.mean() >= 34
    assert 0.8 < latents.std() < 1.2


@pytest.mark.parametrize(
    "sampler, schedule",
    [(one, two) for one in SAMPLERS for two in SCHEDULES if two == "native" or one in ("euler", "dpmpp_2m")],
)
def test_every_sampler_and_every_schedule(life, sampler, schedule):
    """Six steps; Heun's trapezoid over strides as long as these overshoots, so its scale is asked of more steps."""
    x = paint(life, PROMPT, steps=12 if sampler == "heun" else 6, sampler=sampler, schedule=schedule, size=96)
    assert x.isfinite().all()
    assert x.std() < (20 if sampler == "heun" else 3)


def test_second_run_is_the_first(life):
    first = paint(life, PROMPT, steps=4)
    paint(life, "a white cone on snow at night", steps=2, seed=5)
    assert torch.equal(first, paint(life, PROMPT, steps=4))


def test_ground_and_sky_follow_the_prompt(life):
    """Even four steps tell a night on grass from a day on snow: brightness and greenness of the image's corners."""
    night = life.decode(paint(life, "a red cube on grass at night", steps=4))
    day = life.decode(paint(life, "a red cube on snow by day", steps=4))
    assert day[:, :, -16:, :16].mean() > night[:, :, -16:, :16].mean() + 0.3
    corner = life.decode(paint(life, "a red cube on grass on a sunny day", steps=4))[0, :, -16:, :16].mean((1, 2))
    assert corner[1] > corner[0] + 0.05
    assert corner[1] > corner[2] + 0.05


def test_words(life):
    assert life.unknown_words("a red sphere, on grass at sunset") == []
    assert life.unknown_words("a crimson sphere and an elephant") == ["crimson", "elephant"]
    assert [word for word in PLAIN_VOCABULARY - {","} if life.unknown_words(word)] == []


def test_a_true_caption_fits_better_than_another(life):
    """The network knows what words mean: noise is taken away better with the scene's own caption."""
    scenes = [draw("test", n) for n in range(12)]
    z = life.encode_image(render(scenes, 128).rgb)
    captions = [describe(scene, np.random.default_rng(n)).text for n, scene in enumerate(scenes)]
    sigma, noise = 3.0, Noise(range(12))(z)
    errors = []
    for texts in (captions, captions[1:] + captions[:1]):
        D, _, _ = compose([], SAMPLERS["euler"], backbone=life)
        x0 = run(D(z + sigma * noise, sigma, life.encode_prompt(texts)), life.denoise)
        errors.append((x0 - z).square().mean().item())
    assert errors[0] < 0.8 * errors[1]


def test_several_threads_load_one_after_the_other(monkeypatch):
    """Two at once came out without weights, now and then: the libraries load under switches of the whole process."""
    under_way, most = [], []

    def loaded(folder, _name):
        under_way.append(folder)
        most.append(len(under_way))
        time.sleep(0.02)
        under_way.remove(folder)
        return folder

    monkeypatch.setattr(backbones, "_located", lambda id, _tell: (id, "a pipeline"))
    monkeypatch.setattr("backbones.footprint.footprint", lambda _folder: None)
    monkeypatch.setattr(backbones, "_loaders", lambda: {"a pipeline": SimpleNamespace(load=loaded)})
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, "abcd")) == list("abcd")
    assert max(most) == 1
