"""LoRA and LyCORIS files on tiny networks, against diffusers' own and against W + D written into a copy."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import nn

from backbones import lora_files, stable_diffusion
from backbones.checkpoint_files import CheckpointError
from backbones.engines import OpenVINOEngine, UNetGraph
from backbones.lora_network import acting, branches
from backbones.unet import WithGuidance
from samplers.flow import Ask
from tests.support import loras, tiny
from tests.support.loras import ATTENTION, EVERY_KIND, KINDS, TEXT, drawn, kohya, merged, modules, write

PROMPT = "a red sphere on grass"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a checkpoint whose every parameter is drawn."""
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = tiny.save(tmp_path_factory.mktemp(kind) / "net", kind)
            pipe = pipeline(made[kind])
            for part in ("unet", "text_encoder", *(["text_encoder_2"] if kind == "xl" else [])):
                loras.redrawn(getattr(pipe, part)).save_pretrained(made[kind] / part)
        return made[kind]

    return folder


def pipeline(folder):
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def open_(folders, tmp_path, monkeypatch):
    """kind -> a backbone of its own, whose LoRA files lie in tmp_path."""
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path))
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    return lambda kind: stable_diffusion.load(str(folders(kind)))


def asked(b, weights=None, rows=1, prompt=PROMPT):
    """One answer; weights: key -> weight of each row."""
    x = torch.randn(rows, *b.latent_shape(b.default_size, b.default_size), generator=torch.Generator().manual_seed(1))
    keys = {key: torch.tensor(value) for key, value in (weights or {}).items()}
    return b.denoise(Ask(x, torch.full((rows,), 2.0), {**b.encode_prompt([prompt] * rows), **keys}))


def with_network(b, network, **kw):
    """What the backbone answers with another network in it."""
    own, b.network.engine.unet = b.network.engine.unet, network
    try:
        return asked(b, **kw)
    finally:
        b.network.engine.unet = own


def close(a, b):
    assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [
    nn.Linear(12, 16), nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.Conv2d(12, 16, 1),
], ids=["linear", "conv", "strided", "1x1"])  # fmt: skip
def test_a_branch_gives_what_the_merged_weight_would(tmp_path, kind, layer):
    """Each kind on each layer, rows at unlike weights: W + s D, in closed form."""
    net = nn.Sequential(layer).requires_grad_(False)
    tensors, deltas = drawn({"0": layer}, kind)
    file = lora_files.opened(write(tmp_path, kind, kohya(tensors)))
    (beside,) = [branches(file, {"network": net})]
    assert len(beside) == 1, f"{file.layers}"
    x, weights = torch.randn(3, *((5, 12) if isinstance(layer, nn.Linear) else (12, 6, 6))), [1.0, -0.5, 0.0]
    plain = net(x)
    with acting([(beside, torch.tensor(weights))]):
        out = net(x)
    for row, s in enumerate(weights):
        close(out[row], merged(net, deltas, s)(x)[row])
    assert out[2].equal(plain[2]) and net(x).equal(plain), "off means off"


