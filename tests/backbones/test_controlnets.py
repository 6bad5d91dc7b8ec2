"""ControlNets in files: which are read, and what is refused."""

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save_file

from backbones import controlnets
from backbones.checkpoint_files import CheckpointError
from tests.support import tiny

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
    network, _ = controlnets.load(str(folder), unet, CPU, torch.float32)
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
        controlnets.load(str(file.parent), unet, CPU, torch.float32)


def test_half_a_download_is_said(saved, unet):
    (file,) = saved().glob("*.safetensors")
    file.rename(f"{file}.incomplete")
    with pytest.raises(CheckpointError, match="depth: the download of its weights is not finished"):
        controlnets.load(str(file.parent), unet, CPU, torch.float32)
