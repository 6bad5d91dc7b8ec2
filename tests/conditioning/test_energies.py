"""Energies: zero at the target, up away from it, blind to what they are not about, and downhill is there."""

import types

import pytest
import torch
from torch import nn

from backbones import STILL_LIFE
from backbones.guiding_networks import Contrastive, PerceptionModel, has, load
from conditioning.energies import ENERGIES, OF_WORDS, traced
from world.render import render
from world.scene import Scene, Solid, draw


class Read(nn.Module):
    """A backbone with untrained guiding networks: smooth, and not blind to anything."""

    id, offers = "read", frozenset({"perception_model", "contrastive"})

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        network = PerceptionModel(["sky", "ground", "cube"], widths=(8, 8, 16, 16), fused=8)
        self.perception_model = network.eval().requires_grad_(False)
        self.contrastive = Contrastive(["a", "red", "cube", "blue", "on", "grass"]).eval().requires_grad_(False)


BACKBONE = Read()


def scene(colour="red", x=0.0, ground="grass"):
    return Scene((Solid("cube", colour, "large", "matte", x, 0.0),), ground, "day")


def image(*scenes):
    return render(scenes, 64).rgb.clone()


TARGET = image(scene())
energies = pytest.mark.parametrize("name", ENERGIES)


def compared(name, images, backbone=BACKBONE):
    """The energy whose target these images, or a map or words of them, are."""
    target = images
    if name == "edge map":
        target = traced(images).expand_as(images)
    elif name == "depth map":  # in a unit of its own
        near = 0.3 * backbone.perception_model(images).nearness + 0.2
        target = near.expand(-1, 3, -1, -1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return ENERGIES[name]("a red cube on grass" if name in OF_WORDS else target, backbone)


@pytest.mark.parametrize("name", sorted(set(ENERGIES) - OF_WORDS - {"edge map"}))
def test_it_is_zero_at_the_target_and_above_it_elsewhere(name):
    energy = compared(name, TARGET.expand(3, -1, -1, -1))
    others = torch.cat([TARGET, image(scene(x=1.0, colour="blue", ground="snow")), torch.full_like(TARGET, 0.5)])
    energies = energy(others)
    assert energies.shape == (3,)
    assert energies[0].abs() < 1e-6 and (energies[1:] > 1e-5).all()


@energies
def test_its_gradient_is_that_of_finite_differences(name):
    backbone = Read()
    energy = compared(name, TARGET.repeat(2, 1, 1, 1), backbone)
    x = (0.7 * image(scene(x=0.8, colour="white"), scene(colour="cyan")) + 0.1).requires_grad_()
    (g,) = torch.autograd.grad(energy(x).sum(), x)
    way = g / g.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        rise = (energy(x + 0.05 * way) - energy(x - 0.05 * way)) / 0.1
    slope = (g * way).flatten(1).sum(1)
    assert (slope > 0).all()
    torch.testing.assert_close(rise, slope, rtol=0.25, atol=0)


@energies
def test_going_down_leads_to_the_target(name):
    energy = compared(name, TARGET)
    x = image(scene(x=0.8, colour="blue", ground="sand"))
    before = energy(x)
    for step in torch.linspace(0.02, 0.002, 30):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(energy(x).sum(), x)
        x = x - step * g / g.square().mean().sqrt()
    assert (energy(x.detach()) < 0.5 * before).all()


@energies
def test_rows_do_not_know_each_other(name):
    both = image(scene(x=0.8), scene(colour="white"))
    targets = torch.cat([TARGET, image(scene(x=-0.8))])
    alone = [compared(name, t)(p) for t, p in zip(targets.split(1), both.split(1), strict=True)]
    torch.testing.assert_close(compared(name, targets)(both), torch.cat(alone))


def test_colours_do_not_care_where_and_edges_not_which():
    mirrored, recoloured, moved = TARGET.flip(3), image(scene(colour="yellow")), image(scene(x=1.2))
    colours, edges = (ENERGIES[name](TARGET) for name in ("colours", "edges"))
    assert colours(mirrored) < 1e-3 * colours(recoloured)
    assert edges(recoloured) < 0.3 * edges(moved)


@pytest.mark.parametrize("name", ["edge map", "depth map"])
def test_a_finished_map_tells_its_own_scene_from_others(name):
    """The renderer's map of each scene, as examples give it, against the images of all."""
    found = render([draw("validation", n) for n in range(600, 606)], 128)
    maps = (found.edges.float() if name == "edge map" else found.near)[:, None].expand(-1, 3, -1, -1)
    backbone = types.SimpleNamespace(id="read", offers={"perception_model"})
    if name == "depth map":
        if not has(STILL_LIFE, "perception_model"):
            pytest.skip("no perception model is shipped: python -m training.perception_model")
        backbone.perception_model = load(STILL_LIFE, "perception_model")
    energies = torch.stack(
        [ENERGIES[name](m.expand(6, -1, -1, -1), backbone)(found.rgb.clone()) for m in maps.split(1)]
    )
    own = energies.diagonal()
    others = energies.masked_fill(torch.eye(6, dtype=torch.bool), torch.inf)
    assert (own < others.amin(1)).all() and own.mean() < 0.6 * energies[~torch.eye(6, dtype=torch.bool)].mean()
    if name == "depth map":  # whatever its unit and its zero
        again = ENERGIES[name](0.5 * maps + 0.1, backbone)(found.rgb.clone())
        torch.testing.assert_close(again, own, atol=1e-4, rtol=0)


def test_without_a_perception_model_it_says_what_needs_none():
    with pytest.raises(ValueError, match="no perception model, which depth needs: colours, edges and edge map"):
        ENERGIES["depth"](TARGET, type("Plain", (), {"id": "plain"})())
    with pytest.raises(ValueError, match="plain has no contrastive, which text needs"):
        ENERGIES["text"]("a red cube", type("Plain", (), {"id": "plain"})())


def test_words_that_are_not_known_are_named():
    with pytest.raises(ValueError, match="does not know 'teapot': it knows a, red, cube"):
        ENERGIES["text"]("a red teapot", BACKBONE)
