"""LoRA and LyCORIS files on tiny diffusion transformers, against diffusers' own loading of the same files, and against
W + D written into a copy."""

import re
from types import SimpleNamespace

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

import backbones
from backbones import lora_files, lora_transformer_names
from backbones.checkpoint_files import CheckpointError
from conditioning.compose import compose
from conditioning.inputs import opened_loras
from samplers import SAMPLERS
from samplers.flow import Ask, Noise, run
from tests.support import tiny, tiny_transformers
from tests.support.loras import ALPHA, RANK, TEXT, drawn, kohya, merged, modules, peft, write

KINDS = tuple(kind for kind in tiny_transformers.KINDS if kind != "sd3-without-t5")  # the same transformer
PROMPT = "a red sphere on grass"
EVERY = r""
BLOCKS = r"blocks\.\d+\.(?!norm).*|layers\.\d+\.(attention|feed_forward).*"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = tiny_transformers.save(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def loaded():
    return {}


@pytest.fixture
def open_(folders, loaded, tmp_path, monkeypatch):
    """kind -> a backbone, whose LoRA files lie in tmp_path: no file may leave anything in it."""
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path))
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")

    def opened(kind):
        if kind not in loaded:
            loaded[kind] = backbones.load(str(folders(kind)))
        return loaded[kind]

    return opened


