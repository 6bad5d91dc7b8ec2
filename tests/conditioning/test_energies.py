"""Energies: zero at the target, up away from it, blind to what they are not about, and downhill is there."""

import pytest
import torch
from torch import nn

from backbones.readers import Reader
from conditioning.energies import ENERGIES
from world.render import render
from world.scene import Scene, Solid


class Read(nn.Module):
    """A backbone with an untrained reader in double precision: smooth, and not blind to anything."""

    id, offers = "read", frozenset({"reader"})

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        network = Reader(["sky", "ground", "cube"], widths=(8, 8, 16, 16), fused=8)
        self.reader = network.eval().requires_grad_(False)


BACKBONE = Read()


def scene(colour="red", x=0.0, ground="grass"):
    return Scene((Solid("cube", colour, "large", "matte", x, 0.0),), ground, "day")


def picture(*scenes):
    return render(scenes, 64).rgb.clone()


TARGET = picture(scene())
energies = pytest.mark.parametrize("name", ENERGIES)


@energies
def test_it_is_zero_at_the_target_and_above_it_elsewhere(name):
    energy = ENERGIES[name](TARGET.expand(3, -1, -1, -1), BACKBONE)
    others = torch.cat([TARGET, picture(scene(x=1.0, colour="blue", ground="snow")), torch.full_like(TARGET, 0.5)])
    told = energy(others)
    assert told.shape == (3,)
    assert told[0].abs() < 1e-6 and (told[1:] > 1e-5).all()


@energies
def test_its_gradient_is_that_of_finite_differences(name):
    backbone = Read()
    energy = ENERGIES[name](TARGET.repeat(2, 1, 1, 1), backbone)
    x = (0.7 * picture(scene(x=0.8, colour="white"), scene(colour="cyan")) + 0.1).requires_grad_()
    (g,) = torch.autograd.grad(energy(x).sum(), x)
    way = g / g.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        rise = (energy(x + 0.05 * way) - energy(x - 0.05 * way)) / 0.1
    slope = (g * way).flatten(1).sum(1)
    assert (slope > 0).all()
    torch.testing.assert_close(rise, slope, rtol=0.25, atol=0)


@energies
def test_going_down_leads_to_the_target(name):
    energy = ENERGIES[name](TARGET, BACKBONE)
    x = picture(scene(x=0.8, colour="blue", ground="sand"))
    before = energy(x)
    for step in torch.linspace(0.02, 0.002, 30):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(energy(x).sum(), x)
        x = x - step * g / g.square().mean().sqrt()
    assert (energy(x.detach()) < 0.5 * before).all()


@energies
def test_rows_do_not_know_each_other(name):
    both = picture(scene(x=0.8), scene(colour="white"))
    targets = torch.cat([TARGET, picture(scene(x=-0.8))])
    alone = [ENERGIES[name](t, BACKBONE)(p) for t, p in zip(targets.split(1), both.split(1), strict=True)]
    torch.testing.assert_close(ENERGIES[name](targets, BACKBONE)(both), torch.cat(alone))


def test_colours_do_not_care_where_and_edges_not_which():
    mirrored, recoloured, moved = TARGET.flip(3), picture(scene(colour="yellow")), picture(scene(x=1.2))
    colours, edges = (ENERGIES[name](TARGET) for name in ("colours", "edges"))
    assert colours(mirrored) < 1e-3 * colours(recoloured)
    assert edges(recoloured) < 0.3 * edges(moved)


def test_without_a_reader_it_says_what_needs_none():
    with pytest.raises(ValueError, match="plain has no reader, which depth needs: colours and edges need none"):
        ENERGIES["depth"](TARGET, type("Plain", (), {"id": "plain"})())
