"""ControlNets beside diffusion transformers, against diffusers' own pipelines on tiny checkpoints of the same classes,
and beside runs that have none."""

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import backbones
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
    "qwen-image": "QwenImageControlNetPipeline", "z-image": "ZImageControlNetPipeline",
    "sana": "SanaControlNetPipeline",
}  # fmt: skip
EIGHT = dict(use_pos_embed=False, pos_embed_type=None, joint_attention_dim=None, qk_norm=None,
             force_zeros_for_pooled_projection=False)  # as Stability's for 3.5 large  # fmt: skip
CASES = {  # kind, configs of its ControlNets, their weights, size, guidance, what else diffusers is told
    "flux": ("flux-dev", [{}], [1.0], SIZE, 1.0, {}),
    "flux, square": ("flux-dev", [{}], [0.6], (32, 32), 1.0, {}),
    "flux, one kind of blocks": ("flux-dev", [{"num_single_layers": 0, "guidance_embeds": False}], [1.0], SIZE, 1.0,
                                 {}),
    "flux, two": ("flux-dev", [{}, {}], [0.7, 0.4], SIZE, 1.0, {}),
    "flux, a union": ("flux-dev", [{"num_mode": 10}], [1.0], SIZE, 1.0, {"control_mode": 2}),
    "flux, two of a union": ("flux-dev", [{"num_mode": 10}], [0.7, 0.4], SIZE, 1.0,
                             {"control_mode": [2, 0], "control_guidance_start": [0.0] * 2,  # else diffusers reads one
                              "control_guidance_end": [1.0] * 2}),
    "flux, part of the steps": ("flux-dev", [{}], [1.0], SIZE, 1.0, {"control_guidance_start": 0.25,
                                                                    "control_guidance_end": 0.75}),
    "sd3": ("sd3", [{"num_layers": 4}], [0.8], SIZE, 3.0, {}),
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
def test_euler_is_the_pipeline(beside, checkpoints, case):
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
    assert difference(b, sampled(b, x, sigmas, [("controlnet", knobs)], scale), want) <= 1e-4
    assert difference(b, sampled(b, x, sigmas, (), scale), want) > 1e-2  # the map did something


@pytest.mark.parametrize("kind, model", [
    ("flux-dev", diffusers.FluxTransformer2DModel), ("qwen-image", diffusers.QwenImageTransformer2DModel),
])  # fmt: skip
def test_a_controlnet_reads_the_negative_prompt_beside_it(beside, checkpoints, kind, model, monkeypatch):
    """diffusers gives the residuals of the prompt to both; with those of each its pipeline is ours."""
    net, asked = of_transformer(kind, 0), {}
    b, maps = beside(kind, {"depth": net}), pictures(1)
    read, predict = type(net).forward, model.forward

    def reading(self, **given):
        asked.update(given)
        return read(self, **given)

    def predicting(self, **given):
        words = {name: given[name] for name in
                 ("encoder_hidden_states", "pooled_projections", "encoder_hidden_states_mask") if name in given}
        found = read(net, **{**asked, **words})
        names = ("controlnet_block_samples", "controlnet_single_block_samples")
        return predict(self, **given | dict(zip(names, found if kind == "flux-dev" else [found])))

    sigmas, noise = b.schedule(STEPS, *SIZE), start(b)
    ours = sampled(b, noise * (1 + sigmas[0]), sigmas, [("controlnet", {"depth": pixels(maps[0])})], 3.0)
    both, _ = theirs(checkpoints(kind), kind, [net], maps, noise, [1.0], SIZE, 3.0, {})
    assert difference(b, ours, both) > 1e-3
    monkeypatch.setattr(type(net), "forward", reading)
    monkeypatch.setattr(model, "forward", predicting)
    each, _ = theirs(checkpoints(kind), kind, [net], maps, noise, [1.0], SIZE, 3.0, {})
    assert difference(b, ours, each) <= 1e-4


def test_one_that_reads_the_map_itself_is_the_pipeline(beside, tmp_path):
    """XLabs' for FLUX.1: its residuals are added in turns."""
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=4, sample_size=32,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, scaling_factor=0.3611, shift_factor=0.1159,
    )  # fmt: skip
    folder = tiny_transformers.save(tmp_path / "net", "flux-dev", vae, **DEEPER["flux-dev"])
    net = of_transformer("flux-dev", 0, patch_size=2, conditioning_embedding_channels=4, num_single_layers=0)
    b, size = beside("flux-dev", {"edges": net}, folder), (64, 96)
    maps, noise = pictures(1, size), start(b, size)
    want, _ = theirs(folder, "flux-dev", [net], maps, noise, [0.8], size, 1.0, {})
    sigmas = b.schedule(STEPS, *size)
    knobs = {"edges": pixels(maps[0]), "edges_weight": 0.8}
    assert difference(b, sampled(b, noise * (1 + sigmas[0]), sigmas, [("controlnet", knobs)]), want) <= 1e-4
    wrong = METHODS["controlnet"].function(b, edges=torch.rand(1, 3, 64, 64))(1.0, {})
    with pytest.raises(ValueError, match="the map has 64 x 64 pixels, and the image asked for has 64 x 96"):
        b.denoise(Ask(noise, torch.ones(1), {**b.encode_prompt([PROMPT]), **wrong}))


