"""LoRA and LyCORIS files on tiny diffusion transformers, against diffusers' own loading of the same files, and against
W + D written into a copy."""

import re

import pytest
import torch
from diffusers import DiffusionPipeline

import backbones
from backbones import lora_files, lora_names
from backbones.checkpoint_files import CheckpointError
from samplers.flow import Ask
from tests.support import tiny_transformers
from tests.support.loras import RANK, TEXT, drawn, kohya, merged, modules, peft, write

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


@pytest.fixture
def open_(folders, tmp_path, monkeypatch):
    """kind -> a backbone of its own, whose LoRA files lie in tmp_path."""
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path))
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    return lambda kind: backbones.load(str(folders(kind)))


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
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_peft_s_keys_give_what_diffusers_gives(open_, folders, tmp_path, kind, strength):
    """All linear layers, with diffusers' names; and without the file the network is what it was, bit for bit."""
    b, pipe = open_(kind), pipeline(folders(kind))
    write(tmp_path, "style", peft(drawn(linear(model(b)))[0]))
    pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
    pipe.set_adapters(["default_0"], [strength])
    assert lora_files.checked("style", "net", folders(kind)).idle == ()
    plain, key = asked(b), b.lora("style")
    made = asked(b, {key: [strength]})
    close(made, with_network(b, pipe.transformer))
    assert (made - plain).abs().max() > 0.01 * plain.abs().max() and asked(b).equal(plain)
