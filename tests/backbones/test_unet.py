"""UNet backbones against diffusers' own pipelines, and the contract of backbones.base."""

import pytest
import torch
from diffusers import DiffusionPipeline

from backbones import stable_diffusion
from backbones.autoencoder import Autoencoder, discs
from backbones.base import Backbone
from backbones.coordinates import coordinates
from backbones.outline import outline
from samplers import SAMPLERS
from samplers.flow import Ask
from tests.support import tiny
from tests.support.guided_samples import NEGATIVE, PROMPT, SCALE, sample

KINDS = ("eps", "v", "zero", "flow", "xl")


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_the_contract(tiny_unet, kind):
    b = tiny_unet(kind)
    assert isinstance(b, Backbone)
    assert b.sigmas.dtype == torch.float32 and (b.sigmas.diff() > 0).all() and b.sigmas.isfinite().all()
    shape = b.latent_shape(b.default_size, b.default_size)
    cond = b.encode_prompt([PROMPT, ""])
    assert all(len(value) == 2 for value in cond.values())
    x = torch.randn(2, *shape, dtype=torch.float64)
    x0 = b.denoise(Ask(x, torch.tensor([3.0, 0.5]), cond))
    assert x0.shape == x.shape and x0.dtype == torch.float32 and x0.isfinite().all() and not x0.requires_grad
    rgb = b.decode(x0)
    assert rgb.shape == (2, 3, b.default_size, b.default_size) and rgb.min() >= 0 and rgb.max() <= 1
    assert b.preview(x0).shape[:2] == (2, 3)
    assert b.encode_image(rgb).shape == x0.shape
    with pytest.raises(ValueError, match=f"multiples of {b.size_multiple}"):
        b.latent_shape(b.default_size + 1, b.default_size)


@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes(tiny_unet, kind):
    b = tiny_unet(kind)
    x = torch.randn(1, *b.latent_shape(3 * b.size_multiple, 5 * b.size_multiple))
    assert b.denoise(Ask(x, torch.ones(1), b.encode_prompt([""]))).shape == x.shape


@pytest.fixture
def as_if_large(monkeypatch):
    """Tiny checkpoints are taken for networks of the size of Stable Diffusion."""
    for name in ("engines", "unet", "stable_diffusion", "pixels"):
        monkeypatch.setattr(f"backbones.{name}.SMALL", 0)
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")


@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_a_large_network_takes_every_size_of_its_latents(checkpoints, as_if_large, kind):
    """Odd sides at every stage, plain and under an edit, which is given the grid of every attention; as diffusers does.
    It is not copied into another memory format on a CPU, and no step is made ahead of a run."""
    b = stable_diffusion.load(str(checkpoints(kind)))
    assert b.size_multiple == b.images.factor == outline(str(checkpoints(kind))).size_multiple
    assert b.engine is b.network.torch and b.engine.format == torch.contiguous_format and not b.quick
    assert all(one.is_contiguous() for one in b.network.unet.parameters())
    (shape, cond), s, sites = (b.latent_shape(18, 26), b.encode_prompt([PROMPT])), torch.tensor([2.0]), []
    assert shape == (4, 13, 9)

    class Look:
        def attend(self, site, q, k, v, plain):
            sites.append((site.height, site.width))
            return plain(q, k, v)

    x = torch.randn(1, *shape)
    out = b.denoise(Ask(x, s, cond))
    inputs = b.network.read(cond, x.shape)
    text, added = inputs.pop("text"), inputs
    model_input, t = b.coordinates.enter(x, s)
    theirs = b.network.unet(model_input, t, text, added_cond_kwargs=added or None).sample
    torch.testing.assert_close(out, b.coordinates.leave(x, s, theirs))
    torch.testing.assert_close(b.denoise(Ask(x, s, cond, Look())), out)
    assert set(sites) == {(7, 5)}
    with pytest.raises(ValueError, match="multiples of 2"):
        b.latent_shape(19, 26)


def test_a_small_network_keeps_the_sizes_that_it_is_traced_for(checkpoints, tiny_unet):
    b = tiny_unet("eps")
    assert b.quick and b.size_multiple == 2 * b.images.factor == outline(str(checkpoints("eps"))).size_multiple


