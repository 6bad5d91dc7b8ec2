"""The inversions, on exact and on random networks."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from backbones.exact import Mixture
from conditioning.clashes import clash, solver_clash
from conditioning.compose import compose
from conditioning.registry import METHODS
from conditioning.sampling.inversion.ddim_inversion import ddim_inversion
from conditioning.sampling.inversion.direct_inversion import direct_inversion
from conditioning.sampling.inversion.edict import step, unstep
from conditioning.sampling.inversion.edit_friendly_ddpm import edit_friendly_ddpm
from conditioning.sampling.inversion.encoding import climb, direction, tail
from conditioning.sampling.inversion.null_text import LOSS, MORE, null_text, tuned
from conditioning.sampling.source_states import SourceStates
from samplers import SAMPLERS
from samplers.flow import Ask, Driver, Noise, Step, ask, drive, run
from samplers.schedules import karras
from tests.oracle import finish, mixture, start

SHAPE = (2, 4, 4)
oracle = mixture(shape=SHAPE)
sigmas = karras(12, 0.05, 20.0)
source = oracle.samples(2, seed=5)
cond, other = oracle.encode_prompt(["word0", "word1"]), oracle.encode_prompt(["word2", "word0"])
null = oracle.encode_prompt(["", ""])
euler, ancestral = SAMPLERS["euler"], SAMPLERS["ancestral"]


class Random:
    """A network that knows nothing: smooth, bounded, different for every prompt and level; float64."""

    def __init__(self, seed=0):
        stream = torch.Generator().manual_seed(seed)
        self.W = torch.randn(2, 32, 32, generator=stream, dtype=torch.float64) / 5

    def denoise(self, one):
        seen = one.x.flatten(1) / (1 + one.sigma[:, None] ** 2).sqrt()
        word = (one.cond["text"].clamp(min=-1) * torch.arange(3)).sum((1, 2))[:, None]
        return torch.tanh((seen + word) @ self.W[0] + one.sigma[:, None].log()).matmul(self.W[1]).view_as(one.x)


def events(stack, sampler=euler, levels=sigmas, prompt=cond, seeds=(1, 2), scale=1.0, net=oracle):
    """Of a run; scale: of classifier-free guidance."""
    guided = [("cfg", {"scale": scale})] if scale != 1 else []
    shared = {"null": null} if scale != 1 else {}
    D, made, _ = compose([*stack, *guided], sampler, sigmas=levels, backbone=oracle, **shared)
    x = start(list(seeds), levels[0], SHAPE)
    return [e for _, e in drive([made(D, x, levels, prompt, Noise(seeds))], net.denoise)]


def result(stack, *args, **kw):
    return events(stack, *args, **kw)[-1].result


def use(name, **values):
    return [(name, {"source": source, **({} if name == "sdedit" else {"source_prompt": cond}), **values})]


def error(a, b=source):
    return ((a - b).norm() / b.norm()).item()


# ---- the source by level -------------------------------------------------------------------------------------


def test_a_trajectory_gives_stored_states_exactly_and_chords_between():
    kept = SourceStates()
    assert not kept
    a, b, c = (torch.full((1, 1, 1, 1), v) for v in (1.0, 3.0, 9.0))
    kept.keep({4.0: c, 0.0: a, 2.0: b}, cond)
    assert kept and kept.at(2.0) is b and kept.at(torch.tensor([2.0, 2.0])) is b and kept.cond is cond
    assert kept.at(torch.tensor(4.0 * (1 + 1e-7))) is c
    assert kept.at(3.0).item() == 6.0 and kept.at(0.5).item() == 1.5
    with pytest.raises(ValueError, match="at sigma 5: stored is 0 to 4"):
        kept.at(5.0)


def test_compose_makes_one_for_every_run():
    made = []
    for _ in range(2):
        _, sampler, _ = compose(use("direct_inversion"), euler)
        made.append(next(c.cell_contents for c in sampler.__closure__ if isinstance(c.cell_contents, SourceStates)))
    assert made[0] is not made[1]


# ---- what all of them share ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength, steps", [(1, 12), (0.5, 6), (0.04, 0), (0.05, 1)])
def test_strength_counts_steps_from_the_end(strength, steps):
    assert tail(sigmas, strength) == sigmas[12 - steps :]


def test_a_direction_at_another_label_is_that_of_the_network_in_vp_coordinates():
    def vp(x_vp, label):  # eps of the network behind the oracle: what it sees, and at which level
        x = x_vp * math.sqrt(1 + label**2)
        return (x - oracle.D(x, label, cond)) / label

    for at, label in [(0.0, 0.3), (2.0, 5.0), (5.0, 2.0), (3.0, 3.0)]:
        got = run(direction(ask, source, at, label, cond), oracle.denoise)
        torch.testing.assert_close(got, vp(source / math.sqrt(1 + at**2), label), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ["ddim_inversion", "null_text", "edict", "direct_inversion"])
def test_the_way_up_is_told_in_steps(name):
    up = [e.sigma for e in events(use(name, strength=1.0)) if isinstance(e, Step)][:12]
    assert up == sigmas[-2::-1]


def test_two_starts_and_fresh_noise_over_an_encoding_are_refused():
    with pytest.raises(ValueError, match="each of them finds the start"):
        compose([*use("sdedit"), *use("edict")], euler)
    for name in ("ddim_inversion", "null_text", "direct_inversion"):
        with pytest.raises(ValueError, match="fresh noise at every step erases the image"):
            compose(use(name), ancestral)


# ---- SDEdit --------------------------------------------------------------------------------------------------


def test_sdedit_of_strength_0_is_the_source_and_costs_nothing():
    got = events(use("sdedit", strength=0.0))
    assert len(got) == 2 and torch.equal(got[-1].result, source)


def test_sdedit_of_strength_1_is_the_picture_of_the_seed_when_the_start_drowns_the_source():
    levels = karras(12, 0.05, 1e5)
    torch.testing.assert_close(
        result(use("sdedit", strength=1.0), levels=levels), result([], levels=levels), atol=1e-3, rtol=0
    )


def test_sdedit_goes_further_from_the_source_the_stronger_it_is_and_costs_its_steps():
    many = oracle.samples(40, seed=8)
    away = []
    for strength in (0.25, 0.5, 0.75, 1.0):
        D, sampler, _ = compose([("sdedit", {"source": many, "strength": strength})], ancestral)
        driver, prompt = Driver(oracle.denoise), oracle.encode_prompt([""] * 40)
        driver.add(0, sampler(D, start([*range(40)], sigmas[0], SHAPE), sigmas, prompt, Noise(range(40))))
        away.append((finish(driver)[0] - many).square().mean().item())
        assert driver.calls == round(strength * 12)
    assert away == sorted(away) and away[-1] > 3 * away[0]


def test_sdedit_changes_only_what_may_change_and_passes_build_on_each_other():
    mask = (torch.arange(4) < 2).expand(2, 1, 4, 4)
    once = result(use("sdedit", mask=mask))
    assert torch.equal(once[..., 2:], source[..., 2:]) and (once - source)[..., :2].abs().max() > 0.1
    seen = [e for e in events(use("sdedit", mask=mask, repeats=3)) if isinstance(e, Step)]
    kept = [torch.cat([(e.x - source)[..., 2:].flatten() / e.sigma]) for e in seen if e.sigma > 0]
    first, second = kept[0], kept[len(kept) // 3]
    assert all(torch.allclose(one, first) for one in kept[: len(kept) // 3])  # one noise through a pass
    assert not torch.allclose(first, second)
    passes = [e.x for e in seen if e.sigma == 0]
    assert len(passes) == 3 and torch.equal(passes[0], once) and not torch.equal(passes[2], passes[1])


# ---- DDIM inversion ------------------------------------------------------------------------------------------


def gaussian(*means, variance=0.25):
    """One Gaussian for every word."""
    mu = torch.tensor(means, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    return Mixture(
        torch.ones(len(means)), mu, torch.full((len(means),), variance), [(f"word{k}",) for k in range(3)][: len(means)]
    )


def cubic(N):
    """Levels whose last step shrinks as the others do."""
    return [20.0 * (1 - i / N) ** 3 for i in range(N + 1)]


@pytest.mark.parametrize("lowest", [None, 1e-6], ids=["next", "same"])
def test_encoding_comes_to_the_closed_form_at_first_order(lowest):
    one, top = gaussian(0.5), 20.0
    exact = 0.5 + (source - 0.5) * math.sqrt((0.25 + top**2) / 0.25)  # the flow of a Gaussian scales its deviations
    off = [error(run(climb(ask, source, cubic(N), {}, lowest), one.denoise)[top], exact) for N in (50, 500)]
    assert off[1] < 0.02 and 7 < off[0] / off[1] < 13


@pytest.mark.parametrize("labels", ["next", "same"])
def test_ddib_carries_one_gaussian_to_another(labels):
    """Closed form: the bridge between two Gaussians of one variance moves by the difference of their means."""
    two, levels = gaussian(-0.5, 1.0), cubic(400)
    a, b = two.encode_prompt(["word0"] * 2), two.encode_prompt(["word1"] * 2)
    backbone = SimpleNamespace(sigmas=torch.tensor([1e-6]))

    def bridged(target):
        made = ddim_inversion(euler, source, a, ask, backbone, labels=labels)
        return run(made(ask, source, levels, target, Noise([1, 2])), two.denoise)

    assert error(bridged(a)) < 0.02  # there and back
    assert error(bridged(b), source + 1.5) < 0.02


def test_more_steps_between_two_levels_are_a_finer_encoding():
    one, levels = gaussian(0.5), cubic(12)
    exact = 0.5 + (source - 0.5) * math.sqrt((0.25 + 400) / 0.25)
    coarse, fine = (error(run(climb(ask, source, levels, {}, between=n), one.denoise)[20.0], exact) for n in (1, 10))
    assert fine < coarse / 5
    assert sum(isinstance(e, Step) for _, e in drive([climb(ask, source, levels, {}, between=10)], one.denoise)) == 12


def test_an_encoding_whose_steps_are_corrected_is_undone_by_ddim():
    def back(again, net=oracle):
        top = run(climb(ask, source, sigmas, cond, again=again), net.denoise)[sigmas[0]]
        return error(run(euler(ask, top, sigmas, cond, Noise([1, 2])), net.denoise))

    assert back(30) < 1e-3 and back(30) < back(3) < 0.2 * back(0)
    calls = Driver(oracle.denoise)
    calls.add(0, climb(ask, source, sigmas, cond, again=30))
    finish(calls)
    assert calls.calls < 31 * 12 / 2  # a level is done when it does not move any more


def test_a_step_whose_correction_goes_astray_keeps_the_best_of_it_and_no_row_minds_another():
    class Steep:  # the second row's estimate runs away from its state
        def denoise(self, one):
            steep = torch.tensor([0.5, -3.0]).repeat(len(one.x) // 2 or 1)[: len(one.x)] if len(one.x) > 1 else self.own
            return steep.view(-1, 1, 1, 1) * one.x

    net, levels = Steep(), [2.0, 1.0, 0.0]
    both = run(climb(ask, source, levels, {}, again=20), net.denoise)
    plain = run(climb(ask, source, levels, {}), net.denoise)

    def off(states, i):  # of the step down from the first level
        x0 = net.denoise(SimpleNamespace(x=states[2.0]))
        return (x0 + (states[2.0] - x0) / 2 - states[1.0])[i].abs().max()

    assert off(both, 0) < 1e-3 * off(plain, 0) and both[2.0][1].abs().max() < 100 * plain[2.0][1].abs().max()
    for i, own in enumerate((0.5, -3.0)):
        net.own = torch.tensor([own])
        alone = run(climb(ask, source[i : i + 1], levels, {}, again=20), net.denoise)
        assert torch.equal(alone[2.0], both[2.0][i : i + 1])


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_the_source_comes_back_under_its_own_prompt_without_guidance(sampler):
    levels = karras(100, 0.02, 20.0)
    assert error(result(use("ddim_inversion"), SAMPLERS[sampler], levels)) < 0.1
    assert error(result([], SAMPLERS[sampler], levels)) > 0.5


# ---- direct inversion ----------------------------------------------------------------------------------------


def test_direct_inversion_keeps_the_encoding_and_leaves_the_target_alone():
    kept = SourceStates()
    made = direct_inversion(euler, source, cond, ask, kept)
    got = run(made(ask, start([1, 2], sigmas[0], SHAPE), sigmas, other, Noise([1, 2])), oracle.denoise)
    assert torch.equal(got, result(use("ddim_inversion", again=10), prompt=other))
    states = run(climb(ask, source, sigmas, cond, again=10), oracle.denoise)
    assert list(kept.states) == sorted(sigmas) and torch.equal(kept.at(0.0), source)
    assert all(torch.equal(kept.at(s), states[s]) for s in sigmas) and kept.cond is cond


# ---- null-text inversion -------------------------------------------------------------------------------------


def guided(scale):
    D, _, _ = compose([("cfg", {"scale": scale})], euler, null=null)
    return D


class Linear:
    """A network whose estimate is the state's share and something of the text, which can be anything."""

    def denoise(self, one):
        s = one.sigma.view(-1, 1, 1, 1)
        return one.x / (1 + s**2) + one.cond["text"].view_as(one.x)


