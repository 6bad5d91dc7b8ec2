"""Weights that are on the GPU only while they are needed: which way is chosen, and that no bit changes.

There is no GPU in the tests. The CPU stands in for it, and weights that are away are NaN: whatever is computed with one
that is not there would show.
"""

import pytest
import torch
from torch import nn

from backbones import load, offload, stable_diffusion
from backbones.footprint import Footprint, footprint
from backbones.memory import GIGABYTE
from backbones.offload import MODEL, NONE, SEQUENTIAL, Turn, choose, chosen, running_on
from samplers.protocol import Ask
from tests.support import tiny, tiny_transformers
from tests.support.loras import TEXT, drawn, kohya, modules, write

CUDA = Footprint(torch.device("cuda"), {"unet": 5 * GIGABYTE, "text": GIGABYTE, "vae": GIGABYTE}, 2 * GIGABYTE)


@pytest.mark.parametrize("free, how", [(9.0, NONE), (8.9, MODEL), (7.0, MODEL), (6.9, SEQUENTIAL), (0.5, SEQUENTIAL)])
def test_the_quickest_way_that_fits_is_chosen(free, how):
    assert choose(CUDA.parts, CUDA.room, int(free * GIGABYTE)) == how


def test_the_variable_overrides_and_a_cpu_has_nothing_to_choose(monkeypatch, caplog):
    monkeypatch.setattr(offload, "free", lambda device: 8 * GIGABYTE)
    assert chosen(CUDA) == MODEL and "7.0 GB of weights, 8.0 GB free on cuda: one part at a time" in caplog.text
    for how in offload.OFFLOADS:
        monkeypatch.setenv(offload.VARIABLE, how)
        assert chosen(CUDA) == how and chosen(Footprint(torch.device("cpu"), CUDA.parts, 0)) == NONE
    monkeypatch.setenv(offload.VARIABLE, "some")
    with pytest.raises(ValueError, match="NINE_WAYS_OFFLOAD=some: give one of none, model, sequential"):
        chosen(CUDA)


