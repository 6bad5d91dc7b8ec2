"""Edits of the attention of diffusion transformers, on tiny checkpoints of every family."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import backbones
from backbones import token_attention
from samplers.protocol import Ask
from tests.support import tiny_transformers

JOINT = ("flux-dev", "flux2-klein", "qwen-image", "z-image", "krea2", "sd3")
KINDS = (*JOINT, "flux-kontext", "pixart-sigma", "sana")
PROMPT = "a large red sphere on grass, small cube"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    made = {}

    def opened(kind):
        if kind not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NINE_WAYS_ENGINE", "torch")
                patch.setenv("NINE_WAYS_DEVICE", "cpu")
                made[kind] = backbones.load(str(tiny_transformers.save(tmp_path_factory.mktemp(kind), kind)))
        return made[kind]

    return opened


@pytest.fixture(params=KINDS)
def b(request, loaded):
    return loaded(request.param)


@pytest.fixture(params=JOINT)
def joint(request, loaded):
    return loaded(request.param)


def asked(b, edit=None, width=96, height=64, **more):
    """Two rows of one prompt."""
    x = torch.randn(2, *b.latent_shape(width, height), generator=torch.Generator().manual_seed(3))
    cond = {**b.encode_prompt([PROMPT] * 2), **more}
    return b.denoise(Ask(x, torch.tensor([0.7, 1.5]), cond, edit=edit))


class Sees:
    """An edit that changes nothing."""

    def __init__(self):
        self.sites, self.maps = [], []

    def attend(self, site, q, k, v, plain):
        self.sites.append((site, q.shape, k.shape))
        self.maps.append(site.maps(q, k))
        return plain(q, k, v)


class Again(Sees):
    """An edit that gives what was there, as if it were something else."""

    def attend(self, site, q, k, v, plain):
        return plain(q, k.clone(), v.clone())


class Scaled:
    """Keys and values of one half put in place of others."""

    def __init__(self, kind):
        self.kind = kind

    def attend(self, site, q, k, v, plain):
        return plain(q, 1.5 * k, 2 * v) if site.kind == self.kind else plain(q, k, v)


class ScaledInside(TorchFunctionMode):
    """The same, done to the keys of the whole attention; only what the image's queries give is taken."""

    def __init__(self, spans_of):
        super().__init__()
        self.spans_of = spans_of

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or not (found := self.spans_of(args, kwargs)):
            return func(*args, **kwargs)
        image, keys = found
        q, k, v = args[:3] if args else (kwargs["query"], kwargs["key"], kwargs["value"])
        whole, others = func(*args, **kwargs), (k.clone(), v.clone())
        others[0][:, :, keys], others[1][:, :, keys] = 1.5 * k[:, :, keys], 2 * v[:, :, keys]
        mask = kwargs.get("attn_mask")
        changed = func(q, *others, attn_mask=mask)
        return torch.cat([whole[:, :, : image.start], changed[:, :, image], whole[:, :, image.stop :]], 2)


def test_an_edit_that_looks_on_changes_no_bit_and_sees_every_layer_once(b):
    plain, edit = asked(b), Sees()
    assert torch.equal(asked(b, edit), plain) and torch.equal(asked(b), plain)
    sites = [site for site, _, _ in edit.sites]
    assert len({site.name for site in sites}) == len(sites)
    model, family = b.network.model, b.network.family
    named = [name for name, _ in model.named_modules() for one in family.attention if re.fullmatch(one.names, name)]
    assert named and {site.name.removesuffix(".self").removesuffix(".cross") for site in sites} == set(named)
    for kind in ("self", "cross"):
        numbers = [(site.index, site.of) for site in sites if site.kind == kind]
        assert numbers == [(i, len(numbers)) for i in range(len(numbers))]
        assert (f"attention.{kind}" in b.offers) == bool(numbers)
    h, w = (side // b.size_multiple for side in (64, 96))
    text = b.encode_prompt([PROMPT])["text"].shape[1]
    for site, q, k in edit.sites:
        assert (site.height, site.width) == (h, w) and q[2] == h * w
        assert k[2] == (h * w if site.kind == "self" else text)
    for maps in edit.maps:
        torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_joint_attention_is_its_halves_put_together(b):
    plain = asked(b)
    torch.testing.assert_close(asked(b, Again()), plain, atol=2e-5 * float(plain.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_other_keys_and_values_act_as_in_the_whole_attention(joint, kind):
    """Held against the same keys and values changed in the sequence that the model itself attends to."""
    b, words = joint, joint.encode_prompt([PROMPT])["text"].shape[1]
    layers = token_attention.layers(b.network.model, b.network.family.attention)
    inside = []

    def spans_of(args, kwargs):
        if not inside:
            return None
        image, text = layers[inside[-1]].declared.spans((64 // b.size_multiple) * (96 // b.size_multiple), words)
        keys = image if kind == "self" else text
        return (image, keys) if keys.stop > keys.start else None

    hooks = []
    for name in layers:
        module = b.network.model.get_submodule(name)
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    try:
        with ScaledInside(spans_of):
            expected = asked(b)
    finally:
        for hook in hooks:
            hook.remove()
    made = asked(b, Scaled(kind))
    size = float(expected.abs().max())
    torch.testing.assert_close(made, expected, atol=2e-5 * size, rtol=0)
    assert (made - asked(b)).abs().max() > 1e-3 * size


def test_a_reference_image_stays_where_an_edit_acts(loaded):
    b = loaded("flux-kontext")
    there = torch.randn(2, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(5))
    plain = asked(b, **{"reference.0": there})
    made = asked(b, Again(), **{"reference.0": there})
    torch.testing.assert_close(made, plain, atol=2e-5 * float(plain.abs().max()), rtol=0)
    assert (asked(b, Again()) - plain).abs().max() > 1e-3




def test_another_backend_is_refused_rather_than_passed_over(loaded):
    b = loaded("flux-dev")
    with pytest.raises(ValueError, match="set no other attention backend"):
        with token_attention.editing(b.network.model, b.network.family.attention, Sees(), (4, 6), 8):
            pass
    with pytest.raises(TypeError, match="is no edit"):
        asked(b, object())


@pytest.mark.parametrize("text", [PROMPT, "red, red cube", "", "a  red\nsphere!", "grass " * 20])
def test_words_have_the_places_that_change_with_them(b, text):
    """Where a word of the prompt is another, the places of all before it have the features they had: language models
    and T5 are told apart by that, so only the tokens are looked at."""
    cond = b.encode_prompt([text])
    assert cond["tokens"].shape == cond["text"].shape[:2]
    words = b.words(cond["tokens"][0])
    expected = re.findall(r"\w+|[^\w\s]", text.lower())
    assert [word for word, _ in words] == expected
    inside = b.between_marks(cond["tokens"])[0]
    assert {place for _, places in words for place in places} <= set(inside.nonzero().flatten().tolist())
    parts = b.parts(cond["text"].shape[1])
    assert parts[0][0] == 0 and parts[-1][1] == cond["text"].shape[1]


def test_a_word_of_several_encoders_has_places_in_each(loaded):
    b = loaded("sd3")
    tokens = b.encode_prompt(["red cube"])["tokens"][0]
    (_, end), (begin, _) = b.parts(len(tokens))
    assert [word for word, _ in b.words(tokens)] == ["red", "cube"] and end == begin
    assert all(min(places) < end <= max(places) for _, places in b.words(tokens))
