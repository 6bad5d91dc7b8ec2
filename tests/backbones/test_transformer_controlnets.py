"""ControlNets beside diffusion transformers, against diffusers' own pipelines on tiny checkpoints of the same classes,
and beside runs that have none."""

import json
import shutil

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import backbones
from backbones import controlnets
from backbones.checkpoint_files import CheckpointError
from backbones.families import FAMILIES
from backbones.outline import outline
from conditioning.compose import compose, refusals
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Ask, Driver, Noise, run
from tests.support import tiny_transformers
from tests.support.oracle import finish
from tests.support.tiny_controlnets import of_transformer

PROMPT, NEGATIVE, STEPS, SIZE = "a large red sphere on grass, small cube", "blue", 4, (64, 32)
#: kind -> how its transformer differs from the tiny one, so that it has more blocks than its ControlNet has
DEEPER = {
    "flux-dev": dict(num_layers=3, num_single_layers=3), "sd3": dict(num_layers=5), "qwen-image": dict(num_layers=3),
    "z-image": dict(n_layers=4), "sana": dict(num_layers=4),
}  # fmt: skip
PIPELINES = {
    "flux-dev": "FluxControlNetPipeline", "sd3": "StableDiffusion3ControlNetPipeline",
    "qwen-image": "QwenImageControlNetPipeline", "z-image": "ZImageControlNetPipeline", "sana": "SanaControlNetPipeline",
}  # fmt: skip
EIGHT = dict(use_pos_embed=False, pos_embed_type=None, joint_attention_dim=None, qk_norm=None,
             force_zeros_for_pooled_projection=False)  # as Stability's for 3.5 large  # fmt: skip
