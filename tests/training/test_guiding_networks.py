"""What the guiding networks are taught is the ground truth, and their figures are right where the answer is known."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.guiding_networks import Classifier, Contrastive, PerceptionMaps, PerceptionModel
from training import classifier, contrastive, perception_model
from training.text import Words, _rows
from world.captions import describe, parse
from world.eye import NAMES
from world.render import render
from world.scene import GROUNDS, SHAPES, SKIES, draw


def trained(spec, network, batch, steps, rate):
    """The loss of each step, and the parts of the last."""
    optimiser = torch.optim.Adam(network.parameters(), rate)
    losses = []
    for _ in range(steps):
        loss, parts = spec.loss(network, batch, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses, parts


@pytest.fixture
def near_and_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(perception_model, "RUNS", tmp_path)
    return perception_model.ground_truth("validation", 3, 9)


def test_the_perception_model_is_taught_depth_and_classes(near_and_classes):
    near, classes = near_and_classes
    big = render([draw("validation", n) for n in range(3, 9)], 128)
    assert near.shape == classes.shape == (6, 64, 64)
    blocks = torch.stack([big.classes[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    inside = (blocks == blocks[0]).all(0) & (blocks[0] == classes)  # away from outlines
    assert inside.float().mean() > 0.9
    wanted = torch.stack([3 / big.depth[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)
    torch.testing.assert_close(near.float()[inside], wanted[inside], rtol=0, atol=0.06)
    assert (near.float() - wanted)[inside].abs().mean() < 1e-3
    assert (near[classes == 0] == 0).all()


def test_figures_of_a_perfect_model_and_of_a_blind_one(near_and_classes):
    near, classes = near_and_classes
    K = len(perception_model.CLASSES)

    class Perfect(PerceptionModel):
        blind = False

        def forward(self, x):
            i = int(x[0, 0, 0, 0])
            scores = torch.eye(K)[classes[i : i + len(x)].long()].permute(0, 3, 1, 2)
            return PerceptionMaps(near[i : i + len(x), None].float(), scores * (not self.blind), [])

    x = torch.zeros(6, 3, 128, 128)
    results = perception_model.figures(Perfect(perception_model.CLASSES), x, near, classes)
    assert results == pytest.approx(
        {"depth_solids": 0, "depth_ground": 0, "pixels": 1, "iou": len(classes.unique()) / K}
    )
    network = Perfect(perception_model.CLASSES)
    network.blind = True
    pixels = perception_model.figures(network, x, near, classes)["pixels"]
    assert pixels == pytest.approx((classes == 0).float().mean().item())


@pytest.fixture
def two_scenes(monkeypatch):
    """Two scenes: a red cube beside a blue sphere on the second ground; one green cone."""
    attributes = np.full((2, 4, 4), -1, np.int8)
    attributes[0, 0, :2], attributes[0, 1, :2] = (SHAPES.index("cube"), 0), (SHAPES.index("sphere"), 5)
    attributes[1, 0, :2] = SHAPES.index("cone"), 3
    nothing = np.zeros((2, 1, 1), np.int16)
    place = np.array([[1, 2, 1], [0, 0, 0]], np.int8)
    monkeypatch.setattr(classifier, "words", lambda split, n: Words(nothing, nothing, nothing, attributes, place))


def test_the_classifier_is_taught_what_is_there(two_scenes):
    there, place = classifier.ground_truth("train", 2)
    names = [[classifier.GROUPS[0][k] for k in row.nonzero().flatten()] for row in there]
    assert names == [["red", "blue", "sphere", "cube", "red cube", "blue sphere"], ["green", "cone", "green cone"]]
    assert place.tolist() == [[1, 2], [0, 0]]
    each = classifier.solids("train", 2)
    assert not each[:, -1].any()  # where there is no solid
    assert [classifier.GROUPS[0][k] for k in each[0, 1].nonzero().flatten()] == ["blue", "sphere", "blue sphere"]


def test_the_classifiers_loss_falls_on_what_it_is_shown(two_scenes):
    torch.manual_seed(0)
    network = Classifier(classifier.GROUPS)
    there, place = classifier.ground_truth("train", 2)
    each = classifier.solids("train", 2)
    owner = torch.full((2, 4, 4), -1)
    owner[0, 0, 0], owner[0, 3, 3], owner[1, 1, 1] = 0, 1, 0
    at = each[torch.arange(2)[:, None, None], owner].permute(0, 3, 1, 2).float()
    batch = {"x": torch.randn(2, 4, 8, 8), "sigma": torch.tensor([0.1, 1.0]), "there": there, "place": place, "at": at}
    spec = object.__new__(classifier.ClassifierSpec)
    losses, parts = trained(spec, network, batch, steps=25, rate=3e-3)
    assert set(parts) == {"there", "cells", "ground", "sky"} and losses[-1] < 0.3 * losses[0]
    assert set(classifier.OTHER_WORDS.values()) <= {word for group in classifier.GROUPS for word in group}


def caption(n):
    """Scene n of the split: its caption by numbers (L,), the solid of each word, its attributes; and the scene."""
    rows = _rows("validation", n, n + 1, 1)
    arrays = Words(*rows)
    ids, owners = contrastive.numbered(arrays)
    return (ids[0, 0], owners[0, 0], arrays.attributes[0]), draw("validation", n)


def said(ids):
    return " ".join(contrastive.KNOWN[i - 1] for i in ids if i)


def held(claims, scene):
    """Whether each solid that is claimed is in the scene."""
    return all(
        any(all(getattr(claim, name) in (None, getattr(solid, name)) for name in NAMES) for solid in scene.solids)
        for claim in claims.solids
    )


def test_captions_are_true_and_the_nearly_true_ones_false():
    """By the parser of captions, which knows nothing of tokens: one word changed, or two colours in other places."""
    rng, ways = np.random.default_rng(0), Counter()
    for n in range(40, 80):
        row, scene = caption(n)
        assert said(row[0]).replace(" ,", ",") == describe(scene, np.random.default_rng([n, 0])).text
        false, how = contrastive.nearly(*row, rng)
        ways[how] += 1
        assert held(parse(said(row[0])), scene) and held(parse(said(false)), scene) is (how == "")
        if how == "swapped":
            assert set(false) == set(row[0]) and (false != row[0]).sum() >= 2
    assert min(ways["swapped"], ways["changed"]) >= 5 and ways[""] <= 3


def test_words_look_at_their_solid_and_cells_tell_what_they_are():
    masks = torch.tensor([[[-2, -2], [0, -1]]])
    batch = {"owners": torch.tensor([[-1, 0, 1]]), "masks": masks}  # solid 1 is hidden
    looks = torch.tensor([[0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 3.0, 0.0], [9.0, 0.0, 0.0, 0.0]])[None]
    loss = contrastive.looking(looks, batch)
    torch.testing.assert_close(loss, -torch.tensor(math.exp(3) / (math.exp(3) + 3)).log())
    batch |= {
        "attributes": torch.tensor([[[2, 1, 0, 1], [-1] * 4, [-1] * 4, [-1] * 4]]),
        "place": torch.tensor([[3, 1, 0]]),
    }
    scores = torch.zeros(1, sum(contrastive.ASKED), 2, 2)
    starts = np.cumsum((0, *contrastive.ASKED))
    for part, value in enumerate((2, 1, 0, 1)):
        scores[0, starts[part] + value, 1, 0] = 50
    assert contrastive.telling(scores, batch) == pytest.approx((math.log(5) + math.log(4)) / 2)
    scores[0, starts[4] + 3, 1, 1] = scores[0, starts[5] + 1, 0, :] = 50
    assert contrastive.telling(scores, batch) == pytest.approx(0, abs=1e-6)


def test_figures_of_a_perfect_contrastive_model_and_of_one_that_knows_no_order():
    class Known(Contrastive):
        """An image is the number of its caption; a caption's second word is its number, its third 1 if it is true."""

        ordered = True

        def image_features(self, images):
            return images[:, 0, 0, 0]

        def cells(self, features):
            return features

        def read(self, ids):
            return ids[:, 1], ids[:, 2] == 1

        def all(self, cells, words, true):
            return (cells[:, None] == words).float() + 0.1 * (true & self.ordered)

        def own(self, cells, words, true):
            return self.all(cells, words, true).diagonal()

    n = 66
    x = torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 8, 8)
    ids = torch.stack([torch.zeros(n), torch.arange(n), torch.ones(n)], 1).long()
    false, swapped = ids * torch.tensor([1, 1, 0]), torch.arange(n) % 2 == 0
    network = Known(contrastive.KNOWN)
    assert set(contrastive.figures(network, x, ids, false, swapped).values()) == {1.0}
    network.ordered = False
    assert contrastive.figures(network, x, ids, false, swapped) == {
        "caption": 1,
        "image": 1,
        "changed": 0,
        "swapped": 0,
    }


def test_the_contrastive_losses_fall_on_what_they_are_shown(monkeypatch):
    monkeypatch.setattr(contrastive, "STILL_LIFE", Path("nowhere"))
    torch.manual_seed(0)
    network, spec = contrastive.Taught(), object.__new__(contrastive.ContrastiveSpec)
    rows, scenes = zip(*(caption(n) for n in range(40, 46)))
    ids, owners, attributes = (np.stack(part) for part in zip(*rows))
    false = np.stack([contrastive.nearly(*row, np.random.default_rng(1))[0] for row in rows])
    place = [(GROUNDS.index(s.ground), SKIES.index(s.sky), 0) for s in scenes]
    rendered = render(scenes, 64)
    masks = rendered.instances[:, 4::8, 4::8]
    arrays = {"ids": ids, "false": false, "owners": owners, "attributes": attributes, "place": np.array(place)}
    batch = {"x": rendered.rgb.clone(), "masks": masks.long()} | {
        k: torch.from_numpy(v.astype(np.int64)) for k, v in arrays.items()
    }
    losses, parts = trained(spec, network, batch, steps=30, rate=2e-3)
    assert losses[-1] < 0.5 * losses[0] and parts["images"] < 0.5 * math.log(7)