# ---- beside runs without ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DEEPER)
def test_rows_of_one_call_and_what_is_off(beside, kind):
    """Runs with a map, with another at another weight, with two, and without, beside each other: each as alone. At a
    weight of 0 and outside of its steps an ask is that of the network, bit for bit."""
    b = beside(kind, {"depth": of_transformer(kind, 0), "edges": of_transformer(kind, 1)})
    sigmas, x = b.schedule(2, *SIZE), start(b) * 3
    depth, edges, other = (pixels(one) for one in pictures(3))
    stacks = {
        "depth": {"depth": depth}, "at another weight": {"depth": other, "depth_weight": "0:0.5, 1:0.2"},
        "both": {"depth": depth, "edges": edges, "edges_weight": 0.5}, "none": None,
        "the negative prompt spared": {"depth": depth, "balance": "map"},
    }  # fmt: skip
    driver = Driver(b.denoise)
    stacks = {name: [("controlnet", knobs)] if knobs else [] for name, knobs in stacks.items()}
    for name, stack in stacks.items():
        driver.add(name, flow(b, x, sigmas, stack, 3.0))
    ends = finish(driver)
    assert driver.nfe == 2 * 3 * (2 if "length" in b.network.keys else 1)  # of one map, of two, of none
    for name, stack in stacks.items():
        alone = run(flow(b, x, sigmas, stack, 3.0), b.denoise)
        assert (ends[name] - alone).abs().max() <= 2e-5 * alone.abs().max(), name
        assert name == "none" or (alone - ends["none"]).abs().max() > 1e-3, name
    none = run(flow(b, x, sigmas, (), 3.0), b.denoise)
    for off in ({"depth_weight": 0}, {"start": 1.0}, {"end": 0.0}):
        assert torch.equal(none, run(flow(b, x, sigmas, [("controlnet", {"depth": depth, **off})], 3.0), b.denoise))


@pytest.mark.parametrize("kind, config", [
    ("flux-dev", {"num_layers": 1, "num_single_layers": 0}), ("sd3", {"num_layers": 3}),
    ("z-image", {"control_layers_places": [0, 1, 3]}), ("sana", {"num_layers": 1}),
])  # fmt: skip
def test_two_of_unlike_numbers_of_layers_are_added_block_by_block(beside, kind, config):
    """Each is spread over the model by itself: one that finds nothing takes nothing from the other."""
    silent = of_transformer(kind, 1, **config)
    for name, parameter in silent.named_parameters():
        if "controlnet_" in name or "after_proj" in name:
            parameter.data.zero_()
    b = beside(kind, {"depth": of_transformer(kind, 0), "edges": silent})
    sigmas, x = b.schedule(2, *SIZE), start(b) * 3
    depth, edges = (pixels(one) for one in pictures(2))
    one, two, plain = (sampled(b, x, sigmas, [("controlnet", knobs)] if knobs else []) for knobs in
                       ({"depth": depth}, {"depth": depth, "edges": edges}, {}))  # fmt: skip
    assert torch.equal(one, two) and not torch.allclose(one, plain, atol=1e-3)