def test_tuned_embeddings_bring_the_source_back_under_guidance():
    stream = torch.Generator().manual_seed(3)
    texts = [{"text": 0.3 * torch.randn(2, 4, 8, generator=stream, dtype=torch.float64)} for _ in range(3)]
    x, levels = torch.zeros_like(source), karras(50, 0.05, 20.0)
    D, _, _ = compose([("cfg", {"scale": 7.5})], euler, null=texts[1])

    def back(updates):
        made = null_text(euler, source, texts[0], ask, kept, texts[1], begin="null", updates=updates, rate=0.01)
        seen = [e for _, e in drive([made(D, x, levels, texts[0], Noise([1, 2]))], Linear().denoise)]
        for e in seen[-51:-1]:  # the run retraces the states that were tuned for
            assert torch.equal(e.x, kept.at(e.sigma))
        return error(seen[-1].result)

    kept = SourceStates()
    assert back(10) < 0.02 < 0.5 < back(0)


def test_at_the_official_rate_and_losses_the_texts_are_those_of_the_official_code():
    """null_optimization of google/prompt-to-prompt on VP states; that one tests the loss after its update."""
    stream = torch.Generator().manual_seed(3)
    texts = [{"text": 0.1 * torch.randn(1, 4, 8, generator=stream, dtype=torch.float64)} for _ in range(2)]
    levels, w, net = karras(50, 0.05, 20.0), 7.5, Linear()
    pivot = run(climb(ask, source[:1], levels, texts[0]), net.denoise)
    D, _, _ = compose([("cfg", {"scale": w})], euler, null=texts[1])
    nulls, states = run(tuned(D, pivot, *texts, 10, rate=1e-2, more=1e-3), net.denoise)

    def eps(x_vp, s, text):
        x = x_vp * math.sqrt(1 + s**2)
        return (x - net.denoise(Ask(x, torch.tensor([s], dtype=x.dtype), {"text": text}))) / s

    def lower(x, e, a, a_next):
        return math.sqrt(a_next) * (x - math.sqrt(1 - a) * e) / math.sqrt(a) + math.sqrt(1 - a_next) * e

    text, x, used = texts[1]["text"], pivot[levels[0]] / math.sqrt(1 + levels[0] ** 2), []
    for i, (s, s_next) in enumerate(pairwise(levels)):
        a, a_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
        text = text.detach().clone().requires_grad_()
        adam, eps_c = torch.optim.Adam([text], lr=1e-2 * (1 - i / 100)), eps(x, s, texts[0]["text"])
        for j in range(11):
            eps_u = eps(x, s, text)
            made = lower(x, eps_u + w * (eps_c - eps_u), a, a_next)
            loss = torch.nn.functional.mse_loss(made, pivot[s_next] / math.sqrt(1 + s_next**2))
            if j == 10 or loss < 1e-5 + i * 2e-5:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        used.append(j)
        x = made.detach()
        assert (nulls[s] - text.detach()).abs().max() < 1e-10
        assert (states[s_next] / math.sqrt(1 + s_next**2) - x).abs().max() < 1e-10
    assert 0 in used and any(used)


