"""EDICT: every step is undone exactly."""

import math

import pytest
import torch

from conditioning.clashes import clash, solver_clash
from conditioning.registry import METHODS
from conditioning.sampling.inversion.edict import step, unstep
from samplers import SAMPLERS
from samplers.flow import ask, run
from samplers.schedules import karras
from tests.support.inversion_runs import (
    Random,
    cond,
    oracle,
    other,
    result,
    source,
    use,
)


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
