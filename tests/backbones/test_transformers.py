"""Diffusion transformers of every family beside diffusers' own pipelines, on tiny checkpoints of the same classes."""

import json
import shutil

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import backbones
from backbones.outline import outline
from conditioning.compose import compose, refusals
from conditioning.inputs import prepare_input
from samplers import SAMPLERS
from samplers.flow import Ask, Noise, run
from tests.support import tiny_transformers

KINDS = tuple(tiny_transformers.KINDS)
PROMPT, NEGATIVE, SCALE, STEPS = "a large red sphere on grass, small cube", "blue", 3.0, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny_transformers.save(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return {kind: backbones.load(str(folder)) for kind, folder in folders.items()}


@pytest.fixture
def theirs(folders):
    def opened(kind):
        without = {"text_encoder_3": None, "tokenizer_3": None} if kind == "sd3-without-t5" else {}
        pipe = DiffusionPipeline.from_pretrained(folders[kind], **without)
        pipe.set_progress_bar_config(disable=True)
        if kind == "sana":
            pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        if kind.startswith("pixart"):
            pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False,
                                                       timestep_spacing="leading")  # fmt: skip
        return pipe

    return opened


def decoded(vae, monkeypatch):
    """What vae.decode is given, and what it gives."""
    seen, decode = [], vae.decode

    def recording(z, **more):
        out = decode(z, **more)
        seen.append((z.squeeze(2) if z.ndim == 5 else z, out[0].squeeze(2) if out[0].ndim == 5 else out[0]))
        return out

    monkeypatch.setattr(vae, "decode", recording)
    return seen


def tokens_of(noise, kind):
    """Latents as the pipeline takes them."""
    if kind in ("flux-dev", "flux-schnell", "flux-kontext", "flux-fill", "krea2", "qwen-image"):
        return torch.nn.functional.pixel_unshuffle(noise, 2).flatten(2).transpose(1, 2)
    return noise


def called(pipe, kind, noise, width, height, scale, prompt=PROMPT, negative=NEGATIVE, images=()):
    """The pipeline as its users call it, with this noise."""
    options = dict(height=height, width=width, num_inference_steps=STEPS, latents=tokens_of(noise, kind),
                   output_type="pt", negative_prompt=negative)  # fmt: skip
    name = "true_cfg_scale" if kind.startswith(("flux-", "qwen-image")) else "guidance_scale"
    options[name] = scale - 1 if kind in ("z-image", "krea2") else scale
    if kind == "flux-schnell":
        options["max_sequence_length"] = 256
    if kind == "flux-kontext":
        options |= {"max_area": width * height, "_auto_resize": False}
    if kind == "flux-fill":
        options["image"], options["mask_image"] = images
        del options["negative_prompt"], options["true_cfg_scale"]
    elif images:
        options["image"] = list(images) if len(images) > 1 else images[0]
    if kind == "flux2-klein":
        del options["negative_prompt"]
        options["negative_prompt_embeds"] = pipe.encode_prompt(negative)[0]
    if kind in ("sana", "pixart-sigma", "pixart-alpha"):
        options["use_resolution_binning"] = False
    if kind == "sana":
        options["negative_prompt"] = ""  # see its family: another is encoded otherwise there
        options["sigmas"] = [1 - i / STEPS for i in range(STEPS)]
    return pipe(prompt=prompt, **options).images


def sample(b, x, sigmas, scale, prompt=PROMPT, negative=NEGATIVE, stack=(), sampler="euler"):
    cond, null = b.encode_prompt([prompt]), b.encode_prompt([negative])
    D, solver, _ = compose([*stack, ("cfg", {"scale": scale})], SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=b)
    return run(solver(D, x, sigmas, cond, Noise([0])), b.denoise)


