"""The inversions, on exact and on random networks."""

import math
from types import SimpleNamespace

import pytest
import torch

from backbones.exact import Mixture
from conditioning.compose import compose
from conditioning.sampling.inversion.ddim_inversion import ddim_inversion
from conditioning.sampling.inversion.direct_inversion import direct_inversion
from conditioning.sampling.inversion.encoding import BY_STRENGTH, ddim_encode, direction, tail
from conditioning.sampling.source_states import SourceStates
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, Step, ask, drive, run
from samplers.schedules import karras, part_of
from tests.support.inversion_runs import (
    SHAPE,
    Random,
    ancestral,
    cond,
    error,
    euler,
    events,
    oracle,
    other,
    result,
    sigmas,
    source,
    use,
)
from tests.support.oracle import finish, start

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


@pytest.mark.parametrize("strength, steps", [(1, 12), (0.5, 6), (0, 0), (0.01, 1), (0.05, 1), (0.375, 5), (0.625, 8)])
def test_strength_counts_steps_from_the_end(strength, steps):
    """Halves up, and above 0 one step at least."""
    assert tail(sigmas, strength) == sigmas[12 - steps :]
    assert BY_STRENGTH.left_out(12, {"strength": strength}) == 12 - steps


def test_equal_rises_of_strength_are_equal_rises_of_steps():
    assert [part_of(10, i / 20) for i in range(21)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10]
    assert part_of(1, 0.5) == part_of(1, 0.01) == 1 and part_of(1, 0.0) == 0


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


def test_sdedit_of_strength_1_is_the_image_of_the_seed_when_the_start_drowns_the_source():
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
        assert driver.nfe == round(strength * 12)
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
    off = [error(run(ddim_encode(ask, source, cubic(N), {}, lowest), one.denoise)[top], exact) for N in (50, 500)]
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
    ends = (run(ddim_encode(ask, source, levels, {}, between=n), one.denoise)[20.0] for n in (1, 10))
    coarse, fine = (error(end, exact) for end in ends)
    assert fine < coarse / 5
    events = drive([ddim_encode(ask, source, levels, {}, between=10)], one.denoise)
    assert sum(isinstance(event, Step) for _, event in events) == 12


def test_an_encoding_whose_steps_are_corrected_is_undone_by_ddim():
    def back(again, net=oracle):
        top = run(ddim_encode(ask, source, sigmas, cond, again=again), net.denoise)[sigmas[0]]
        return error(run(euler(ask, top, sigmas, cond, Noise([1, 2])), net.denoise))

    assert back(30) < 1e-3 and back(30) < back(3) < 0.2 * back(0)
    calls = Driver(oracle.denoise)
    calls.add(0, ddim_encode(ask, source, sigmas, cond, again=30))
    finish(calls)
    assert calls.nfe < 31 * 12 / 2  # a level is done when it does not move any more


def test_a_step_whose_correction_goes_astray_keeps_the_best_of_it_and_no_row_minds_another():
    class Steep:  # the second row's denoised prediction runs away from its state
        def denoise(self, one):
            steep = torch.tensor([0.5, -3.0]).repeat(len(one.x) // 2 or 1)[: len(one.x)] if len(one.x) > 1 else self.own
            return steep.view(-1, 1, 1, 1) * one.x

    net, levels = Steep(), [2.0, 1.0, 0.0]
    both = run(ddim_encode(ask, source, levels, {}, again=20), net.denoise)
    plain = run(ddim_encode(ask, source, levels, {}), net.denoise)

    def off(states, i):  # of the step down from the first level
        x0 = net.denoise(SimpleNamespace(x=states[2.0]))
        return (x0 + (states[2.0] - x0) / 2 - states[1.0])[i].abs().max()

    assert off(both, 0) < 1e-3 * off(plain, 0) and both[2.0][1].abs().max() < 100 * plain[2.0][1].abs().max()
    for i, own in enumerate((0.5, -3.0)):
        net.own = torch.tensor([own])
        alone = run(ddim_encode(ask, source[i : i + 1], levels, {}, again=20), net.denoise)
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
    states = run(ddim_encode(ask, source, sigmas, cond, again=10), oracle.denoise)
    assert list(kept.states) == sorted(sigmas) and torch.equal(kept.at(0.0), source)
    assert all(torch.equal(kept.at(s), states[s]) for s in sigmas) and kept.cond is cond


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