def test_begun_at_the_source_prompt_there_is_little_to_tune_however_the_run_is_guided():
    asked = []

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    pivot = run(climb(ask, source, sigmas, cond, again=30), oracle.denoise)
    nulls, states = run(tuned(guided(7.5), pivot, cond, null, 10, begin="source"), noting)
    assert len(asked) < 4 * 12 and error(states[0.0]) < 0.01
    assert sum(torch.equal(one, cond["text"]) for one in nulls.values()) > 6


def test_a_level_is_tuned_until_its_loss_is_small_enough_or_the_updates_are_used_up():
    pivot = run(climb(ask, source, sigmas, cond), oracle.denoise)
    asked = []

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    nulls, states = run(tuned(guided(3.0), pivot, cond, null, 15), noting)
    assert list(nulls) == sigmas[:-1] and set(states) == set(sigmas)
    for i, (s, s_next) in enumerate(pairwise(sigmas)):
        tries = sum(one.tape is not None for one in asked if one.sigma[0] == s)
        loss = ((states[s_next] - pivot[s_next]) ** 2).flatten(1).mean(1) / (1 + s_next**2)
        assert tries == 15 or (loss <= LOSS + MORE * i / 12).all()
        assert sum(one.cond["text"] is cond["text"] for one in asked if one.sigma[0] == s) == 1  # asked once a level


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_every_ask_for_the_negative_prompt_has_the_text_of_its_level(sampler):
    kept, asked = SourceStates(), []
    pivot = run(climb(ask, source, sigmas, cond, again=10), oracle.denoise)
    nulls, _ = run(tuned(guided(3.0), pivot, cond, null, 5), oracle.denoise)

    def noting(one):
        asked.append(one)
        return oracle.denoise(one)

    made = null_text(SAMPLERS[sampler], source, cond, ask, kept, null, begin="null", updates=5)
    run(made(guided(3.0), start([1, 2], sigmas[0], SHAPE), sigmas, other, Noise([1, 2])), noting)
    last = [one for one in asked if len(one.x) == 4]  # of the run itself: both prompts in one call
    assert len(last) == (12 if sampler == "euler" else 23) and not any(
        one.cond["text"] is null["text"] for one in asked
    )
    for one in last:
        assert torch.equal(one.cond["text"], torch.cat([other["text"], nulls[one.sigma[0].item()]]))