@pytest.mark.parametrize("width, height, scale", [(32, 32, SCALE), (64, 32, 1.0)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flux-fill"])
def test_euler_is_the_pipeline(loaded, theirs, kind, width, height, scale, monkeypatch):
    """The same noise, prompts, guidance and levels: what is decoded, and the image."""
    b, pipe = loaded[kind], theirs(kind)
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    want = decoded(pipe.vae, monkeypatch)
    called(pipe, kind, noise, width, height, scale)
    if kind.startswith("pixart"):
        sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), 0.0]
        x = noise * (1 + sigmas[0] ** 2) ** 0.5
    else:
        sigmas = b.schedule(STEPS, width, height)
        if kind == "sana":  # FlowMatchEuler's levels in place of its own
            sigmas = [*(pipe.scheduler.sigmas / (1 - pipe.scheduler.sigmas)).clamp(max=1e6).tolist()]
        x = noise * (1 + sigmas[0])
    got = decoded(b.images.vae, monkeypatch)
    b.decode(sample(b, x, sigmas, scale, negative="" if kind == "sana" else NEGATIVE))
    assert_same(want[0], got[0])


def assert_same(want, got):
    """What is decoded, and the image: (latents, image) each."""
    for theirs, ours in zip(want, got, strict=True):
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() <= 1e-4 * theirs.abs().max().clamp(min=1)


def pictures(width, height, n):
    draw = torch.Generator().manual_seed(7)
    return [to_pil_image(torch.rand(3, height, width, generator=draw)) for _ in range(n)]


def pixels(picture):
    return pil_to_tensor(picture)[None] / 255


@pytest.mark.parametrize("kind, n", [("flux-kontext", 1), ("flux2-klein", 1), ("flux2-klein", 2)])
def test_reference_images_are_the_pipeline_s(loaded, theirs, kind, n, monkeypatch):
    b, pipe, (width, height) = loaded[kind], theirs(kind), (96, 64)  # klein's pipeline takes none below 64
    images = pictures(width, height, n)
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    want = decoded(pipe.vae, monkeypatch)
    called(pipe, kind, noise, width, height, SCALE, images=images)
    sigmas, got = b.schedule(STEPS, width, height), decoded(b.images.vae, monkeypatch)
    given = {"images": [b.encode_image(pixels(one)) for one in images]}
    stack = [("in_context_images", given)]
    assert refusals(stack, b) == [] and "reads images as further tokens" in refusals(stack, loaded["flux-dev"])[0]
    b.decode(sample(b, noise * (1 + sigmas[0]), sigmas, SCALE, stack=stack))
    assert_same(want[0], got[0])


