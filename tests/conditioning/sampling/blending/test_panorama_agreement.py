"""The panorama of MultiDiffusion against diffusers' own pipeline, on a tiny random network."""

import pytest
import torch

from conditioning.compose import compose
from samplers import SAMPLERS
from samplers.flow import Noise, run
from tests.support.short_runs import PROMPT


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_it_is_diffusers_pipeline(tiny_folder, tiny_net, guidance):
    """StableDiffusionPanoramaPipeline: windows of 64 x 64 latents, 8 from one to the next, states averaged after a
    step where ours averages denoised predictions."""
    diffusers = pytest.importorskip("diffusers")
    if not hasattr(diffusers, "StableDiffusionPanoramaPipeline"):
        pytest.skip("this version of diffusers has no StableDiffusionPanoramaPipeline any more")
    b, steps = tiny_net, 2
    pipe = diffusers.StableDiffusionPanoramaPipeline.from_pretrained(tiny_folder)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    z = torch.randn(1, 4, 64, 80, generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, negative_prompt="blue", latents=z, guidance_scale=guidance, num_inference_steps=steps,
                  height=8 * 64, width=8 * 80, output_type="latent").images  # fmt: skip
    end = b.sigmas[0].item()
    levels = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt(["blue"])

    def ours(stack):
        if guidance > 1:
            stack = [*stack, ("cfg", {"scale": guidance})]
        D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=levels, null=null, backbone=b)
        x = run(solver(D, z * (1 + levels[0] ** 2) ** 0.5, levels, cond, Noise([0])), b.denoise)
        return x / (1 + end**2) ** 0.5

    scale = theirs.abs().max()
    assert (ours([("panorama", {"window": 64, "stride": 8, "feather": 0.0})]) - theirs).abs().max() < 1e-4 * scale
    assert (ours([]) - theirs).abs().max() > 1e-2 * scale