@pytest.mark.parametrize("kind,steps", [("eps", 8), ("v", 8), ("zero", 8), ("xl", 6)])
def test_euler_is_the_pipeline_s_ddim(checkpoints, tiny_unet, kind, steps):
    """The same latents, prompt, guidance and steps through StableDiffusion(XL)Pipeline."""
    b, pipe = tiny_unet(kind), DiffusionPipeline.from_pretrained(checkpoints(kind), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, *b.latent_shape(b.default_size, b.default_size), generator=torch.Generator().manual_seed(1))
    if kind == "xl":
        from diffusers import DDIMScheduler

        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    theirs = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=steps,
                  output_type="latent").images  # fmt: skip
    end = 0.0 if pipe.scheduler.config.set_alpha_to_one else b.sigmas[0].item()
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    x = sample(b, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas) / (1 + end**2) ** 0.5
    assert (x - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    images = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor).sample / 2 + 0.5
    torch.testing.assert_close(b.decode(theirs), images.clamp(0, 1), atol=1e-5, rtol=0)


def test_euler_is_the_flow_scheduler_s(checkpoints, tiny_unet):
    """No pipeline of the UNet family takes FlowMatchEulerDiscreteScheduler, so its step is called in a plain loop."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    b = tiny_unet("flow")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(checkpoints("flow"), subfolder="scheduler")
    scheduler.set_timesteps(8)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    text, null = (b.encode_prompt([one])["text"] for one in (PROMPT, NEGATIVE))
    x = noise
    for t in scheduler.timesteps:
        u, c = b.network.unet(torch.cat([x, x]), t, torch.cat([null, text])).sample.chunk(2)
        x = scheduler.step(u + SCALE * (c - u), t, x).prev_sample
    t = scheduler.sigmas.double()
    sigmas = (t / (1 - t)).clamp(max=1e6).tolist()
    ours = sample(b, noise * (1 + sigmas[0]), sigmas)
    assert (ours - x).abs().max() <= 1e-4 * x.abs().max()


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_runs(tiny_unet, sampler):
    b = tiny_unet("zero")
    x = sample(b, 1e6 * torch.randn(1, 4, 16, 16), [1e6, 10.0, 1.0, 0.1, 0.0], sampler)
    assert x.isfinite().all() and x.abs().max() < 1e3


def test_levels_and_timesteps(tiny_unet):
    for kind in ("eps", "v", "zero"):
        own = tiny_unet(kind).coordinates
        assert torch.equal(own.timestep(own.sigmas), torch.arange(1000.0))
        between = (own.sigmas[400] * own.sigmas[401]).sqrt()
        assert abs(own.timestep(between[None]).item() - 400.5) < 1e-3
        assert own.timestep(torch.tensor([0.0, 1e9])).tolist() == [0, 999]
    _, t = tiny_unet("flow").coordinates.enter(torch.zeros(3, 4, 2, 2), torch.tensor([0.25, 1.0, 1e6]))
    torch.testing.assert_close(t, torch.tensor([200.0, 500.0, 999.999]))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow_prediction"])
@pytest.mark.parametrize("sigma", [1e-3, 1.0, 80.0, 1e6])
def test_the_truth_comes_back(prediction, sigma):
    """Given the network's training target as its prediction, leave() gives x0 to what float32 allows."""
    name = "FlowMatchEulerDiscreteScheduler" if prediction == "flow_prediction" else "DDIMScheduler"
    own = coordinates(name, {**tiny.LINEAR, "num_train_timesteps": 1000, "prediction_type": prediction})
    x0, eps = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    s = torch.tensor([sigma], dtype=torch.float64)
    a, b = 1 / (1 + s * s).sqrt(), s / (1 + s * s).sqrt()
    target = {"epsilon": eps, "v_prediction": a * eps - b * x0, "sample": x0, "flow_prediction": eps - x0}[prediction]
    x = (x0 + s * eps).float()
    tolerance = 1e-6 * max(10, sigma if prediction == "epsilon" else 0)
    torch.testing.assert_close(own.leave(x, s.float(), target.float()), x0.float(), atol=tolerance, rtol=0)