def asked(b, weights=None, rows=1, prompts=(PROMPT,), reading=None):
    """One answer; weights: key -> weight of each row."""
    x = torch.randn(rows, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    keys = {key: torch.tensor(value) for key, value in (weights or {}).items()}
    texts = [prompts[row % len(prompts)] for row in range(rows)]
    return b.denoise(Ask(x, torch.full((rows,), 2.0), {**(reading or b).encode_prompt(texts), **keys}))


def model(b):
    return b.network.engine.unet.model


def with_network(b, network, **kw):
    """What the backbone answers with another transformer in it."""
    called = b.network.engine.unet
    own, called.model = called.model, network
    try:
        return asked(b, **kw)
    finally:
        called.model = own


def close(a, b):
    assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def pipeline(folder):
    return DiffusionPipeline.from_pretrained(folder)


def linear(network, which=EVERY):
    """Those that LoRA files have: linear layers."""
    return {name: one for name, one in modules(network, which).items() if isinstance(one, torch.nn.Linear)}


LOADED = [kind for kind in KINDS if hasattr(tiny_transformers.pipeline_class(kind), "load_lora_weights")]


@pytest.mark.parametrize("kind", LOADED)
def test_peft_s_keys_give_what_diffusers_gives(open_, folders, tmp_path, kind):
    """All linear layers, with diffusers' names; and without the file the network is what it was, bit for bit."""
    b, pipe = open_(kind), pipeline(folders(kind))
    write(tmp_path, "style", peft(drawn(linear(model(b)))[0]))
    pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
    assert lora_files.checked("style", "net", folders(kind)).idle == ()
    plain, key = asked(b), b.lora("style")
    for strength in (1.0, 0.6):
        pipe.set_adapters(["default_0"], [strength])
        made = asked(b, {key: [strength]})
        close(made, with_network(b, pipe.transformer))
    assert (made - plain).abs().max() > 0.01 * plain.abs().max() and asked(b).equal(plain)


def drawn_by_original_names(network, which, kind="lora", seed=0):
    """(tensors, deltas) of the layers that the authors' code had, by its names, of all that are so called."""
    sizes = {}
    for old, to in lora_transformer_names.original(dict(network.named_modules())):
        places = [network.get_submodule(one) for one in to.modules]
        if re.search(which, old) and all(isinstance(one, torch.nn.Linear) for one in places):
            sizes[old] = torch.nn.Linear(places[0].in_features, sum(one.out_features for one in places))
    return drawn(sizes, kind, seed)


@pytest.mark.parametrize("kind, spelling, which", [
    ("flux-dev", "kohya", r"^(double|single)_blocks\.\d+\.(?!linear1|processor)"), ("flux-dev", "xlabs", "processor"),
    ("flux-dev", "dots", r"^(double|single)_blocks\.\d+\.(?!linear1|processor)"),
    ("flux2-klein", "kohya", r"^(double|single)_blocks|_in|layer\.linear"),
    ("flux2-klein", "comfyui", r"^(?!final_layer\.ada)"), ("z-image", "kohya", "attention"),
    ("krea2", "comfyui", ""),
])  # fmt: skip
def test_original_names_give_what_diffusers_gives(open_, folders, tmp_path, kind, spelling, which):
    """All that diffusers converts: layers that were one are split by rows, with and without alphas."""
    b, pipe = open_(kind), pipeline(folders(kind))
    tensors, _ = drawn_by_original_names(model(b), which)
    assert tensors
    if spelling == "kohya":
        file = kohya(tensors)
    elif spelling == "dots":
        file = {f"diffusion_model.{name}.{end}": one for name, ends in tensors.items() for end, one in ends.items()}
    elif spelling == "comfyui":
        file = peft(tensors, "diffusion_model.")
    else:
        file = {f"{name}{'' if 'lora' in name else '_lora'}.{end.removeprefix('lora_')}": one
                for name, ends in tensors.items() for end, one in ends.items() if end != "alpha"}  # fmt: skip
    write(tmp_path, "style", file)
    pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
    fit = lora_files.checked("style", "net", folders(kind))
    assert fit.idle == () and len(fit.acting) == len(tensors)
    close(asked(b, {b.lora("style"): [1.0]}), with_network(b, pipe.transformer))


@pytest.mark.parametrize("kind, which", [
    ("flux-dev", "blocks"), ("flux2-klein", "blocks"), ("sd3", "blocks"), ("krea2", "blocks"), ("z-image", "attention"),
])  # fmt: skip
def test_every_block_has_its_original_names(open_, kind, which):
    network = model(open_(kind))
    named = lora_transformer_names.original(dict(network.named_modules()))
    assert set(linear(network, rf"{which}\.")) <= {module for _, to in named for module in to.modules}


def in_place(network, deltas):
    """Of layers that were one, what is added to each of those of the network."""
    found = {}
    for old, to in lora_transformer_names.original(dict(network.named_modules())):
        if old in deltas:
            rows = [network.get_submodule(one).out_features for one in to.modules]
            found |= dict(zip(to.modules, deltas[old].split(rows)))
    return found


ORIGINAL = {"flux-dev": r"single_blocks\.\d+\.linear1|img_attn|txt_attn\.qkv|vector_in|img_mod",
            "sd3": r"x_block\.(attn|mlp)|context_block\.attn|_embedder",
            "flux2-klein": "(single|double)_blocks|stream_modulation", "z-image": "attention",
            "krea2": "blocks"}  # fmt: skip


@pytest.mark.parametrize("how", ["lora", "loha", "lokr", "lokr_low", "full", "dora_of_rows", "dora_of_lokr"])
@pytest.mark.parametrize("kind", ORIGINAL)
def test_every_kind_of_file_is_split_by_the_widths_of_the_network(open_, tmp_path, kind, how):
    """As D in the weights of query, key, value, and in what else was one layer with them. DoRA is of W + D."""
    b = open_(kind)
    tensors, deltas = drawn_by_original_names(model(b), ORIGINAL[kind], how if "dora" not in how else "lora")
    if "dora" in how:
        weights = {old: torch.cat([model(b).get_submodule(one).weight for one in to.modules]) for old, to in
                   lora_transformer_names.original(dict(model(b).named_modules())) if old in tensors}  # fmt: skip
        tensors, deltas = drawn({old: SimpleNamespace(weight=one) for old, one in weights.items()}, how)
    write(tmp_path, "all", kohya(tensors))
    close(asked(b, {b.lora("all"): [0.7]}), with_network(b, merged(model(b), in_place(model(b), deltas), 0.7)))


def test_shift_and_scale_stand_as_in_diffusers_converter(open_, tmp_path):
    """Of the checkpoint's own weights, by the names of the authors: the last layers of all, and of the words."""
    b = open_("sd3")
    names = lora_transformer_names.original(dict(model(b).named_modules()))
    whole = {}
    for old, to in names:
        for end in ("weight", "bias"):
            whole[f"{old}.{end}"] = torch.cat([getattr(model(b).get_submodule(one), end) for one in to.modules])
    for i in range(2):
        for norm in ("ln_q", "ln_k"):
            for block in ("x_block.attn", "context_block.attn", *(["x_block.attn2"] if i == 0 else [])):
                whole[f"joint_blocks.{i}.{block}.{norm}.weight"] = torch.ones(8)
    for end in ("weight", "bias"):
        whole[f"context_embedder.{end}"] = getattr(model(b).context_embedder, end)
    whole["pos_embed"] = model(b).pos_embed.pos_embed
    ends = ["final_layer.adaLN_modulation.1", "joint_blocks.1.context_block.adaLN_modulation.1"]
    tensors, deltas = drawn({one: SimpleNamespace(weight=whole[f"{one}.weight"]) for one in ends})
    zeros = {key: torch.zeros_like(one) for key, one in whole.items()}
    made = convert_sd3_transformer_checkpoint_to_diffusers(zeros | {f"{k}.weight": d for k, d in deltas.items()})
    deltas = {key.removesuffix(".weight"): one for key, one in made.items() if one.any()}
    assert sorted(deltas) == ["norm_out.linear", "transformer_blocks.1.norm1_context.linear"]
    write(tmp_path, "ends", kohya(tensors))
    close(asked(b, {b.lora("ends"): [1.0]}), with_network(b, merged(model(b), deltas)))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_unlike_weights_and_two_files_are_each_what_they_are_alone(open_, tmp_path, kind):
    """Prompts of unlike lengths in one call, all layers with tokens of all rows among them; no hook stays."""
    b, prompts = open_(kind), ("a red sphere on grass", "a", "blue")
    deltas = {}
    for name, seed in (("one", 1), ("two", 2)):
        tensors, deltas[name] = drawn(linear(model(b)), seed=seed)
        write(tmp_path, name, kohya(tensors, "lora_transformer_"))
    plain, one, two = asked(b, prompts=prompts, rows=3), b.lora("one"), b.lora("two")
    weights = {one: [0.5, -0.4, 0.0], two: [0.25, 0.0, 0.6]}
    rows = asked(b, weights, 3, prompts)
    for row, prompt in enumerate(prompts):
        changed = merged(merged(model(b), deltas["one"], weights[one][row]), deltas["two"], weights[two][row])
        want = with_network(b, changed, rows=3, prompts=prompts)[row]
        assert (rows[row] - want).abs().max() <= 1e-4 * want.abs().max(), prompt
    assert not any(module._forward_hooks for module in model(b).modules())
    assert asked(b, prompts=prompts, rows=3).equal(plain)


@pytest.mark.parametrize("kind", ["flux-dev", "flux-kontext", "sd3"])
@pytest.mark.parametrize("spelling", ["diffusers", "kohya", "comfyui"])
def test_prompts_are_read_with_the_layers_of_clip_where_diffusers_does(open_, folders, tmp_path, kind, spelling):
    """T5 has none, there and here: they are said not to act."""
    b, pipe, file = open_(kind), pipeline(folders(kind)), {}
    parts = {"te1": "text_encoder", **({"te2": "text_encoder_2"} if kind == "sd3" else {})}
    begins = {"diffusers": ("text_encoder.", "text_encoder_2."), "kohya": ("lora_te1_", "lora_te2_"), "comfyui": (
        "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer.")}[spelling]  # fmt: skip
    for seed, (part, begin) in enumerate(zip(parts.values(), begins)):
        tensors, deltas = drawn(modules(getattr(pipe, part), TEXT), seed=seed)
        old = {name: f"text_model.{name.removeprefix('text_model.')}" for name in tensors}
        file |= kohya(tensors, begin, old) if spelling == "kohya" else peft(tensors, begin, old)
        scale = 0.8 if spelling == "kohya" else 0.8 * RANK / ALPHA
        setattr(pipe, part, merged(getattr(pipe, part), deltas, scale))
    t5 = {"encoder.block.0.layer.0.SelfAttention.q": drawn(modules(pipe.text_encoder, "q_proj"))[0].popitem()[1]}
    file |= kohya(t5, "lora_te3_")
    write(tmp_path, "words", file)
    fit = lora_files.checked("words", "net", folders(kind))
    assert [one.part for one in fit.idle] == ["te3"] and "1 in the third text encoder" in fit.words("words")
    before = b.encode_prompt([PROMPT, ""])
    made = b.reading_with({b.lora("words"): 0.8}).encode_prompt([PROMPT, ""])
    for row, text in enumerate([PROMPT, ""]):
        if kind == "sd3":
            words, _, pooled, _ = pipe.encode_prompt(text, None, None, do_classifier_free_guidance=False)
        else:
            words, pooled, _ = pipe.encode_prompt(text, max_sequence_length=b.tokens)
        close(made["text"][row], words[0])
        close(made["pooled"][row], pooled[0])
    assert all(b.encode_prompt([PROMPT, ""])[key].equal(value) for key, value in before.items())
    assert not made["pooled"].equal(before["pooled"])


def test_a_file_of_another_family_is_refused_and_the_family_said(open_, folders, tmp_path):
    """FLUX.1's on Qwen-Image's network, of one width with it, on FLUX.2's, and where a text encoder alone is the
    same; those of FLUX.1 on all that descend from it."""
    flux = open_("flux-dev")
    write(tmp_path, "flux", peft(drawn(linear(model(flux), BLOCKS))[0]))
    write(tmp_path, "kohya", kohya(drawn_by_original_names(model(flux), "_blocks")[0]))
    clip = drawn(modules(pipeline(folders("flux-dev")).text_encoder, TEXT))[0]
    write(tmp_path, "both", {**peft(drawn(linear(model(flux), BLOCKS))[0]), **kohya(clip, "lora_te1_")})
    write(tmp_path, "qwen", peft(drawn(linear(model(open_("qwen-image")), BLOCKS))[0]))
    sdxl = tiny.save(tmp_path / "sdxl", "xl")
    unet = DiffusionPipeline.from_pretrained(sdxl).unet
    write(tmp_path, "unet", {**kohya(drawn(modules(unet, r"attn1\.to_q$"))[0]), **kohya(clip, "lora_te1_")})
    for name, kind, family in [
        ("flux", "qwen-image", "FLUX.1"), ("qwen", "flux-dev", "Qwen-Image"), ("kohya", "flux2-klein", "FLUX.1"),
        ("kohya", "sd3", "FLUX.1"), ("both", "sd3", "FLUX.1"), ("both", "sdxl", "FLUX.1"),
        ("unet", "flux-dev", "a UNet such as Stable Diffusion's"), ("flux", "z-image", "FLUX.1"),
        ("flux", "sana", "FLUX.1"), ("qwen", "pixart-sigma", "Qwen-Image"), ("qwen", "krea2", "Qwen-Image"),
    ]:  # fmt: skip
        words = rf"“{name}” .* net.*: it seems to be made for {re.escape(family)}\. "
        with pytest.raises(CheckpointError, match=words):
            lora_files.checked(name, "net", sdxl if kind == "sdxl" else folders(kind))
    for kind in ("flux-schnell", "flux-kontext", "flux-fill"):
        assert lora_files.checked("flux", "net", folders(kind)).idle == ()


def test_layers_that_a_file_has_once_more_as_one_are_not_added_twice(open_, tmp_path):
    """Some trainers of Z-Image write both."""
    b = open_("z-image")
    alone, deltas = drawn(linear(model(b), r"layers\.\d+\.attention\.to_[qkv]"))
    fused, _ = drawn_by_original_names(model(b), r"^layers\.\d+\.attention\.qkv", seed=3)
    write(tmp_path, "both", {**kohya(alone), **kohya(fused)})
    close(asked(b, {b.lora("both"): [1.0]}), with_network(b, merged(model(b), deltas)))
    assert "all 6 layers" in lora_files.checked("both", "net", b.folder).words("both")


def test_norms_of_transformers_act_too(open_, tmp_path):
    b = open_("flux-dev")
    name = "single_transformer_blocks.0.attn.norm_q"
    w, more = model(b).get_submodule(name).weight, torch.randn(8)
    write(tmp_path, "norm", {f"lycoris_{name.replace('.', '_')}.w_norm": more})
    close(asked(b, {b.lora("norm"): [0.5]}), with_network(b, merged(model(b), {name: more.reshape(w.shape)}, 0.5)))


def test_a_whole_run_is_the_pipeline_s(open_, folders, tmp_path):
    """Of FLUX.1 dev, by the method LoRA. A curve that ends early leaves the last step to the network alone."""
    b, pipe, steps = open_("flux-dev"), pipeline(folders("flux-dev")), 3
    write(tmp_path, "style", kohya(drawn_by_original_names(model(b), "img_attn|_mlp")[0]))
    pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
    noise = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    tokens = torch.nn.functional.pixel_unshuffle(noise, 2).flatten(2).transpose(1, 2)
    theirs = pipe(PROMPT, height=32, width=32, num_inference_steps=steps, latents=tokens, output_type="latent").images
    sigmas, cond = b.schedule(steps, 32, 32), b.encode_prompt([PROMPT])

    def ours(weight):
        stack = [("lora", {"files": opened_loras(f"<lora:style:{weight}>", b)})]
        D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, backbone=b)
        seen = []
        made = run(solver(D, noise * (1 + sigmas[0]), sigmas, cond, Noise([0])), watched(b, seen))
        return torch.nn.functional.pixel_unshuffle(made, 2).flatten(2).transpose(1, 2), seen

    close(ours(1.0)[0], theirs)
    assert ours("0:1, 0.5:0")[1] == [1, 1, 0] and ours(0.0)[1] == [0, 0, 0]


def watched(b, seen):
    """What answers asks, and counts the files of each."""

    def answer(ask):
        seen.append(sum(key.startswith(lora_files.KEY) for key in ask.cond))
        return b.denoise(ask)

    return answer
