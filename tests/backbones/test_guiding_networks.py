"""Guiding networks: their shapes, saved and loaded again, and offered by the backbone they lie beside."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from backbones.guiding_networks import NETWORKS, Classifier, Contrastive, PerceptionModel, begun, has, load, save
from world.captions import describe
from world.render import render
from world.scene import draw

CLASSES = ["sky", "ground", "cube"]
CONFIG = {
    "perception_model": {"classes": CLASSES},
    "classifier": {"groups": [["red", "red cube"], ["snow", "sand"]]},
    "contrastive": {"words": ["a", "red", "cube", "blue", "ball", "and", ","]},
}
TEXT = "a red cube and a blue ball"


def answer(name, network):
    draws = torch.Generator().manual_seed(0)
    if name == "perception_model":
        reading = network(torch.rand(2, 3, 32, 48, generator=draws))
        return torch.cat([reading.nearness, reading.classes], 1)
    if name == "contrastive":
        return network.score(torch.rand(2, 3, 32, 48, generator=draws), TEXT)
    return network(torch.randn(2, 4, 8, 12, generator=draws), torch.tensor([0.1, 9.0]))


def test_a_reading_is_half_as_large_as_its_image():
    reading = PerceptionModel(CLASSES).eval()(torch.rand(2, 3, 32, 48))
    assert reading.nearness.shape == (2, 1, 16, 24) and reading.classes.shape == (2, 3, 16, 24)
    assert [tuple(m.shape[2:]) for m in reading.features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_saved_is_loaded_frozen(name, tmp_path):
    torch.manual_seed(0)
    network = NETWORKS[name](**CONFIG[name])
    answer(name, network.train())  # moves the running means
    network.eval()
    assert not has(tmp_path, name)
    file = save(tmp_path, name, network.state_dict(), **CONFIG[name])
    assert has(tmp_path, name) and file.stat().st_size < 2e6
    again = load(tmp_path, name)
    assert not any(p.requires_grad for p in again.parameters()) and not again.training
    torch.testing.assert_close(answer(name, again), answer(name, network), atol=0.02, rtol=0.02)  # half precision


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_what_is_read(name, tmp_path):
    x = torch.rand(1, *((4, 8, 8) if name == "classifier" else (3, 32, 32)), requires_grad=True)
    network = NETWORKS[name](**CONFIG[name]).eval().requires_grad_(False)
    output = {
        "perception_model": lambda: network(x).nearness,
        "classifier": lambda: network.log_p(x, torch.ones(1), ["red cube", "sand"]),
        "contrastive": lambda: network.score(x, TEXT),
    }[name]()
    (g,) = torch.autograd.grad(output.sum(), x)
    assert (g != 0).any()


def test_a_training_goes_on_with_what_is_shipped_if_it_knows_the_same_words(tmp_path):
    fresh = begun(tmp_path, "perception_model", classes=CLASSES)
    save(tmp_path, "perception_model", {k: w + 1 for k, w in fresh.state_dict().items()}, classes=CLASSES)
    again = begun(tmp_path, "perception_model", classes=tuple(CLASSES))
    assert again.training and all(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(again.head.weight, fresh.head.weight + 1, atol=2e-3, rtol=2e-3)
    assert begun(tmp_path, "perception_model", classes=["sky", "cube"]).names == ("sky", "cube")


def test_the_contrastive_model_minds_the_order_of_words_and_not_its_batch():
    torch.manual_seed(1)
    network = Contrastive(**CONFIG["contrastive"]).eval()
    x = torch.rand(3, 3, 32, 32)
    scores = network.score(x, TEXT)
    assert scores.shape == (3,) and (scores.abs() <= 1).all()
    assert (scores - network.score(x, "a blue cube and a red ball")).abs().min() > 1e-5
    torch.testing.assert_close(
        network.score(x[1:2], "A red cube, and a blue ball"), network.score(x, "a red cube, and a blue ball")[1:2]
    )
    texts = [torch.tensor([network.parse(t)]) for t in (TEXT, "a ball")]
    padded = torch.cat([texts[0], F.pad(texts[1], (0, 5))])
    cells = network.cells(network.image_features(x))
    both = network.all(cells, *network.read(padded))
    torch.testing.assert_close(both[:, 1:], network.all(cells, *network.read(texts[1])))
    torch.testing.assert_close(network.own(cells[:2], *network.read(padded)), both[:2].diagonal())


@pytest.mark.parametrize(
    "text, why",
    [
        ("a red teapot", "does not know 'teapot': it knows a, red"),
        ("", "given 0 words"),
        ("a " * 56, "given 56 words: write 1 to 55"),
    ],
)
def test_what_the_contrastive_model_cannot_read_it_says(text, why):
    with pytest.raises(ValueError, match=why):
        Contrastive(**CONFIG["contrastive"]).parse(text)


def test_a_level_beyond_its_training_counts_as_the_last():
    network, x = Classifier(**CONFIG["classifier"]).eval(), torch.randn(1, 4, 8, 8)
    far, last = (network(x * s / 60, torch.tensor([s])) for s in (6000.0, 60.0))
    torch.testing.assert_close(far, last, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def still_life():
    from backbones import load as load_backbone

    return load_backbone("still-life")


def shipped(still_life, name):
    if name not in still_life.offers:
        pytest.skip(f"no {name} is shipped: python -m training.{name}")
    return getattr(still_life, name)


def test_still_lifes_perception_model_reads_depth_and_what_stands_where(still_life):
    """On renders of the test split; `python -m training.perception_model --check` has the figures."""
    model = shipped(still_life, "perception_model")
    scenes = render([draw("test", n) for n in range(20_000, 20_012)], 128)
    reading, true = model(scenes.rgb.clone()), (3 / scenes.depth)[:, ::2, ::2]
    near = reading.nearness[:, 0]
    assert (near - true).abs().mean() < 0.35 * (true - true.mean((1, 2), keepdim=True)).abs().mean()
    assert (reading.classes.argmax(1) == scenes.classes[:, ::2, ::2]).float().mean() > 0.85


def test_still_lifes_classifier_tells_grounds_and_colours_from_noisy_latents(still_life):
    classifier = shipped(still_life, "classifier")
    scenes = [draw("validation", n) for n in range(5000, 5040)]
    z = still_life.encode_image(render(scenes, 128).rgb.clone())
    x = z + torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    s = torch.ones(len(x))
    grounds = torch.stack([classifier.log_p(x, s, [ground]) for ground in classifier.groups[1]], 1).argmax(1)
    right = [classifier.groups[1][int(i)] == scene.ground for i, scene in zip(grounds, scenes, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    red = classifier.log_p(x, s, ["red"])
    there = torch.tensor([any(solid.colour == "red" for solid in scene.solids) for scene in scenes])
    assert red[there].mean() > red[~there].mean() + 0.5


def test_still_lifes_contrastive_model_tells_captions_apart(still_life):
    """On 16 renders of the test split; `python -m training.contrastive --check` has the figures."""
    model = shipped(still_life, "contrastive")
    scenes = [draw("test", n) for n in range(20_000, 20_016)]
    x = render(scenes, 128).rgb.clone()
    texts = [describe(scene, np.random.default_rng(n)).text for n, scene in enumerate(scenes)]
    scores = torch.stack([model.score(x, text) for text in texts], 1)
    right = torch.arange(16)
    assert (scores.argmax(1) == right).sum() >= 12 and (scores.argmax(0) == right).sum() >= 12