def test_zero_terminal_snr_with_eps_drops_the_infinite_level():
    config = {**tiny.LINEAR, "num_train_timesteps": 1000, "prediction_type": "epsilon", "rescale_betas_zero_snr": True}
    assert len(coordinates("DDIMScheduler", config).sigmas) == 999
    assert coordinates("DDIMScheduler", {**config, "prediction_type": "v_prediction"}).sigmas[-1] == 1e6


def test_gradients_only_with_a_tape(tiny_unet):
    b = tiny_unet("v")
    cond, sigma = b.encode_prompt([PROMPT]), torch.tensor([2.0])
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    plain = b.denoise(Ask(x, sigma, cond))
    assert not plain.requires_grad and torch.is_grad_enabled()
    taped = b.denoise(Ask(x, sigma, cond, tape=object()))
    torch.testing.assert_close(taped.detach(), plain, atol=1e-5, rtol=1e-5)
    (grad,) = torch.autograd.grad(taped.square().sum(), x)
    assert grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in b.network.unet.parameters())
    (pixels,) = torch.autograd.grad(b.decode(x).sum(), x)
    assert pixels.abs().max() > 0
    with torch.no_grad():  # whatever the caller's mode
        assert b.denoise(Ask(x, sigma, cond, tape=object())).requires_grad


def test_second_run_is_the_first_and_company_does_not_matter(tiny_unet):
    b = tiny_unet("eps")
    x, sigmas = torch.randn(3, 4, 16, 16), [14.0, 3.0, 0.5, 0.0]
    first = sample(b, 14 * x[:1], sigmas)
    cond = b.encode_prompt([PROMPT, "", NEGATIVE])
    alone = b.denoise(Ask(x[1:2], torch.tensor([2.0]), b.encode_prompt([""])))
    batched = b.denoise(Ask(x, torch.tensor([9.0, 2.0, 0.1]), cond))[1:2]
    assert torch.equal(alone, batched)
    taped = b.denoise(Ask(x, torch.tensor([9.0, 2.0, 0.1]), cond, tape=1))[1:2]
    assert torch.equal(taped, b.denoise(Ask(x[1:2], torch.tensor([2.0]), b.encode_prompt([""]), tape=1)))
    assert torch.equal(first, sample(b, 14 * x[:1], sigmas))


def test_prompts(tiny_unet):
    b = tiny_unet("eps")
    both = b.encode_prompt(["a red cube", ""])
    assert torch.equal(both["text"][1:], b.encode_prompt([""])["text"])
    assert b.unknown_words("A red Giraffe, on the xyzzy; giraffe 7") == ["giraffe", "xyzzy"]
    xl = tiny_unet("xl").encode_prompt(["a red cube", ""])
    assert xl["text"].shape[-1] == 80 and xl["pooled"].shape == (2, 48)
    assert not xl["text"][1].any() and not xl["pooled"][1].any() and xl["text"][0].any()
    assert both["tokens"].shape == both["text"].shape[:2] == xl["tokens"].shape
    for one in (both, xl):
        assert b.words(one["tokens"][0]) == [("a", [1]), ("red", [2]), ("cube", [3])] and not b.words(one["tokens"][1])
    long = b.encode_prompt(["red cones, small"])["tokens"][0]
    assert b.words(long) == [("red", [1]), ("cones", [2, 3, 4, 5, 6]), (",", [7]), ("small", [8])]
    with pytest.raises(ValueError, match="list of at least one"):
        b.encode_prompt("red")


def test_the_end_of_a_text_that_the_encoder_has_no_place_for(tiny_unet, checkpoints):
    """What is read gives the very same condition without that end, and one word more is not read."""
    b = tiny_unet("eps")
    text = " ".join(["a red cube on"] * 40 + ["cones"])
    end = b.unread(text)
    assert end.endswith("cones") and text.endswith(f" {end}") and b.unread(text.removesuffix(end)) == ""
    whole, read = b.encode_prompt([text]), b.encode_prompt([text.removesuffix(end)])
    assert all(torch.equal(whole[key], read[key]) for key in whole)
    assert b.unread(f"{text.removesuffix(end)} red") == "red", "not a place is left"
    assert b.unread("") == b.unread("a red cube") == ""
    assert outline(str(checkpoints("eps"))).unread(text) == end, "known without the weights"


