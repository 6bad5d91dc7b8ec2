"""ControlNet on tiny random checkpoints, against diffusers' pipelines, and beside runs that have none."""

import shutil
from importlib.util import find_spec

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)

import conditioning  # noqa: F401  fills the registry
from backbones import stable_diffusion
from conditioning.clashes import clash
from conditioning.compose import compose, refusals
from conditioning.inputs import Box, prepare_input
from conditioning.operators import Degradation
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Ask, Driver, Noise, run
from tests.support import tiny
from tests.support.loras import ATTENTION, drawn, kohya, modules, write
from tests.support.oracle import finish
from tests.support.tiny_controlnets import controlnet

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a checkpoint with its ControlNets beside it: of a colour map, and of a grey one."""
    made = {}

    def folder(kind):
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            made[kind] = tiny.save(home / "net", kind)
            unet = DiffusionPipeline.from_pretrained(made[kind], safety_checker=None).unet
            controlnet(unet, 1).save_pretrained(home / "net_controlnets" / "depth")
            controlnet(unet, 2, channels=1).save_pretrained(home / "net_controlnets" / "edges")
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
    return backbones("v")


def a_map(seed, rows=1, size=32):
    """Grey, as depth and edges are; the same in all three channels."""
    return torch.rand(rows, 1, size, size, generator=torch.Generator().manual_seed(seed)).expand(-1, 3, -1, -1)


def flow(b, sigmas, stack=(), seeds=(1,), scale=SCALE, sampler="euler", x=None):
    cond = b.encode_prompt([PROMPT] * len(seeds))
    null = b.encode_prompt([NEGATIVE] * len(seeds))
    D, sampler, _ = compose(
        [*stack, ("cfg", {"scale": scale})], SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=b
    )
    noise = Noise(list(seeds))
    if x is None:
        x = sigmas[0] * noise.child("start")(torch.empty(len(seeds), *b.latent_shape(32, 32)))
    return sampler(D, x, sigmas, cond, noise)


def levels(b, steps=STEPS):
    return [*b.sigmas[torch.linspace(len(b.sigmas) - 1, 0, steps).long()].tolist(), 0.0]


# ---- against diffusers -----------------------------------------------------------------------------------------------

AGREE = {
    "one": ({"depth": 1.0}, {}, {}),
    "weighted": ({"depth": 0.6}, {}, {}),
    "two": ({"depth": 0.7, "edges": 0.4}, {}, {}),
    "part of the steps": ({"edges": 1.0}, {"start": 0.25, "end": 0.75},
                          {"control_guidance_start": 0.25, "control_guidance_end": 0.75}),
    "guess": ({"depth": 0.8}, {"balance": "map"}, {"guess_mode": True}),
}  # fmt: skip


@pytest.mark.parametrize("kind, case", [*(("v", case) for case in AGREE), ("eps", "two"), ("xl", "one"), ("xl", "two")])
def test_euler_is_the_pipeline_s_ddim(folders, backbones, kind, case):
    """The same latents, maps, weights, prompt and guidance through diffusers' ControlNet pipelines."""
    weights, ours, theirs = AGREE[case]
    b, folder = backbones(kind), folders(kind)
    nets = [ControlNetModel.from_pretrained(f"{folder}_controlnets/{name}") for name in weights]
    maps = {name: a_map(i) for i, name in enumerate(weights)}
    given = [maps[name][:, : net.config.conditioning_channels] for name, net in zip(weights, nets)]
    parts = DiffusionPipeline.from_pretrained(folder, safety_checker=None).components
    family = StableDiffusionXLControlNetPipeline if kind == "xl" else StableDiffusionControlNetPipeline
    parts = {key: value for key, value in parts.items() if key != "image_encoder" or kind != "xl"}
    more = {"add_watermarker": False} if kind == "xl" else {"requires_safety_checker": False}
    pipe = family(**parts, controlnet=nets if len(nets) > 1 else nets[0], **more)
    pipe.set_progress_bar_config(disable=True)
    if kind == "xl":
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    noise = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    scales = list(weights.values())
    wanted = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=STEPS,
                  image=given if len(nets) > 1 else given[0], output_type="latent",
                  controlnet_conditioning_scale=scales if len(nets) > 1 else scales[0], **theirs).images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    knobs = {**maps, **{f"{name}_weight": weight for name, weight in weights.items()}, **ours}
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    got = run(flow(b, sigmas, [("controlnet", knobs)], x=x), b.denoise) / (1 + end**2) ** 0.5
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    plain = run(flow(b, sigmas, x=x), b.denoise) / (1 + end**2) ** 0.5
    assert (plain - wanted).abs().max() > 1e-2 * wanted.abs().max()  # the map did something