CASES = {  # kind, configs of its ControlNets, their weights, size, guidance, what else diffusers is told
    "flux": ("flux-dev", [{}], [1.0], SIZE, 1.0, {}),
    "flux, square": ("flux-dev", [{}], [0.6], (32, 32), 1.0, {}),
    "flux, one kind of blocks": ("flux-dev", [{"num_single_layers": 0, "guidance_embeds": False}], [1.0], SIZE, 1.0, {}),
    "flux, two": ("flux-dev", [{}, {}], [0.7, 0.4], SIZE, 1.0, {}),
    "flux, a union": ("flux-dev", [{"num_mode": 10}], [1.0], SIZE, 1.0, {"control_mode": 2}),
    "flux, two of a union": ("flux-dev", [{"num_mode": 10}], [0.7, 0.4], SIZE, 1.0,
                             {"control_mode": [2, 0], "control_guidance_start": [0.0] * 2,  # else diffusers reads one
                              "control_guidance_end": [1.0] * 2}),
    "flux, part of the steps": ("flux-dev", [{}], [1.0], SIZE, 1.0, {"control_guidance_start": 0.25,
                                                                    "control_guidance_end": 0.75}),
    "sd3": ("sd3", [{}], [0.8], SIZE, 3.0, {}),
    "sd3, two": ("sd3", [{}, {}], [0.7, 0.4], SIZE, 3.0, {}),
    "sd3, without a shift": ("sd3", [{"force_zeros_for_pooled_projection": False}], [1.0], SIZE, 1.0, {}),
    "sd3, without words": ("sd3", [EIGHT], [1.0], SIZE, 3.0, {}),
    "qwen-image": ("qwen-image", [{}], [1.0], SIZE, 1.0, {}),
    "qwen-image, two of one": ("qwen-image", [{}], [0.7, 0.4], SIZE, 1.0, {}),
    "z-image": ("z-image", [{}], [0.8], SIZE, 3.0, {}),
    "z-image, refined": ("z-image", [{"add_control_noise_refiner": "control_noise_refiner", "control_in_dim": 9,
                                      "control_refiner_layers_places": [0]}], [0.8], SIZE, 3.0, {}),
    "z-image, refined by its layers": ("z-image", [{"add_control_noise_refiner": "control_layers", "control_in_dim": 9,
                                                    "control_refiner_layers_places": [0]}], [0.8], SIZE, 1.0, {}),
    "sana": ("sana", [{}], [0.8], SIZE, 3.0, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    made = {}

    def checkpoint(kind):
        if kind not in made:
            made[kind] = tiny_transformers.save(tmp_path_factory.mktemp(kind) / "net", kind, **DEEPER[kind])
        return made[kind]

    return checkpoint


@pytest.fixture
def beside(checkpoints, tmp_path, monkeypatch):
    """kind, ControlNets by name -> the backbone that has them."""
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())

    monkeypatch.setenv("NINE_WAYS_CONTROLNETS", str(tmp_path / "nets"))

    def opened(kind, nets, folder=None):
        for name, net in nets.items():
            net.save_pretrained(tmp_path / "nets" / name)
        return backbones.load(str(folder or checkpoints(kind)))

    return opened


def pictures(n, size=SIZE):
    draw = torch.Generator().manual_seed(7)
    return [to_pil_image(torch.rand(3, size[1], size[0], generator=draw)) for _ in range(n)]


def pixels(picture):
    return pil_to_tensor(picture)[None] / 255


def start(b, size=SIZE, rows=1):
    return torch.randn(rows, *b.latent_shape(*size), generator=torch.Generator().manual_seed(1))


def flow(b, x, sigmas, stack=(), scale=1.0, seeds=(0,)):
    cond, null = (b.encode_prompt([text] * len(seeds)) for text in (PROMPT, NEGATIVE))
    null = b.encode_prompt([""] * len(seeds)) if b.family.name == "Sana" else null  # see its family
    guided = [*stack, *([("cfg", {"scale": scale})] if scale != 1 else [])]
    D, solver, _ = compose(guided, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=b)
    return solver(D, x, sigmas, cond, Noise(list(seeds)))


def sampled(b, x, sigmas, stack=(), scale=1.0):
    return run(flow(b, x, sigmas, stack, scale), b.denoise)


def theirs(folder, kind, nets, maps, noise, weights, size, scale, more):
    """The latents of diffusers' pipeline, and its schedule."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    several = len(maps) > 1
    given = nets[0]
    if several:
        given = {"flux-dev": diffusers.FluxMultiControlNetModel, "sd3": list,
                 "qwen-image": diffusers.models.QwenImageMultiControlNetModel}[kind](nets)  # fmt: skip
    pipe = getattr(diffusers, PIPELINES[kind])(**pipe.components, controlnet=given)
    pipe.set_progress_bar_config(disable=True)
    if kind == "flux-dev":
        more = {**more, "guidance_scale": 3.5}
    if kind == "sana":
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        more = {**more, "use_resolution_binning": False, "sigmas": [1 - i / STEPS for i in range(STEPS)]}
    packs = kind in ("flux-dev", "qwen-image")
    tokens = torch.nn.functional.pixel_unshuffle(noise, 2).flatten(2).transpose(1, 2) if packs else noise
    name = "true_cfg_scale" if packs else "guidance_scale"
    seen, decode = [], pipe.vae.decode

    def recording(z, **options):
        seen.append(z.squeeze(2) if z.ndim == 5 else z)
        return decode(z, **options)

    pipe.vae.decode = recording
    pipe(prompt=PROMPT, **({} if kind == "flux-dev" and scale == 1 else
                           {"negative_prompt": "" if kind == "sana" else NEGATIVE}),
         height=size[1], width=size[0], num_inference_steps=STEPS, latents=tokens, output_type="pt",
         control_image=list(maps) if several else maps[0],
         controlnet_conditioning_scale=list(weights) if several else weights[0],
         **{name: scale - 1 if kind == "z-image" else scale}, **more)  # fmt: skip
    return seen[0], pipe


def levels(b, kind, pipe, size):
    if kind == "sana":  # FlowMatchEuler's in place of its own
        return (pipe.scheduler.sigmas / (1 - pipe.scheduler.sigmas)).clamp(max=1e6).tolist()
    return b.schedule(STEPS, *size)


def difference(b, ours, want):
    """Largest, to the largest; want: as the autoencoder takes it."""
    return ((b.images.unscaled(ours) - want).abs().max() / want.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("case", CASES)
def test_euler_is_the_pipeline(beside, checkpoints, case, record_property):
    """The same noise, maps, weights, prompts and levels."""
    kind, configs, weights, size, scale, more = CASES[case]
    nets = [of_transformer(kind, i, **config) for i, config in enumerate(configs)]
    maps = pictures(len(weights), size)
    names = ("depth", "edges")[: len(weights)]
    if "union" in case:
        b = beside(kind, {"all": nets[0]})
        modes = more["control_mode"] if isinstance(more["control_mode"], list) else [more["control_mode"]]
        assert [b.controlnets[name].rpartition("?")[2] for name in names] == [str(mode) for mode in modes]
    else:
        b = beside(kind, dict(zip(names, nets if len(nets) == len(names) else nets * 2)))
    noise = start(b, size)
    want, pipe = theirs(checkpoints(kind), kind, nets, maps, noise, weights, size, scale, more)
    sigmas = levels(b, kind, pipe, size)
    knobs = {name: pixels(one) for name, one in zip(names, maps)}
    knobs |= {f"{name}_weight": weight for name, weight in zip(names, weights)}
    knobs |= {"start": 0.25, "end": 0.75} if "part" in case else {}
    x = noise * (1 + sigmas[0])
    found = difference(b, sampled(b, x, sigmas, [("controlnet", knobs)], scale), want)
    print(f"\n{case}: {found:.1e}")
    assert found <= 1e-4
    assert difference(b, sampled(b, x, sigmas, (), scale), want) > 1e-2  # the map did something
