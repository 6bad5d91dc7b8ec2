"""T2I-Adapter on tiny random checkpoints, against diffusers' pipelines, and beside runs that have none."""

import json
import shutil

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionXLAdapterPipeline,
    T2IAdapter,
)

import conditioning  # noqa: F401  fills the registry
from backbones import stable_diffusion, t2i_adapters
from conditioning.compose import compose, refusals
from samplers import SAMPLERS
from samplers.flow import Ask, Driver, Noise, run
from tests.support import tiny
from tests.support.oracle import finish
from tests.support.tiny_controlnets import controlnet
from tests.support.tiny_t2i_adapters import t2i_adapter

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4
KINDS = {"eps": ("full_adapter", "light_adapter"), "xl": ("full_adapter_xl", "full_adapter_xl")}  # of depth, of edges


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a checkpoint with its adapters beside it: of a colour map, and of a grey one."""
    made = {}

    def folder(kind):
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            made[kind] = tiny.save(home / "net", kind)
            if kind == "eps":  # attention at the finest stage, as Stable Diffusion 1 has it and XL has not
                torch.manual_seed(3)
                tiny.unet(
                    32, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                ).save_pretrained(made[kind] / "unet")  # fmt: skip
            depth, edges = KINDS[kind]
            t2i_adapter(depth, 1).save_pretrained(home / "net_t2i_adapters" / "depth")
            t2i_adapter(edges, 2, channels=1).save_pretrained(home / "net_t2i_adapters" / "edges")
        return made[kind]

    return folder


def load(folder, engine="torch"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", engine)
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        patch.setenv("NINE_WAYS_CACHE", str(folder.parent / "cache"))
        return stable_diffusion.load(str(folder))


@pytest.fixture(scope="module")
def backbones(folders):
    made = {}

    def backbone(kind):
        if kind not in made:
            made[kind] = load(folders(kind))
        return made[kind]

    return backbone


@pytest.fixture
def b(backbones):
    return backbones("eps")


def a_map(seed, rows=1, size=32):
    return torch.rand(rows, 1, size, size, generator=torch.Generator().manual_seed(seed)).expand(-1, 3, -1, -1)


def flow(b, sigmas, stack=(), seeds=(1,), x=None):
    cond, null = b.encode_prompt([PROMPT] * len(seeds)), b.encode_prompt([NEGATIVE] * len(seeds))
    stack = [*stack, ("cfg", {"scale": SCALE})]
    D, sampler, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=b)
    noise = Noise(list(seeds))
    if x is None:
        x = sigmas[0] * noise.child("start")(torch.empty(len(seeds), *b.latent_shape(32, 32)))
    return sampler(D, x, sigmas, cond, noise)


def levels(b, steps=STEPS):
    return [*b.sigmas[torch.linspace(len(b.sigmas) - 1, 0, steps).long()].tolist(), 0.0]


AGREE = {
    "depth": ({"depth": 1.0}, {}, {}),
    "edges": ({"edges": 0.6}, {}, {}),
    "two": ({"depth": 0.7, "edges": 0.4}, {}, {}),
    "part of the steps": ({"depth": 1.0}, {"end": 0.5}, {"adapter_conditioning_factor": 0.5}),
}


@pytest.mark.parametrize("kind, case", [
    ("eps", "depth"), ("eps", "edges"), ("xl", "edges"), ("xl", "two"), ("xl", "part of the steps"),
])  # fmt: skip
def test_euler_is_the_pipeline_s_ddim(folders, backbones, kind, case):
    """Full and light adapters of the kind of Stable Diffusion 1, those of XL; one and several; a part of the steps."""
    weights, ours, theirs = AGREE[case]
    b, folder = backbones(kind), folders(kind)
    nets = [T2IAdapter.from_pretrained(f"{folder}_t2i_adapters/{name}") for name in weights]
    maps = {name: a_map(i) for i, name in enumerate(weights)}
    given = [maps[name][:, : net.config.in_channels] for name, net in zip(weights, nets)]
    parts = DiffusionPipeline.from_pretrained(folder, safety_checker=None).components
    family = StableDiffusionXLAdapterPipeline if kind == "xl" else StableDiffusionAdapterPipeline
    parts = {key: one for key, one in parts.items() if key != "image_encoder"}
    more = {} if kind == "xl" else {"requires_safety_checker": False}
    several = len(nets) > 1
    pipe = family(**parts, adapter=MultiAdapter(nets) if several else nets[0], **more)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    noise = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    scales = list(weights.values())
    wanted = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=STEPS,
                  height=32, width=32, image=given if several else given[0], output_type="latent",
                  adapter_conditioning_scale=scales if several else scales[0], **theirs).images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    knobs = {**maps, **{f"{name}_weight": weight for name, weight in weights.items()}, **ours}
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    got = run(flow(b, sigmas, [("t2i_adapter", knobs)], x=x), b.denoise) / (1 + end**2) ** 0.5
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    plain = run(flow(b, sigmas, x=x), b.denoise) / (1 + end**2) ** 0.5
    assert (plain - wanted).abs().max() > 1e-2 * wanted.abs().max()  # the map did something


def test_it_is_asked_once_a_run(b, monkeypatch):
    """And not again while a curve over the steps makes the method anew for every ask."""
    asked = []
    made = t2i_adapters.T2IAdapters._made
    monkeypatch.setattr(t2i_adapters.T2IAdapters, "_made", lambda self, *given: asked.append(1) or made(self, *given))
    run(flow(b, levels(b), [("t2i_adapter", {"depth": a_map(20), "depth_weight": "0:1, 1:0.2"})]), b.denoise)
    assert asked == [1]


def test_runs_with_and_without_it_keep_their_bits(folders, b):
    """In one batch, each as alone: with other maps, weights and adapters in one call, without in another."""
    untouched, s = load(folders("eps")), levels(b)
    stacks = [
        [],
        [("t2i_adapter", {"depth": a_map(0), "depth_weight": 0.5})],
        [("t2i_adapter", {"edges": a_map(1), "edges_weight": "0:1, 1:0.2"})],
        [("t2i_adapter", {"depth": a_map(2), "edges": a_map(3)})],
    ]
    driver = Driver(b.denoise)
    for i, stack in enumerate(stacks):
        driver.add(i, flow(b, s, stack, seeds=(i,)))
    ends = finish(driver)
    assert driver.nfe == 2 * STEPS
    for i, stack in enumerate(stacks):
        assert torch.equal(ends[i], run(flow(b, s, stack, seeds=(i,)), b.denoise))
    assert torch.equal(ends[0], run(flow(untouched, s, seeds=(0,)), untouched.denoise))


@pytest.mark.parametrize("knobs", [{"depth_weight": 0}, {"depth_weight": "0:0, 1:0"}, {"start": 1.0}, {"end": 0.0}])
def test_without_weight_or_steps_it_is_as_without_the_method(b, knobs):
    s = levels(b, 2)
    off = run(flow(b, s, [("t2i_adapter", {"depth": a_map(0), **knobs})]), b.denoise)
    assert torch.equal(off, run(flow(b, s), b.denoise))


def test_a_zero_for_one_of_two_is_the_other_alone_and_any_map_goes_to_any_adapter(b):
    s = levels(b, 2)
    one, zero, named, halves = (run(flow(b, s, [("t2i_adapter", given)]), b.denoise) for given in (
        {"depth": a_map(0)}, {"depth": a_map(0), "edges": a_map(1), "edges_weight": 0},
        {"other": a_map(0), "other_adapter": "depth"},
        {"depth": a_map(0), "depth_weight": 0.5, "other": a_map(0), "other_adapter": "depth", "other_weight": 0.5},
    ))  # fmt: skip
    assert torch.equal(one, zero) and torch.equal(one, named)
    assert (halves - one).abs().max() <= 1e-4 * one.abs().max()


def test_edits_of_attention_gradients_and_a_controlnet_go_with_it(folders, tmp_path):
    folder = shutil.copytree(folders("eps"), tmp_path / "net")
    shutil.copytree(f"{folders('eps')}_t2i_adapters", tmp_path / "net_t2i_adapters")
    unet = DiffusionPipeline.from_pretrained(folder, safety_checker=None).unet
    controlnet(unet, 1).save_pretrained(tmp_path / "net_controlnets" / "depth")
    b = load(folder)
    s, adapted, controlled = levels(b, 2), ("t2i_adapter", {"depth": a_map(0)}), ("controlnet", {"depth": a_map(0)})
    both, one, other = (run(flow(b, s, st), b.denoise) for st in ([adapted, controlled], [adapted], [controlled]))
    assert both.isfinite().all() and not torch.equal(both, one) and not torch.equal(both, other)
    words = ("prompt_to_prompt", {"source_prompt": b.encode_prompt(["a blue cube on grass"])})
    edited, alone = (run(flow(b, s, st), b.denoise) for st in ([words, adapted], [words]))
    assert not torch.equal(edited, one) and not torch.equal(edited, alone)
    adapters = b.adapters_of("t2i adapter")
    x, keys = torch.randn(1, 4, 16, 16, requires_grad=True), adapters.keys(adapters.features("depth", a_map(0)))
    b.denoise(Ask(x, torch.tensor([2.0]), {**b.encode_prompt([PROMPT]), **keys}, tape=object())).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0


@pytest.mark.slow
def test_openvino_and_torch_give_one_image(folders, backbones):
    pytest.importorskip("openvino")
    o, b = load(folders("xl"), "openvino"), backbones("xl")
    stack, s = [("t2i_adapter", {"depth": a_map(0), "edges": a_map(1)})], levels(b, 2)
    ours, theirs = (run(flow(one, s, stack), one.denoise) for one in (o, b))
    assert [engine.name for engine, _ in o.network.adapters._made.values()] == ["openvino f32"]
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_what_cannot_be_says_why(folders, b, tmp_path):
    s = levels(b, 2)
    for given, words in (
        ({}, "t2i_adapter has no map: give it depth, edges, or another with"),
        ({"other": a_map(0)}, "the name of its adapter is missing"),
        ({"other": a_map(0), "other_adapter": "pose"}, "net has no T2I-Adapter pose: it has depth, edges"),
        ({"depth": a_map(0, size=31)}, r"the map has 31 x 31 pixels, and this T2I-Adapter reads cells of 2 x 2: give"),
    ):
        with pytest.raises(ValueError, match=words):
            flow(b, s, [("t2i_adapter", given)])
    folder = shutil.copytree(folders("eps"), tmp_path / "net")
    (why,) = refusals([("t2i_adapter", {})], load(folder))
    assert why.startswith("T2I-Adapter needs a T2I-Adapter that fits it") and str(folder) in why
    shutil.copytree(f"{folders('xl')}_t2i_adapters/depth", tmp_path / "net_t2i_adapters" / "depth")
    controlnet(b.network.unet, 1).save_pretrained(tmp_path / "net_t2i_adapters" / "edges")
    other = load(folder)
    with pytest.raises(ValueError, match="it was made for networks such as Stable Diffusion XL, take one that was tr"):
        flow(other, s, [("t2i_adapter", {"depth": a_map(0)})])
    with pytest.raises(ValueError, match=r"is a ControlNetModel by its config\.json: what fits is a folder of"):
        flow(other, s, [("t2i_adapter", {"edges": a_map(0)})])


def test_of_a_folder_for_many_models_those_that_fit_are_offered(folders, b, tmp_path, monkeypatch):
    for kind in ("full_adapter", "full_adapter_xl"):
        t2i_adapter(kind).save_pretrained(tmp_path / kind)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    monkeypatch.setenv("NINE_WAYS_T2I_ADAPTERS", str(tmp_path))
    found = t2i_adapters.beside(folders("eps"), b.network.unet.config, 2)
    assert sorted(found) == ["depth", "edges", "full_adapter"]


OF_1, OF_XL = (320, 640, 1280, 1280), (320, 640, 1280)


@pytest.mark.parametrize("width, channels, blocks, known", [
    (768, OF_1, ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], t2i_adapters.OF_SD_1),
    (2048, OF_XL, ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2, t2i_adapters.OF_SD_XL),
])  # fmt: skip
def test_published_adapters_fit_the_networks_that_they_were_made_for(width, channels, blocks, known, tmp_path):
    """By the configs that their authors gave them: those of 1 fit 1 alone, those of XL fit XL alone."""
    config = type("Config", (), {"cross_attention_dim": width, "block_out_channels": channels,
                                 "down_block_types": blocks})  # fmt: skip
    assert t2i_adapters.beside(tmp_path / "net", config, 8) == known
    theirs = {"_class_name": "T2IAdapter", "channels": list(OF_1), "downscale_factor": 8}
    theirs |= {"adapter_type": "full_adapter"}
    light = theirs | {"adapter_type": "light_adapter", "channels": list(OF_XL)}
    of_xl = theirs | {"adapter_type": "full_adapter_xl", "downscale_factor": 16}
    for name, one in (("full", theirs), ("light", light), ("xl", of_xl)):
        (tmp_path / "net_t2i_adapters" / name).mkdir(parents=True)
        (tmp_path / "net_t2i_adapters" / name / "config.json").write_text(json.dumps(one))
    wanted = t2i_adapters.stages(config, 8)
    fitting = [t2i_adapters._fits(one, wanted) for one in (theirs, light, of_xl)]
    assert fitting == ([True, True, False] if width == 768 else [False, False, True])
    if width == 2048:  # and its middle takes the last
        assert t2i_adapters.features_of(of_xl)[3] == t2i_adapters.middle(config, 8) == (1280, 32)
