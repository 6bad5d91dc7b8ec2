"""What is refused by names, headers and configs alone: the same by what is known of a checkpoint and by loading it."""

import json
import shutil

import pytest
import torch

from backbones import checkpoint, checkpoint_files, stable_diffusion
from backbones.checkpoint_files import CheckpointError
from backbones.outline import outline
from tests.support import tiny

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(checkpoints, tmp_path):
    return shutil.copytree(checkpoints("eps"), tmp_path / "model")


@pytest.fixture(autouse=True)
def no_weights_are_read(monkeypatch):
    monkeypatch.setattr("backbones.checkpoint.open_pipeline", None)


def refused(place, words, kind=CheckpointError):
    for look in (outline, stable_diffusion.load):
        with pytest.raises(kind, match=words):
            look(str(place))


def edit_json(file, **changes):
    written = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in written.items() if value is not ...}))


VARIANTS = {  # how a checkpoint is saved -> the variant that is read
    "whole": ({}, ""), "shards": ({"max_shard_size": "200KB"}, ""), "fp16": ({"variant": "fp16"}, "fp16"),
    "bf16": ({"variant": "bf16"}, "bf16"), "of its own": ({"variant": "non_ema"}, "non_ema"),
    "shards of fp16": ({"variant": "fp16", "max_shard_size": "200KB"}, "fp16"),
}  # fmt: skip


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_variant_has_as_many_parameters_as_its_network(tmp_path, kind):
    """So many that a large one takes a large network's engine, whatever its variant, dtype and shards."""
    options, variant = VARIANTS[kind]
    folder = tiny.save(tmp_path / "model", "eps", dtype=torch.float16 if variant == "fp16" else None, **options)
    network = tiny.unet(32)
    assert checkpoint.parameters(folder) == sum(values.numel() for values in network.parameters())
    for part, library in (("unet", "diffusers"), ("vae", "diffusers"), ("text_encoder", "transformers")):
        found = checkpoint_files.weights(folder, part, library)
        assert found.variant == variant and all(file.exists() for file in found.files), part
    assert outline(str(folder)).id == str(folder)


def test_of_several_variants_one_is_counted_and_a_whole_one_is_taken(copy):
    whole = copy / WEIGHTS
    half = whole.with_name("diffusion_pytorch_model.fp16.safetensors")
    before = checkpoint.parameters(copy)
    shutil.copy(whole, half)
    assert checkpoint.parameters(copy) == before
    assert checkpoint_files.weights(copy, "unet", "diffusers").files == (whole,)
    whole.rename(whole.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))  # the other is still to come
    assert checkpoint_files.weights(copy, "unet", "diffusers").files == (half,)


def without(*parts):
    def change(folder):
        for part in parts:
            shutil.rmtree(folder / part) if (folder / part).is_dir() else (folder / part).unlink()

    return change


def config(file, **changes):
    return lambda folder: edit_json(folder / file, **changes)


def written(file, data):
    def change(folder):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)

    return change


def renamed(file, other):
    return lambda folder: (folder / file).rename(folder / other)


def cut(file, share):
    def change(folder):
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: int(len(data) * share)])

    return change