def test_a_map_is_encoded_once_a_run_and_gradients_run_through(beside, monkeypatch):
    b = beside("qwen-image", {"depth": of_transformer("qwen-image", 0)})
    encode, calls = b.images.encode, []
    monkeypatch.setattr(b.images, "encode", lambda shown: calls.append(shown) or encode(shown))
    sigmas, x, (one,) = b.schedule(STEPS, *SIZE), start(b) * 3, pictures(1)
    sampled(b, x, sigmas, [("controlnet", {"depth": pixels(one), "depth_weight": "0:1, 1:0.2"})])
    assert len(calls) == 1
    keys = METHODS["controlnet"].function(b, depth=pixels(one))(1.0, {})
    leaf = x.clone().requires_grad_()
    b.denoise(Ask(leaf, torch.ones(1), {**b.encode_prompt([PROMPT]), **keys}, tape=object())).sum().backward()
    assert leaf.grad.abs().max() > 0


@pytest.mark.parametrize("kind", DEEPER)
def test_edits_of_attention_see_the_model_s_and_not_its(beside, kind):
    """An edit that only looks on changes nothing."""
    b, (one,), seen = beside(kind, {"depth": of_transformer(kind, 0)}), pictures(1), []

    class Looking:
        def attend(self, site, q, k, v, plain):
            seen.append(site.name)
            return plain(q, k, v)

    cond = b.encode_prompt([PROMPT])
    b.denoise(Ask(start(b), torch.ones(1), cond, edit=Looking()))
    without, keys = [*seen], METHODS["controlnet"].function(b, depth=pixels(one))(1.0, {})
    seen.clear()
    edited = b.denoise(Ask(start(b), torch.ones(1), {**cond, **keys}, edit=Looking()))
    assert seen == without
    plain = b.denoise(Ask(start(b), torch.ones(1), {**cond, **keys}))
    assert (edited - plain).abs().max() <= 2e-5 * plain.abs().max()  # two rows a call there, one here


def test_shallow_residuals_count_less_where_the_prompt_is_to(beside):
    """From a tenth at the first block to all at the last."""
    net = of_transformer("sd3", 0, num_layers=3)
    b, (one,) = beside("sd3", {"depth": net}), pictures(1)
    keys = METHODS["controlnet"].function(b, depth=pixels(one), balance="prompt")(1.0, {})
    even = METHODS["controlnet"].function(b, depth=pixels(one))(1.0, {})
    x, t, cond = start(b), torch.tensor([500.0]), b.encode_prompt([PROMPT])
    control = b.controls(["depth"])[0]
    found, plain = (
        control(x, t, cond["text"], [(given["controlnet:depth"], given["controlnet:depth:weight"])], cond)["residuals"]
        for given in (keys, even)
    )
    (found,), (plain,) = found.values(), plain.values()
    scales = [(a / b).mean().item() for a, b in zip(found, plain, strict=True)]
    assert scales == pytest.approx([0.1, 0.1, 0.1**0.5, 0.1**0.5, 1.0], rel=1e-3)  # five blocks, three residuals


# ---- what fits -------------------------------------------------------------------------------------------------------


def test_what_a_backbone_offers_and_the_names_of_a_union(beside, checkpoints):
    known = outline(str(checkpoints("flux-dev")))
    assert "controlnet" not in known.offers
    b = beside("flux-dev", {"all": of_transformer("flux-dev", 0, num_mode=10), "edges": of_transformer("flux-dev", 1),
                            "of sd3": of_transformer("sd3", 0)})  # fmt: skip
    names = {"edges", "all: edges", "tile", "depth", "blur", "pose", "gray", "low quality"}
    assert {*b.controlnets} == names and "controlnet" in b.offers
    known = outline(str(checkpoints("flux-dev")))
    assert {*known.controlnets} == names and known.offers == b.offers
    assert refusals([("controlnet", {})], b) == []


def test_stability_s_of_edges_reads_its_map_on_another_scale(beside):
    b = beside("sd3", {"canny": of_transformer("sd3", 0, **EIGHT), "depth": of_transformer("sd3", 0, **EIGHT)})
    shown = pixels(pictures(1)[0])
    with torch.no_grad():
        raw = b.images.vae.encode(shown * 127.5 + 0.5).latent_dist.mode()
    config = b.images.vae.config
    wanted = (raw - config.shift_factor) * config.scaling_factor
    assert (b.read_map("canny", shown) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert torch.equal(b.read_map("depth", shown), b.encode_image(shown))
