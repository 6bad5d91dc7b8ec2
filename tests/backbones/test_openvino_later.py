"""Large UNets on a CPU: torch at once, OpenVINO between two runs as soon as it is made."""

from importlib.util import find_spec

import pytest
import torch

from backbones import engines, stable_diffusion
from backbones.engines import OpenVINOEngine, TorchEngine
from samplers.protocol import Ask
from tests.support import tiny

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def load(folder, monkeypatch):
    def loaded(free=10**15):
        monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
        monkeypatch.delenv("NINE_WAYS_ENGINE", raising=False)
        for module in (engines, stable_diffusion):
            monkeypatch.setattr(module, "SMALL", 0)
        monkeypatch.setattr(engines, "free", lambda device: free)
        return stable_diffusion.load(str(folder))

    return loaded


def asked(b, side=16, text="red cube"):
    x = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(1))
    return b.denoise(Ask(x, torch.tensor([2.0, 0.5]), b.encode_prompt([text, "blue"])))


def test_it_is_taken_up_between_runs_and_answers_alike_at_every_size(load):
    b = load()
    assert isinstance(b.engine, TorchEngine)
    before = {side: asked(b, side) for side in (16, 8, 9)}
    b.later.thread.join()
    assert isinstance(b.engine, TorchEngine)  # not in the middle of a run
    b.between_runs()
    assert isinstance(b.engine, OpenVINOEngine) and b.later is None
    for side, want in before.items():  # 9: a stage has an odd side, which torch computes
        assert (asked(b, side) - want).abs().max() <= 1e-4 * want.abs().max()
    assert len(b.engine._compiled) == 1
    b.between_runs()


def test_without_room_for_a_second_copy_it_stays_with_torch(load):
    b = load(free=10**9)
    b.between_runs()
    assert b.later is None and isinstance(b.engine, TorchEngine)


def test_what_openvino_cannot_run_torch_runs_on(load, monkeypatch, caplog):
    monkeypatch.setattr(OpenVINOEngine, "_convert", lambda self, graph: 1 / 0)
    b = load()
    b.later.thread.join()
    b.between_runs()
    assert isinstance(b.engine, TorchEngine) and "torch goes on" in caplog.text
