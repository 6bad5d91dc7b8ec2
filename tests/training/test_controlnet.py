"""The ControlNets' training: silent at first, one run for two kinds of maps, and a step of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from training import controlnet as training
from training.maps import NAMES


@pytest.fixture(scope="module")
def unet():
    return UNet2DConditionModel.from_pretrained(training.SHIPPED / "unet", torch_dtype=torch.float32).eval()


def inputs(rows=2):
    draws = torch.Generator().manual_seed(0)
    x, text = torch.randn(rows, 4, 16, 16, generator=draws), torch.randn(rows, 56, 192, generator=draws)
    return x, torch.full((rows,), 500.0), text


def loud(network):
    torch.manual_seed(1)
    for part in (network.controlnet_down_blocks, network.controlnet_mid_block, network.controlnet_cond_embedding):
        for weights in part.parameters():
            torch.nn.init.normal_(weights, std=0.1)
    return network


@torch.no_grad()
def test_it_begins_with_the_encoder_and_says_nothing(unet):
    network, (x, t, text) = training.build(unet, 2), inputs()
    assert torch.equal(network.down_blocks[1].resnets[0].conv1.weight, unet.down_blocks[1].resnets[0].conv1.weight)
    down, mid = network(x, t, text, torch.rand(2, 2, 64, 64), return_dict=False)
    plain = unet(x, t, text).sample
    with_it = unet(x, t, text, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
    assert torch.equal(plain, with_it)


@torch.no_grad()
def test_each_kind_s_network_is_the_common_one_on_that_kind(unet):
    both, (x, t, text) = loud(training.build(unet, 2)), inputs()
    for i, name in enumerate(NAMES):
        one = training.build(unet, 1)
        one.load_state_dict(training.split(both.state_dict(), name))
        given = torch.zeros(2, 2, 64, 64)
        given[:, i] = torch.rand(2, 64, 64)
        theirs, ours = (
            both(x, t, text, given, return_dict=False),
            one(x, t, text, given[:, i : i + 1], return_dict=False),
        )
        torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=1e-4)
    parts = [training.split(both.state_dict(), name) for name in NAMES]
    again = training.joined(parts)
    assert all(torch.equal(value, again[name]) for name, value in both.state_dict().items())


def test_maps_are_of_one_kind():
    full = torch.zeros(2, 2, 128, 128, dtype=torch.uint8)
    full[:, 0] = 102
    full[:, 1, 5] = 255
    given = training.shown(full, torch.arange(2))
    assert given.shape == (2, 2, 128, 128)
    assert given[0, 0].unique().tolist() == [pytest.approx(0.4)] and not given[0, 1].any()
    assert given[1, 1, 5].eq(1).all() and given[1].sum() == 128


def test_a_step_moves_the_controlnet_and_nothing_else(monkeypatch):
    """On one batch, over and over: the error falls, and the UNet and the text encoder stay what they were."""
    draws = np.random.default_rng(0)
    z = torch.from_numpy(draws.standard_normal((8, 4, 16, 16), np.float32))
    monkeypatch.setattr(training, "SCENES", 8)
    monkeypatch.setattr(training, "CONTROLNETS", training.CONTROLNETS / "none")
    monkeypatch.setattr(training, "latents", lambda *_: z)
    monkeypatch.setattr(training, "maps", lambda split, n: draws.integers(256, size=(n, 2, 64, 64)).astype(np.uint8))
    monkeypatch.setattr(training, "words", lambda *_: SimpleNamespace(tokens=np.full((8, 2, 56), 3, np.int16)))
    spec = training.ControlNet()
    spec.rows = 4
    frozen = {name: value.clone() for name, value in [*spec.unet.named_parameters(), *spec.text.named_parameters()]}
    batch = spec.batch(np.random.default_rng(1), torch.device("cpu"))
    assert batch["z"].shape == (4, 4, 16, 16) and batch["map"].shape == (4, 2, 64, 64)
    assert all((row.flatten(1).sum(1) > 0).sum() == 1 for row in batch["map"])
    optimiser = torch.optim.AdamW(spec.network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss, _figures = spec.loss(spec.network, batch, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    named = [*spec.unet.named_parameters(), *spec.text.named_parameters()]
    assert all(torch.equal(value, frozen[name]) and value.grad is None for name, value in named)
