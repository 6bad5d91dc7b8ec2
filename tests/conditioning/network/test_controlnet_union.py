"""SDXL's union of ControlNets: one network, a map for each of its modes, in one evaluation."""

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, StableDiffusionXLControlNetUnionPipeline

from backbones import stable_diffusion
from conditioning.compose import compose
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, run
from tests.support import tiny
from tests.support.oracle import finish
from tests.support.tiny_controlnets import union

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4


@pytest.fixture(scope="module")
def net():
    return union(1)


@pytest.fixture(scope="module")
def b(tmp_path_factory, net):
    home = tmp_path_factory.mktemp("xl")
    folder = tiny.save(home / "net", "xl")
    net.save_pretrained(home / "net_controlnets" / "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return stable_diffusion.load(str(folder))


def a_map(seed, size=(48, 32)):
    return torch.rand(1, 3, *size[::-1], generator=torch.Generator().manual_seed(seed))


def flow(b, x, sigmas, stack=()):
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt([NEGATIVE])
    D, sampler, _ = compose(
        [*stack, ("cfg", {"scale": SCALE})], SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=b
    )
    return sampler(D, x, sigmas, cond, Noise([1]))


def sampled(b, x, sigmas, **knobs):
    return run(flow(b, x, sigmas, [("controlnet", knobs)] if knobs else ()), b.denoise)


@pytest.fixture(scope="module")
def start(b):
    sigmas = [*b.sigmas[torch.linspace(999, 0, STEPS).long()].tolist(), 0.0]
    return torch.randn(1, *b.latent_shape(48, 32), generator=torch.Generator().manual_seed(1)) * sigmas[0], sigmas


def test_each_mode_has_a_name(b):
    assert [*b.controlnets] == ["pose", "depth", "soft edge", "edges", "normals", "segmentation"]
    assert {where.rpartition("?")[0] for where in b.controlnets.values()} == {f"{b.folder}_controlnets/all"}


@pytest.mark.parametrize("modes, theirs", [
    ({"depth": 0.7}, {}), ({"edges": 1.0}, {"control_guidance_start": 0.25, "control_guidance_end": 0.75}),
    ({"depth": 0.7, "edges": 0.4}, {}),
])  # fmt: skip
def test_euler_is_the_pipeline_s_ddim(b, net, modes, theirs):
    """At another size than square."""
    parts = DiffusionPipeline.from_pretrained(b.folder).components
    parts = {key: value for key, value in parts.items() if key != "image_encoder"}
    pipe = StableDiffusionXLControlNetUnionPipeline(**parts, controlnet=net, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    noise = torch.randn(1, *b.latent_shape(48, 32), generator=torch.Generator().manual_seed(1))
    maps = {name: a_map(i) for i, name in enumerate(modes)}
    numbers = [int(b.controlnets[name].rpartition("?")[2]) for name in modes]
    wanted = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=STEPS,
                  control_image=[*maps.values()], control_mode=numbers, output_type="latent", width=48, height=32,
                  controlnet_conditioning_scale=[*modes.values()], **theirs).images  # fmt: skip
    end = b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    knobs = {**maps, **{f"{name}_weight": weight for name, weight in modes.items()}}
    knobs |= {"start": 0.25, "end": 0.75} if "control_guidance_end" in theirs else {}
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    got, plain = (sampled(b, x, sigmas, **given) / (1 + end**2) ** 0.5 for given in (knobs, {}))
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert (plain - wanted).abs().max() > 1e-2 * wanted.abs().max()


def test_runs_of_unlike_weights_share_their_calls_and_none_is_as_without(b, start):
    """Two maps of one union each, and what has a weight of 0 is left out: bit for bit."""
    x, s = start
    stacks = {
        "even": {"depth": a_map(0), "edges": a_map(1)},
        "odd": {"depth": a_map(2), "edges": a_map(3), "depth_weight": 0.3, "edges_weight": 1.5},
        "one": {"depth": a_map(0), "edges": a_map(1), "edges_weight": 0},
    }
    driver = Driver(b.denoise)
    for name, knobs in stacks.items():
        driver.add(name, flow(b, x, s, [("controlnet", knobs)]))
    driver.add("none", flow(b, x, s))
    ends = finish(driver)
    assert driver.nfe == 3 * STEPS  # of two maps, of one, of none
    for name, knobs in stacks.items():
        assert torch.equal(ends[name], sampled(b, x, s, **knobs))
    assert torch.equal(ends["one"], sampled(b, x, s, depth=a_map(0)))
    off = sampled(b, x, s, depth=a_map(0), edges=a_map(1), depth_weight=0, edges_weight=0)
    assert torch.equal(ends["none"], sampled(b, x, s)) and torch.equal(off, ends["none"])


def test_the_negative_prompt_can_be_spared_both_maps(b, start):
    """With "map", its ask is that of a run without maps, though it shares the evaluation."""
    x, s = start
    seen = []

    def answer(ask):
        seen.append(ask)
        return b.denoise(ask)

    run(flow(b, x, s[-3:], [("controlnet", {"depth": a_map(0), "edges": a_map(1), "balance": "map"})]), answer)
    for ask in seen:
        negative = ask.cond["controlnet:depth:weight"][:, 0] == 0
        assert negative.tolist().count(True) == 1 and len(negative) == 2
        alone = type(ask)(
            ask.x[negative],
            ask.sigma[negative],
            {key: value[negative] for key, value in ask.cond.items() if "controlnet" not in key},
        )
        assert (b.denoise(ask)[negative] - b.denoise(alone)).abs().max() <= 1e-5 * b.denoise(alone).abs().max()


def test_the_network_is_held_once_whatever_its_modes(b, start):
    x, s = start
    sampled(b, x, s[-2:], depth=a_map(0))
    sampled(b, x, s[-2:], edges=a_map(0))
    made = [engine.unet.controls.controls[0] for engine, _ in b.network.adapters._made.values()]
    assert len(made) >= 2 and all(one is made[0] for one in made)
