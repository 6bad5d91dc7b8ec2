"""LoRA files on transformers together with what else changes their calls: edits of attention, ControlNets."""

from contextlib import contextmanager

import pytest
import torch

import backbones
from conditioning.registry import METHODS
from samplers.flow import Ask
from tests.support import tiny_transformers
from tests.support.loras import drawn, kohya, modules, write
from tests.support.tiny_controlnets import of_transformer

KINDS = ("flux-dev", "flux2-klein", "qwen-image", "z-image", "krea2", "sd3", "sana", "pixart-sigma")
DEEPER = {"z-image": {"n_layers": 4}, "sana": {"num_layers": 4}}  # so that there are blocks for what ControlNets give


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """kind -> a backbone with ControlNets, the key of a file for each of its linear layers, and what that adds to each
    weight."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")

        def opened(kind):
            home = tmp_path_factory.mktemp(kind)
            patch.setenv("NINE_WAYS_LORAS", str(home / "loras"))
            patch.setenv("NINE_WAYS_CONTROLNETS", str(home / "nets"))
            if kind not in made:
                if kind in ("flux-dev", "sd3", "qwen-image", "z-image", "sana"):
                    of_transformer(kind, 0).save_pretrained(home / "nets" / "depth")
                b = backbones.load(str(tiny_transformers.save(home / "net", kind, **DEEPER.get(kind, {}))))
                every = modules(b.network.model, "")
                linear = {name: one for name, one in every.items() if isinstance(one, torch.nn.Linear)}
                tensors, deltas = drawn(linear)
                write(home / "loras", "all", kohya(tensors, "lora_transformer_"))
                made[kind] = b, b.lora("all"), deltas
            return made[kind]

        yield opened


@contextmanager
def written(network, deltas, strength):
    """The file's differences in the weights themselves, for a while."""
    before = {name: network.get_submodule(name).weight.clone() for name in deltas}
    with torch.no_grad():
        for name, delta in deltas.items():
            network.get_submodule(name).weight.add_(strength * delta)
        try:
            yield
        finally:
            for name, weight in before.items():
                network.get_submodule(name).weight.copy_(weight)


def asked(b, edit=None, **keys):
    x = torch.randn(2, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    return b.denoise(Ask(x, torch.ones(2), {**b.encode_prompt(["a red sphere"] * 2), **keys}, edit=edit))


class Flatter:
    """Attention of half its sharpness, everywhere."""

    def attend(self, site, q, k, v, plain):
        return plain(q / 2, k, v)


def close(a, b):
    assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_edits_of_attention_see_what_the_files_make_of_it(opened, kind):
    b, key, deltas = opened(kind)
    plain, made = asked(b, Flatter()), asked(b, Flatter(), **{key: torch.full((2,), 0.7)})
    with written(b.network.model, deltas, 0.7):
        close(made, asked(b, Flatter()))
    assert (made - plain).abs().max() > 0.01 * plain.abs().max() and asked(b, Flatter()).equal(plain)


@pytest.mark.parametrize("kind", ["flux-dev", "sd3", "qwen-image", "z-image", "sana"])
def test_a_controlnet_beside_a_network_with_files(opened, kind):
    """Its own layers are left as they are; those that it shares with the network (Z-Image's) are changed in both."""
    b, key, deltas = opened(kind)
    shown = METHODS["controlnet"].function(
        b, depth=torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    )
    keys = {name: one.expand(2, *one.shape[1:]) for name, one in shown(1.0, {}).items()}
    plain, made = asked(b, **keys), asked(b, **keys, **{key: torch.full((2,), 0.7)})
    with written(b.network.model, deltas, 0.7):
        close(made, asked(b, **keys))
    assert (asked(b, **{key: torch.full((2,), 0.7)}) - made).abs().max() > 1e-3 * made.abs().max(), "the map counts"
    assert asked(b, **keys).equal(plain)
