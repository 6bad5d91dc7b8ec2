"""Latent consistency models, whose guidance scale is an input, beside diffusers' own pipeline."""

import pytest
import torch
from diffusers import DiffusionPipeline, LCMScheduler

from backbones import stable_diffusion
from backbones.outline import outline
from conditioning.compose import compose, refusals
from samplers import SAMPLERS
from samplers.flow import Ask, run
from tests.support import tiny

PROMPT, STEPS = "a red sphere on grass", 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("lcm"), "eps-lcm")


@pytest.fixture(scope="module", params=["torch", "openvino"])
def b(folder, request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", request.param)
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        patch.setenv("NINE_WAYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return stable_diffusion.load(str(folder))


class Recorded:
    """A noise that gives what another one has drawn."""

    def __init__(self, draws):
        self.draws = iter(draws)

    def __call__(self, x):
        return next(self.draws)

    def child(self, name):
        return self


def sample(b, x, sigmas, noise, stack=()):
    D, solver, _ = compose(stack, SAMPLERS["lcm"], sigmas=sigmas, backbone=b)
    return run(solver(D, x, sigmas, b.encode_prompt([PROMPT]), noise), b.denoise)


@pytest.mark.parametrize("scale", [1.0, 3.5, 8.5])
def test_lcm_is_the_pipeline_s(folder, b, scale, monkeypatch):
    """The same latents, prompt, scale and draws."""
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(pipe.scheduler, LCMScheduler)
    draws = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(STEPS)]
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(99))
    theirs_draw = Recorded(draws)
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_lcm.randn_tensor", lambda shape, **_: theirs_draw(torch.empty(shape))
    )
    theirs = pipe(PROMPT, latents=start, guidance_scale=scale, num_inference_steps=STEPS, output_type="latent").images
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), 0.0]
    x = start * (1 + sigmas[0] ** 2) ** 0.5
    ours = sample(b, x, sigmas, Recorded(draws), [("distilled_guidance", {"scale": scale})])
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    if scale == 8.5:
        torch.testing.assert_close(sample(b, x, sigmas, Recorded(draws)), ours)


def test_each_row_has_its_own_scale(b):
    """As runs of several scales in one network evaluation."""
    x, sigma, cond = torch.randn(2, 4, 16, 16), torch.tensor([2.0, 2.0]), b.encode_prompt([PROMPT, PROMPT])
    x[1] = x[0]
    both = b.denoise(Ask(x, sigma, {**cond, "guidance": torch.tensor([2.0, 9.0])}))
    assert (both[0] - both[1]).abs().max() > 1e-3
    for i, scale in enumerate((2.0, 9.0)):
        alone = b.denoise(Ask(x[:1], sigma[:1], {**b.encode_prompt([PROMPT]), "guidance": torch.tensor([scale])}))
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-5, rtol=1e-4)


def test_it_is_known_before_it_is_loaded_and_refused_elsewhere(folder, tmp_path):
    assert "distilled guidance" in outline(str(folder)).offers
    plain = tiny.save(tmp_path, "eps")
    (why,) = refusals([("distilled_guidance", {})], outline(str(plain)))
    assert "needs a network with its guidance scale among its inputs" in why
    b = stable_diffusion.load(str(plain))
    with pytest.raises(ValueError, match="guidance"):
        b.denoise(Ask(torch.randn(1, 4, 16, 16), torch.ones(1), {**b.encode_prompt([""]), "guidance": torch.ones(1)}))
