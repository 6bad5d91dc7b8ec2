"""The inversions on a tiny random network: diffusers' implementations, and methods of attention stacked on top."""

import math

import pytest
import torch

from conditioning.compose import compose
from conditioning.sampling.inversion.encoding import ddim_encode
from conditioning.sampling.inversion.null_text import tuned
from samplers import SAMPLERS
from samplers.flow import Noise, ask, run
from samplers.schedules import native
from tests.support.short_runs import PROMPT, flow

SHAPE = (1, 4, 16, 16)
OTHER = "a blue cube on grass"
image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))


def levels(b, scheduler):
    """Of a run of diffusers, which ends at the lowest trained level and not at 0."""
    return [*b.sigmas[scheduler.timesteps].tolist(), b.sigmas[0].item()]


@pytest.mark.parametrize("strength", [0.3, 0.8, 1.0])
def test_sdedit_is_diffusers_image_to_image(tiny_folder, tiny_net, strength):
    from diffusers import StableDiffusionImg2ImgPipeline

    b = tiny_net
    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    stream = torch.Generator().manual_seed(5)
    theirs = pipe(PROMPT, image=image, strength=strength, num_inference_steps=10, guidance_scale=4.0,
                  negative_prompt="blue", generator=stream, output_type="latent").images  # fmt: skip
    e = torch.randn(SHAPE, generator=stream.manual_seed(5))
    pipe.scheduler.set_timesteps(10)
    sigmas = levels(b, pipe.scheduler)
    stack = [("sdedit", {"source": image, "strength": strength}), ("cfg", {"scale": 4.0})]
    D, sampler, _ = compose(stack, SAMPLERS["euler"], null=b.encode_prompt(["blue"]))
    x = e * math.sqrt(1 + sigmas[0] ** 2)
    ours = run(sampler(D, x, sigmas, b.encode_prompt([PROMPT]), Noise([0])), b.denoise)
    assert (ours / math.sqrt(1 + sigmas[-1] ** 2) - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_ddim_inversion_is_diffusers_inverse_scheduler(tiny_folder, tiny_net):
    from diffusers import DDIMInverseScheduler, StableDiffusionPipeline

    b = tiny_net
    pipe = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    inverse, cond = DDIMInverseScheduler.from_config(pipe.scheduler.config), b.encode_prompt([PROMPT])
    inverse.set_timesteps(10)
    pipe.scheduler.set_timesteps(10)
    assert inverse.timesteps.tolist() == pipe.scheduler.timesteps.tolist()[::-1]
    x, sigmas = image, levels(b, pipe.scheduler)
    with torch.no_grad():
        for t in inverse.timesteps:
            x = inverse.step(pipe.unet(x, t, cond["text"]).sample, t, x).prev_sample
    states = run(ddim_encode(ask, image * math.sqrt(1 + sigmas[-1] ** 2), sigmas, cond), b.denoise)
    assert (states[sigmas[0]] / math.sqrt(1 + sigmas[0] ** 2) - x).abs().max() < 1e-4 * x.abs().max()


def test_null_text_tunes_a_text_through_the_network(tiny_net):
    b, sigmas = tiny_net, native(4, tiny_net.sigmas)
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt([""])
    D, _, _ = compose([("cfg", {"scale": 7.5})], SAMPLERS["euler"], null=null)
    pivot = run(ddim_encode(ask, image, sigmas, cond), b.denoise)

    top = {s: pivot[s] for s in (sigmas[1], sigmas[0])}

    def away(updates):
        nulls, states = run(tuned(D, top, cond, null, updates), b.denoise)
        assert not nulls[sigmas[0]].requires_grad
        return ((states[sigmas[1]] - pivot[sigmas[1]]) ** 2).mean()

    assert away(15) < 0.8 * away(0)


def test_edict_round_trip_in_float32(tiny_net):
    """As the paper measures it, by the mean square."""
    b = tiny_net
    stack = [("edict", {"source": image, "source_prompt": b.encode_prompt([PROMPT])}), ("cfg", {"scale": 3.0})]
    got = run(flow(b, stack, steps=20), b.denoise)
    assert got.dtype == torch.float32 and ((got - image) ** 2).mean() < 1e-6


ATTENTION = ["prompt_to_prompt", "masactrl", "plug_and_play"]


@pytest.mark.parametrize("attention", ATTENTION)
def test_edit_friendly_under_attention_of_the_source_gives_the_source_back(tiny_net, attention):
    cond = tiny_net.encode_prompt([PROMPT])
    stack = [("edit_friendly_ddpm", {"source": image, "source_prompt": cond, "strength": 1.0}),
             (attention, {"source_prompt": cond}), ("cfg", {"scale": 3.0})]  # fmt: skip
    got = run(flow(tiny_net, stack, sampler="ancestral"), tiny_net.denoise)
    assert (got - image).abs().max() < 1e-4 * image.abs().max()
    edited = run(flow(tiny_net, stack, sampler="ancestral", prompt=OTHER), tiny_net.denoise)
    assert edited.isfinite().all() and (edited - image).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("inversion", ["direct_inversion", "null_text"])
def test_the_source_beside_the_target_is_at_its_states(tiny_net, attention, inversion):
    b, sigmas, asked = tiny_net, native(4, tiny_net.sigmas), []
    cond = b.encode_prompt([PROMPT])
    states = run(ddim_encode(ask, image, sigmas, cond, again=2), b.denoise)
    if inversion == "null_text":
        null = b.encode_prompt([""])
        D, _, _ = compose([("cfg", {"scale": 3.0})], SAMPLERS["euler"], null=null)
        _, states = run(tuned(D, states, cond, null, 1), b.denoise)

    def noting(one):
        if one.edit is not None and one.cond["text"] is cond["text"]:
            asked.append((one.sigma[0].item(), one.x))
        return b.denoise(one)

    more = {"again": 2} | ({"updates": 1, "begin": "null"} if inversion == "null_text" else {})
    stack = [(inversion, {"source": image, "source_prompt": cond, **more}), (attention, {"source_prompt": cond}),
             ("cfg", {"scale": 3.0})]  # fmt: skip
    assert run(flow(b, stack, prompt=OTHER), noting).isfinite().all()
    assert asked
    for s, x in asked:
        assert torch.equal(x, states[min(sigmas, key=lambda level: abs(level - s))])