# ---- beside runs without -------------------------------------------------------------------------------------


def test_runs_without_a_map_keep_their_bits(folders, b):
    """Before a run with a map, in one batch with it, and after it; and two calls a round, not one."""
    untouched, s = load(folders("v")), levels(b)
    wanted = run(flow(untouched, s), untouched.denoise)
    with_map = run(flow(b, s, [("controlnet", {"depth": a_map(0)})]), b.denoise)
    driver = Driver(b.denoise)
    driver.add("plain", flow(b, s))
    driver.add("with", flow(b, s, [("controlnet", {"depth": a_map(0)})]))
    ends = finish(driver)
    assert torch.equal(ends["plain"], wanted) and torch.equal(run(flow(b, s), b.denoise), wanted)
    assert torch.equal(ends["with"], with_map) and not torch.allclose(with_map, wanted, atol=1e-3)
    assert driver.nfe == 2 * STEPS and untouched.network.adapters._made == {}


@pytest.mark.parametrize("knobs", [
    {"depth_weight": 0}, {"depth_weight": "0:0, 1:0"}, {"start": 1.0}, {"end": 0.0},
])  # fmt: skip
def test_without_weight_or_steps_it_is_as_without_the_method(b, knobs):
    s = levels(b)
    off = run(flow(b, s, [("controlnet", {"depth": a_map(0), **knobs})]), b.denoise)
    assert torch.equal(off, run(flow(b, s), b.denoise))


def test_a_zero_for_one_of_two_is_the_other_alone(b):
    s = levels(b)
    one = run(flow(b, s, [("controlnet", {"depth": a_map(0)})]), b.denoise)
    two = run(flow(b, s, [("controlnet", {"depth": a_map(0), "edges": a_map(1), "edges_weight": 0})]), b.denoise)
    assert torch.equal(one, two)


def test_runs_with_other_weights_and_maps_share_their_calls(b):
    """Weights are rows: two people with maps, weights and curves of their own make one call a step."""
    s = levels(b)
    stacks = [
        [("controlnet", {"depth": a_map(0), "depth_weight": 0.5})],
        [("controlnet", {"depth": a_map(1), "depth_weight": "0:1, 1:0.2"})],
        [("controlnet", {"depth": a_map(2), "balance": "map"})],
    ]
    driver = Driver(b.denoise)
    for i, stack in enumerate(stacks):
        driver.add(i, flow(b, s, stack, seeds=(i,)))
    ends = finish(driver)
    assert driver.nfe == STEPS
    for i, stack in enumerate(stacks):
        assert torch.equal(ends[i], run(flow(b, s, stack, seeds=(i,)), b.denoise))


def test_a_batch_is_its_rows(b):
    s, shown = levels(b), a_map(3, rows=2)
    both = run(flow(b, s, [("controlnet", {"depth": shown})], seeds=(1, 2)), b.denoise)
    for i in (0, 1):
        one = run(flow(b, s, [("controlnet", {"depth": shown[i : i + 1]})], seeds=(i + 1,)), b.denoise)
        assert torch.equal(both[i : i + 1], one)


def test_a_curve_is_the_weight_of_each_step(b):
    """Full for the first half and gone for the second is the end at 0.5."""
    s = levels(b)
    curve = {"depth_weight": "0:1, 0.499:1, 0.499:0"}
    by_curve = run(flow(b, s, [("controlnet", {"depth": a_map(0), **curve})]), b.denoise)
    by_end = run(flow(b, s, [("controlnet", {"depth": a_map(0), "end": 0.5})]), b.denoise)
    assert torch.equal(by_curve, by_end)


def test_the_map_counts_and_its_weight_too(b):
    s = levels(b)
    ends = [
        run(flow(b, s, [("controlnet", {"depth": a_map(seed), "depth_weight": weight})]), b.denoise)
        for seed, weight in ((0, 1.0), (1, 1.0), (0, 0.5))
    ]
    plain = run(flow(b, s), b.denoise)
    assert not torch.allclose(ends[0], ends[1], atol=1e-3)
    assert (ends[2] - plain).norm() < (ends[0] - plain).norm()


