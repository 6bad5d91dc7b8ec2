"""Single .safetensors files in the original layout: the same images as from a folder, and what is refused, in words."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones import (
    checkpoint,
    clip_vocabulary,
    lora_files,
    lora_names,
    original_layout,
    single_file,
    stable_diffusion,
)
from backbones.checkpoint_files import CheckpointError, Header, header
from backbones.outline import outline
from backbones.single_file_kind import family, prediction
from samplers.protocol import Ask
from tests.support import original_files

UNET = "model.diffusion_model."
KINDS = {"1": {}, "2": {}, "xl": {}, "1 inpainting": {"in_channels": 9}, "1 editing": {"in_channels": 8}}


@pytest.fixture(autouse=True)
def in_torch(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setenv("NINE_WAYS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the network was asked"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """kind -> (folder, file); made once, not to be changed."""
    made = {}

    def save(kind):
        if kind not in made:
            made[kind] = original_files.save(tmp_path_factory.mktemp("sd"), kind.split()[0], **KINDS[kind])
        return made[kind]

    return save


@pytest.fixture
def changed(saved, tmp_path):
    """Writes a file again with other tensors or another header, beside the folder's tokenizer."""

    def change(edit=lambda tensors: None, kind="1", said=None, name="model.safetensors"):
        folder, file = saved(kind)
        tensors = load_file(file)
        edit(tensors)
        if not (tmp_path / "tokenizer").exists():
            (tmp_path / "tokenizer").symlink_to(folder / "tokenizer")
        save_file(tensors, tmp_path / name, metadata=original_files.SMALL | (said or {}))
        return tmp_path / name

    return change


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_makes_the_same_images_as_its_folder(saved, kind):
    folder, file = saved(kind)
    whole, single = (stable_diffusion.load(str(one)) for one in (folder, f"{file}?epsilon"))
    x = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
    for words in ("a red cube", ""):
        conds = [one.encode_prompt([words]) for one in (whole, single)]
        assert all(torch.equal(value, conds[1][key]) for key, value in conds[0].items())
        a, b = (one.denoise(Ask(x, torch.ones(1), cond)) for one, cond in zip((whole, single), conds))
        assert torch.equal(a, b) and torch.equal(whole.decode(a), single.decode(b))
    pixels = torch.rand(1, 3, 32, 32, generator=torch.manual_seed(1))
    assert torch.equal(whole.encode_image(pixels), single.encode_image(pixels))
    assert torch.equal(whole.sigmas, single.sigmas) and whole.default_size == single.default_size
    known = outline(f"{file}?epsilon")
    assert known.offers == single.offers and known.size_multiple == single.size_multiple


@pytest.mark.parametrize("kind", ["1", "xl"])
def test_every_weight_gets_to_where_diffusers_puts_it(saved, kind):
    """Against diffusers' own reading of the file, which takes its configs from a folder."""
    import diffusers

    folder, file = saved(kind)
    named = diffusers.StableDiffusionXLPipeline if kind == "xl" else diffusers.StableDiffusionPipeline
    theirs = named.from_single_file(str(file), config=str(folder), local_files_only=True)
    ours = checkpoint.open_pipeline(single_file.described(file, "epsilon"), torch.float32)
    for part in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if kind == "xl" else [])):
        mine = getattr(ours, part).state_dict()
        assert all(torch.equal(value, mine[name]) for name, value in getattr(theirs, part).state_dict().items()), part


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_layers_of_lora_files_act_as_in_its_folder(saved, kind):
    """Known by the header, whatever its names."""
    folder, file = saved(kind)
    one, other = lora_files.shapes_in(folder), lora_files.shapes_in(single_file.described(file, "epsilon"))
    assert one.keys() == other.keys()
    for part, modules in one.items():
        mine, theirs = lora_names.layers(part, modules), lora_names.layers(part, other[part])
        assert mine.keys() == theirs.keys()
        for flat, (names, _) in mine.items():
            assert [math.prod(modules[name]) for name in names] == [math.prod(other[part][name]) for name
                                                                    in theirs[flat].modules]  # fmt: skip


