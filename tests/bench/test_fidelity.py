"""The bench of fidelity on a backbone that paints perfectly, on one that paints something else, and on a folder."""

import json
from functools import cache

import pytest
import torch

from bench import fidelity
from world.captions import parse
from world.evaluator import read
from world.render import quantized, render
from world.well_formed import assess

FEW = 5


class PerfectBackbone:
    """A backbone whose latents are pixels of 8 bits and whose estimate of x0 is always the ground-truth image of the
    prompt."""

    id, revision, default_size, size_multiple = "painter", "0", 128, 8
    sigmas = torch.logspace(-2, 2, 50)

    def __init__(self, shift: int = 0):
        captions = fidelity.cases(FEW)
        self.images = quantized(render([case.scene for case in captions], 128).rgb) / 255
        self.place = {case.text: (i + shift) % FEW for i, case in enumerate(captions)} | {"": 0}

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        return 3, height, width

    def encode_prompt(self, texts):
        return {"text": torch.tensor([self.place[text] for text in texts])[:, None, None].float()}

    def denoise(self, ask):
        return self.images[ask.cond["text"][:, 0, 0].long()]

    def decode(self, latents):
        return latents


@cache
def seen() -> dict:
    """(bytes of an image, its reading) -> what the fit of its solids came to, which takes tenths of a second each."""
    return {}


def assess_once(image, readings):
    key = image.numpy().tobytes(), repr(readings)
    if key not in seen():
        seen()[key] = assess(image, readings)
    return seen()[key]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(fidelity, "RENDERS", 12)
    monkeypatch.setattr(fidelity, "assess", assess_once)
    return ["--captions", str(FEW), "--steps", "2", "--scale", "1"]


def run(arguments, tmp_path) -> dict[str, float]:
    fidelity.main([*arguments, "--json", str(tmp_path / "figures.json")])
    return json.loads((tmp_path / "figures.json").read_text())


def test_a_perfect_backbone_reaches_the_ceiling(monkeypatch, few, tmp_path, capsys) -> None:
    monkeypatch.setattr(fidelity, "load", lambda id: PerfectBackbone())
    figures = run([*few, "--keep", str(tmp_path / "kept")], tmp_path)
    for key in ("binding", "relations", "sizes", "count", "ground", "sky", "exact"):
        assert figures[key] == pytest.approx(figures[f"{key}_ceiling"], abs=15), key
        assert figures[key] > figures[f"{key}_chance"], key
    assert figures["kid"] == pytest.approx(figures["kid_floor"], abs=0.02)
    assert "attribute pairs" in capsys.readouterr().out
    again = run(["--captions", str(FEW), "--images", str(tmp_path / "kept")], tmp_path)
    assert again["binding"] == pytest.approx(figures["binding"], abs=10)
    assert len((tmp_path / "kept" / "captions.txt").read_text().splitlines()) == FEW


def test_a_backbone_of_other_scenes_falls_to_chance(monkeypatch, few, tmp_path) -> None:
    monkeypatch.setattr(fidelity, "load", lambda id: PerfectBackbone(shift=1))
    figures = run(few, tmp_path)
    assert figures["binding"] < 40 and figures["exact"] == 0 < figures["exact_ceiling"]


def test_captions_are_of_held_out_scenes_and_repeatable() -> None:
    captions = fidelity.cases(4)
    assert captions == fidelity.cases(4) and captions[2] == fidelity.cases(1, first=2)[0]
    assert all(
        case.claims == parse(case.text) and len(case.claims.solids) == len(case.scene.solids) for case in captions
    )


def test_scores_of_renders() -> None:
    captions = fidelity.cases(6)
    figures = fidelity.scores(read(render([c.scene for c in captions], 128).rgb), [case.claims for case in captions])
    assert figures["sure"] <= figures["binding"]
    assert set(figures) <= set(fidelity.FIGURES) and figures["ground"] == 100
    assert all(0 <= value <= 100 for value in figures.values())
    assert fidelity.scores([], []) == {}


def test_evaluator_kid() -> None:
    """Zero on average for two sets of one kind, more for another mean, and by hand for few points."""
    draw = torch.Generator().manual_seed(0)
    a, b, other = (torch.randn(400, 16, generator=draw) + shift for shift in (0, 0, 0.5))
    assert abs(fidelity.evaluator_kid(a, b)) < 0.03 < 0.2 < fidelity.evaluator_kid(a, other)
    x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    kernel = lambda p, q: (p * q + 1) ** 3  # noqa: E731
    by_hand = kernel(1, 2) + kernel(0, 1) - 2 * sum(kernel(p, q) for p in (1, 2) for q in (0, 1)) / 4
    assert fidelity.evaluator_kid(x, y) == pytest.approx(by_hand)


def test_a_missing_image_is_an_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        fidelity.load_images(tmp_path, 1)