def test_without_guidance_there_is_nothing_to_tune():
    assert torch.equal(result(use("null_text"), prompt=other), result(use("ddim_inversion", again=10), prompt=other))


def test_null_text_of_a_picture_does_not_depend_on_its_batch():
    both = result(use("null_text"), scale=3.0, prompt=other)

    def row(c, i):
        return {key: value[i : i + 1] for key, value in c.items()}

    for i in range(2):
        D, sampler, _ = compose(
            [("null_text", {"source": source[i : i + 1], "source_prompt": row(cond, i)}), ("cfg", {"scale": 3.0})],
            euler, sigmas=sigmas, null=row(null, i),
        )  # fmt: skip
        alone = run(sampler(D, start([i + 1], 20.0, SHAPE), sigmas, row(other, i), Noise([i + 1])), oracle.denoise)
        assert torch.equal(alone, both[i : i + 1])


# ---- EDICT ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s, s_next", [(20.0, 7.0), (1.0, 0.3), (0.05, 0.0)])
def test_an_edict_step_is_undone_exactly(s, s_next):
    pair = source, oracle.samples(2, seed=6)
    down, _ = run(step(ask, pair, s, s_next, cond, 0.93), Random().denoise)
    up, _ = run(unstep(ask, down, s, s_next, cond, 0.93), Random().denoise)
    assert max((a - b).abs().max() for a, b in zip(pair, up)) < 1e-13
    assert (down[0] - pair[0]).abs().max() > 0.01


