"""Perturbed-attention guidance: diffusers' pipeline, its equation, its cost."""

from functools import partial

import pytest
import torch

from conditioning.compose import compose
from conditioning.sampling.guidance.perturbed_attention import Identity, perturbed_attention
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, run
from tests.support.oracle import finish
from tests.support.short_runs import PROMPT, flow


@pytest.mark.parametrize("w", [1.0, 7.5], ids=["alone", "guided"])
@pytest.mark.parametrize("part", ["mid", "up"])
def test_it_is_diffusers_pipeline(tiny_folder, tiny_net, w, part):
    """StableDiffusionPAGPipeline on a tiny random network, with and without a negative prompt."""
    from diffusers import StableDiffusionPAGPipeline

    b = tiny_net
    pipe = StableDiffusionPAGPipeline.from_pretrained(tiny_folder, pag_applied_layers=part)
    pipe.set_progress_bar_config(disable=True)
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, negative_prompt="blue", latents=z, guidance_scale=w if w > 1 else 0.0, pag_scale=3.0,
                  num_inference_steps=5, output_type="latent").images  # fmt: skip
    end = b.sigmas[0].item()
    levels = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt(["blue"])

    def ours(scale):
        stack = [("cfg", {"scale": w}), ("perturbed_attention", {"scale": scale, "layers": part})]
        D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=levels, null=null)
        x = run(solver(D, z * (1 + levels[0] ** 2) ** 0.5, levels, cond, Noise([0])), b.denoise)
        return x / (1 + end**2) ** 0.5

    assert (ours(3.0) - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert (ours(0.0) - theirs).abs().max() > 1e-3 * theirs.abs().max()


def test_the_identity_acts_in_self_attention_of_its_part_alone():
    class Site:
        kind, place, joint = "self", "mid", False

    def plain(q, k, v):
        return q

    edit, (q, v) = Identity("mid"), torch.randn(2, 1, 2, 9, 4)
    assert edit.attend(Site, q, q, v, plain) is v
    assert Identity("up").attend(Site, q, q, v, plain) is q
    Site.kind = "cross"
    assert edit.attend(Site, q, q, v, plain) is q


def test_it_adds_to_guidance_what_it_adds_alone(tiny_net):
    """Whatever the guidance scale: the difference counts in full and once."""
    b, x = tiny_net, 5 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    cond, null = (b.encode_prompt([text] * 2) for text in (PROMPT, ""))

    def added(stack):
        D, _, text = compose([*stack, ("perturbed_attention", {"scale": 2.0})], SAMPLERS["euler"], null=null)
        plain, _, _ = compose(stack, SAMPLERS["euler"], null=null)
        return run(D(x, 5.0, cond), b.denoise) - run(plain(x, 5.0, cond), b.denoise), text

    alone, _ = added([])
    guided, text = added([("cfg", {"scale": 4.0})])
    assert text == "euler over perturbed_attention(cfg(ask))" and alone.abs().max() > 1e-3
    torch.testing.assert_close(guided, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stack, rows", [([], 2), ([("cfg", {"scale": 3.0})], 4)], ids=["alone", "guided"])
def test_it_costs_what_it_says(tiny_net, stack, rows):
    driver = Driver(tiny_net.denoise)
    driver.add(0, flow(tiny_net, [*stack, ("perturbed_attention", {})], [1, 2]))
    finish(driver)
    assert driver.nfe == 4 * 2 and driver.rows == 4 * 2 * rows


def test_at_scale_0_it_asks_nothing_more():
    inner = object()

    def D(x, sigma, cond, **kw):
        yield from ()
        return inner

    assert run(perturbed_attention(D, ask, 0.0)(torch.zeros(1, 1, 2, 2), 1.0, {}), None) is inner


def test_gradients_of_a_method_outside_run_through_it(tiny_net):
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    x0 = run(
        perturbed_attention(ask, ask, 1.0)(x, 3.0, tiny_net.encode_prompt([PROMPT]), tape=object()), tiny_net.denoise
    )
    (g,) = torch.autograd.grad(x0.sum(), x)
    assert g.abs().max() > 0


@pytest.mark.parametrize("kind, name, part, layer", [
    ("sd3", "StableDiffusion3PAGPipeline", "up", "blocks.1"), ("pixart-sigma", "PixArtSigmaPAGPipeline", "down",
                                                               "blocks.0"),
])  # fmt: skip
def test_on_transformers_it_is_diffusers_pipeline(tmp_path, monkeypatch, kind, name, part, layer):
    """Joint attention of image and words, and attention of the image alone. Of Stable Diffusion 3 the first version:
    diffusers' processor leaves out the normalization of queries and keys that 3.5 has."""
    import diffusers

    import backbones
    from tests.support import tiny_transformers

    first = partial(tiny_transformers.stable_diffusion_3, qk_norm=None, dual_attention_layers=())
    monkeypatch.setitem(tiny_transformers.KINDS, "sd3", ("StableDiffusion3Pipeline", first))
    folder = tiny_transformers.save(tmp_path, kind)
    b = backbones.load(str(folder))
    pipe = getattr(diffusers, name).from_pretrained(folder, pag_applied_layers=layer)
    pipe.set_progress_bar_config(disable=True)
    more = {}
    if kind == "pixart-sigma":
        pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False,
                                                             timestep_spacing="leading")  # fmt: skip
        more = {"use_resolution_binning": False}
    z = torch.randn(1, *b.latent_shape(64, 32), generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, negative_prompt="blue", latents=z, guidance_scale=3.0, pag_scale=2.0, num_inference_steps=4,
                  width=64, height=32, output_type="latent", **more).images  # fmt: skip
    if kind == "sd3":
        levels = b.schedule(4, 64, 32)
        x = z * (1 + levels[0])
    else:
        levels = [*b.sigmas[pipe.scheduler.timesteps].tolist(), 0.0]
        x = z * (1 + levels[0] ** 2) ** 0.5
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt(["blue"])

    def ours(scale):
        stack = [("cfg", {"scale": 3.0}), ("perturbed_attention", {"scale": scale, "layers": part})]
        D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=levels, null=null)
        return run(solver(D, x, levels, cond, Noise([0])), b.denoise)

    assert (ours(2.0) - theirs).abs().max() < 1e-4 * theirs.abs().max()
    assert (ours(0.0) - theirs).abs().max() > 1e-3 * theirs.abs().max()
