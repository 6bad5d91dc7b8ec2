"""Attention edits: what they see, that they work for one ask only, and that nothing stays behind."""

import pytest
import torch

from backbones.attention_sites import EditedAttention, grid
from samplers.flow import Ask


class Record:
    def __init__(self):
        self.sites, self.maps, self.features = [], [], []

    def attend(self, site, q, k, v, plain):
        self.sites.append(site)
        self.maps.append((q @ k.transpose(-1, -2) * site.scale).softmax(-1))
        return plain(q, k, v)

    def feature(self, site, h):
        self.features.append((site, h))
        return h


class Identity:  # of PAG: every token attends to itself
    def attend(self, site, q, k, v, plain):
        return v if site.kind == "self" else plain(q, k, v)


class Maps:  # the attention written out
    def attend(self, site, q, k, v, plain):
        return (q @ k.transpose(-1, -2) * site.scale).softmax(-1) @ v


@pytest.fixture(params=["eps", "xl"])
def asked(request, tiny_unet):
    b = tiny_unet(request.param)
    cond = b.encode_prompt(["a red cube", "blue"])
    x = torch.randn(2, 4, 16, 24)
    return b, lambda edit=None, **kw: b.denoise(Ask(x, torch.tensor([2.0, 1.0]), cond, edit, **kw))


def processors(b):
    return {name: id(one) for name, one in b.network.unet.attn_processors.items()}


def hooks(b):
    return sum(len(module._forward_hooks) for module in b.network.unet.modules())


def test_looking_on_changes_no_bit(asked):
    _, denoise = asked
    record = Record()
    assert torch.equal(denoise(record), denoise())
    assert {site.kind for site in record.sites} == {"self", "cross"}
    assert {site.place for site in record.sites} == {"down", "mid", "up"}
    assert {(site.height, site.width) for site in record.sites} == {(8, 12)}
    cross = [site for site in record.sites if site.kind == "cross"]
    assert [site.index for site in cross] == list(range(len(cross))) == list(range(cross[0].of))
    assert [site.index for site, _ in record.features] == list(range(len(record.features)))
    for site, one in zip(record.sites, record.maps):
        assert one.shape[0] == 2 and one.shape[-1] == (96 if site.kind == "self" else 16)
        torch.testing.assert_close(one.sum(-1), torch.ones_like(one.sum(-1)))
    assert record.features and all(h.shape[-2:] == (site.height, site.width) for site, h in record.features)


def test_an_edit_acts_and_leaves_nothing(asked):
    b, denoise = asked
    before, plain, hooked = processors(b), denoise(), hooks(b)
    assert not torch.allclose(denoise(Identity()), plain, atol=1e-4)
    assert processors(b) == before and hooks(b) == hooked and torch.equal(denoise(), plain)
    torch.testing.assert_close(denoise(Maps()), plain, atol=1e-4, rtol=1e-4)


def test_a_feature_is_replaced(asked):
    _, denoise = asked

    class Zero(Record):
        def feature(self, site, h):
            return h * 0 if site.place == "up" else h

    assert not torch.allclose(denoise(Zero()), denoise())


def test_a_feature_is_what_a_block_adds(asked):
    b, denoise = asked
    block = b.network.unet.mid_block.resnets[0]
    seen = []

    class Nothing(Record):
        def feature(self, site, h):
            return h * 0 if site.name == "mid_block.resnets.0" else h

    handle = block.register_forward_hook(lambda _m, inputs, out: seen.append(torch.equal(inputs[0], out)))
    denoise(Nothing())
    denoise()
    handle.remove()
    assert seen == [True, False]  # as wide out as in: no shortcut


def test_an_edit_that_fails_leaves_nothing(asked):
    b, denoise = asked
    before, hooked = processors(b), hooks(b)

    class Broken(Record):
        def attend(self, site, q, k, v, plain):
            raise RuntimeError("broken")

    class Short(Record):
        def attend(self, site, q, k, v, plain):
            return v[:, :1]

    with pytest.raises(RuntimeError, match="broken"):
        denoise(Broken())
    with pytest.raises(ValueError, match=r"the edit's attend gave .* at down_blocks\.1"):
        denoise(Short())
    with pytest.raises(TypeError, match="object is no edit: it has no method attend"):
        denoise(object())
    assert processors(b) == before and hooks(b) == hooked


def test_edits_with_gradients(tiny_unet):
    b = tiny_unet("eps")
    x, record = torch.randn(1, 4, 16, 16, requires_grad=True), Record()
    b.denoise(Ask(x, torch.ones(1), b.encode_prompt(["red"]), record, tape=object()))
    cross = [one for site, one in zip(record.sites, record.maps) if site.kind == "cross"]
    (grad,) = torch.autograd.grad(sum(one[..., 2].max() for one in cross), x)  # Attend-and-Excite's kind of loss
    assert grad.abs().max() > 0


def test_a_mask_goes_with_a_bias(tiny_unet):
    b = tiny_unet("eps")
    attn = b.network.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    h, text = torch.randn(2, 16, 64), torch.randn(2, 5, 32)
    seen = []

    class Bias:
        def attend(self, site, q, k, v, plain):
            some = torch.zeros(2, 1, 1, 5).index_fill(3, torch.tensor([0]), -1e4)
            seen.append(torch.equal(plain(q, k, v, some), plain(q, k, v, some > -1)))
            return plain(q, k, v, some)

    edited = EditedAttention(Bias(), "mid_block", 0, 1, (4, 4))
    last = torch.tensor([[0.0, 0, 0, 0, -1e4]]).expand(2, 5).unsqueeze(1)
    both = edited(attn, h, encoder_hidden_states=text, attention_mask=last)
    alone = attn.processor(attn, h, encoder_hidden_states=text[:, 1:4])
    torch.testing.assert_close(both, alone)
    assert seen == [True]


def test_another_processor_is_not_overridden_silently(tiny_unet):
    b = tiny_unet("eps")
    attn = b.network.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    own = attn.processor
    try:
        attn.set_processor(type("IPAdapterAttnProcessor2_0", (), {"__call__": own.__call__})())
        with pytest.raises(ValueError, match="attn2 has IPAdapterAttnProcessor2_0: edits fit plain attention only"):
            b.denoise(Ask(torch.randn(1, 4, 16, 16), torch.ones(1), b.encode_prompt([""]), Identity()))
    finally:
        attn.set_processor(own)


def test_grids():
    assert grid((64, 96), 64 * 96) == (64, 96)
    assert grid((64, 96), 16 * 24) == (16, 24)
    assert grid((25, 17), 13 * 9) == (13, 9)
    assert grid((64, 96), 7) == (0, 0)
