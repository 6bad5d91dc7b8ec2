"""Muon: orthogonal steps for matrices, AdamW for the rest."""

import pytest
import torch
from torch import nn

from training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(24, 24), (16, 90), (90, 16)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    torch.manual_seed(0)
    rank = min(shape)
    left, right = (torch.linalg.qr(torch.randn(size, rank))[0] for size in shape)
    matrix = left @ torch.diag(torch.logspace(0, -1, rank)) @ right.T
    out = orthogonalised(matrix)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diagonal(u.T @ out @ v.T)
    assert values.min() > 0.5 and values.max() < 1.35
    rest = u.T @ out @ v.T - torch.diag(values)
    assert rest.abs().max() < 0.1
    assert s.max() / s.min() > 5  # the matrix itself is far from orthogonal


def test_vectors_and_thin_matrices_are_stepped_as_by_adamw():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 6), nn.Linear(4, 6)
    theirs.load_state_dict(ours.state_dict())
    mine = Muon(ours, 1e-2, weight_decay=0.0)
    other = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0)
    x = torch.randn(32, 4)
    for _ in range(20):
        for net, optimiser in ((ours, mine), (theirs, other)):
            optimiser.zero_grad()
            (net(x).square().mean()).backward()
            optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_step_of_a_convolution_has_the_size_of_one_of_adamw():
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 32, 3, bias=False)
    before = layer.weight.detach().clone()
    optimiser = Muon(layer, 1e-2, weight_decay=0.0)
    layer(torch.randn(4, 16, 8, 8)).square().mean().backward()
    optimiser.step()
    size = (layer.weight - before).square().mean().sqrt().item()
    assert 0.1e-2 < size < 0.4e-2  # 0.2 of the learning rate in each entry


def test_it_goes_on_from_its_state():
    torch.manual_seed(0)

    def trained(steps: int, again: int = 0) -> nn.Module:
        torch.manual_seed(1)
        net = nn.Linear(12, 12)
        optimiser = Muon(net, 1e-2)
        for k in range(steps + again):
            if again and k == steps:
                state = optimiser.state_dict()
                optimiser = Muon(net, 1e-2)
                optimiser.load_state_dict(state)
            optimiser.zero_grad()
            net(torch.eye(12)).sub(2).square().mean().backward()
            optimiser.step()
        return net

    assert torch.equal(trained(6).weight, trained(3, 3).weight)
