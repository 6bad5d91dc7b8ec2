"""What the reader and the classifier are taught is the truth, and their figures are right where the answer is known."""

import numpy as np
import pytest
import torch

from backbones.readers import Classifier, Reader, Reading
from training import classifier, reader
from training.text import Words
from world.render import render
from world.scene import SHAPES, draw


@pytest.fixture
def near_and_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "RUNS", tmp_path)
    return reader.truth("validation", 3, 9)


def test_the_reader_is_taught_depth_and_classes(near_and_classes):
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


def test_figures_of_a_perfect_reader_and_of_a_blind_one(near_and_classes):
    near, classes = near_and_classes
    K = len(reader.CLASSES)

    class Perfect(Reader):
        blind = False

        def forward(self, x):
            i = int(x[0, 0, 0, 0])
            scores = torch.eye(K)[classes[i : i + len(x)].long()].permute(0, 3, 1, 2)
            return Reading(near[i : i + len(x), None].float(), scores * (not self.blind), [])

    x = torch.zeros(6, 3, 128, 128)
    told = reader.figures(Perfect(reader.CLASSES), x, near, classes)
    assert told == pytest.approx({"depth_solids": 0, "depth_ground": 0, "pixels": 1, "iou": len(classes.unique()) / K})
    network = Perfect(reader.CLASSES)
    network.blind = True
    assert reader.figures(network, x, near, classes)["pixels"] == pytest.approx((classes == 0).float().mean().item())


@pytest.fixture
def told(monkeypatch):
    """Two scenes: a red cube beside a blue sphere on the second ground; one green cone."""
    attributes = np.full((2, 4, 4), -1, np.int8)
    attributes[0, 0, :2], attributes[0, 1, :2] = (SHAPES.index("cube"), 0), (SHAPES.index("sphere"), 5)
    attributes[1, 0, :2] = SHAPES.index("cone"), 3
    nothing = np.zeros((2, 1, 1), np.int16)
    place = np.array([[1, 2, 1], [0, 0, 0]], np.int8)
    monkeypatch.setattr(classifier, "words", lambda split, n: Words(nothing, nothing, nothing, attributes, place))


def test_the_classifier_is_taught_what_is_there(told):
    there, place = classifier.truth("train", 2)
    names = [[classifier.GROUPS[0][k] for k in row.nonzero().flatten()] for row in there]
    assert names == [["red", "blue", "sphere", "cube", "red cube", "blue sphere"], ["green", "cone", "green cone"]]
    assert place.tolist() == [[1, 2], [0, 0]]
    each = classifier.solids("train", 2)
    assert not each[:, -1].any()  # where there is no solid
    assert [classifier.GROUPS[0][k] for k in each[0, 1].nonzero().flatten()] == ["blue", "sphere", "blue sphere"]


def test_the_classifiers_loss_falls_on_what_it_is_shown(told):
    torch.manual_seed(0)
    network = Classifier(classifier.GROUPS)
    there, place = classifier.truth("train", 2)
    each = classifier.solids("train", 2)
    owner = torch.full((2, 4, 4), -1)
    owner[0, 0, 0], owner[0, 3, 3], owner[1, 1, 1] = 0, 1, 0
    at = each[torch.arange(2)[:, None, None], owner].permute(0, 3, 1, 2).float()
    batch = {"x": torch.randn(2, 4, 8, 8), "sigma": torch.tensor([0.1, 1.0]), "there": there, "place": place, "at": at}
    spec = object.__new__(classifier.ClassifierSpec)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss, parts = spec.loss(network, batch, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert set(parts) == {"there", "cells", "ground", "sky"} and losses[-1] < 0.3 * losses[0]
    assert set(classifier.OTHER_WORDS.values()) <= {word for group in classifier.GROUPS for word in group}