def test_what_a_checkpoint_takes_is_known_from_headers(tmp_path):
    """As many bytes as its parts have once they are loaded; on a GPU in half precision, the autoencoder in float32."""
    from backbones.engines import EngineChoice

    folder = tiny.save(tmp_path / "half", dtype=torch.float16, variant="fp16")
    pipe = stable_diffusion.checkpoint.open_pipeline(folder, torch.float32)
    bytes_of = {name: sum(v.numel() * 4 for v in getattr(pipe, name).parameters())
                for name in ("unet", "vae", "text_encoder")}  # fmt: skip
    on_cpu = footprint(folder, EngineChoice(torch.device("cpu"), "torch", torch.float32))
    assert dict(on_cpu.parts) == bytes_of and on_cpu.total == sum(bytes_of.values()) + on_cpu.room
    half = footprint(folder, EngineChoice(torch.device("cuda"), "torch-fp16", torch.float16))
    assert dict(half.parts) == {**{name: n // 2 for name, n in bytes_of.items()}, "vae": bytes_of["vae"]}


class Swapped:  # an edit that writes the attention out, and doubles what residual blocks add
    def attend(self, site, q, k, v, plain):
        return (q @ k.transpose(-1, -2) * site.scale).softmax(-1) @ v

    def feature(self, site, h):
        return 2 * h


@pytest.fixture
def opened(monkeypatch):
    """(folder, how) -> its backbone, where the CPU stands in for the GPU and weights that are away are NaN."""
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    real_arrive, real_leave, homes = Turn.arrive, Turn.leave, {}

    def empty(turn):
        homes[turn] = [one for module in turn.modules for one in offload._own(module)]
        for table, name, value in homes[turn]:
            bad = torch.full_like(value, torch.nan) if value.is_floating_point() else value
            table[name] = nn.Parameter(bad, requires_grad=False) if isinstance(value, nn.Parameter) else bad

    def arrive(turn):
        if turn in homes:
            for table, name, value in homes.pop(turn):
                table[name] = value
        real_arrive(turn)

    def leave(turn):
        real_leave(turn)
        if turn not in homes:
            empty(turn)

    monkeypatch.setattr(Turn, "arrive", arrive)
    monkeypatch.setattr(Turn, "leave", leave)

    def open_(folder, how):
        monkeypatch.setattr(offload, "chosen", lambda needed: how)
        b = load(str(folder))
        parts = [one for one in b.text.pipe.components.values() if isinstance(one, nn.Module)]
        turns = {module._hf_hook for part in parts for module in part.modules() if hasattr(module, "_hf_hook")}
        assert bool(turns) == (how != NONE) and b.placed == offload.WORDS[how]
        for turn in turns:
            real_leave(turn)
            turn.turns.there = None
            if turn not in homes:  # its leave did it
                empty(turn)
        for value in (one for part in parts for one in part.parameters() if not turns):
            value.data = value.data.clone()  # a copy, too: sums depend on where in memory a weight begins
        return b

    return open_


def everything(b, lora="", edit=None):
    """What comes of all that is done with a backbone, gradients through two of its networks among it."""
    draw = torch.Generator().manual_seed(2)
    reading = b
    if lora:
        key = b.lora(lora)
        reading = b.reading_with({key: 0.5})
    cond = reading.encode_prompt(["a red cube on grass", "blue"])
    x, sigma = torch.randn(2, *b.latent_shape(32, 48), generator=draw), torch.tensor([2.0, 0.5])
    if lora:
        cond[key] = torch.tensor([0.5, 1.0])
    leaf = x.clone().requires_grad_()
    x0 = b.denoise(Ask(leaf, sigma, cond, tape=object()))
    pixels = b.decode(x0)
    plain = b.denoise(Ask(x, sigma, cond))  # the network's turn again, before the gradients go back through both
    (gradient,) = torch.autograd.grad((pixels * pixels).sum(), leaf)
    out = [*cond.values(), x0.detach(), pixels.detach(), plain, gradient, b.encode_image(pixels.detach()),
           b.preview(x0.detach())]  # fmt: skip
    return out if edit is None else [*out, b.denoise(Ask(x, sigma, cond, edit))]


def same(ours, theirs):
    assert all(one.isfinite().all() for one in ours if one.is_floating_point())
    assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize("kind", ["eps", "xl", "eps-inpaint", "eps-lcm"])
def test_no_bit_of_a_unet_changes(opened, tmp_path, kind):
    folder = tiny.save(tmp_path / "model", kind)
    expected = everything(opened(folder, NONE), edit=Swapped())
    for how in (MODEL, SEQUENTIAL):
        same(everything(opened(folder, how), edit=Swapped()), expected)


@pytest.mark.parametrize("kind", ["lora", "dora_of_rows"])
def test_lora_files_act_as_ever(opened, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path / "loras"))
    folder = tiny.save(tmp_path / "model")
    plain = opened(folder, NONE)
    unet, _ = drawn(modules(plain.network.unet, r"(to_q|proj_in|conv1)$"), kind)
    text, _ = drawn(modules(plain.text.pipe.text_encoder, TEXT), kind, seed=1)
    (tmp_path / "loras").mkdir()
    write(tmp_path / "loras", "file", {**kohya(unet), **kohya(text, "lora_te_")})
    expected = everything(plain, "file")
    assert not torch.equal(expected[0], everything(plain)[0]), "it acts"
    for how in (MODEL, SEQUENTIAL):
        same(everything(opened(folder, how), "file"), expected)


@pytest.mark.parametrize(
    "kind", ["flux-dev", "flux2-klein", "krea2", "pixart-sigma", "qwen-image", "sana", "sd3", "z-image"]
)
def test_no_bit_of_a_transformer_changes(opened, tmp_path, kind):
    folder = tiny_transformers.save(tmp_path / "model", kind)
    expected = everything(opened(folder, NONE))
    for how in (MODEL, SEQUENTIAL):
        same(everything(opened(folder, how)), expected)


def test_one_part_at_a_time_is_there(opened, tmp_path):
    """A network that computes has its weights beside those of no other; then nothing refers to the copies."""
    import gc
    import weakref

    b = opened(tiny.save(tmp_path / "model"), MODEL)
    parts = {name: getattr(b.text.pipe, name) for name in ("unet", "vae", "text_encoder")}
    there = lambda: [name for name, one in parts.items() if next(one.parameters()).isfinite().all()]  # noqa: E731
    assert there() == []
    cond = b.encode_prompt(["a"])
    assert there() == ["text_encoder"]
    x0 = b.denoise(Ask(torch.zeros(1, 4, 8, 8), torch.ones(1), cond))
    assert there() == ["unet"]
    copy = weakref.ref(next(b.network.unet.parameters()))
    b.decode(x0)
    gc.collect()
    assert there() == ["vae"] and copy() is None
    assert all(running_on(one) == torch.device("cpu") for one in parts.values())


def test_an_autoencoder_that_was_moved_to_another_dtype_stays_so():
    layer = nn.Linear(2, 2).half().requires_grad_(False)
    expected = layer.weight.float().clone()
    turn = Turn(offload.Turns(torch.device("cpu")), [layer])
    turn.begin()
    layer.float()
    turn.leave()
    assert layer.weight.dtype == torch.float32 and torch.equal(layer.weight, expected)