def link_to_nothing(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(folder / "blobs" / "not-there")


BETAS = ("beta_start", "beta_end", "beta_schedule")
EMPTY = (2).to_bytes(8, "little") + b"{}"
REFUSED = {  # what was done to the checkpoint -> words of the refusal
    "no tokenizer": (without("tokenizer"), "lacks the folder tokenizer"),
    "a tokenizer without files": (without("tokenizer/tokenizer.json"), "holds no tokenizer .*copy it from the checkp"),
    "no scheduler": (without("scheduler/scheduler_config.json"), "holds no scheduler_config.json"),
    "no config": (without("vae/config.json"), "vae holds no config.json"),
    "a part that is empty": (config("model_index.json", vae=[]), r"has no vae: its model_index.json says \[\] of it"),
    "a part that is null": (config("model_index.json", text_encoder=[None, None]), "has no text_encoder: .*null"),
    "a part that is not named": (config("model_index.json", unet=...), "has no unet"),
    "another class": (config("model_index.json", vae=["diffusers", "VQModel"]), "is a VQModel .*what fits here: Auto"),
    "a list": (written("model_index.json", b"[]"), "model_index.json cannot be read: it is no JSON object"),
    "a damaged config": (written("unet/config.json", b"{"), "unet/config.json cannot be read"),
    "no betas": (config("scheduler/scheduler_config.json", **dict.fromkeys(BETAS, ...)),
                 "DDIMScheduler without beta_start, beta_end, beta_schedule in its .*0.00085"),
    "no number of levels": (config("scheduler/scheduler_config.json", num_train_timesteps=None), "num_train_timestep"),
    "no size": (config("unet/config.json", sample_size=None), "gives no sample_size.* 512 pixels 64"),
    "classes": (config("unet/config.json", num_class_embeds=10), "wants num_class_embeds beside the text"),
    "an image's features": (config("unet/config.json", encoder_hid_dim_type="image_proj"), "wants encoder_hid_dim"),
    "4 bits": (config("vae/config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
               r"vae was saved with packed weights \(4 bits, bitsandbytes\), which are not read here: get"),
    "depth": (config("unet/config.json", in_channels=5), "takes 5 channels.*those of depth checkpoints"),
    "another text encoder": (config("text_encoder/config.json", hidden_size=48), "give 48 features .* wants 32"),
    "SDXL's network": (config("unet/config.json", addition_embed_type="text_time"), "of the SDXL kind"),
    "cut off": (cut(WEIGHTS, 0.5), r"cut off: 1,982,\d+ of 3,964,\d+ bytes"),
    "cut off in its header": (cut(WEIGHTS, 0.001), "is damaged, or no safetensors file"),
    "no bytes": (written(WEIGHTS, b""), r"is damaged, or no safetensors file \(0 bytes"),
    "a page": (written(WEIGHTS, b"<!DOCTYPE html><html>"), "no safetensors file .*begin with b'<!DOCTYP'"),
    "too many bytes": (written(WEIGHTS, EMPTY + b"more"), "has 14 bytes, and should have 10"),
    "no tensors": (written(WEIGHTS, EMPTY), "holds no tensors"),
    "git-lfs": (written(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "`git lfs pull`"),
    "half a download of the Hub": (renamed(WEIGHTS, WEIGHTS + ".incomplete"), "is not finished .*goes on where it was"),
    "half a download of a browser": (renamed(WEIGHTS, "unet/Unconfirmed 1.crdownload"), "is not finished"),
    "half a download into a folder": (renamed(WEIGHTS, "unet/x.incomplete"), "is not finished"),
    "a link to nothing": (link_to_nothing, "is not finished"),
    "another name": (renamed(WEIGHTS, "unet/model_v2.safetensors"), r"under another name \(model_v2.*what is read is"),
    "shards without an index": (renamed(WEIGHTS, "unet/diffusion_pytorch_model-00001-of-00002.safetensors"),
                                "lacks diffusion_pytorch_model.safetensors.index.json"),
    "an index of nothing": (lambda folder: [renamed(WEIGHTS, "unet/a.safetensors")(folder), written(
        WEIGHTS + ".index.json", b'{"weight_map": {}}')(folder)], "index.json cannot be read .*names no files"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_before_any_weight_is_read(copy, what):
    change, words = REFUSED[what]
    change(copy)
    refused(copy, words)


@pytest.mark.parametrize("change, words", [
    ({"projection_class_embeddings_input_dim": 48 + 5 * 8}, "wants 88 features of .*SDXL's refiner is like that"),
    ({"cross_attention_dim": 48}, r"give 32 \+ 48 features a token and its UNet wants 48"),
])  # fmt: skip
def test_sdxl_kinds_that_are_refused(checkpoints, tmp_path, change, words):
    folder = shutil.copytree(checkpoints("xl"), tmp_path / "model")
    edit_json(folder / "unet" / "config.json", **change)
    refused(folder, words)


@pytest.mark.parametrize("address, words", [
    ("https://huggingface.co/owner/name/blob/main/model.ckpt", "is an address of no checkpoint .*owner/name"),
    ("huggingface.co/owner", "is an address of no checkpoint"),
    ("https://civitai.com/models/1", "is an address of no checkpoint"),
])  # fmt: skip
def test_addresses_that_are_none_of_a_checkpoint(address, words):
    refused(address, words)


def test_what_is_half_in_the_cache_is_fetched_and_else_said(copy, monkeypatch):
    """A checkpoint that is refused for good is not asked for again; out of reach, what the cache lacks is said too."""
    asked = []

    def out_of_reach(_, repo, **options):
        asked.append(repo)
        raise ConnectionError("no route to the Hub.")

    monkeypatch.setattr(checkpoint, "cached", lambda place: copy)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", out_of_reach)
    assert checkpoint.locate("owner/name", ("StableDiffusionPipeline",)) == copy and not asked
    with pytest.raises(CheckpointError, match="is a StableDiffusionPipeline"):
        checkpoint.locate("owner/name", ("DDPMPipeline",))
    assert not asked
    (copy / WEIGHTS).unlink()
    with pytest.raises(
        CheckpointError, match=r"no route to the Hub.*in the cache does not do: .*unet holds no weights"
    ):
        checkpoint.locate("https://huggingface.co/owner/name", ("StableDiffusionPipeline",))
    assert asked == ["owner/name"]
