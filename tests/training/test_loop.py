"""The training loop on a line to fit: it learns, goes on where it stopped, and says when it cannot."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from training import loop
from training.loop import Plan, averaged_network, progress_at, rate_at, train


class Line:
    """y = 2 x + 1, to be found by a linear layer."""

    name, rows, rate = "line", 16, 5e-2

    def __init__(self, spoil_after: int | None = None):
        torch.manual_seed(0)
        self.network: nn.Module = nn.Linear(1, 1)
        self.spoil_after, self.batches = spoil_after, 0

    def batch(self, rng, device):
        self.batches += 1
        x = torch.from_numpy(rng.standard_normal((self.rows, 1)).astype(np.float32))
        return x, 2 * x + 1

    def loss(self, network, batch, progress):
        x, y = batch
        with torch.autocast("cpu", enabled=False):
            error = (network(x) - y).square().mean()
        if self.spoil_after is not None and self.batches > self.spoil_after:
            error = error * float("nan")
        return error, {"error": error.detach()}

    def check(self, network):
        return {"slope": network.weight.item(), "offset": network.bias.item()}

    def preview(self, network):
        return Image.new("RGB", (8, 8))


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RUNS", tmp_path)
    return tmp_path / "line"


def test_it_learns_and_leaves_curve_and_images(runs):
    train(Line(), Plan(images=16 * 600, warmup=100))
    point = json.loads((runs / "curve.json").read_text())[-1]
    assert point["seen"] == 16 * 600
    assert point["slope"] == pytest.approx(2, abs=0.02)
    assert point["offset"] == pytest.approx(1, abs=0.02)
    assert (runs / "curve.png").exists()
    assert list(runs.glob("pictures_*.png"))


def test_averaged_weights_are_what_is_checked(runs):
    train(Line(), Plan(images=16 * 50, warmup=100))
    kept = averaged_network("line")
    assert json.loads((runs / "curve.json").read_text())[-1]["slope"] == pytest.approx(kept["weight"].item(), abs=1e-4)


def test_a_second_piece_goes_on(runs):
    train(Line(), Plan(images=16 * 300, warmup=100))
    before = torch.load(runs / "last.pt", weights_only=True)
    spec = Line()
    train(spec, Plan(images=16 * 310, warmup=100))
    after = torch.load(runs / "last.pt", weights_only=True)
    assert spec.batches == 10
    assert after["seen"] == 16 * 310
    assert torch.allclose(before["network"]["weight"], after["network"]["weight"], atol=0.1)
    assert len(json.loads((runs / "curve.json").read_text())) == 2


def test_a_finished_run_does_nothing_more(runs):
    train(Line(), Plan(images=160, warmup=100))
    spec = Line()
    train(spec, Plan(images=160, warmup=100))
    assert spec.batches == 0


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(runs):
    train(Line(), Plan(images=160, warmup=100))
    kept = (runs / "last.pt").read_bytes()
    with pytest.raises(FloatingPointError, match=r"line: the loss is not finite after \d+ images"):
        train(Line(spoil_after=2), Plan(images=1600, warmup=100))
    assert (runs / "last.pt").read_bytes() == kept


def test_missing_checkpoint_says_what_to_run():
    with pytest.raises(FileNotFoundError, match="python -m training line"):
        averaged_network("line")


def test_rate_rises_stays_and_falls_to_zero():
    plan = Plan(images=1000, warmup=100, decay=0.25)
    rates = [
        rate_at(plan, images_seen, progress_at(plan, images_seen, 1e9)) for images_seen in (0, 49, 100, 700, 875, 1000)
    ]
    assert rates == pytest.approx([0.01, 0.5, 1, 1, 0.5, 0])


def test_without_images_the_minutes_are_the_plan(runs):
    plan = Plan(images=0, minutes=0.02, warmup=100, decay=0.5)
    assert [progress_at(plan, 10**9, seconds) for seconds in (0.0, 0.6, 1.2, 5.0)] == pytest.approx([0, 0.5, 1, 1])
    spec = Line()
    train(spec, plan)
    assert spec.batches > 10
    point = json.loads((runs / "curve.json").read_text())[-1]
    assert point["seen"] == 16 * spec.batches and point["minutes"] == pytest.approx(0.02, rel=0.5)


@pytest.mark.parametrize("computes_in_it", [True, False])
def test_bf16_only_where_the_processor_computes_in_it(computes_in_it, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: computes_in_it)
    layer = nn.Linear(4, 4)
    with loop.reduced(torch.device("cpu")):
        made = layer(torch.ones(2, 4))
    assert made.dtype == (torch.bfloat16 if computes_in_it else torch.float32)
