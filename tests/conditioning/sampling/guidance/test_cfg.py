import pytest
import torch

from conditioning.sampling.guidance.cfg import cfg, rescaled
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, run
from samplers.schedules import INFINITE, karras
from tests.support.oracle import finish, mixture, start

oracle = mixture()
sigmas = karras(10, 0.05, 20.0)
x = start([1, 2], 4.0)
cond, null = oracle.encode_prompt(["word0", "word1"]), oracle.encode_prompt(["", "word2"])


def guided(sigma=4.0, x=x, **knobs):
    return run(cfg(ask, null, **knobs)(x, sigma, cond), oracle.denoise)


def cost(sampler="euler", **knobs) -> tuple[int, int]:
    """Network calls and rows of a run of 10 steps and 2 images."""
    driver = Driver(oracle.denoise)
    D = cfg(ask, null, sigmas=sigmas, **knobs)
    driver.add(0, SAMPLERS[sampler](D, start([1, 2], sigmas[0]), sigmas, cond, Noise([1, 2])))
    finish(driver)
    return driver.nfe, driver.rows


def test_it_is_the_equation():
    c, u = oracle.D(x, 4.0, cond), oracle.D(x, 4.0, null)
    assert (c - u).flatten(1).norm(dim=1).min() > 0.1  # there is something to see
    assert torch.equal(guided(scale=3.0), u + 3 * (c - u))
    assert torch.equal(guided(scale=1.0), c)
    assert torch.equal(guided(scale=0.0), u)


def test_it_is_one_call_of_twice_the_rows():
    assert cost() == (10, 40)
    assert cost(sampler="heun") == (19, 76)


def test_where_it_does_nothing_it_costs_nothing():
    assert cost(scale=1.0) == (10, 20)
    assert cost(start=0.4, end=0.4) == (10, 20)


@pytest.mark.parametrize("start, end, inside", [(0.0, 0.5, 5), (0.3, 0.7, 4), (0.8, 1.0, 2), (0.0, 1.0, 10)])
def test_the_interval_saves_its_outside(start, end, inside):
    assert cost(start=start, end=end) == (10, 20 + 2 * inside)


def test_outside_the_interval_it_is_the_prompt_alone():
    """The ends are levels inside: at the first level of the interval it guides, at the one after it no more."""
    knobs = {"start": 0.3, "end": 0.7, "scale": 3.0, "sigmas": sigmas}
    for i, s in enumerate(sigmas[:-1]):
        changed = not torch.equal(guided(s, **knobs), oracle.D(x, s, cond))
        assert changed == (3 <= i < 7)


def test_an_interval_needs_its_schedule_and_parts_of_it():
    with pytest.raises(ValueError, match="give its sigmas"):
        cfg(ask, null, start=0.5)
    with pytest.raises(ValueError, match="give parts of the steps, from 0 to 1"):
        cfg(ask, null, start=14.6, end=0.03, sigmas=sigmas)


@pytest.mark.parametrize("sigma", [0.1, 4.0, 20.0])
def test_rescaling_gives_v_the_deviation_of_the_conditional_one(sigma):
    def v(x0):
        return ((x - x0) / sigma - sigma * x0) / (1 + sigma**2) ** 0.5

    def std(v):
        return v.flatten(1).std(1)

    c, plain, full, half = (v(guided(sigma, scale=s, rescale=r)) for s, r in ((1, 0), (6, 0), (6, 1.0), (6, 0.5)))
    torch.testing.assert_close(std(full), std(c))
    torch.testing.assert_close(half, (plain + full) / 2)  # Eq. 16: the mean of both
    assert not torch.allclose(std(plain), std(c), rtol=1e-3)


def test_rescaling_is_diffusers_on_the_output_of_a_network_of_v():
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    def v(x0, sigma=4.0):
        return ((x - x0) / sigma - sigma * x0) / (1 + sigma**2) ** 0.5

    theirs = rescale_noise_cfg(v(guided(scale=6)), v(guided(scale=1)), guidance_rescale=0.7)
    torch.testing.assert_close(v(guided(scale=6, rescale=0.7)), theirs)


def test_rescaling_is_by_image():
    both = guided(scale=6, rescale=0.7)
    one = run(cfg(ask, {"text": null["text"][1:]}, 6, 0.7)(x[1:], 4.0, {"text": cond["text"][1:]}), oracle.denoise)
    assert torch.equal(both[1:], one)


def test_rescaling_at_an_infinite_level_keeps_float32():
    """On eps this would multiply a rounding by 1e6."""
    c, x0 = torch.randn(2, 2, 1, 8, 8).double()
    far = INFINITE * torch.randn(2, 1, 8, 8).double()
    exact = rescaled(x0, c, far, INFINITE, 0.7)
    torch.testing.assert_close(
        rescaled(x0.float(), c.float(), far.float(), INFINITE, 0.7).double(), exact, atol=1e-5, rtol=0
    )


def test_sigma_may_differ_by_row():
    levels = torch.tensor([4.0, 0.5], dtype=torch.float64)
    both = guided(levels, scale=3.0, rescale=0.5)
    assert torch.equal(both[:1], guided(4.0, scale=3.0, rescale=0.5)[:1])
    assert torch.equal(both[1:], guided(0.5, scale=3.0, rescale=0.5)[1:])


def test_it_passes_on_what_it_does_not_know():
    seen = []

    def noting(x, sigma, cond, **kw):
        seen.append(kw)
        return (yield from ask(x, sigma, cond))

    tape = object()
    run(cfg(noting, null)(x, 4.0, cond, tape=tape), oracle.denoise)
    assert seen == [{"tape": tape}] * 2
