"""Attend-and-Excite: diffusers' pipeline, its loss, its moves, and the solids of Still Life."""

from random import Random

import pytest
import torch

from conditioning.compose import compose
from conditioning.sampling.attention import attend_and_excite as module
from conditioning.sampling.attention.attend_and_excite import excitement, neglect
from conditioning.sampling.attention.maps import averaged, looked_at, nearest, subjects
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, run
from samplers.schedules import native
from tests.support.networks import embedded
from tests.support.oracle import finish
from tests.support.short_runs import PROMPT, flow
from world.captions import parse
from world.evaluator import check, read
from world.scene import FIRST_COLOURS, SHAPES

GUIDED = ("cfg", {"scale": 7.5})


@pytest.mark.parametrize("thresholds", [{}, {1: 0.999}], ids=["plain", "refined"])
def test_it_is_diffusers_pipeline(tiny_folder, tiny_net, monkeypatch, thresholds):
    """StableDiffusionAttendAndExcitePipeline on a tiny random network, without refinement and with all of it.

    Where a refinement ends early theirs makes one move more, so the thresholds are out of reach here.
    """
    from diffusers import StableDiffusionAttendAndExcitePipeline

    b, steps = tiny_net, 4
    pipe = StableDiffusionAttendAndExcitePipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.requires_grad_(False)
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, token_indices=[2, 5], negative_prompt="blue", latents=z, guidance_scale=7.5,
                  num_inference_steps=steps, max_iter_to_alter=2, thresholds=thresholds, attn_res=(8, 8),
                  output_type="latent").images  # fmt: skip
    monkeypatch.setattr(module, "THRESHOLDS", {i / steps: peak for i, peak in thresholds.items()})
    end = b.sigmas[0].item()
    levels = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    cond, null = b.encode_prompt([PROMPT]), b.encode_prompt(["blue"])

    def ours(strength):
        knobs = {"words": "red, grass", "strength": strength * steps / 50, "start": 0.0, "sharpness": 100.0,
                 "refinements": 20}  # fmt: skip
        stack = [GUIDED, ("attend_and_excite", knobs)]
        D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=levels, null=null, backbone=b)
        x = run(solver(D, z * (1 + levels[0] ** 2) ** 0.5, levels, cond, Noise([0])), b.denoise)
        return x / (1 + end**2) ** 0.5

    assert (ours(20.0) - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert (ours(0.0) - theirs).abs().max() > 1e-3 * theirs.abs().max()


def between(maps):
    """All but the first and the last of every 6 tokens, (B, L)."""
    return (torch.arange(maps.shape[-1]) % 6 % 5 > 0).expand(len(maps), -1)


def test_the_loss_is_of_the_word_that_is_seen_least():
    maps = torch.full((2, 8, 8, 6), 0.01)
    maps[0, 3, 4, 2] = maps[1, 3, 4, 3] = 0.9  # seen
    chosen = torch.zeros(2, 6, dtype=torch.bool)
    chosen[0, 2] = chosen[1, 2] = chosen[1, 3] = True
    loss = neglect(maps, chosen, between(maps), 100.0)
    middle = 1 / (1 + 2 * torch.tensor(-1.0).exp()) ** 2  # of the Gaussian, and a peak of 1 in one cell
    assert abs(loss[0] - (1 - middle - (1 - middle) * 0.25)) < 1e-3  # elsewhere the four tokens share
    assert abs(loss[1] - 0.75) < 1e-3  # of its two words the one that is seen nowhere more than the others
    assert neglect(maps, torch.zeros_like(chosen), between(maps), 100.0).tolist() == [0, 0]
    as_they_are = torch.tensor([1 - 0.9 * middle - 0.01 * (1 - middle), 1 - 0.01])
    torch.testing.assert_close(neglect(maps, chosen, between(maps), 0.0), as_they_are)


def test_marks_of_every_chunk_are_left_out():
    draw = torch.Generator().manual_seed(0)
    maps, chosen = torch.rand(1, 8, 8, 12, generator=draw), torch.zeros(1, 12, dtype=torch.bool)
    chosen[0, [2, 8]] = True
    loss = neglect(maps, chosen, between(maps), 5.0)
    maps[..., [0, 5, 6, 11]] = 9.0
    torch.testing.assert_close(neglect(maps, chosen, between(maps), 5.0), loss)


def test_a_small_move_lowers_the_loss(tiny_net):
    b, sigma = tiny_net, 3.0
    x = sigma * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    cond = b.encode_prompt([PROMPT, "a blue cube"])
    chosen = subjects(cond, b)
    rivals = b.between_marks(cond["tokens"])
    loss, move = run(excitement(ask, x, sigma, cond, chosen, rivals, 100.0, 16), b.denoise)
    size = move.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    after, _ = run(excitement(ask, x - 0.1 * move / size, sigma, cond, chosen, rivals, 100.0, 16), b.denoise)
    assert (after < loss).all()
    expected = loss - 0.1 * size.flatten()
    assert ((after - expected).abs() < 0.3 * (loss - expected)).all()


def states(b, knobs, seeds=(1,), steps=5):
    """The states that the network was shown with a tape, each with its level."""
    seen = []

    def noting(one):
        if one.tape is not None:
            seen.append((one.sigma[0].item(), one.x.detach().clone()))
        return b.denoise(one)

    run(flow(b, [("attend_and_excite", knobs)], seeds, steps=steps), noting)
    return seen


@pytest.mark.parametrize("peak, moves", [(0.999, 4), (1e-6, 0)])
def test_it_moves_until_the_threshold_holds_or_so_often(tiny_net, monkeypatch, peak, moves):
    monkeypatch.setattr(module, "THRESHOLDS", {0.2: peak})
    seen = states(tiny_net, {"refinements": 4, "start": 0.0, "end": 0.6, "sharpness": 100.0})
    levels = [level for level, _ in seen]
    assert [levels.count(level) for level in dict.fromkeys(levels)] == [1, 1 + moves, 1]


@pytest.mark.parametrize("start, looks", [(0.0, 2), (0.25, 1), (0.5, 0)])
def test_it_asks_for_the_prompt_alone_and_only_from_its_start_to_its_end(tiny_net, start, looks):
    driver = Driver(tiny_net.denoise)
    driver.add(0, flow(tiny_net, [GUIDED, ("attend_and_excite", {"start": start, "end": 0.5})], [1, 2]))
    finish(driver)
    assert driver.nfe == 4 + looks and driver.rows == 4 * 4 + 2 * looks


def test_fewer_steps_make_larger_moves(tiny_net):
    """As many of them as there are steps, so that all together they go as far."""
    b, x = tiny_net, 3.0 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    cond = b.encode_prompt([PROMPT] * 2)

    def first_move(steps):
        def moved(D, state, sigmas, cond, noise):
            yield from ()
            return state - x

        sigmas = torch.linspace(3.0, 0.0, steps + 1).tolist()
        _, solver, _ = compose([("attend_and_excite", {"start": 0.0})], moved, sigmas=sigmas, backbone=b)
        return run(solver(ask, x, sigmas, cond, Noise([0, 0])), b.denoise)

    torch.testing.assert_close(first_move(5), 2 * first_move(10))


@pytest.mark.parametrize("knob", ["strength", "end"])
def test_a_neutral_knob_is_as_without(tiny_net, knob):
    without, with_it = (
        run(flow(tiny_net, [GUIDED, *stack]), tiny_net.denoise) for stack in ([], [("attend_and_excite", {knob: 0.0})])
    )
    assert torch.equal(without, with_it)


def test_an_image_depends_on_its_seed_and_not_on_its_batch_and_nothing_stays_behind(tiny_net):
    stack = [GUIDED, ("attend_and_excite", {"words": "red sphere", "start": 0.0, "refinements": 2})]
    batch, alone, plain = (
        run(flow(tiny_net, one, seeds), tiny_net.denoise)
        for one, seeds in ((stack, [1, 2]), (stack, [2]), ([GUIDED], [2]))
    )
    assert not batch.requires_grad and not torch.allclose(alone, plain, rtol=1e-3)
    torch.testing.assert_close(batch[1:], alone, rtol=1e-4, atol=1e-4 * alone.abs().max().item())
    assert torch.equal(alone, run(flow(tiny_net, stack, [2]), tiny_net.denoise))
    assert torch.equal(plain, run(flow(tiny_net, [GUIDED], [2]), tiny_net.denoise))


def test_words_that_the_prompt_does_not_say(tiny_net):
    with pytest.raises(ValueError, match="the prompt does not say 'cube'"):
        run(flow(tiny_net, [("attend_and_excite", {"words": "sphere, cube", "start": 0.0})]), tiny_net.denoise)


# ---- Still Life ----------------------------------------------------------------------------------------------

STEPS = 6


@pytest.fixture(scope="module")
def life():
    return embedded("still-life")


def two_solids(count):
    """Prompts of two solids that differ in shape and colour."""
    chance, texts = Random(7), []
    for _ in range(count):
        (a, b), (c, d) = chance.sample(list(SHAPES), 2), chance.sample(FIRST_COLOURS, 2)
        texts.append(f"a {c} {a} and a {d} {b} on {chance.choice(['grass', 'sand', 'snow'])}")
    return texts


def made(life, texts, stack, seeds, steps=STEPS):
    """The states (B, C, h, w) after the first of STEPS steps."""
    sigmas, null = native(STEPS, life.sigmas), life.encode_prompt([""] * len(texts))
    D, solver, _ = compose([("cfg", {"scale": 4.0}), *stack], SAMPLERS["euler"], sigmas=sigmas, null=null,
                           backbone=life)  # fmt: skip
    noise = Noise(seeds)
    x = noise(torch.empty(len(texts), *life.latent_shape(128, 128))) * (1 + sigmas[0] ** 2) ** 0.5
    return run(solver(D, x, sigmas[: steps + 1], life.encode_prompt(texts), noise), life.denoise)


@pytest.mark.slow
def test_the_solid_that_is_seen_least_is_seen_more(life):
    """Where the moves end, the lower of the two solids' peaks is higher than without them."""
    texts, end = two_solids(5), 3
    cond, sigma = life.encode_prompt(texts), native(STEPS, life.sigmas)[end]

    def lowest(stack):
        kept = run(looked_at(ask, made(life, texts, stack, range(5), end), sigma, cond), life.denoise)
        return 1 - neglect(averaged(nearest(kept, 16)), subjects(cond, life), life.between_marks(cond["tokens"]), 0.0)

    without, with_it = lowest([]), lowest([("attend_and_excite", {})])
    assert (with_it > without).sum() >= 4 and with_it.mean() > 1.3 * without.mean()


@pytest.mark.slow
def test_solids_that_are_missing_are_found(life):
    """Of the solids that a prompt alone leaves out, at least a third; of the others most stay."""
    texts = two_solids(16)

    def there(stack, which):
        prompts = [texts[i] for i in which]
        x = made(life, prompts, stack, which)
        with torch.no_grad():
            images = life.decode(x)
        return torch.tensor([check(seen, parse(text)).present for seen, text in zip(read(images), prompts)])

    alone, lacking = [], []
    while len(lacking) < 2 and len(alone) < len(texts):
        alone += there([], range(len(alone), len(alone) + 4))
        lacking = [i for i, both in enumerate(alone) if not both.all()][:2]
    if len(lacking) < 2:
        pytest.skip(f"the prompt alone makes all but {len(lacking)} of {len(texts)} whole: next to nothing to find")
    found, had = there([("attend_and_excite", {})], lacking), torch.stack([alone[i] for i in lacking])
    assert found[~had].float().mean() >= 1 / 3 and found[had].float().mean() >= 1 / 2
