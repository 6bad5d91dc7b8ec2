"""LoRA files by their headers: all spellings of their keys, which layers act, what is refused and in which words."""

import pickle

import pytest
import torch

from backbones import lora_files, lora_names
from backbones.checkpoint_files import CheckpointError
from backbones.lora_layers import branch
from tests.support import loras, tiny
from tests.support.loras import drawn, kohya, modules, write

Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
TEXT = "encoder.layers.0.self_attn.q_proj"
U, T = Q.replace(".", "_"), TEXT.replace(".", "_")
O = OUT.replace(".", "_").removesuffix("_0")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return tiny.unet(32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with a UNet like `net`."""
    return tiny.save(tmp_path_factory.mktemp("eps") / "net", "eps")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("key, part, layer, role", [
    (f"lora_unet_{U}.lora_down.weight", "network", U, "down"),
    (f"lora_unet_{U}.alpha", "network", U, "alpha"),
    (f"lora_unet.{Q}.lora_up.weight", "network", U, "up"),
    (f"unet.{Q}.lora_A.weight", "network", U, "down"),
    (f"unet.{Q}.lora_B.default_0.weight", "network", U, "up"),
    (f"unet.{Q}.lora.down.weight", "network", U, "down"),
    (f"base_model.model.{Q}.lora_B.weight", "network", U, "up"),
    (f"unet.{Q.replace('to_q', 'processor.to_q')}_lora.up.weight", "network", U, "up"),
    (f"unet.{OUT.replace('to_out.0', 'processor.to_out')}_lora.down.weight", "network", O, "down"),
    (f"{Q}.lora_A.weight", "network", U, "down"),
    (f"diffusion_model.{Q}.lora_A.weight", "network", U, "down"),
    (f"lycoris_{U}.lokr_w1", "network", U, "lokr_w1"),
    (f"lycoris_{U}.lokr_w2_a", "network", U, "lokr_w2_a"),
    (f"lora_unet_{U}.hada_w1_a", "network", U, "hada_w1_a"),
    (f"lora_unet_{U}.lora_mid.weight", "network", U, "mid"),
    (f"lora_unet_{U}.dora_scale", "network", U, "dora_scale"),
    (f"unet.{Q}.lora_magnitude_vector", "network", U, "magnitude"),
    ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "network", "transformer_blocks_0_attn_to_q", "down"),
    ("lora_transformer_transformer_blocks_0_attn_to_q.alpha", "network", "transformer_blocks_0_attn_to_q", "alpha"),
    ("transformer_blocks.0.attn.to_q.lora_up.weight", "network", "transformer_blocks_0_attn_to_q", "up"),
    ("diffusion_model.sformer_blocks.0.attn.to_q.lora_A.weight", "network", "transformer_blocks_0_attn_to_q", "down"),
    ("double_blocks.0.processor.qkv_lora1.up.weight", "network", "double_blocks_0_processor_qkv_lora1", "up"),
    ("single_blocks.0.processor.qkv_lora.up.weight", "network", "single_blocks_0_processor_qkv", "up"),
    ("base_model.model.blocks.0.attn.wq.lora_A.weight", "network", "blocks_0_attn_wq", "down"),
    (f"text_encoders.clip_g.transformer.text_model.{TEXT}.lora_A.weight", "te2", T, "down"),
    ("lora_te3_encoder_block_0_layer_0_SelfAttention_q.alpha", "te3", "encoder_block_0_layer_0_SelfAttention_q",
     "alpha"),
    (f"lora_te_text_model_{T}.lora_down.weight", "te1", T, "down"),
    (f"lora_te1_text_model_{T}.lora_down.weight", "te1", T, "down"),
    (f"lora_te2_text_model_{T}.lora_up.weight", "te2", T, "up"),
    (f"lycoris_text_model_{T}.lokr_w1", "te1", T, "lokr_w1"),
    (f"text_encoder.text_model.{TEXT}.lora_A.weight", "te1", T, "down"),
    (f"text_encoder_2.{TEXT}.lora_B.weight", "te2", T, "up"),
    (f"text_encoder.text_model.{TEXT}.lora_linear_layer.up.weight", "te1", T, "up"),
    (f"text_encoder.text_model.{TEXT.replace('q_proj', 'to_q')}_lora.down.weight", "te1", T, "down"),
])  # fmt: skip
def test_every_spelling_names_its_layer(key, part, layer, role):
    assert lora_names.named(key) == (part, layer, role)


@pytest.mark.parametrize("key", ["lora_unet_x.oft_blocks", "lora_unet_x.on_input", "emb_params", "x.lora_B.bias"])
def test_other_tensors_are_not_taken_for_layers(key):
    assert lora_names.named(key) is None


def test_original_block_names_are_those_of_the_converter(net):
    """By the rule that diffusers' converter of LoRA files goes by, undone."""
    every = modules(net, r"(to_q|conv1|time_emb_proj|conv_shortcut)$|downsamplers\.0\.conv$")
    known = lora_names.layers("network", lora_files.of_weights({f"{n}.weight": (1,) for n, _ in net.named_modules()}))
    for module, old in loras.original_names(every, 1).items():
        assert known[old.replace(".", "_")] == ((module,), False)
    ends = {"input_blocks_0_0": "conv_in", "out_2": "conv_out", "time_embed_2": "time_embedding.linear_2",
            "output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv"}  # the last after its attention  # fmt: skip
    assert {old: known[old].modules[0] for old in ends} == ends


def test_the_second_place_is_the_upsampler_s_where_a_block_has_no_attention():
    names = ["up_blocks.0.resnets.2.conv1", "up_blocks.0.upsamplers.0.conv", "down_blocks.0.resnets.1.conv1"]
    assert lora_names.layers("network", names)["output_blocks_2_1_conv"].modules == ("up_blocks.0.upsamplers.0.conv",)


def test_a_missing_alpha_is_the_rank(net):
    (tensors,), (delta,) = (list(one.values()) for one in drawn({Q: net.get_submodule(Q)}))
    roles = {"up": tensors["lora_up.weight"], "down": tensors["lora_down.weight"]}
    layer = net.get_submodule(Q)
    torch.testing.assert_close(branch(roles, None).delta(layer), delta * loras.RANK / loras.ALPHA)
    torch.testing.assert_close(branch(roles, 6.0, root=True).delta(layer), roles["up"] @ roles["down"] * 6 / 3**0.5)


def test_how_many_layers_act_and_which_do_not(home, net, folder):
    tensors, _ = drawn(modules(net, r"attn2\.to_[kv]$"))
    other = {"up_blocks.7.attn9.to_q": next(iter(tensors.values()))}
    te = {"text_model.encoder.layers.99.mlp.fc1": next(iter(tensors.values()))}
    more = {**kohya(other), **kohya(te, "lora_te_"), "lora_unet_x.oft_blocks": torch.ones(2)}
    write(home, "part", {**kohya(tensors), **more})
    found = lora_files.checked("part", "net", folder)
    assert len(found.acting) == len(tensors) == 8
    assert found.words("part") == (
        "8 of the 10 layers of “part” act, not 1 in the network, 1 in the text encoder (up_blocks_7_attn9_to_q, "
        "encoder_layers_99_mlp_fc1). 1 of its tensors is of a kind that is not read here, as lora_unet_x.oft_blocks"
    )
    write(home, "whole", kohya(tensors))
    assert lora_files.checked("whole", "net", folder).words("whole") == "all 8 layers of “whole” act"


def test_a_layer_of_another_width_does_not_act_and_the_family_is_said(home, folder):
    wide = tiny.unet(768)
    tensors, _ = drawn(modules(wide, r"attn2\.to_k$"))
    write(home, "sd1", kohya(tensors))
    with pytest.raises(CheckpointError, match=r"“sd1” has no layer that net has: it seems to be made for Stable "
                                              r"Diffusion 1\. Choose a model of that family"):  # fmt: skip
        lora_files.checked("sd1", "net", folder)


@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale", "weight_scale_inv"])
def test_weights_of_8_bits_with_scales_are_refused(home, folder, net, scale):
    """Read without their scales they would be other numbers, and nothing would err."""
    tensors, _ = drawn(modules(net, r"attn2\.to_k$"))
    eight = {key: one.to(torch.float8_e4m3fn) for key, one in kohya(tensors).items()}
    write(home, "eight", {**eight, "lora_unet_x.lora_up." + scale: torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"weights of 8 bits with scales.*get it in 16 bits"):
        lora_files.checked("eight", "net", folder)
    write(home, "plain", eight)
    assert lora_files.checked("plain", "net", folder).idle == ()


def low(out=8, rest=8):
    return {"lora_down.weight": torch.ones(2, rest), "lora_up.weight": torch.ones(out, 2)}


@pytest.mark.parametrize("layer, about, family", [
    ("x_attn2_to_k", {}, "Stable Diffusion XL"),
    ("double_blocks_0_img_attn_qkv", {}, "FLUX"), ("single_transformer_blocks_3_proj_mlp", {}, "FLUX.1"),
    ("transformer_blocks_3_img_mlp_net_2", {}, "Qwen-Image"),
    ("joint_blocks_0_x_block_attn_qkv", {}, "Stable Diffusion 3"),
    ("transformer_blocks_0_attn_add_q_proj", {}, "Stable Diffusion 3, FLUX or Qwen-Image"),
    ("layers_0_attention_to_q", {}, "Z-Image"), ("blocks_0_attn_wq", {}, "Krea 2"),
    ("transformer_blocks_0_attn2_to_q", {}, "PixArt or Sana"), ("transformer_blocks_0_ff_conv_point", {}, "Sana"),
    ("single_transformer_blocks_0_attn_to_qkv_mlp_proj", {}, "FLUX.2"), ("down_blocks_0_x", {}, "a UNet such as Stable "
                                                                                             "Diffusion's"),
    ("blocks_0_self_attn_q", {}, "Wan"), ("noise_refiner_0_attention_qkv", {}, "Z-Image or Lumina"),
    ("layers_0_what", {"modelspec.architecture": "Flux.2-dev/lora"}, "FLUX.2"),
    ("layers_0_what", {"ss_base_model_version": "sdxl_base_v1-0"}, "Stable Diffusion XL"),
    ("layers_0_what", {}, ""),
])  # fmt: skip
def test_the_family_is_told_by_names_widths_and_the_header(tmp_path, layer, about, family):
    file = write(tmp_path, "x", kohya({layer: low(rest=2048 if "attn2" in layer else 8)}), about)
    assert lora_files.opened(file).made_for == family


@pytest.mark.parametrize("layer, rows, family", [
    ("single_blocks_0_linear1", 7, "FLUX.1"), ("single_blocks_0_linear1", 9, "FLUX.2"),
    ("double_blocks_0_img_mlp_0", 4, "FLUX.1"), ("double_blocks_0_txt_mlp_0", 6, "FLUX.2"),
])  # fmt: skip
def test_which_flux_a_file_is_of_its_widths_tell(tmp_path, layer, rows, family):
    """A feed-forward layer of FLUX.1 is 4 times as wide as the model; of FLUX.2 3 times, and has a gate as wide."""
    assert lora_files.opened(write(tmp_path, "x", kohya({layer: low(out=8 * rows)}))).made_for == family


def test_pickles_and_damaged_files_are_refused_and_never_read(home):
    (home / "old.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"old\.pt is a pickle, which can run code.*old\.safetensors"):
        lora_files.find("old")
    (home / "fake.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="damaged, or no safetensors file"):
        lora_files.opened(lora_files.find("fake"))
    file = write(home, "cut", kohya({"x": low()}))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="is cut off"):
        lora_files.opened(file)


def test_files_are_found_by_their_names_in_folders_below(home):
    for place in (home, home / "styles", home / "other"):
        write(place, "ink", kohya({"x": low()}))
    write(home / "styles", "pastel", kohya({"x": low()}))
    assert sorted(lora_files.names()) == ["ink", "night", "other/ink", "pastel", "styles/ink"]
    assert lora_files.find("pastel").parent.name == "styles"
    with pytest.raises(CheckpointError, match="holds no LoRA file “pastell”: did you mean pastel"):
        lora_files.find("pastell")
    for outside in ("../secret", "/etc/passwd", str(home / "ink"), "*"):
        with pytest.raises(CheckpointError, match="holds no LoRA file"):
            lora_files.find(outside)


def test_a_file_that_is_replaced_is_another_file(home):
    write(home, "ink", kohya({"x": low()}))
    first = lora_files.opened(lora_files.find("ink"))
    write(home, "ink", kohya({"x": low(out=16)}))
    second = lora_files.opened(lora_files.find("ink"))
    assert first.key != second.key and len(first.digest) == 64
    assert lora_files.opened(lora_files.find("ink")) is second


def test_the_layers_of_a_folder_are_those_of_its_networks(tmp_path):
    """By headers alone; embeddings have no branch. The same whether the text encoder's keys have a prefix or not."""
    folder = tiny.save(tmp_path / "net", "xl")
    shapes = lora_files.shapes_in(folder)
    assert set(shapes) == {"network", "te1", "te2"} and not any("token_embedding" in one for one in shapes["te1"])
    assert lora_names.layers("te1", [f"text_model.{TEXT}"]).keys() == lora_names.layers("te1", [TEXT]).keys()