@pytest.mark.parametrize("N", [11, 50])
@pytest.mark.parametrize("mix", [0.93, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_edict_gives_the_source_back_on_any_network_guided_or_not(N, mix, seed):
    for scale in (1.0, 3.0):
        stack = use("edict", mix=mix)
        kw = {"levels": karras(N, 0.05, 20.0), "scale": scale, "net": Random(seed)}
        assert (result(stack, **kw) - source).abs().max() < 1e-9
        assert (result(stack, prompt=other, **kw) - source).abs().max() > 0.01


def test_edict_steps_are_the_papers_in_vp_coordinates():
    """One step by the scalars a, b of Wallace et al. 2023, Eq. 6 and 14, on VP states."""
    s, s_next, p = 5.0, 2.0, 0.93
    ab, ab_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
    a = math.sqrt(ab_next / ab)
    b = math.sqrt(1 - ab_next) - math.sqrt(ab_next * (1 - ab) / ab)

    def eps(x_vp):
        x = x_vp / math.sqrt(ab)
        return (x - oracle.D(x, s, cond)) / s

    x, y = source, oracle.samples(2, seed=6)
    x_vp, y_vp = x * math.sqrt(ab), y * math.sqrt(ab)
    x_in = a * x_vp + b * eps(y_vp)
    y_in = a * y_vp + b * eps(x_in)
    x_out = p * x_in + (1 - p) * y_in
    y_out = p * y_in + (1 - p) * x_out
    got, _ = run(step(ask, (x, y), s, s_next, cond, p), oracle.denoise)
    for one, want in zip(got, (x_out, y_out)):
        torch.testing.assert_close(one * math.sqrt(ab_next), want, atol=1e-12, rtol=1e-12)


def test_edict_makes_the_whole_run_so_whatever_wraps_the_sampler_is_refused():
    for name, one in METHODS.items():
        if name != "edict":
            assert bool(clash(METHODS["edict"], one)) is (one.kind == "sampler"), name
    assert not any(solver_clash(METHODS["edict"], name) for name in SAMPLERS)  # none of them is called


# ---- edit-friendly DDPM inversion ----------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [name for name, solver in SAMPLERS.items() if not solver.climbs])
@pytest.mark.parametrize("net", [oracle, Random()], ids=["oracle", "random"])
def test_edit_friendly_maps_reproduce_every_state_of_the_source(sampler, net):
    kept = SourceStates()
    made = edit_friendly_ddpm(SAMPLERS[sampler], source, cond, kept)
    flow = made(guided(3.0), start([1, 2], sigmas[0], SHAPE), sigmas, cond, Noise([1, 2]))
    seen = [e for _, e in drive([flow], net.denoise) if isinstance(e, Step)]
    part = tail(sigmas, 0.64)
    assert [e.sigma for e in seen] == [*part[1:-1], *part[1:]]
    for e in seen[len(part) - 2 :]:
        assert (e.x - kept.at(e.sigma)).abs().max() < 1e-12
    assert torch.equal(kept.at(0.0), source)


def test_edit_friendly_ddpm_is_the_papers():
    """Its maps and its edit, by Eq. 6 and 7 of the paper on VP states, with the posterior's variance (eta 1)."""
    kept = SourceStates()
    made = edit_friendly_ddpm(ancestral, source, cond, kept, strength=1.0)
    got = run(made(ask, start([1, 2], sigmas[0], SHAPE), sigmas, other, Noise([1, 2])), oracle.denoise)

    def mean(x_vp, s, s_next, prompt):
        ab, ab_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
        x0 = oracle.D(x_vp / math.sqrt(ab), s, prompt)
        eps = (x_vp - math.sqrt(ab) * x0) / math.sqrt(1 - ab)
        variance = (1 - ab_next) / (1 - ab) * (1 - ab / ab_next)
        return math.sqrt(ab_next) * x0 + math.sqrt(max(1 - ab_next - variance, 0)) * eps, math.sqrt(variance)

    x = kept.at(sigmas[0]) / math.sqrt(1 + sigmas[0] ** 2)
    for s, s_next in pairwise(sigmas):
        before, after = (kept.at(level) / math.sqrt(1 + level**2) for level in (s, s_next))
        mu, std = mean(before, s, s_next, cond)
        z = (after - mu) / std if s_next > 0 else after - mu
        mu, std = mean(x, s, s_next, other)
        x = mu + (std * z if s_next > 0 else z)
    torch.testing.assert_close(got, x, atol=1e-10, rtol=1e-10)


def test_edit_friendly_states_are_noised_independently_and_their_maps_are_louder_than_noise():
    many, rows = oracle.samples(200, seed=8), range(200)
    kept, prompt = SourceStates(), oracle.encode_prompt([""] * 200)
    made = edit_friendly_ddpm(ancestral, many, prompt, kept, strength=1.0)
    x = start([*rows], sigmas[0], SHAPE)
    flow = made(ask, x, sigmas, prompt, Noise(rows))
    list(drive([flow], oracle.denoise, max_rows=256))
    e = [((kept.at(s) - many) / s).flatten() for s in sigmas[:-1]]
    assert torch.corrcoef(torch.stack(e)).fill_diagonal_(0).abs().max() < 0.06
    assert all(0.95 < one.std() < 1.05 for one in e)
    s, s_next = sigmas[4], sigmas[5]
    x0 = oracle.D(kept.at(s), s, prompt)
    z = kept.at(s_next) - x0 - (s_next / s) ** 2 * (kept.at(s) - x0)
    assert z.std() > 1.1 * s_next * math.sqrt(1 - (s_next / s) ** 2)


# ---- a source that is not to be steered as the target is ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sampler", "net"),
    [("edit_friendly_ddpm", "ancestral", oracle), ("edict", "euler", Random()), ("null_text", "euler", oracle)],
    ids=["edit_friendly_ddpm", "edict", "null_text"],
)
def test_what_steers_the_run_is_not_undone_by_an_inversion(name, sampler, net):
    """The source is asked as it is; steered as the target is, it takes all steering back."""

    def made(*more):
        given = {"source": source, "source_prompt": cond, "strength": 0.8}
        D, solver, _ = compose(
            [(name, given), ("cfg", {"scale": 2.0}), *more], SAMPLERS[sampler], sigmas=sigmas,
            null=oracle.encode_prompt(["", ""]), backbone=oracle,
        )  # fmt: skip
        return run(solver(D, start([1, 2], sigmas[0], SHAPE), sigmas, dict(cond), Noise([1, 2])), net.denoise)

    steered = ("semantic_guidance", {"edit": other, "scale": 2.0, "threshold": 0.0, "momentum": 0.0})
    back, edited = ((made(*more) - source).square().mean().sqrt() for more in ((), (steered,)))
    assert back < 0.1, "guidance is of source and target alike"
    assert edited > 0.5
