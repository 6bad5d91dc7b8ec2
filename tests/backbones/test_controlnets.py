"""ControlNets in files: which are read, and what is refused."""

import json

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save_file

from backbones import controlnets
from backbones.checkpoint_files import CheckpointError
from tests.support import original_files, tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return tiny.unet(32)


@pytest.fixture
def saved(unet, tmp_path):
    def save(**options):
        made = ControlNetModel.from_unet(unet, conditioning_channels=3)
        for values in made.parameters():  # its last layers begin at zero, which would hide what is missing
            torch.nn.init.normal_(values)
        made.save_pretrained(tmp_path / "depth", **options)
        return tmp_path / "depth"

    return save


@pytest.mark.parametrize("options", [{}, {"variant": "fp16"}, {"variant": "bf16", "max_shard_size": "100KB"}])
def test_every_variant_is_the_same_network(saved, unet, options):
    folder = saved(**options)
    network, _ = controlnets.load(str(folder), unet.config, CPU, torch.float32)
    kept = {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("spoil, words", [
    (lambda tensors: tensors.pop("conv_in.weight"), r"depth: 1 \(conv_in.weight\) of its weights are missing"),
    (lambda tensors: tensors.update(more=torch.zeros(1)), r"its files have 1 \(more\)"),
    (lambda tensors: tensors["conv_in.weight"].fill_(torch.nan), r"its weights are NaN or infinite \(conv_in.weight"),
])  # fmt: skip
def test_weights_that_do_not_fill_it_are_refused(saved, unet, spoil, words):
    (file,) = saved().glob("*.safetensors")
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=words):
        controlnets.load(str(file.parent), unet.config, CPU, torch.float32)


@pytest.mark.parametrize("kind", ["1", "2"])
@pytest.mark.parametrize("beginning", ["control_model.", ""])
def test_a_single_file_is_the_same_network_as_its_folder(tmp_path, kind, beginning):
    torch.manual_seed(0)
    unet = original_files.unet(kind)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 24, 32))
    for values in made.parameters():
        torch.nn.init.normal_(values)
    made.save_pretrained(tmp_path / "depth")
    file = tmp_path / "pose.safetensors"
    save_file({name: one.contiguous() for name, one in original_files.of_controlnet(made, beginning).items()}, file)
    network, _ = controlnets.load(str(file), unet.config, CPU, torch.float32)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in made.state_dict().items())
    same = {name: made.config[name] for name in ("conditioning_embedding_out_channels", "use_linear_projection")}
    assert {name: tuple(network.config[name]) if name[0] == "c" else network.config[name] for name in same} == same
    if beginning:
        theirs = ControlNetModel.from_single_file(str(file), config=str(tmp_path / "depth"), local_files_only=True)
        assert all(torch.equal(value, network.state_dict()[name]) for name, value in theirs.state_dict().items())
    tensors = load_file(file)
    del tensors[f"{beginning}zero_convs.0.0.bias"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"pose.safetensors: 1 \(controlnet_down_blocks.0.bias\) of its weights"):
        controlnets.load(str(file), unet.config, CPU, torch.float32)
    with pytest.raises(CheckpointError, match=r"pose.safetensors has cross_attention_dim 64 and this network 32"):
        controlnets.ready(str(file), tiny.unet(32).config)
    save_file({"lora_unet_a.lora_down.weight": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match=r"pose.safetensors is nothing that is known .*original layout"):
        controlnets.ready(str(file), unet.config)


def config(text, widths):
    return {"_class_name": "ControlNetModel", "cross_attention_dim": text, "block_out_channels": widths,
            "layers_per_block": 2}  # fmt: skip


SD_1, SD_2 = config(768, [320, 640, 1280, 1280]), config(1024, [320, 640, 1280, 1280])
SD_XL = config(2048, [320, 640, 1280])


@pytest.mark.parametrize("made, unet, words", [
    (SD_XL, SD_1, "trained for Stable Diffusion XL, take one that was trained for Stable Diffusion 1$"),
    (SD_1, SD_XL, r"has cross_attention_dim 768 and this network 2048: it .* 1, take one .* Stable Diffusion XL$"),
    (SD_1, SD_2, "trained for Stable Diffusion 1, take one that was trained for Stable Diffusion 2$"),
    (SD_1 | {"_class_name": "FluxControlNetModel"}, SD_1, "is a FluxControlNetModel .*what fits is a ControlNetModel"),
    ({}, SD_1, "is nothing that is known"),
])  # fmt: skip
def test_a_wrong_pairing_says_what_would_fit(made, unet, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(made))
    with pytest.raises(CheckpointError, match=words):
        controlnets.ready(str(tmp_path), unet)


def test_of_a_folder_for_many_models_those_that_fit_are_offered(tmp_path, monkeypatch):
    for name, made in (("pose", SD_1), ("of xl", SD_XL), ("damaged", {})):
        (tmp_path / "shared" / name).mkdir(parents=True)
        (tmp_path / "shared" / name / "config.json").write_text(json.dumps(made))
    (tmp_path / "shared" / "damaged" / "config.json").write_text("{")
    monkeypatch.setenv("NINE_WAYS_CONTROLNETS", str(tmp_path / "shared"))
    found = controlnets.beside(tmp_path / "model", SD_1)
    assert found["pose"] == str(tmp_path / "shared" / "pose") and not {"of xl", "damaged"} & set(found)
    assert found["depth"] == "lllyasviel/control_v11f1p_sd15_depth"
    (tmp_path / "model_controlnets" / "depth").mkdir(parents=True)
    (tmp_path / "model_controlnets" / "depth" / "config.json").write_text("{}")
    (tmp_path / "model_controlnets" / "lines.safetensors").touch()
    found = controlnets.beside(tmp_path / "model", SD_1)
    assert found["depth"] == str(tmp_path / "model_controlnets" / "depth")
    assert found["lines"] == str(tmp_path / "model_controlnets" / "lines.safetensors")


def test_half_a_download_is_said(saved, unet):
    (file,) = saved().glob("*.safetensors")
    file.rename(f"{file}.incomplete")
    with pytest.raises(CheckpointError, match="depth: the download of its weights is not finished"):
        controlnets.load(str(file.parent), unet.config, CPU, torch.float32)