def test_a_large_vocabulary_has_no_unknown_words(checkpoints, monkeypatch):
    monkeypatch.setattr("backbones.clip_text.LEARNED_ALL", 100)
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    assert stable_diffusion.load(str(checkpoints("eps"))).unknown_words("giraffe") == []


def test_the_sdxl_kind_is_conditioned_on_the_size(tiny_unet):
    b = tiny_unet("xl")
    cond, x, s = b.encode_prompt([PROMPT]), torch.randn(1, 4, 16, 16), torch.ones(1)
    own = b.denoise(Ask(x, s, cond))
    ids = torch.tensor([[32.0, 32, 0, 0, 32, 32]])
    assert torch.equal(own, b.denoise(Ask(x, s, {**cond, "time_ids": ids})))
    assert not torch.equal(own, b.denoise(Ask(x, s, {**cond, "time_ids": ids * 2})))


@pytest.mark.parametrize("change,words", [
    ({"depth": torch.zeros(1, 1)}, "got depth, text"), ({"text": None}, "got tokens"),
    ({"text": torch.zeros(1, 16, 7)}, "7 features"), ({"pooled": torch.zeros(1, 48)}, "reads text of cond"),
    ({"text": torch.zeros(1, 16, 32), "weights": "a:2"}, "no weights of words"),
])  # fmt: skip
def test_a_cond_it_does_not_read(tiny_unet, change, words):
    b = tiny_unet("eps")
    cond = {key: value for key, value in {**b.encode_prompt([PROMPT]), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        b.denoise(Ask(torch.randn(1, 4, 16, 16), torch.ones(1), cond))


def test_images_have_to_fit(tiny_unet):
    b = tiny_unet("eps")
    with pytest.raises(ValueError, match="multiples of 2"):
        b.encode_image(torch.zeros(1, 3, 31, 32))
    with pytest.raises(ValueError, match=r"\(B, 4, h, w\)"):
        b.decode(torch.zeros(1, 3, 8, 8))


def test_the_preview_is_the_best_linear_one():
    """On an autoencoder that is linear itself, the fitted preview is the decoding."""

    class Shuffle(torch.nn.Module):  # 12 channels: a pixel block as it is
        config = {"latent_channels": 12, "block_out_channels": (1, 1), "scaling_factor": 0.5}
        device, dtype = torch.device("cpu"), torch.float32

        def encode(self, x):
            return type("Out", (), {"latents": torch.nn.functional.pixel_unshuffle(x, 2)})

    Shuffle.config = type("Config", (dict,), {"__getattr__": dict.__getitem__})(Shuffle.config)
    own = Autoencoder(Shuffle())
    rgb = discs(2, 32, seed=5)
    assert (own.preview(own.encode(rgb)) - rgb).abs().mean() < 0.02


def test_an_autoencoder_that_overflows_in_half_precision_decodes_in_float32(caplog):
    """SDXL's first one does, and its images came out black."""

    class Overflowing(torch.nn.Module):
        config = type("Config", (dict,), {"__getattr__": dict.__getitem__})(latent_channels=3, block_out_channels=(1,))
        device, dtype = torch.device("cpu"), property(lambda self: self.gain.dtype)

        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(1000.0), requires_grad=False)

        def decode(self, z, return_dict):
            return (z * self.gain * self.gain / self.gain / self.gain,)

    own, z = Autoencoder(Overflowing().half()), torch.linspace(-0.9, 0.9, 48).reshape(1, 3, 4, 4)
    assert own.decode(z * 0.01).isfinite().all() and own.vae.dtype == torch.float16, "nothing overflows"
    torch.testing.assert_close(own.decode(z), z / 2 + 0.5)
    assert own.vae.dtype == torch.float32 and "overflows in float16" in caplog.text
    assert not own.decode(z * torch.nan).isfinite().any(), "what is no number before stays none"


def test_tiny_checkpoints_spell_words_whole():
    words = tiny.tokenizer()
    assert words.tokenize("the large red cube") == ["the</w>", "large</w>", "red</w>", "cube</w>"]
