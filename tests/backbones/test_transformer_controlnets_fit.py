"""Which ControlNets fit which diffusion transformers, by their configs and files, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

import backbones
from backbones import controlnets
from backbones.checkpoint_files import CheckpointError
from backbones.families import FAMILIES, z_image
from conditioning.compose import refusals
from tests.support import tiny_transformers
from tests.support.tiny_controlnets import of_transformer


@pytest.mark.parametrize("pipeline, network, made, words", [
    ("FluxPipeline", {}, {"_class_name": "ControlNetModel"},
     r"is a ControlNetModel by .*: what fits is a FluxControlNetModel of diffusers, as a folder$"),
    ("FluxPipeline", {"num_attention_heads": 24, "attention_head_dim": 128}, {},
     r"has a width of 32 and this network 3072: .* another family of checkpoints, take one .* for FLUX.1$"),
    ("StableDiffusion3Pipeline", {"num_attention_heads": 38, "attention_head_dim": 64},
     {"num_attention_heads": 24, "attention_head_dim": 64, "qk_norm": None},
     "a width of 1536 and this network 2432: .* for Stable Diffusion 3 medium, .* for Stable Diffusion 3.5 large$"),
    ("StableDiffusion3Pipeline", {"num_attention_heads": 24, "attention_head_dim": 64},
     {"num_attention_heads": 24, "attention_head_dim": 64, "qk_norm": None},
     "a normalization of queries none and .* for Stable Diffusion 3 medium, take .* for Stable Diffusion 3.5 medium$"),
    ("StableDiffusion3Pipeline", {}, {"extra_conditioning_channels": 1}, "reads 1 more channels .* for inpainting"),
    ("QwenImagePipeline", {}, {"extra_condition_channels": 4}, "reads 4 more channels .* for inpainting"),
    ("ZImagePipeline", {}, {"control_layers_places": [0, 7]}, "changes the layer 7 of a network of 2"),
    ("SanaPipeline", {"num_attention_heads": 70, "attention_head_dim": 32},
     {"num_attention_heads": 36, "attention_head_dim": 32}, "for Sana 0.6B, take one that was trained for Sana 1.6B"),
])  # fmt: skip
def test_a_wrong_pairing_says_what_would_fit(pipeline, network, made, words, tmp_path):
    kind = {"Flux": "flux-dev", "Stab": "sd3", "Qwen": "qwen-image", "ZIma": "z-image", "Sana": "sana"}[pipeline[:4]]
    of_transformer(kind, 0).save_config(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **made}))
    theirs = dict(tiny_transformers.KINDS[kind][1]()["transformer"].config)
    with pytest.raises(CheckpointError, match=words):
        controlnets.ready(str(tmp_path), {**theirs, **network}, FAMILIES[pipeline].controls)


REFINED = {"control_in_dim": 33, "control_refiner_layers_places": [0]}


@pytest.mark.parametrize("config", [
    {"control_in_dim": 16}, {**REFINED, "add_control_noise_refiner": "control_layers"},
    {**REFINED, "add_control_noise_refiner": "control_noise_refiner"},
])  # fmt: skip
def test_a_file_of_z_image_is_the_same_network_as_its_folder(config, tmp_path, monkeypatch):
    """Such as are published: without a config."""
    monkeypatch.setattr(z_image, "LAYERS", 4)
    net, kind = of_transformer("z-image", 0, **config), FAMILIES["ZImagePipeline"].controls
    tensors = {name: one.contiguous() for name, one in net.state_dict().items()}
    if config.get("add_control_noise_refiner") == "control_layers":  # as the file of 2.0, layers that are not used
        other = of_transformer("z-image", 0, **REFINED, add_control_noise_refiner="control_noise_refiner")
        other.control_noise_refiner[0].before_proj.weight.data.zero_()
        tensors |= {name: one for name, one in other.state_dict().items() if name.startswith("control_noise_refiner")}
    save_file(tensors, tmp_path / "all.safetensors")
    theirs = {"dim": 32, "n_heads": 2, "n_refiner_layers": 1, "n_layers": 4}
    opened, _ = controlnets.load(str(tmp_path / "all.safetensors"), theirs, torch.device("cpu"), torch.float32, kind)
    found, wanted = ({name: value for name, value in one.config.items() if name[0] != "_"} for one in (opened, net))
    assert found == wanted
    assert all(torch.equal(one, opened.state_dict()[name]) for name, one in net.state_dict().items())
    assert {*opened.state_dict()} == {*net.state_dict()}
    save_file({"conv.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"is nothing that is known .* a ZImageControlNetModel .* or as a file"):
        controlnets.ready(str(tmp_path / "other.safetensors"), theirs, kind)


def test_known_ones_are_of_the_hub_and_of_the_family():
    flux, sd3, qwen = (FAMILIES[f"{name}Pipeline"].controls for name in ("Flux", "StableDiffusion3", "QwenImage"))
    wide = {"num_attention_heads": 24, "attention_head_dim": 128}
    assert flux.known(wide)["tile"] == "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro?1"
    assert qwen.known(wide)["pose"] == "InstantX/Qwen-Image-ControlNet-Union"
    large, medium = ({"num_attention_heads": heads, "attention_head_dim": 64} for heads in (38, 24))
    assert sd3.known(large)["edges"] == "stabilityai/stable-diffusion-3.5-large-controlnet-canny"
    assert sd3.known(medium)["edges"] == "InstantX/SD3-Controlnet-Canny"
    assert sd3.known({**medium, "qk_norm": "rms_norm"}) == {} == flux.known(medium)


def test_families_without_refuse(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    b = backbones.load(str(tiny_transformers.save(tmp_path / "net", "krea2")))
    assert refusals([("controlnet", {})], b)[0].startswith("ControlNet needs a ControlNet that fits it")
    with pytest.raises(CheckpointError, match="the ControlNet owner/x fits no Krea 2 network here"):
        b.network.check_controlnet("owner/x")
