"""IP-Adapter on tiny random checkpoints, against diffusers' pipelines, and beside runs that have none."""

import shutil

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms.functional import to_pil_image
from transformers import CLIPVisionModelWithProjection

import conditioning  # noqa: F401  fills the registry
from backbones import ip_adapter_layers, ip_adapters, stable_diffusion
from conditioning.compose import compose, refusals
from samplers import SAMPLERS
from samplers.flow import Ask, Driver, Noise, run
from tests.support import tiny
from tests.support.loras import ATTENTION, drawn, kohya, modules, write
from tests.support.oracle import finish
from tests.support.tiny_controlnets import controlnet
from tests.support.tiny_ip_adapters import SIDE, image_encoder, ip_adapter

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4
KINDS = ("plain", "plus", "full")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a checkpoint with an adapter of each kind and their encoder beside it."""
    made = {}

    def folder(kind):
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            made[kind] = tiny.save(home / "net", kind)
            unet = DiffusionPipeline.from_pretrained(made[kind], safety_checker=None).unet
            for one in KINDS:
                ip_adapter(home / "net_ip_adapters" / f"{one}.safetensors", unet, one)
            image_encoder(home / "net_ip_adapters" / "image_encoder")
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


def an_image(seed, size=SIDE):
    """(1, 3, S, S), each number one of 8 bits."""
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, size, size), generator=stream).float() / 255


def use(*seeds, adapter="plain", **more):
    return "ip_adapter", {"images": [an_image(seed) for seed in seeds], "adapter": adapter, "weight": 1.0, **more}


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


def made(b, *stack, steps=2):
    return run(flow(b, levels(b, steps), stack), b.denoise)


AGREE = {  # images, the scale of diffusers' pipeline, what the method is given
    "one image": ([0], 0.7, {"weight": 0.7}),
    "several": ([0, 1], 1.0, {}),
    "style": ([0], {"up": {"block_0": [0.0, 1.0]}}, {"parts": "style"}),
    "layout": ([0], {"down": {"block_1": [1.0]}}, {"parts": "layout"}),
    "both": ([0], {"up": {"block_0": [0.0, 1.0]}, "down": {"block_1": [1.0]}}, {"parts": "style and layout"}),
}


@pytest.mark.parametrize("kind, adapter, case", [
    *(("eps", adapter, "one image") for adapter in KINDS), ("eps", "plain", "several"), ("eps", "plus", "several"),
    ("xl", "plain", "one image"), ("xl", "plus", "several"), ("xl", "plain", "style"), ("xl", "plus", "layout"),
    ("xl", "plain", "both"),
])  # fmt: skip
def test_euler_is_the_pipeline_s_ddim_with_load_ip_adapter(folders, backbones, kind, adapter, case):
    seeds, scale, ours = AGREE[case]
    b, folder = backbones(kind), folders(kind)
    home = f"{folder}_ip_adapters"
    encoder = CLIPVisionModelWithProjection.from_pretrained(f"{home}/image_encoder")
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None, image_encoder=encoder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(home, subfolder="", weight_name=f"{adapter}.safetensors", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(scale)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pictures = [to_pil_image(an_image(seed)[0]) for seed in seeds]
    noise = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    wanted = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=STEPS,
                  height=32, width=32, ip_adapter_image=[pictures], output_type="latent").images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    got = run(flow(b, sigmas, [use(*seeds, adapter=adapter, **ours)], x=x), b.denoise) / (1 + end**2) ** 0.5
    print("DEV", kind, adapter, case, float((got - wanted).abs().max() / wanted.abs().max()))
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    plain = run(flow(b, sigmas, x=x), b.denoise) / (1 + end**2) ** 0.5
    assert (plain - wanted).abs().max() > 1e-3 * wanted.abs().max()  # the images did something


def test_runs_with_and_without_it_keep_their_bits(folders, b):
    """In one batch, each as alone: with other images, scales and parts in one call; without, and with another adapter,
    in others."""
    untouched, s = load(folders("eps")), levels(b)
    stacks = [[], [use(0)], [use(1, weight=0.5)], [use(0, weight="0:1, 1:0.2")], [use(2, parts="style")]]
    driver = Driver(b.denoise)
    for i, stack in enumerate(stacks):
        driver.add(i, flow(b, s, stack, seeds=(i,)))
    ends = finish(driver)
    assert driver.nfe == 2 * STEPS
    for i, stack in enumerate(stacks):
        assert torch.equal(ends[i], run(flow(b, s, stack, seeds=(i,)), b.denoise))
    assert torch.equal(ends[0], run(flow(untouched, s, seeds=(0,)), untouched.denoise))
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in b.network.unet.modules())


@pytest.mark.parametrize("knobs", [{"weight": 0}, {"weight": "0:0, 1:0"}, {"start": 1.0}, {"end": 0.0}])
def test_without_weight_or_steps_it_is_as_without_the_method(b, knobs):
    assert torch.equal(made(b, use(0, **knobs)), made(b))


def test_an_image_is_read_once_a_run(b, monkeypatch):
    read, asked = ip_adapters.IPAdapters._read, []
    monkeypatch.setattr(ip_adapters.IPAdapters, "_read", lambda self, *given: asked.append(1) or read(self, *given))
    made(b, use(30, weight="0:1, 1:0.2"))
    assert asked == [1]


def test_a_region_is_where_the_images_act(b):
    """Everywhere is as without a region, nowhere as without the method; halves are neither, and not each other."""
    everywhere, left = torch.ones(1, 1, 16, 16), torch.arange(16).lt(8).expand(1, 1, 16, 16)
    whole = made(b, use(0))
    assert (made(b, use(0, where=everywhere)) - whole).abs().max() <= 1e-5 * whole.abs().max()
    assert torch.equal(made(b, use(0, where=0 * everywhere)), made(b))
    halves = [made(b, use(0, where=one)) for one in (left, ~left)]
    assert not torch.allclose(*halves, atol=1e-3)
    assert all(not torch.allclose(one, other, atol=1e-3) for one in halves for other in (whole, made(b)))
    with pytest.raises(ValueError, match="the mask of the IP-Adapter belongs to the whole image"):
        made(b, use(0, where=left), ("panorama", {"window": 8, "stride": 4}))
    assert made(b, use(0), ("panorama", {"window": 8, "stride": 4})).isfinite().all()


OTHERS = {
    "prompt_to_prompt": {"source_prompt": "a blue cube on grass"}, "perturbed_attention": {},
    "plug_and_play": {"source_prompt": "a blue cube on grass"}, "attend_and_excite": {"words": "sphere", "start": 0.0},
    "controlnet": {"depth": torch.rand(1, 3, 32, 32)},
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_both_act_with_edits_of_attention_and_a_controlnet(folders, b, other):
    if other == "controlnet":
        controlnet(b.network.unet, 1).save_pretrained(f"{folders('eps')}_controlnets/depth")
        b = load(folders("eps"))
    given = {name: b.encode_prompt([one]) if name == "source_prompt" else one for name, one in OTHERS[other].items()}
    both, one, alone = made(b, (other, given), use(0)), made(b, use(0)), made(b, (other, given))
    assert both.isfinite().all() and not torch.allclose(both, one, atol=1e-4)
    assert not torch.allclose(both, alone, atol=1e-4)


def test_an_edit_that_changes_nothing_changes_nothing_and_gradients_run_through(b):
    class Same:
        def attend(self, site, q, k, v, plain):
            return plain(q, k, v)

    x, sigma = torch.randn(1, 4, 16, 16, requires_grad=True), torch.tensor([2.0])
    adapters = b.adapters_of("ip adapter")
    keys = adapters.keys("plus", adapters.tokens("plus", [an_image(0)])[0], torch.ones(1, len(adapters.blocks)))
    cond = {**b.encode_prompt([PROMPT]), **keys}
    edited, plain = b.denoise(Ask(x.detach(), sigma, cond, edit=Same())), b.denoise(Ask(x.detach(), sigma, cond))
    torch.testing.assert_close(edited, plain, atol=1e-5, rtol=1e-5)
    b.denoise(Ask(x, sigma, cond, tape=object())).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0


def test_lora_files_change_its_queries_whichever_comes_first(folders, monkeypatch):
    """The layers that a file changes are those that the images are attended to with."""
    folder = folders("eps")
    unet = load(folder).network.unet
    write(folder.parent / "loras", "ink", kohya(drawn(modules(unet, ATTENTION))[0]))
    monkeypatch.setenv("NINE_WAYS_LORAS", str(folder.parent / "loras"))
    ends = []
    for first in ("lora", "ip"):
        b = load(folder)
        key = b.lora("ink") if first == "lora" else ""
        adapters = b.adapters_of("ip adapter")
        keys = adapters.keys("plain", adapters.tokens("plain", [an_image(0)])[0], torch.ones(1, len(adapters.blocks)))
        if first == "ip":
            b.denoise(Ask(torch.ones(1, 4, 16, 16), torch.ones(1), {**b.encode_prompt([PROMPT]), **keys}))
            key = b.lora("ink")
        x, cond = torch.ones(1, 4, 16, 16), {**b.encode_prompt([PROMPT]), **keys, key: torch.ones(1)}
        ends.append(b.denoise(Ask(x, torch.ones(1), cond)))
    assert torch.equal(*ends)
    home = f"{folder}_ip_adapters"
    encoder = CLIPVisionModelWithProjection.from_pretrained(f"{home}/image_encoder")
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None, image_encoder=encoder)
    pipe.load_ip_adapter(home, subfolder="", weight_name="plain.safetensors", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(1.0)
    pipe.load_lora_weights(str(folder.parent / "loras"), weight_name="ink.safetensors")
    embeds = pipe.encode_image(to_pil_image(an_image(0)[0]), "cpu", 1)[0][None]
    x, t = b.coordinates.enter(torch.ones(1, 4, 16, 16), torch.ones(1))
    with torch.no_grad():
        theirs = pipe.unet(x, t, b.encode_prompt([PROMPT])["text"], added_cond_kwargs={"image_embeds": [embeds]}).sample
    wanted = b.coordinates.leave(torch.ones(1, 4, 16, 16), torch.ones(1), theirs)
    assert (ends[0] - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.slow
def test_openvino_and_torch_give_one_image(folders, backbones):
    pytest.importorskip("openvino")
    o, b = load(folders("xl"), "openvino"), backbones("xl")
    stack = use(0, 1, where=torch.arange(16).lt(8).expand(1, 1, 16, 16))
    ours, theirs = made(o, stack), made(b, stack)
    assert [engine.name for engine, _ in o.network.adapters._made.values()] == ["openvino f32"]
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_an_image_of_any_size_is_read_by_its_middle_square_at_the_encoders_size(b):
    image, wide, adapters = an_image(0, 64), an_image(1, 64), b.adapters_of("ip adapter")
    wide[..., 16:48, :] = image[..., 16:48, :]
    small = to_pil_image(image[0]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    small = torch.tensor(list(small.getdata())).T.reshape(1, 3, SIDE, SIDE).float() / 255
    ours, theirs = (adapters.tokens("plain", [one])[0] for one in (image, small))
    assert (ours - theirs).abs().max() <= 0.01
    cut, whole = (adapters.tokens("plain", [one])[0] for one in (wide[..., 16:48, :], wide[..., 16:48, 16:48]))
    assert torch.equal(cut, whole)


# ---- what cannot be ------------------------------------------------------------------------------------------------


def test_what_cannot_be_says_why(folders, b, tmp_path):
    folder = shutil.copytree(folders("eps"), tmp_path / "net")
    home = tmp_path / "net_ip_adapters"
    (why,) = refusals([("ip_adapter", {})], load(folder))
    assert why.startswith("IP-Adapter needs an IP-Adapter that fits it") and str(folder) in why
    shutil.copytree(f"{folders('eps')}_ip_adapters", home)
    shutil.copy(f"{folders('xl')}_ip_adapters/plain.safetensors", home / "of xl.safetensors")
    (home / "old.bin").write_bytes(b"")
    faces = load_file(home / "plain.safetensors")
    faces["image_proj.proj.0.weight"] = faces.pop("image_proj.proj.weight")
    save_file(faces, home / "faces.safetensors")
    save_file({"a": torch.ones(1)}, home / "other.safetensors")
    half = load_file(home / "plus.safetensors")
    half.pop("image_proj.proj_out.bias")
    save_file(half, home / "half.safetensors")
    b = load(folder)
    assert {"plain", "of xl", "old", "faces"} <= {*b.adapters_of("ip adapter").names}
    for name, words in {
        "none": "net has no IP-Adapter none: it has ",
        "of xl": r"was made for .* \(a text of 80 features, 8 layers\), and this network has 32 and 4: take one",
        "old": r"old\.bin is a pickle, which can run code when it is read: get it as \.safetensors",
        "faces": r"an IP-Adapter of faces \(FaceID\), which reads them by InsightFace",
        "other": "is no IP-Adapter: its tensors are named otherwise",
        "half": r"half.safetensors is no IP-Adapter that is known: Missing key.*proj_out\.bias",
    }.items():
        with pytest.raises(ValueError, match=words):
            made(b, use(0, adapter=name))
    image_encoder(home / "image_encoder", hidden=64, pooled=56)
    with pytest.raises(ValueError, match=r"made for an image encoder of 40 pooled features, and .* one of 64 and 56"):
        made(b, use(5))
    shutil.rmtree(home / "image_encoder")
    with pytest.raises(ValueError, match=r"plus.safetensors reads images by an encoder of 48 features a patch, which"):
        made(b, use(5, adapter="plus"))
    image_encoder(home / "other encoder", hidden=64, pooled=56)
    image_encoder(folder / "image_encoder")  # as pipelines keep theirs
    assert made(b, use(5, adapter="plus")).isfinite().all()


OF_1, OF_XL = (320, 640, 1280, 1280), (320, 640, 1280)
SD_1 = {"cross_attention_dim": 768, "block_out_channels": OF_1, "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}  # fmt: skip
SD_XL = {"cross_attention_dim": 2048, "block_out_channels": OF_XL, "layers_per_block": 2,
         "transformer_layers_per_block": [1, 2, 10], "mid_block_type": "UNetMidBlock2DCrossAttn",
         "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
         "up_block_types": ["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"]}  # fmt: skip


@pytest.mark.parametrize("said, layers, known", [(SD_1, 16, ip_adapters.OF_SD_1), (SD_XL, 70, ip_adapters.OF_SD_XL)])
def test_published_networks_have_the_layers_that_published_adapters_are_for(said, layers, known, tmp_path):
    config = type("Config", (), said)
    blocks = ip_adapter_layers.layers_of(config)
    assert len(blocks) == layers and list(ip_adapters.beside(tmp_path / "net", config)) == list(known)
    from conditioning.network.repurposing.ip_adapter import BOTH, _reading

    chosen = {block for (block, _), on in zip(blocks, _reading([one for one, _ in blocks], BOTH)[0]) if on}
    up = "up_blocks.0.attentions.1" if said is SD_XL else "up_blocks.1.attentions.1"
    assert chosen == {up, "down_blocks.2.attentions.1"}  # of XL those of InstantStyle


@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_layers_are_counted_as_diffusers_lists_them(backbones, kind):
    unet = backbones(kind).network.unet
    names = [name.rpartition(".transformer_blocks")[0] for name in unet.attn_processors if ".attn2." in name]
    widths = [one.to_q.weight.shape[0] for one, _ in ip_adapter_layers.attentions(unet)]
    assert ip_adapter_layers.layers_of(unet.config) == list(zip(names, widths))


def test_encoders_are_called_by_their_widths():
    kinds = [ip_adapter_layers.Kind(*one, 768, ()) for one in (("plain", True, 1024), ("plus", False, 1664))]
    assert [one.encoder for one in kinds] == [
        "1024 pooled features (OpenCLIP ViT-H/14)", "1664 features a patch (OpenCLIP ViT-bigG/14)",
    ]  # fmt: skip