def test_half_precision_is_read_as_float32(changed):
    file = changed(lambda tensors: tensors.update({name: one.half() for name, one in tensors.items()}))
    network = stable_diffusion.load(f"{file}?epsilon").network.unet
    kept = load_file(file)[f"{UNET}time_embed.0.weight"]
    assert torch.equal(network.time_embedding.linear_1.weight, kept.float())


SIZES = {  # of the checkpoints that were published: of the UNet, of the text encoders
    "1": ({"cross_attention_dim": 768, "attention_head_dim": 8, "block_out_channels": (320, 640, 1280, 1280)},
          [(768, 12)]),
    "2": ({"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
           "block_out_channels": (320, 640, 1280, 1280)}, [(1024, 23)]),
    "xl": ({"cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
            "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
            "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
            "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"), "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}, [(768, 12), (1280, 32)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_the_published_sizes_are_read_as_diffusers_reads_them(kind):
    """Names and shapes alone: its own conversion takes the same tensors to the same places; the configs are those of
    the networks that were published."""
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as theirs
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config, texts = SIZES[kind]
    with init_empty_weights(include_buffers=True):
        unet = UNet2DConditionModel(**config)
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2)  # fmt: skip
        encoders = [(CLIPTextModelWithProjection if width == 1280 else CLIPTextModel)(CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=width // 64, projection_dim=width)) for width, layers in texts]  # fmt: skip
    file = original_files.of_unet(unet) | original_files.of_vae(vae)
    if kind != "2":
        begin = "conditioner.embedders.0.transformer." if kind == "xl" else "cond_stage_model.transformer."
        file |= {f"{begin}text_model.{name}": value for name, value in encoders[0].state_dict().items()}
    if kind != "1":
        begin = "conditioner.embedders.1.model." if kind == "xl" else "cond_stage_model.model."
        file |= original_files.open_clip(encoders[-1], begin, more_layers=kind == "2")
    if kind == "xl":
        file[f"{begin}text_projection"] = encoders[1].text_projection.weight.T
    assert theirs.infer_diffusers_model_type(file) == {"1": "v1", "2": "v2", "xl": "xl_base"}[kind]
    shapes = {name: tuple(value.shape) for name, value in file.items()}
    found = Header(shapes, dict.fromkeys(shapes, "F16"), {})
    assert family(Path("x"), found) == kind
    expected = {**theirs.convert_ldm_unet_checkpoint(dict(file), unet.config)}
    sources = single_file.sources_of(shapes, "unet", kind)
    assert all(file[sources[name].name] is value for name, value in expected.items()) and len(sources) == len(expected)
    made = original_layout.unet_config(original_layout.within(shapes, UNET))
    for name, value in made.items():
        usual = unet.config.get(name)
        assert name == "_class_name" or value == (list(usual) if isinstance(usual, tuple) else usual) or (
            name == "transformer_layers_per_block" and usual == 1 and set(value) == {1}), name  # fmt: skip
    made = original_layout.vae_config(original_layout.within(shapes, "first_stage_model."), 0.5)
    assert made["block_out_channels"] == [128, 256, 512, 512] and made["layers_per_block"] == 2
    expected = theirs.convert_ldm_vae_checkpoint(dict(file), vae.config)
    sources = single_file.sources_of(shapes, "vae", kind)
    assert {name: shapes[one.name][:2] for name, one in sources.items()} == {
        name: tuple(value.shape)[:2] for name, value in expected.items()
    }
    for part, encoder in zip(("text_encoder", "text_encoder_2"), encoders):
        named = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
        sources = single_file.sources_of(shapes, part, kind)
        assert {name: one.shape(shapes) for name, one in sources.items()} == {
            name: tuple(value.shape) for name, value in named.items()
        }


REFUSED = {  # names of tensors -> words
    "lora_unet_down_blocks_0.lora_down.weight": "is a LoRA or LyCORIS",
    "transformer.blocks.0.attn.to_q.lora_A.weight": "is a LoRA or LyCORIS",
    "lycoris_unet_a.lokr_w1": "is a LoRA or LyCORIS",
    "emb_params": "is a textual inversion",
    "image_proj.proj.weight": "is an IP-Adapter",
    "control_model.time_embed.0.weight": "is a ControlNet",
    "double_blocks.0.img_attn.norm.key_norm.scale": "is FLUX.1;",
    "model.diffusion_model.double_stream_modulation_img.lin.weight": "is FLUX.2;",
    "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias": "is Stable Diffusion 3;",
    "transformer_blocks.0.img_mod.1.weight": "is Qwen-Image;",
    "model.diffusion_model.cap_embedder.0.weight": "is Lumina 2 or Z-Image;",
    "down_blocks.0.resnets.0.conv1.weight": "one network in diffusers' layout: give the folder",
    "encoder.conv_in.weight": "is an autoencoder alone",
    "first_stage_model.encoder.conv_in.weight": "is an autoencoder alone",
    "text_model.embeddings.token_embedding.weight": "is a text encoder alone",
    "diffusion_model.input_blocks.0.0.weight": "is a UNet of Stable Diffusion alone whose tensors are named otherwise",
    "something": r"no checkpoint that is known here \(it begins with something\)",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_said_what_they_are(tmp_path, name):
    save_file({name: torch.ones(1)}, tmp_path / "a.safetensors")
    for look in (outline, stable_diffusion.load):
        with pytest.raises(CheckpointError, match=f"a.safetensors.*{REFUSED[name]}.*what fits here: Stable Diffusion"):
            look(str(tmp_path / "a.safetensors"))


def adds(**tensors):
    return lambda held: held.update({name.replace("__", "."): one for name, one in tensors.items()})


def without(beginning):
    return lambda held: [held.pop(name) for name in [*held] if name.startswith(beginning)]


def reshaped(name, *shape):
    return lambda held: held.update({name: torch.zeros(shape)})


@pytest.mark.parametrize("edit, kind, words", [
    (adds(conditioner__embedders__0__model__text_projection=torch.ones(2, 2)), "xl", "is SDXL's refiner"),
    (adds(edm_mean=torch.ones(1)), "xl", "trained in EDM's coordinates"),
    (adds(**{UNET + "label_emb.0.0.weight": torch.ones(2, 2)}), "2", "is Stable unCLIP"),
    (adds(**{UNET + "label_emb.weight": torch.ones(2, 2)}), "1", "is the upscaler"),
    (adds(control_model__a=torch.ones(2)), "1", "with a ControlNet in one file"),
    (reshaped(UNET + "input_blocks.0.0.weight", 32, 5, 3, 3), "1", "takes 5 channels.*those of depth"),
    (adds(**{UNET + "out.2.scale_weight": torch.ones(1)}), "1", r"8-bit weights with scales \(model.*2.scale_weight"),
    (adds(a__weight_scale_inv=torch.ones(2, 2)), "1", "8-bit weights with scales .*fp16, bf16 or fp32"),
    (adds(a__weight__absmax=torch.ones(2)), "1", "8 or 4 bits .*bitsandbytes"),
    (adds(a__weight=torch.ones(2, 2, dtype=torch.int8)), "1", "8 or 4 bits"),
])  # fmt: skip
def test_kinds_and_weights_that_are_not_run(changed, edit, kind, words):
    file = changed(edit, kind)
    for look in (outline, stable_diffusion.load):
        with pytest.raises(CheckpointError, match=words):
            look(str(file))


def test_scales_without_numbers_are_none(changed):
    file = changed(adds(scaled_fp8=torch.ones(0)))
    assert family(file, header(file)) == "1"


def test_8_bit_floats_without_scales_are_read(changed):
    name = f"{UNET}out.2.weight"
    file = changed(lambda held: held.update({name: held[name].to(torch.float8_e4m3fn)}))
    network = stable_diffusion.load(f"{file}?epsilon").network.unet
    assert torch.equal(network.conv_out.weight, load_file(file)[name].float())


@pytest.mark.parametrize("edit, words", [
    (without(f"{UNET}middle_block.1.norm"), r"2 \(mid_block.attentions.0.norm.bias, .*of its weights are missing"),
    (without("first_stage_model.decoder.conv_in.bias"), r"1 \(decoder.conv_in.bias\) of its weights are missing"),
    (without("cond_stage_model.transformer.text_model.final_layer_norm.w"), r"1 \(final_layer_norm.weight\) of its we"),
    (adds(**{UNET + "input_blocks.1.2.extra": torch.ones(1)}),
     r"model.safetensors, unet: .* 1 \(model.diffusion_model.input_blocks.1.2.ex"),
    (reshaped(UNET + "time_embed.0.bias", 7), "1 .*time_embed.0.bias.* have other shapes"),
    (adds(**{UNET + "out.2.bias": torch.full((4,), torch.nan)}), "NaN or infinite"),
])  # fmt: skip
def test_nothing_is_drawn_at_random_and_nothing_is_dropped(changed, edit, words):
    with pytest.raises(CheckpointError, match=words):
        stable_diffusion.load(f"{changed(edit)}?epsilon")


PREDICTS = {  # what it says of itself -> (kind, tensors, header, choice, what it predicts, whether that is assumed)
    "nothing": ("1", {}, {}, "", "epsilon", True),
    "nothing, at 768 pixels": ("2", {}, {"modelspec.resolution": "768x768"}, "", "v_prediction", True),
    "nothing, at 512 pixels": ("2", {}, {"modelspec.resolution": "512x512"}, "", "epsilon", True),
    "its header": ("1", {}, {"modelspec.prediction_type": "v"}, "", "v_prediction", False),
    "a header of epsilon": ("2", {}, {"modelspec.prediction_type": "epsilon"}, "", "epsilon", False),
    "a marker": ("xl", {"v_pred": torch.ones(0)}, {}, "", "v_prediction", False),
    "two markers": ("xl", {"v_pred": torch.ones(0), "ztsnr": torch.ones(0)}, {}, "", "v_prediction_ztsnr", False),
    "SDXL without any": ("xl", {}, {}, "", "epsilon", False),
    "a person": ("1", {}, {"modelspec.prediction_type": "epsilon"}, "v_prediction", "v_prediction", False),
}  # fmt: skip


@pytest.mark.parametrize("what", PREDICTS)
def test_what_the_network_predicts(changed, what):
    kind, tensors, said, chosen, predicts, assumed = PREDICTS[what]
    file = changed(adds(**tensors), kind, said)
    assert prediction(family(file, header(file)), header(file), chosen) == (predicts, assumed)
    known = outline(f"{file}?{chosen}" if chosen else str(file))
    folder = single_file.described(file, chosen)
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == predicts.removesuffix("_ztsnr")
    assert scheduler["rescale_betas_zero_snr"] is predicts.endswith("_ztsnr")
    assert (f"read as {predicts}" in known.note) is assumed


def test_a_choice_that_is_none(changed):
    with pytest.raises(CheckpointError, match=r"model.safetensors.v: what a network predicts is one of epsilon"):
        outline(f"{changed()}?v")


@pytest.mark.parametrize("part, beginning, kind, words", [
    ("vae", "first_stage_model.", "1", "has no autoencoder"),
    ("text_encoder", "cond_stage_model.", "1", "has no text encoder"),
    ("text_encoder_2", "conditioner.embedders.1.", "xl", "has no second text encoder"),
])  # fmt: skip
def test_a_part_that_is_missing_is_taken_from_beside_the_file(saved, changed, tmp_path, part, beginning, kind, words):
    file = changed(without(beginning), kind)
    with pytest.raises(CheckpointError, match=rf"{words}.*copy the folder {part} .*{tmp_path}/model/{part}, or to"):
        outline(str(file))
    whole = stable_diffusion.load(f"{saved(kind)[1]}?epsilon")
    (tmp_path / part).symlink_to(saved(kind)[0] / part)
    loaded = stable_diffusion.load(f"{file}?epsilon")
    cond = whole.encode_prompt(["a cube"])
    assert all(torch.equal(value, cond[key]) for key, value in loaded.encode_prompt(["a cube"]).items())
    assert torch.equal(*(one.decode(torch.ones(1, 4, 8, 8)) for one in (whole, loaded)))
    assert loaded.revision != whole.revision


def test_without_a_tokenizer_it_is_said_where_to_put_one(changed, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_vocabulary, "_fetched", lambda: iter(()))
    file = changed()
    (tmp_path / "tokenizer").unlink()
    for look in (outline, stable_diffusion.load):
        with pytest.raises(CheckpointError, match=f"tokenizer of its text .*is missing.*into {tmp_path}/tokenizer"):
            look(str(file))


def test_a_tokenizer_of_another_vocabulary_is_not_taken(changed, saved, tmp_path):
    file = changed()
    (tmp_path / "tokenizer").unlink()
    small = {"model": {"vocab": {"a": 0}, "merges": []}, "added_tokens": []}
    (tmp_path / "another" / "tokenizer").mkdir(parents=True)
    (tmp_path / "another" / "tokenizer" / "tokenizer.json").write_text(json.dumps(small))
    with pytest.raises(CheckpointError, match="is missing"):
        outline(str(file))
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "tokenizer").symlink_to(saved("1")[0] / "tokenizer")
    assert outline(str(file)).tokens == 16


def test_the_list_of_merges_makes_clips_vocabulary(tmp_path):
    """Of the package open_clip: the same tokens as the tokenizer that the list was written from."""
    from transformers import CLIPTokenizer

    from tests.support import tiny

    known = tiny.tokenizer()
    merges = json.loads(known.backend_tokenizer.to_str())["model"]["merges"]
    text = "\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *(" ".join(one) for one in merges), ""])
    files = clip_vocabulary.from_merges(text, len(merges))
    for name, one in files.items():
        (tmp_path / name).write_text(one)
    made = CLIPTokenizer.from_pretrained(tmp_path)
    assert clip_vocabulary.count(files) == len(known)
    for words in ("a red cube on grass", "Zwölf!", ""):
        ids = made(words).input_ids
        assert made.convert_ids_to_tokens(ids) == known.convert_ids_to_tokens(known(words).input_ids)
    assert made.convert_tokens_to_ids("!") == 0


@pytest.mark.parametrize("name, words", [
    ("model.ckpt", "is a pickle, which can run code"), ("model.gguf", "is GGUF.*fp16, bf16"),
    ("none.safetensors", "there is no file .*none.safetensors"),
])  # fmt: skip
def test_files_that_are_never_opened(tmp_path, name, words):
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"1234")
    for look in (outline, stable_diffusion.load):
        with pytest.raises(CheckpointError, match=words):
            look(str(tmp_path / name))


def test_without_a_cache_folder_it_runs_all_the_same(saved, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_CACHE", "")
    assert outline(str(saved("1")[1])).channels == 4


def test_what_lies_beside_a_file_is_called_by_its_name(saved, changed, tmp_path):
    from diffusers import ControlNetModel

    file = changed()
    net = ControlNetModel.from_unet(original_files.unet("1"), conditioning_embedding_out_channels=(16, 32))
    net.save_pretrained(tmp_path / "model_controlnets" / "depth")
    assert outline(str(file)).controlnets == ("depth",)