def test_flux_fill_is_the_pipeline(loaded, theirs, monkeypatch):
    """With a mask whose edges are those of latents. Without an image all is to be new."""
    b, pipe, (width, height) = loaded["flux-fill"], theirs("flux-fill"), (64, 32)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    (image,) = pictures(width, height, 1)
    mask = torch.zeros(1, 1, height, width)
    mask[..., 8:20, : width // 2] = 1
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    want = decoded(pipe.vae, monkeypatch)
    called(pipe, "flux-fill", noise, width, height, 1.0, images=(pixels(image), mask))
    sigmas, got = b.schedule(STEPS, width, height), decoded(b.images.vae, monkeypatch)
    shape = b.latent_shape(width, height)
    given = {name: prepare_input(kind, value, b, 1, shape) for name, kind, value in
             (("image", "map", pixels(image)), ("mask", "mask", mask))}  # fmt: skip
    x = noise * (1 + sigmas[0])
    b.decode(sample(b, x, sigmas, 1.0, stack=[("inpainting_network", given)]))
    assert_same(want[0], got[0])
    everything = {"image": torch.full((1, 3, height, width), 0.5), "mask": torch.ones(1, 1, *shape[1:])}
    alone, new = sample(b, x, sigmas, 1.0), sample(b, x, sigmas, 1.0, stack=[("inpainting_network", everything)])
    assert (alone - new).abs().max() <= 1e-4 * new.abs().max()


@pytest.mark.parametrize("task", ["Img2Img", "Inpaint"])
@pytest.mark.parametrize("kind, family", [
    ("flux-dev", "Flux"), ("sd3", "StableDiffusion3"), ("qwen-image", "QwenImage"), ("z-image", "ZImage"),
])  # fmt: skip
def test_image_to_image_and_inpainting_are_the_pipelines(loaded, theirs, kind, family, task, monkeypatch):
    """SDEdit, with a mask for inpainting by a network that was not made for it. diffusers draws the image's latents
    from the autoencoder's distribution, we take its mode."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    b, (width, height), strength = loaded[kind], (64, 32), 0.5
    pipe = getattr(diffusers, f"{family}{task}Pipeline")(**theirs(kind).components)
    pipe.set_progress_bar_config(disable=True)
    (image,), mask = pictures(width, height, 1), torch.zeros(1, 1, height, width)
    mask[..., 8:20, : width // 2] = 1
    want = decoded(pipe.vae, monkeypatch)
    guidance = {"flux-dev": {"true_cfg_scale": SCALE, "guidance_scale": 3.5}, "qwen-image": {"true_cfg_scale": SCALE},
                "sd3": {"guidance_scale": SCALE}, "z-image": {"guidance_scale": SCALE - 1}}[kind]  # fmt: skip
    pipe(prompt=PROMPT, negative_prompt=NEGATIVE, image=pixels(image), height=height, width=width, strength=strength,
         num_inference_steps=STEPS, generator=torch.Generator().manual_seed(1), output_type="pt",
         **({"mask_image": mask} if task == "Inpaint" else {}), **guidance)  # fmt: skip
    noise = torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(1))
    sigmas, got = b.schedule(STEPS, width, height), decoded(b.images.vae, monkeypatch)
    given = {"source": b.encode_image(pixels(image)), "strength": strength}
    if task == "Inpaint":
        given["mask"] = prepare_input("mask", mask, b, 1, b.latent_shape(width, height))
    b.decode(sample(b, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas, SCALE, stack=[("sdedit", given)]))
    if (kind, task) == ("sd3", "Inpaint"):  # diffusers forgets the autoencoder's shift before it decodes
        shifted = want[-1][0] + b.images.vae.config.shift_factor
        want.append((shifted, b.images.vae.decode(shifted)[0]))
    assert_same(want[-1], got[0])


@pytest.mark.parametrize("steps", [STEPS, 20])
def test_sana_by_its_own_sampler_is_the_pipeline(loaded, theirs, folders, steps, monkeypatch):
    """DPM-Solver++ 2M at the levels of its scheduler, which asks at whole thousandths of time; here at the levels."""
    b, pipe = loaded["sana"], DiffusionPipeline.from_pretrained(folders["sana"])
    pipe.set_progress_bar_config(disable=True)
    levels = DPMSolverMultistepScheduler.set_timesteps

    def unrounded(self, *given, **more):
        levels(self, *given, **more)
        self.timesteps = 1000 * self.sigmas[:-1]

    monkeypatch.setattr(DPMSolverMultistepScheduler, "set_timesteps", unrounded)
    noise = torch.randn(1, *b.latent_shape(64, 32), generator=torch.Generator().manual_seed(1))
    want = decoded(pipe.vae, monkeypatch)
    pipe(prompt=PROMPT, negative_prompt="", height=32, width=64, num_inference_steps=steps, latents=noise,
         output_type="pt", guidance_scale=SCALE, use_resolution_binning=False)  # fmt: skip
    sigmas, got = b.schedule(steps, 64, 32), decoded(b.images.vae, monkeypatch)
    times = torch.tensor(sigmas, dtype=torch.float64)
    assert torch.allclose(times / (1 + times), pipe.scheduler.sigmas.double(), atol=2e-6)
    b.decode(sample(b, noise * (1 + sigmas[0]), sigmas, SCALE, negative="", sampler="dpmpp_2m"))
    assert_same(want[0], got[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("pixart", "sana"))])
@pytest.mark.parametrize("steps", [2, 8, 28])
def test_its_schedule_is_the_pipeline_s(loaded, theirs, kind, steps):
    """At another size than square, whatever the number of steps."""
    b, pipe = loaded[kind], theirs(kind)
    width, height = 64, 32
    times = torch.tensor(b.schedule(steps, width, height), dtype=torch.float64)
    noise = torch.randn(1, *b.latent_shape(width, height))
    images = (torch.zeros(1, 3, height, width), torch.ones(1, 1, height, width)) if kind == "flux-fill" else ()
    pipe.vae.decode = lambda z, **more: (torch.zeros(1, 3, 1, height, width)[:, :, : z.ndim - 3].squeeze(2),)
    model = type(pipe.transformer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.backbones.test_transformers.STEPS", steps)
        still = lambda self, *a, **k: (_like(self, a, k),)  # noqa: E731  # the network is not asked: levels alone
        patch.setattr(model, "forward", still)
        called(pipe, kind, noise, width, height, 1.0, images=images)
    want = pipe.scheduler.sigmas.double()
    assert torch.allclose(times / (1 + times), want, atol=2e-6)


def _like(model, given, more):
    """Zeros as the network would give them."""
    x = more.get("hidden_states", given[0] if given else None)
    if type(model).__name__ == "FluxTransformer2DModel":
        x = x[..., : model.out_channels]  # without what Fill has beside the noisy latents
    return [torch.zeros_like(one) for one in x] if isinstance(x, list) else torch.zeros_like(x)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_alone_and_beside_others(loaded, kind):
    """Prompts of unlike numbers of tokens in one call."""
    b = loaded[kind]
    texts = ["a", PROMPT, "a small blue cube", "a"]
    x = torch.randn(4, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(2)) * 3
    sigma = torch.tensor([3.0, 0.5, 1.5, 8.0])
    together = b.denoise(Ask(x, sigma, b.encode_prompt(texts)))
    for i, text in enumerate(texts):
        alone = b.denoise(Ask(x[i : i + 1], sigma[i : i + 1], b.encode_prompt([text])))
        assert (together[i] - alone[0]).abs().max() <= 2e-5 * together.abs().max(), text
    assert (together[0] - together[3]).abs().max() > 1e-3  # other noise, another image


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_read(loaded, kind):
    b = loaded[kind]
    x, sigma = torch.randn(1, *b.latent_shape(32, 32)), torch.tensor([1.0])
    one, other = (b.denoise(Ask(x, sigma, b.encode_prompt([text]))) for text in ("a red sphere", "a blue cube"))
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(loaded, kind):
    b = loaded[kind]
    cond = b.encode_prompt(["a red sphere"])
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(1, *b.latent_shape(32, 32), generator=draw)
    direction, weight = torch.randn(x.shape, generator=draw), torch.randn(x.shape, generator=draw)
    sigma = torch.tensor([1.0])
    leaf = x.clone().requires_grad_()
    x0 = b.denoise(Ask(leaf, sigma, cond, tape=object()))
    (gradient,) = torch.autograd.grad((x0 * weight).sum(), leaf)
    step = 1e-2
    ahead, behind = (b.denoise(Ask(x + s * direction, sigma, cond)) for s in (step, -step))
    slope = ((ahead - behind) * weight).sum() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_images_go_there_and_back_as_in_the_pipeline(loaded, folders, kind):
    """The autoencoder's scales are inverse to each other, and previews have a shape."""
    b = loaded[kind]
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(5))
    latents = b.encode_image(image)
    assert latents.shape == (2, *b.latent_shape(48, 32))
    raw = latents / b.images.scale + b.images.shift
    assert (b.images._encoded(image[:1] * 2 - 1) - raw[:1]).abs().max() < 1e-4
    assert b.preview(latents).shape[:2] == (2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_before_the_weights_are_read(loaded, folders, kind):
    b, known = loaded[kind], outline(str(folders[kind]))
    assert (known.offers, known.default_size, known.size_multiple) == (b.offers, b.default_size, b.size_multiple)
    assert (known.tokens, known.weighs_words, known.reads_chunks) == (b.tokens, b.weighs_words, b.reads_chunks)
    assert known.latent_shape(64, 32) == b.latent_shape(64, 32)
    assert torch.equal(known.levels(64, 32), b.levels(64, 32))
    assert known.unread("a " * 3000) == b.unread("a " * 3000)
    taken, places = b.count_tokens("a " * 3000)
    assert known.count_tokens("a " * 3000) == (taken, places) and taken > places
    for words in ("a " * n for n in (places // 3, places // 2, places, 2 * places)):
        assert bool(b.unread(words)) is (b.count_tokens(words)[0] > places)


@pytest.mark.parametrize("pipeline", ["FluxImg2ImgPipeline", "FluxControlNetPipeline"])
def test_a_folder_saved_for_another_task_is_the_same_network(loaded, folders, tmp_path, pipeline):
    copy = shutil.copytree(folders["flux-dev"], tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    beside = {"controlnet": ["diffusers", "FluxControlNetModel"]} if "ControlNet" in pipeline else {}
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": pipeline, **beside}))
    b, same = backbones.load(str(copy)), loaded["flux-dev"]
    ask = Ask(torch.randn(1, *b.latent_shape(32, 32)), torch.ones(1), b.encode_prompt([PROMPT]))
    assert torch.equal(b.denoise(ask), same.denoise(ask))


def test_a_prompt_is_read_up_to_its_end_and_the_rest_is_pointed_out(loaded):
    """T5's tokens of these words are one each."""
    b = loaded["flux-schnell"]
    fits = ["a"] * (b.tokens - 1)
    assert b.unread(" ".join(fits)) == "" and b.unread(" ".join([*fits, "red", "cube"])) == "red cube"
    whole, other, more = (b.encode_prompt([" ".join(words)])["text"] for words in
                          (fits, [*fits[:-1], "red"], [*fits, "red"]))  # fmt: skip
    assert torch.equal(whole, more) and not torch.equal(whole, other)


def test_what_cannot_be_is_said(loaded):
    b = loaded["flux-dev"]
    x, sigma = torch.randn(1, *b.latent_shape(32, 32)), torch.tensor([1.0])
    with pytest.raises(ValueError, match="multiples of 4"):
        b.latent_shape(34, 32)
    with pytest.raises(TypeError, match="object is no edit"):
        b.denoise(Ask(x, sigma, b.encode_prompt([PROMPT]), edit=object()))
    two, unlike = loaded["qwen-image"], loaded["qwen-image"].encode_prompt([PROMPT, NEGATIVE])
    with pytest.raises(ValueError, match="wants texts of one length"):
        two.denoise(Ask(torch.randn(2, *two.latent_shape(32, 32)), torch.ones(2), unlike, edit=object()))
    with pytest.raises(ValueError, match="reads guidance, pooled, text of cond, and got text"):
        b.denoise(Ask(x, sigma, {"text": torch.zeros(1, 4, 32)}))


def test_the_distilled_scale_is_read_and_is_the_family_s_without(loaded):
    b = loaded["flux-dev"]
    assert "distilled guidance" in b.offers and "distilled guidance" not in loaded["flux-schnell"].offers
    x, sigma, cond = torch.randn(1, *b.latent_shape(32, 32)), torch.tensor([1.0]), b.encode_prompt([PROMPT])
    plain, same, other = (b.denoise(Ask(x, sigma, {**cond, **more})) for more in
                          ({}, {"guidance": torch.tensor([3.5])}, {"guidance": torch.tensor([7.0])}))  # fmt: skip
    assert torch.equal(plain, same) and (plain - other).abs().max() > 1e-3
