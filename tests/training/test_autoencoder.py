"""What the trainings of autoencoder and denoiser rest on: pools of fresh renders, scenes as tensors, their losses."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC

from training import autoencoder as module
from training import denoiser
from training import scene_arrays as captions_as_arrays
from training.renders import Pool, any_scene
from training.scene_arrays import caption_arrays, held_out_sentences, map_arrays, scene_arrays, training_caption
from training.text import LENGTH, build_tokenizer
from world.render import render
from world.scene import COLOURS, HELD_OUT, draw, random_scene
from world.vocabulary import NOUNS
from world.writer import LINKING

CPU = torch.device("cpu")


@pytest.fixture
def nothing_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(module, "NEXT", tmp_path / "next")


def small_pool(*args, first, capacity, **more):
    return Pool(*args, first=4, capacity=6, **more)


def test_a_pool_replaces_its_oldest_scenes():
    pool = Pool(any_scene, lambda scenes, out: {"mean": out.rgb.mean((1, 2, 3))}, 4, 4, seed=1, device=CPU)
    before = pool.tables["mean"].clone()
    pool.renew(1)
    assert pool.size == 4
    assert torch.equal(pool.tables["mean"][1:], before[1:]) and pool.tables["mean"][0] != before[0]
    other = Pool(any_scene, lambda scenes, out: {"mean": out.rgb.mean((1, 2, 3))}, 4, 4, seed=1, device=CPU)
    assert torch.equal(other.tables["mean"], before), "the same seed, the same scenes"


def test_the_autoencoder_learns_and_its_critic_stands_still_for_it(nothing_trained, monkeypatch):
    monkeypatch.setattr(module, "Pool", small_pool)
    monkeypatch.setattr(module, "render", lambda scenes: render(scenes[:2]))  # those held out are of no use here
    spec = module.Autoencoder()
    rng = np.random.default_rng(0)
    batch = spec.batch(rng, CPU)
    loss, figures = spec.loss(spec.network, batch, progress=0.1)
    assert "score" not in figures  # perceptual and adversarial losses come late
    optimiser = spec.optimiser(spec.network, 2e-3, 0.0)
    for _ in range(6):
        optimiser.zero_grad()
        again, _ = spec.loss(spec.network, batch, progress=0.1)
        again.backward()
        optimiser.step()
    assert again < 0.9 * loss

    y = torch.rand(2, 3, 32, 32, requires_grad=True)
    score, critic_loss = spec._judged(spec.network.critic, y * 2 - 1, torch.rand(2, 3, 32, 32))
    parameter = next(spec.network.critic.parameters())
    assert torch.autograd.grad(score, parameter, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(critic_loss, y, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(score, y)[0].abs().sum() > 0


def test_what_is_kept_is_a_class_of_diffusers_that_a_pipeline_can_hold(nothing_trained, tmp_path):
    torch.manual_seed(0)
    network = module.build()
    network.save_pretrained(tmp_path / "vae")
    again = AutoencoderDC.from_pretrained(tmp_path / "vae")
    assert 2 ** (len(again.config.block_out_channels) - 1) == module.FACTOR
    assert json.loads((tmp_path / "vae" / "config.json").read_text())["_class_name"] == "AutoencoderDC"
    z = again.encode(torch.zeros(1, 3, 128, 128)).latent
    assert z.shape == (1, module.CHANNELS, denoiser.SIDE, denoiser.SIDE)


def test_captions_say_of_each_token_which_solids_it_is_about():
    tokenizer, rng = build_tokenizer(), np.random.default_rng(0)
    shapes = {form: shape for shape, pairs in NOUNS.items() for pair in pairs for form in pair}
    for n in range(100):
        scene = random_scene(rng, 1 + n % 4, alike=0.3)
        arrays = caption_arrays(scene, rng)
        words = [word.removesuffix("</w>") for word in tokenizer.convert_ids_to_tokens(arrays["tokens"].tolist())]
        for i, solid in enumerate(scene.solids):
            about = {k for k in range(LENGTH) if arrays["owners"][k] >> i & 1}
            assert solid.shape in {shapes.get(words[k]) for k in about}, (i, words)
            end = arrays["ends"][i]
            assert end in about and end < words.index("<|endoftext|>")
            assert arrays["alone"][i] == (arrays["owners"][end] == 1 << i)
            later = {k for k in about if k > end} - set(arrays["links"].tolist())
            assert all(arrays["owners"][k] != 1 << i or words[k] in LINKING for k in later), (i, words)
        assert (arrays["ends"][len(scene.solids) :] == 0).all()
        for at, subject in zip(arrays["links"], arrays["subjects"], strict=True):
            assert subject == -1 or (words[at] in LINKING and arrays["owners"][at] == 1 << subject)


def test_no_network_is_trained_on_a_held_out_sentence(monkeypatch):
    """Not even by chance: a caption that is one of them is drawn again."""
    scene = draw("train", 7)
    first = training_caption(scene, np.random.default_rng(0))
    assert captions_as_arrays.plain_words("A red ball, NIGHT!") == ("a", "red", "ball", "night")
    monkeypatch.setattr(
        captions_as_arrays, "held_out_sentences", lambda: {captions_as_arrays.plain_words(first.text.upper())}
    )
    assert training_caption(scene, np.random.default_rng(0)).text != first.text
    monkeypatch.undo()
    assert ("two", "red", "cubes") in held_out_sentences() and len(held_out_sentences()) == 100
    rng, held_out = np.random.default_rng(1), held_out_sentences()
    for n in range(300):
        assert captions_as_arrays.plain_words(training_caption(random_scene(rng, 1 + n % 4), rng).text) not in held_out


def test_training_scenes_have_all_colours_and_several_of_a_kind_and_no_held_out_pair():
    rng = np.random.default_rng(0)
    scenes = [denoiser.training_scene(rng) for _ in range(300)]
    solids = [(solid.colour, solid.shape) for scene in scenes for solid in scene.solids]
    assert {colour for colour, _ in solids} == set(COLOURS) and not HELD_OUT & set(solids)
    twins = [len({solid.shape for solid in scene.solids}) < len(scene.solids) for scene in scenes]
    assert 0.3 < np.mean(twins) < 0.7


def test_maps_are_those_of_the_scene():
    scenes = [draw("train", n) for n in range(6)]
    arrays = scene_arrays(scenes, np.random.default_rng(0), 2) | map_arrays(render(scenes))
    assert arrays["tokens"].shape[:2] == (6, 2)
    for b, scene in enumerate(scenes):
        for i in range(len(scene.solids)):
            u, v, _ = scene.place(i)
            across, down = arrays["where"][b, i].tolist()
            if across >= 0 and len(scene.solids) == 1:  # nothing hides it: its middle is where it stands
                assert abs((across + 0.5) / 8 - (u + 1) / 2) < 0.15 and abs((down + 0.5) / 8 - (1 - v) / 2) < 0.2
        assert (arrays["attributes"][b, :, 0] >= 0).sum() == len(scene.solids)


@pytest.mark.slow
def test_the_denoiser_s_losses_reach_text_encoder_and_unet(nothing_trained, monkeypatch):
    monkeypatch.setattr(denoiser, "Pool", small_pool)
    monkeypatch.setattr(denoiser, "settled_autoencoder", module.build)
    monkeypatch.setattr(denoiser, "NEXT", module.NEXT)
    spec = denoiser.Denoiser()
    spec.rows = 4
    batch = spec.batch(np.random.default_rng(0), CPU)
    early, _ = spec.loss(spec.network, batch, progress=0.1)
    early.backward()
    silent = [name for name, p in spec.network.named_parameters() if p.grad is None]
    assert all(name.startswith("text.") and "position" not in name for name in silent), silent
    spec.network.zero_grad()
    late, figures = spec.loss(spec.network, batch, progress=1.0)
    assert late.item() == pytest.approx(figures["v"].item()), "the teachers fall silent at the end"
