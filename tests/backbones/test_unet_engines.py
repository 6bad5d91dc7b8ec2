"""Engines give one image, and a row its own whatever its batch."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from backbones import engines, stable_diffusion
from backbones.engines import SMALL, plan
from samplers.flow import Ask
from tests.support.guided_samples import sample

needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def load(checkpoints, home, monkeypatch):
    def backbone(kind, engine):
        monkeypatch.setenv("NINE_WAYS_CACHE", str(home))
        monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
        monkeypatch.setenv("NINE_WAYS_ENGINE", engine)
        return stable_diffusion.load(str(checkpoints(kind)))

    return backbone


def levels(b, steps=8):
    return [*b.sigmas[torch.linspace(len(b.sigmas) - 1, 0, steps).long()].tolist(), 0.0]


@needs_openvino
@pytest.mark.parametrize("kind", ["flow", "xl"])
def test_openvino_and_torch_give_one_image(tiny_unet, load, kind):
    """Latents to 1e-4 of their largest after 8 steps with guidance; 8-bit pixels to 1, all but 2 % of them equal. Each
    kind of graph and of decoder; another parametrisation is the same graph, and asked below."""
    b, t = load(kind, "openvino"), tiny_unet(kind)
    assert b.engine.name == "openvino f32"
    for width, height in ((b.default_size, b.default_size), (3 * b.size_multiple, 5 * b.size_multiple)):
        s = levels(b)
        x = s[0] * torch.randn(1, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(2))
        ours, theirs = sample(b, x, s), sample(t, x, s)
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
        one, other = ((each * 255).round() for each in (b.decode(ours), t.decode(theirs)))
        assert (one != other).float().mean() < 0.02 and (one - other).abs().max() <= 1


@needs_openvino
def test_openvino_rows_do_not_know_each_other(load):
    b = load("v", "openvino")
    x, sigma = torch.randn(7, 4, 16, 16), torch.tensor([9.0, 2.0, 0.1, 1.0, 5.0, 0.5, 14.0])
    cond = b.encode_prompt(["a red cube", "", "blue", "grass", "a cube", "on", "the large"])
    all_of_them = b.denoise(Ask(x, sigma, cond))
    assert torch.equal(all_of_them, b.denoise(Ask(x, sigma, cond)))
    for i in range(7):
        row = {key: value[i : i + 1] for key, value in cond.items()}
        assert torch.equal(all_of_them[i : i + 1], b.denoise(Ask(x[i : i + 1], sigma[i : i + 1], row)))


@needs_openvino
def test_tapes_and_edits_go_through_torch(load):
    b = load("v", "openvino")
    x, cond = torch.randn(1, 4, 16, 16, requires_grad=True), b.encode_prompt(["red"])

    class Plain:
        def attend(self, site, q, k, v, plain):
            return plain(q, k, v)

    answer = b.denoise(Ask(x, torch.ones(1), cond))
    taped = b.denoise(Ask(x, torch.ones(1), cond, tape=object()))
    assert torch.autograd.grad(taped.sum(), x)[0].abs().max() > 0
    torch.testing.assert_close(taped.detach(), answer, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(b.denoise(Ask(x, torch.ones(1), cond, Plain())), answer, atol=1e-4, rtol=1e-4)


@needs_openvino
def test_the_converted_network_is_kept_and_a_damaged_one_made_again(load, home, monkeypatch):
    first = load("flow", "openvino")
    kept = next(home.glob(f"UNetGraph-{first.revision}-*"))
    with monkeypatch.context() as patch:
        patch.setattr(engines.OpenVINOEngine, "_convert", None)
        again = load("flow", "openvino")
    (kept / "model.xml").write_text("<damaged")
    made = load("flow", "openvino")
    x, cond = torch.randn(1, 4, 16, 16), first.encode_prompt(["red"])
    answers = [b.denoise(Ask(x, torch.ones(1), cond)) for b in (first, again, made)]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])
    assert not list(home.glob("part-*"))


@needs_openvino
def test_openvino_without_its_telemetry():
    """Importing openvino plainly imports openvino_telemetry, which reports the import."""
    code = (
        "import sys; from backbones.engines import openvino; openvino(); "
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry') and sys.modules[m]]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_openvino
def test_a_network_that_openvino_cannot_run(checkpoints, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(engines, "openvino", fail)
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setenv("NINE_WAYS_ENGINE", "openvino")
    with pytest.raises(RuntimeError, match="no such operation"):
        stable_diffusion.load(str(checkpoints("eps")))
    monkeypatch.delenv("NINE_WAYS_ENGINE")
    assert stable_diffusion.load(str(checkpoints("eps"))).engine.name == "torch float32"
    assert "OpenVINO cannot run this network (no such operation): torch does" in caplog.text


@pytest.mark.parametrize("engine", ["torch-bf16", pytest.param("openvino-bf16", marks=needs_openvino)])
def test_bf16_is_near(tiny_unet, load, engine):
    b, t = load("v", engine), tiny_unet("v")
    x, cond = torch.randn(2, 4, 16, 16), t.encode_prompt(["a red cube", ""])
    ours, theirs = (one.denoise(Ask(x, torch.ones(2), cond)) for one in (b, t))
    assert ours.dtype == torch.float32 and (ours - theirs).abs().max() < 0.1 * theirs.abs().max()
    grad = torch.autograd.grad(b.denoise(Ask(x.requires_grad_(), torch.ones(2), cond, tape=1)).sum(), x)[0]
    assert grad.isfinite().all()


def test_the_plan(monkeypatch):
    monkeypatch.delenv("NINE_WAYS_ENGINE", raising=False)
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert plan(SMALL).engine == "openvino" and plan(SMALL).rows == 2
    assert plan(SMALL + 1).engine == "torch" and plan(SMALL + 1).rows == 0
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert plan(SMALL).engine == "torch" and plan(SMALL).dtype == torch.float32
    monkeypatch.setenv("NINE_WAYS_DEVICE", "meta")
    assert plan(SMALL).dtype == torch.float32 and plan(SMALL + 1).dtype == torch.float16
    monkeypatch.setenv("NINE_WAYS_ENGINE", "openvino")
    with pytest.raises(ValueError, match="openvino runs on the CPU, and NINE_WAYS_DEVICE is meta"):
        plan(SMALL)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("engine,tolerance", [("torch", 1e-3), ("torch-fp16", 0.05), ("torch-bf16", 0.1)])
def test_cuda_is_near(tiny_unet, checkpoints, monkeypatch, engine, tolerance):
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cuda")
    monkeypatch.setenv("NINE_WAYS_ENGINE", engine)
    b, t = stable_diffusion.load(str(checkpoints("v"))), tiny_unet("v")
    x = torch.randn(2, 4, 16, 16)
    ours = b.denoise(Ask(x, torch.ones(2), b.encode_prompt(["a red cube", ""]))).cpu()
    theirs = t.denoise(Ask(x, torch.ones(2), t.encode_prompt(["a red cube", ""])))
    assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()