def test_prompt_first_spares_the_finest(b):
    """A tenth of the finest residual, all of the coarsest; and the negative prompt has the map as well."""
    x, sigma = torch.randn(1, 4, 16, 16), torch.tensor([2.0])
    cond = b.encode_prompt([PROMPT])
    spared, full = (
        METHODS["controlnet"].function(b, depth=a_map(0), balance=balance)(2.0, cond)
        for balance in ("prompt", "even")
    )
    assert spared["controlnet:depth:weight"].tolist() == [[1.0, pytest.approx(0.1)]]
    assert full["controlnet:depth:weight"].tolist() == [[1.0, 1.0]]
    a, c = (b.denoise(Ask(x, sigma, {**cond, **keys})) for keys in (spared, full))
    assert not torch.allclose(a, c, atol=1e-4)


# ---- with other methods ------------------------------------------------------------------------------------------


def example(b, kind):
    """Something for an input of another method."""
    if kind in ("image", "references", "map", "operator"):
        image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
        value = Degradation(image, "super_resolution", {"factor": 2}) if kind == "operator" else image
        return prepare_input(kind, [value] if kind == "references" else value, b, 1, b.latent_shape(32, 32))
    if kind == "mask":
        return torch.arange(16).lt(8).expand(1, 1, 16, 16)
    if kind == "loras":
        file = write(b.folder.parent / "loras", "style", kohya(drawn(modules(b.network.unet, ATTENTION))[0]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NINE_WAYS_LORAS", str(file.parent))
            return prepare_input(kind, "<lora:style:1>", b, 1, ())
    known = {"prompt": b.encode_prompt(["a blue cube"]), "words": "sphere", "boxes": [Box(0.0, 0.0, 0.5, 1.0, "red")]}
    return known[kind]


ALL_ALONG = {"attend_and_excite": {"start": 0.0}}  # else it waits for levels that two steps do not have
OTHERS = [
    name for name in METHODS if name not in ("controlnet", "cfg") and not clash(METHODS["controlnet"], METHODS[name])
]


def inputs(b, other):
    one = METHODS[other]
    if refusals([(other, {})], b):
        pytest.skip("not on this network")
    given = {name: example(b, one.inputs[name].kind) for name in one.needed({}) if name not in ("null", "backbone")}
    return given | ALL_ALONG.get(other, {})


@pytest.mark.parametrize("other", OTHERS)
def test_every_row_sees_the_map(b, other):
    """Whatever a method asks beside the denoised predictions of the run: perturbed ones, attention to read, an
    encoding."""
    s, seen = levels(b, 2), []

    def answer(one):
        seen.append((len(one.x), "controlnet:depth" in one.cond))
        return b.denoise(one)

    run(flow(b, s, [(other, inputs(b, other)), ("controlnet", {"depth": a_map(0)})]), answer)
    assert seen and all(with_map for _, with_map in seen)


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_it_stacks_with(b, other):
    """And what comes of it is neither the one nor the other alone."""
    given = inputs(b, other)
    s, controlled = levels(b, 2), ("controlnet", {"depth": a_map(0)})
    both, without, alone = (
        run(flow(b, s, stack), b.denoise) for stack in ([(other, given), controlled], [(other, given)], [controlled])
    )
    assert both.isfinite().all() and both.shape == alone.shape
    assert not torch.equal(both, without) and not torch.equal(both, alone)


def test_gradients_run_through_it(b):
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    keys = METHODS["controlnet"].function(b, depth=a_map(0))(2.0, {})
    x0 = b.denoise(Ask(x, torch.tensor([2.0]), {**b.encode_prompt([PROMPT]), **keys}, tape=object()))
    x0.square().sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert not any(weights.requires_grad for weights in b.network.unet.parameters())


def test_edits_of_attention_go_with_it(b):
    """An edit that changes nothing changes nothing; it sees the UNet's attention and not the ControlNet's."""
    seen = []

    class Same:
        def attend(self, site, q, k, v, plain):
            seen.append(site.name)
            return plain(q, k, v)

    x, sigma = torch.randn(2, 4, 16, 16), torch.tensor([2.0, 1.0])
    keys = METHODS["controlnet"].function(b, depth=a_map(0, rows=2))(2.0, {})
    keys = {key: value.expand(2, *value.shape[1:]) for key, value in keys.items()}
    cond = {**b.encode_prompt([PROMPT] * 2), **keys}
    edited, plain = b.denoise(Ask(x, sigma, cond, edit=Same())), b.denoise(Ask(x, sigma, cond))
    torch.testing.assert_close(edited, plain, atol=1e-5, rtol=1e-5)
    assert len(seen) == sum(name.endswith((".attn1", ".attn2")) for name, _ in b.network.unet.named_modules())


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")
def test_openvino_and_torch_give_one_image(folders, backbones):
    """On the kind that has further inputs beside those of ControlNet."""
    kind = "xl"
    o, b = load(folders(kind), "openvino"), backbones(kind)
    stack = [("controlnet", {"depth": a_map(0), "edges": a_map(1), "edges_weight": 0.5})]
    s = levels(b, 4)
    ours, theirs = (run(flow(one, s, stack), one.denoise) for one in (o, b))
    assert [engine.name for engine, _ in o.network.adapters._made.values()] == ["openvino f32"]
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


# ---- what cannot be ------------------------------------------------------------------------------------------


def test_what_cannot_be_says_why(b, folders):
    s = levels(b)
    with pytest.raises(ValueError, match="controlnet has no map: give it depth, edges, or another with"):
        flow(b, s, [("controlnet", {})])
    with pytest.raises(ValueError, match="no map"):  # also where a strength is a curve
        flow(b, s, [("controlnet", {"depth_weight": "0:1, 1:0"})])
    with pytest.raises(ValueError, match="the map has 64 x 64 pixels, and the image asked for has 32 x 32"):
        run(flow(b, s, [("controlnet", {"depth": a_map(0, size=64)})]), b.denoise)
    with pytest.raises(ValueError, match="panorama and controlnet do not go together: the map of ControlNet belongs"):
        flow(b, s, [("controlnet", {"depth": a_map(0)}), ("panorama", {})])
    with pytest.raises(ValueError, match=r"give compose\(\) the backbone of the run"):
        compose([("controlnet", {"depth": a_map(0)})], SAMPLERS["euler"], sigmas=s)


def test_a_backbone_without_controlnets_is_refused(tmp_path, folders):
    folder = shutil.copytree(folders("v"), tmp_path / "alone")
    alone = load(folder)
    (why,) = refusals([("controlnet", {})], alone)
    assert why.startswith("ControlNet needs a ControlNet that fits it") and str(folder) in why
    assert refusals([("controlnet", {})], load(folders("v"))) == []
    unet = DiffusionPipeline.from_pretrained(folder, safety_checker=None).unet
    controlnet(unet, 1).save_pretrained(tmp_path / "alone_controlnets" / "depth")
    only_depth = load(folder)
    with pytest.raises(ValueError, match="alone has no ControlNet edges: it has depth"):
        flow(only_depth, levels(only_depth), [("controlnet", {"edges": a_map(0)})])


def test_a_controlnet_of_another_family_is_refused(tmp_path, folders):
    folder = shutil.copytree(folders("v"), tmp_path / "net")
    wide = tiny.unet(32, block_out_channels=(32, 48))
    controlnet(wide, 1).save_pretrained(tmp_path / "net_controlnets" / "depth")
    b = load(folder)
    with pytest.raises(ValueError, match=r"has block_out_channels \(32, 48\) and this network \(32, 64\): it was trai"):
        flow(b, levels(b), [("controlnet", {"depth": a_map(0)})])


def test_any_controlnet_reads_a_map_by_its_name(tmp_path, folders, b):
    """A folder of any name beside the model; one that reads two maps adds up what it makes of both."""
    s = levels(b, 2)
    folder = shutil.copytree(folders("v"), tmp_path / "net")
    shutil.copytree(f"{folders('v')}_controlnets/depth", tmp_path / "net_controlnets" / "a pose")
    posed = load(folder)
    assert [*posed.controlnets] == ["a pose"]
    ours = run(flow(posed, s, [("controlnet", {"other": a_map(0), "other_network": "a pose"})]), posed.denoise)
    expected = run(flow(b, s, [("controlnet", {"depth": a_map(0)})]), b.denoise)
    assert torch.equal(ours, expected)
    halves = {"depth": a_map(0), "depth_weight": 0.5, "other": a_map(0), "other_network": "depth", "other_weight": 0.5}
    both = run(flow(b, s, [("controlnet", halves)]), b.denoise)
    assert (both - expected).abs().max() <= 1e-4 * expected.abs().max()
    for lacks, words in (("other", "the map is missing"), ("other_network", "the name of its ControlNet is missing")):
        given = {"other": a_map(0), "other_network": "a pose"}
        with pytest.raises(ValueError, match=words):
            flow(posed, s, [("controlnet", {name: one for name, one in given.items() if name != lacks})])
    with pytest.raises(ValueError, match="net has no ControlNet edges: it has a pose"):
        flow(posed, s, [("controlnet", {"other": a_map(0), "other_network": "edges"})])
