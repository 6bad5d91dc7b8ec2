"""What is opened, what is refused, and in which words."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones import stable_diffusion
from backbones.checkpoint import CheckpointError, revision
from backbones.pipelines import STABLE_DIFFUSION, STABLE_DIFFUSION_XL
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
        stable_diffusion.load(str(place))


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_shards_give_the_same_network(tiny_unet, tmp_path):
    folder = tiny.save(tmp_path / "sharded", "eps", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 2
    b, whole = stable_diffusion.load(str(folder)), tiny_unet("eps")
    x, cond = torch.randn(1, 4, 16, 16), whole.encode_prompt(["red"])
    assert torch.equal(b.denoise(Ask(x, torch.ones(1), cond)), whole.denoise(Ask(x, torch.ones(1), cond)))
    next((folder / "unet").glob("*-00002-of-*.safetensors")).unlink()
    refused(folder, "unet lacks .*00002-of")


def test_the_revision_is_that_of_the_content(copy, checkpoints):
    assert revision(copy) == revision(checkpoints("eps")) == stable_diffusion.load(str(copy), name="mine").revision
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


@pytest.mark.parametrize("options", [{"variant": "fp16"}, {"variant": "bf16", "max_shard_size": "200KB"}])
def test_only_a_variant_is_there(tiny_unet, tmp_path, options):
    folder = tiny.save(tmp_path / "half", "eps", **options)
    part = folder / "text_encoder"  # each part for itself: this one has no variant
    if len(own := list(part.glob("*.safetensors"))) == 1:
        own[0].rename(part / "model.safetensors")
    b, whole = stable_diffusion.load(str(folder)), tiny_unet("eps")
    assert b.network.unet.dtype == torch.float32
    x, cond = torch.randn(1, 4, 16, 16), whole.encode_prompt(["red"])
    assert all(torch.equal(value, cond[key]) for key, value in b.encode_prompt(["red"]).items())
    assert torch.equal(b.denoise(Ask(x, torch.ones(1), cond)), whole.denoise(Ask(x, torch.ones(1), cond)))


def rewrite(file, change):
    tensors = load_file(file)
    save_file(change(tensors), file, metadata={"format": "pt"})


def dropped(tensors):
    return {key: value for i, (key, value) in enumerate(sorted(tensors.items())) if i != 2}


def added(tensors):
    return {**tensors, "conv_in.weight_scale": torch.ones(1)}


def not_a_number(tensors):
    return {**tensors, min(tensors): torch.full_like(tensors[min(tensors)], torch.nan)}


@pytest.mark.parametrize("part, change, words", [
    ("unet", dropped, r"unet: 1 \(conv_norm_out.bias\) of its weights are missing"),
    ("vae", dropped, r"vae: 1 \(.*\) of its weights are missing"),
    ("text_encoder", dropped, r"text_encoder: 1 \(.*\) of its weights are missing from its files, and would be drawn"),
    ("text_encoder", lambda tensors: {f"other.{key}": value for key, value in tensors.items()}, "are missing"),
    ("unet", added, r"have 1 \(conv_in.weight_scale\) that a UNet2DConditionModel of its config.json does not"),
    ("unet", not_a_number, r"unet: its weights are NaN or infinite \(conv_in.bias\)"),
    ("vae", not_a_number, "vae: its weights are NaN or infinite"),
    ("text_encoder", not_a_number, "text_encoder: its weights are NaN or infinite"),
    ("unet", lambda tensors: {**tensors, "conv_out.bias": torch.zeros(3)}, "conv_out.bias expected shape"),
])  # fmt: skip
def test_weights_that_do_not_fill_the_network(copy, part, change, words):
    rewrite(next((copy / part).glob("*.safetensors")), change)
    refused(copy, words)


def test_files_of_older_versions(copy, tiny_unet):
    """Text encoders had "text_model." before their keys, and positions among their weights; a whole CLIP has more."""

    def older(tensors):
        whole = {f"text_model.{key}": value for key, value in tensors.items()}
        return {**whole, "text_model.embeddings.position_ids": torch.arange(16)[None], "logit_scale": torch.ones(1)}

    rewrite(copy / "text_encoder" / "model.safetensors", older)
    old = ("query", "key", "value", "proj_attn")  # of the autoencoder's attention, before diffusers 0.12
    new = ("to_q", "to_k", "to_v", "to_out.0")

    def older_attention(tensors):
        for one, other in zip(new, old):
            tensors = {key.replace(f".{one}.", f".{other}."): value for key, value in tensors.items()}
        return tensors

    rewrite(copy / "vae" / "diffusion_pytorch_model.safetensors", older_attention)
    b, now = stable_diffusion.load(str(copy)), tiny_unet("eps")
    assert torch.equal(b.encode_prompt(["red"])["text"], now.encode_prompt(["red"])["text"])
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(b.decode(x), now.decode(x))


def test_a_tokenizer_that_does_not_say_how_long_texts_are(copy, tiny_unet):
    (copy / "tokenizer" / "tokenizer_config.json").write_text("{}")
    text = "a red cube on " * 20
    text_of = stable_diffusion.load(str(copy)).encode_prompt([text])["text"]
    assert torch.equal(text_of, tiny_unet("eps").encode_prompt([text])["text"])


def test_a_tokenizer_of_another_checkpoint(copy):
    edit_json(copy / "tokenizer" / "tokenizer.json", added_tokens=[
        {"id": 5000 + i, "content": f"<more{i}>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True} for i in range(9)])  # fmt: skip
    refused(copy, "its tokenizer has .* tokens and its text encoder")


def test_nothing_there(tmp_path):
    refused(tmp_path / "no" / "such" / "folder", "there is no checkpoint at .*model_index.json, a .safetensors file")
    refused(tmp_path, "holds no model_index.json")


def test_a_component(copy):
    refused(copy / "unet", "no model_index.json.*give the folder above")
    refused(copy / "unet" / "diffusion_pytorch_model.safetensors", "one network in diffusers' layout: give the fol")


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


def test_the_hub_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refused("nobody/no-such-model-9", "nobody/no-such-model-9 is no folder here, and the Hugging Face Hub did not")


def test_a_name_of_an_engine_or_device_that_is_none(checkpoints, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "warp")
    with pytest.raises(ValueError, match="NINE_WAYS_ENGINE=warp: give one of torch, "):
        stable_diffusion.load(str(checkpoints("eps")))
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="NINE_WAYS_DEVICE=cuda:99: this machine has no such device"):
        stable_diffusion.load(str(checkpoints("eps")))


@pytest.mark.parametrize("kind, pipeline", [
    *(("eps", one) for one in STABLE_DIFFUSION.pipelines if one.startswith("Stable")),
    *(("xl", one) for one in STABLE_DIFFUSION_XL.pipelines),
])  # fmt: skip
def test_a_folder_saved_for_another_task_is_the_same_network(checkpoints, tiny_unet, tmp_path, kind, pipeline):
    """Image-to-image, ControlNet and the like: pipelines of diffusers that differ in what they do with one UNet."""
    copy = shutil.copytree(checkpoints(kind), tmp_path / "copy")
    beside = {"controlnet": ["diffusers", "ControlNetModel"]} if "ControlNet" in pipeline else {}
    edit_json(copy / "model_index.json", _class_name=pipeline, **beside)
    b, whole = stable_diffusion.load(str(copy)), tiny_unet(kind)
    x, cond = torch.randn(1, *b.latent_shape(32, 32)), whole.encode_prompt(["a red sphere"])
    assert all(torch.equal(b.encode_prompt(["a red sphere"])[key], value) for key, value in cond.items())
    ask = Ask(x, torch.ones(1), cond)
    torch.testing.assert_close(b.denoise(ask), whole.denoise(ask), atol=1e-5, rtol=0)
