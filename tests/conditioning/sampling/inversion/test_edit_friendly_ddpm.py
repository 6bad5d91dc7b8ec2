"""Edit-friendly DDPM inversion: noise maps that lead along the source."""

import math
from itertools import pairwise

import pytest
import torch

from conditioning.sampling.inversion.edit_friendly_ddpm import edit_friendly_ddpm
from conditioning.sampling.inversion.encoding import tail
from conditioning.sampling.source_states import SourceStates
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, run
from tests.support.inversion_runs import (
    SHAPE,
    Random,
    ancestral,
    cond,
    guided,
    oracle,
    other,
    sigmas,
    source,
)
from tests.support.oracle import start


@pytest.mark.parametrize("sampler", [name for name, solver in SAMPLERS.items() if not solver.renoises])
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