@pytest.mark.parametrize("kind", ["eps", "xl"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_kohya_s_keys_give_what_diffusers_gives(open_, folders, tmp_path, kind, strength):
    b = open_(kind)
    tensors, _ = drawn(modules(b.network.unet, ATTENTION + "|" + r"ff\.net\.2$|proj_in$"))
    if kind == "eps":
        tensors = {k: v for k, v in tensors.items() if "proj_in" not in k}
    write(tmp_path, "style", kohya(tensors))
    pipe = pipeline(folders(kind))
    pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
    pipe.set_adapters(["default_0"], [strength])
    key, plain = b.lora("style"), asked(b)
    made = asked(b, {key: [strength]})
    close(made, with_network(b, pipe.unet))
    assert (made - plain).abs().max() > 0.01 * plain.abs().max() and asked(b).equal(plain)


def test_files_of_peft_give_what_diffusers_gives(open_, folders, tmp_path):
    """With convolutions, alphas that stand in the header alone, another one for some layers."""
    b, pipe = open_("eps"), pipeline(folders("eps"))
    config = LoraConfig(r=RANK, lora_alpha=5, alpha_pattern={"attn1.to_q": 7}, init_lora_weights=False,
                        target_modules=["to_q", "to_k", "to_out.0", "conv1", "time_emb_proj"])  # fmt: skip
    torch.manual_seed(3)
    pipe.unet.add_adapter(config)
    about = {f"unet.{k}": v for k, v in config.to_dict().items() if isinstance(v, (int, float, bool, dict, str))}
    state = {f"unet.{k}": v for k, v in get_peft_model_state_dict(pipe.unet).items()}
    write(tmp_path, "conv", state, {"lora_adapter_metadata": json.dumps(about), "format": "pt"})
    assert lora_files.checked("conv", "net", folders("eps")).idle == ()
    close(asked(b, {b.lora("conv"): [1.0]}), with_network(b, pipe.unet))


RANK = 4


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr_low"])
def test_every_kind_of_layer_of_a_unet_acts(open_, tmp_path, kind):
    """Convolutions, up and down, embeddings of time, attention: as the same numbers in the weights would."""
    b = open_("xl")
    layers = {k: v for k, v in modules(b.network.unet, EVERY_KIND).items() if not v.weight.shape[1] % 2}
    tensors, deltas = drawn(layers, kind)
    write(tmp_path, "all", kohya(tensors, "lycoris_"))
    key = b.lora("all")
    close(asked(b, {key: [0.7]}), with_network(b, merged(b.network.unet, deltas, 0.7)))


@pytest.mark.parametrize("kind", ["eps-lcm", "eps-inpaint"])
def test_networks_with_more_inputs_have_files_too(open_, tmp_path, kind):
    """A latent consistency model, whose UNet is called by way of another module; an inpainting UNet."""
    b = open_(kind)
    tensors, deltas = drawn(modules(b.network.unet, EVERY_KIND))
    write(tmp_path, "all", kohya(tensors))
    made, changed = asked(b, {b.lora("all"): [0.7]}), merged(b.network.unet, deltas, 0.7)
    close(made, with_network(b, WithGuidance(changed) if kind == "eps-lcm" else changed))


def test_openvino_and_torch_give_one_answer_and_nothing_is_kept_on_the_disk(open_, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    b = open_("eps")
    write(tmp_path, "conv", kohya(drawn(modules(b.network.unet, EVERY_KIND), "locon_mid")[0]))
    key, made = b.lora("conv"), []

    def engines(network, place):
        made.append(place)
        return OpenVINOEngine(UNetGraph(network), place), None

    with_torch = asked(b, {key: [0.7, -0.2]}, rows=2)
    b.network.adapters._made.clear()
    monkeypatch.setattr(b.network.adapters, "engines_of", engines)
    close(asked(b, {key: [0.7, -0.2]}, rows=2), with_torch)
    assert made == [""], "there may be many files"


def test_the_original_names_of_blocks_are_the_same_layers(open_, tmp_path):
    """As kohya trains SDXL."""
    b = open_("xl")
    every = modules(b.network.unet, EVERY_KIND)
    names = loras.original_names(every, 1)
    tensors, deltas = drawn({name: every[name] for name in names})
    assert len(names) > 30
    write(tmp_path, "sdxl", kohya(tensors, named=names))
    close(asked(b, {b.lora("sdxl"): [1.0]}), with_network(b, merged(b.network.unet, deltas)))


@pytest.mark.parametrize("kind", ["eps", "xl"])
def test_prompts_are_read_with_the_layers_of_the_text_encoders(open_, folders, tmp_path, kind):
    """As the pipeline reads them with W + s D in its encoders, and without them as before, bit for bit."""
    b, pipe = open_(kind), pipeline(folders(kind))
    found = {}
    for part, prefix in (("text_encoder", "lora_te1_"), ("text_encoder_2", "lora_te2_"))[: 1 + (kind == "xl")]:
        encoder = getattr(pipe, part)
        tensors, deltas = drawn(modules(encoder, TEXT), seed=len(prefix) + len(found))
        old = {name: name if name.startswith("text_model") else f"text_model.{name}" for name in tensors}
        found |= kohya(tensors, prefix if kind == "xl" else "lora_te_", old)
        setattr(pipe, part, merged(encoder, deltas, 0.8))
    write(tmp_path, "words", found)
    before = b.encode_prompt([PROMPT, ""])
    made = b.reading_with({b.lora("words"): 0.8}).encode_prompt([PROMPT, ""])
    for row, text in enumerate([PROMPT, ""]):
        theirs = pipe.encode_prompt(
            text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if kind == "xl" and not text:
            continue  # zeros, whatever the encoders say
        close(made["text"][row], theirs[0][0])
        if kind == "xl":
            close(made["pooled"][row], theirs[2][0])
    assert all(b.encode_prompt([PROMPT, ""])[key].equal(value) for key, value in before.items())
    assert b.reading_with({}) is b and not made["text"].equal(before["text"])


def test_two_files_in_one_call_and_in_calls_of_their_own(open_, tmp_path):
    """Rows at unlike weights equal each alone; two files add up; the base stays what it was, without a hook in it."""
    b = open_("eps")
    unet = b.network.unet
    deltas = {}
    for name, seed in (("one", 1), ("two", 2)):
        tensors, deltas[name] = drawn(modules(unet, EVERY_KIND), seed=seed)
        write(tmp_path, name, kohya(tensors))
    state = {name: value.clone() for name, value in unet.state_dict().items()}
    plain, one, two = asked(b), b.lora("one"), b.lora("two")
    both = {one: [0.5, -1.0, 0.0], two: [0.25, 0.0, 1.0]}
    together = asked(b, both, rows=3)
    for row in range(3):
        x = torch.randn(3, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))[row : row + 1]
        keys = {key: torch.tensor([value[row]]) for key, value in both.items()}
        cond = b.encode_prompt([PROMPT])
        alone = b.denoise(Ask(x, torch.tensor([2.0]), {**cond, **keys}))
        close(together[row], alone[0])
    close(asked(b, {one: [0.5], two: [0.25]}),
          with_network(b, merged(merged(unet, deltas["one"], 0.5), deltas["two"], 0.25)))  # fmt: skip
    assert all(value.equal(state[name]) for name, value in unet.state_dict().items())
    assert not any(module._forward_hooks for module in unet.modules()) and asked(b).equal(plain)


def test_a_failing_call_leaves_nothing_behind(open_, tmp_path):
    b = open_("eps")
    tensors, _ = drawn(modules(b.network.unet, ATTENTION))
    write(tmp_path, "style", kohya(tensors))
    key = b.lora("style")
    with pytest.raises(RuntimeError, match=r"shape"):
        b.network(torch.zeros(1, 4, 16, 16), torch.ones(1), {"text": torch.zeros(1, 5, 7), key: torch.ones(1)})
    assert not any(module._forward_hooks for module in b.network.unet.modules())


def test_gradients_run_through_the_branches(open_, tmp_path):
    b = open_("eps")
    tensors, _ = drawn(modules(b.network.unet, ATTENTION))
    write(tmp_path, "style", kohya(tensors))
    cond = {**b.encode_prompt([PROMPT]), b.lora("style"): torch.ones(1)}
    x = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = b.denoise(Ask(x, torch.tensor([2.0]), cond, tape=object()))
    out.square().sum().backward()
    assert x.grad.abs().sum() > 0
    # without gradients another kernel of attention runs: sums of another order
    torch.testing.assert_close(out.detach(), asked(b, {b.lora("style"): [1.0]}), atol=1e-4, rtol=1e-4)


def test_numbers_that_are_none_are_refused(open_, tmp_path):
    b = open_("eps")
    tensors, _ = drawn(modules(b.network.unet, r"attn1\.to_q$"))
    next(iter(tensors.values()))["lora_up.weight"][0] = torch.nan
    write(tmp_path, "broken", kohya(tensors))
    key = b.lora("broken")
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        asked(b, {key: [1.0]})
