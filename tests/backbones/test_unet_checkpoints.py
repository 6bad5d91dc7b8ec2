"""What is opened, what is refused, and in which words."""

import json
import shutil

import pytest
import torch

from backbones.checkpoint import CheckpointError, revision
from backbones.unet import UNetBackbone
from samplers.flow import Ask
from tests.support import tiny


@pytest.fixture(autouse=True)
def torch_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copy(checkpoints, tmp_path):
    return shutil.copytree(checkpoints("eps"), tmp_path / "model")


def refused(place, words):
    with pytest.raises(CheckpointError, match=words):
        UNetBackbone.load(str(place))


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_shards_give_the_same_network(tiny_unet, tmp_path):
    folder = tiny.save(tmp_path / "sharded", "eps", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 2
    b, whole = UNetBackbone.load(str(folder)), tiny_unet("eps")
    x, cond = torch.randn(1, 4, 16, 16), whole.encode_prompt(["red"])
    assert torch.equal(b.denoise(Ask(x, torch.ones(1), cond)), whole.denoise(Ask(x, torch.ones(1), cond)))
    next((folder / "unet").glob("*-00002-of-*.safetensors")).unlink()
    refused(folder, "unet lacks .*00002-of")


def test_the_revision_is_that_of_the_content(copy, checkpoints):
    assert revision(copy) == revision(checkpoints("eps")) == UNetBackbone.load(str(copy), name="mine").revision
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert revision(copy) != revision(checkpoints("eps"))


def test_the_revision_of_large_files_is_remembered(copy, monkeypatch, tmp_path):
    monkeypatch.setattr("backbones.checkpoint.REMEMBERED", 1000)
    first = revision(copy)
    assert list((tmp_path / "cache" / "digests").iterdir())
    monkeypatch.setattr("backbones.checkpoint.hashlib.file_digest", None)  # never called for them again
    for small in copy.rglob("*.json"):
        small.unlink()
    shutil.rmtree(copy / "tokenizer")
    assert revision(copy) != first


def test_only_the_fp16_variant_is_there(tmp_path):
    folder = tiny.save(tmp_path / "half", "eps", variant="fp16")
    assert UNetBackbone.load(str(folder)).unet.dtype == torch.float32


def test_nothing_there(tmp_path):
    refused(tmp_path / "no" / "such" / "folder", "there is no checkpoint at .*model_index.json, or an id")
    refused(tmp_path, "holds no model_index.json")


def test_a_component_and_a_single_file(copy):
    refused(copy / "unet", "no model_index.json.*give the folder above")
    refused(copy / "unet" / "diffusion_pytorch_model.safetensors", "single file: convert it once")


def test_a_damaged_index(copy):
    (copy / "model_index.json").write_text("{")
    refused(copy, "model_index.json cannot be read")


def test_damaged_weights(copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 100)
    refused(copy, "could not be loaded")


def test_pickles_are_refused(copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    refused(copy, "unet holds no weights")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/nine'\ntR.")
    refused(copy, r"unet has its weights as a pickle only \(diffusion_pytorch_model.bin\).*safetensors")


@pytest.mark.parametrize("place", ["pipeline.py", "unet/my_unet.py"])
def test_code_is_refused(copy, tmp_path, place):
    (copy / place).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    refused(copy, f"brings code .*{place}.*no code of a checkpoint is run")
    assert not (tmp_path / "ran").exists()


def test_classes_of_its_own_are_refused(copy):
    edit_json(copy / "model_index.json", unet=["os", "system"])
    refused(copy, "brings code")
    edit_json(copy / "model_index.json", _class_name=["pipeline", "Mine"])
    refused(copy, "brings code")


def test_another_architecture(copy):
    edit_json(copy / "model_index.json", _class_name="FluxPipeline")
    refused(copy, "is a FluxPipeline; what fits here: StableDiffusionPipeline, StableDiffusionXLPipeline")


def test_another_prediction(copy):
    edit_json(copy / "model_index.json", scheduler=["diffusers", "EDMEulerScheduler"])
    refused(copy, "EDMEulerScheduler with prediction .* one of epsilon, v_prediction")


def test_another_number_of_channels(tmp_path):
    folder = tiny.save(tmp_path / "model")
    torch.manual_seed(0)
    tiny.unet(32, in_channels=9).save_pretrained(folder / "unet")
    refused(folder, "takes 9 channels.*what fits takes and gives the 4 channels")


def test_the_hub_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refused("nobody/no-such-model-9", "nobody/no-such-model-9 is no folder here, and the Hugging Face Hub did not")


def test_a_name_of_an_engine_or_device_that_is_none(checkpoints, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "warp")
    with pytest.raises(ValueError, match="NINE_WAYS_ENGINE=warp: give one of torch, "):
        UNetBackbone.load(str(checkpoints("eps")))
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="NINE_WAYS_DEVICE=cuda:99: this machine has no such device"):
        UNetBackbone.load(str(checkpoints("eps")))
