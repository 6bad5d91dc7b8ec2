"""DDNM, DDRM and SNIPS: what they promise of the measurement, and the exact posterior of Gaussians."""

import math

import pytest
import torch

from backbones.exact import Mixture
from conditioning.compose import compose, refusals
from conditioning.operators import (
    JPEG,
    Bicubic,
    BlockAverage,
    CompressedSensing,
    GaussianBlur,
    Grey,
    Inpainting,
    Linear,
    Measurement,
    MotionBlur,
    measure,
)
from conditioning.sampling.revision.ddnm import ddnm
from conditioning.sampling.revision.ddrm import ddrm
from conditioning.sampling.revision.snips import snips
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, Step, ask, drive, run
from samplers.schedules import exponential, karras, native
from tests.support.oracle import finish, mixture, start

SHAPE = (3, 8, 8)
HOLE = torch.zeros(8, 8, dtype=torch.bool)
HOLE[2:6, 1:5] = True
MEASURES = {
    "inpainting": lambda: Inpainting(SHAPE, HOLE),
    "super-resolution": lambda: BlockAverage(SHAPE, 4),
    "bicubic": lambda: Bicubic(SHAPE, 2),
    "gaussian": lambda: GaussianBlur(SHAPE, 1.0),
    "motion": lambda: MotionBlur(SHAPE, 4),
    "grey": lambda: Grey(SHAPE),
    "sensing": lambda: CompressedSensing(SHAPE, 0.25),
}
euler = SAMPLERS["euler"]


class Diagonal(Linear):
    """An image of three numbers, each measured by its own factor."""

    title = "Diagonal"
    shape = y_shape = (1, 1, 3)

    def __init__(self, *s):
        self.s = torch.tensor([s], dtype=torch.float64)

    def V(self, c):
        return c.reshape(len(c), *self.shape)

    def Vt(self, x):
        return x.flatten(1)

    def U(self, c):
        return self.V(torch.where(self.s.to(c) > 0, c, 0.0))

    def Ut(self, y):
        return torch.where(self.s.to(y) > 0, self.Vt(y), 0.0)


class Untrained:
    """A network that knows nothing: smooth, nonlinear, the same for every row."""

    def __init__(self):
        stream = torch.Generator().manual_seed(0)
        self.w = torch.randn(192, 192, generator=stream) / 14

    def denoise(self, one):
        rows = [torch.tanh(self.w.to(row) @ row.flatten()).reshape(row.shape) for row in one.x]
        return torch.stack(rows) * (1 / (1 + one.sigma.reshape(-1, 1, 1, 1)))


def images(rows=2, dtype=torch.float32):
    return (torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1).to(dtype)


def restored(method, measured, network=None, steps=8, dtype=torch.float32, **knobs):
    sigmas = karras(steps, 0.05, 20.0)
    rows = len(measured.y)
    x = start(list(range(rows)), 20.0, measured.operator.shape, dtype)
    sampler = method(euler, measured, **knobs)
    return run(sampler(ask, x, sigmas, {}, Noise(range(rows))), (network or Untrained()).denoise)


# ---- A x = y -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MEASURES.values(), ids=MEASURES.keys())
@pytest.mark.parametrize("method", [ddnm, ddrm, snips])
def test_without_noise_the_result_is_what_was_measured(method, make):
    """Within 1e-3 in float32, whatever the network."""
    measured = measure(make(), images())
    assert measured.error(restored(method, measured)).max() < 1e-3
    double = measure(make(), images(dtype=torch.float64))
    assert double.error(restored(method, double, dtype=torch.float64)).max() < 1e-10


def test_time_travel_keeps_it_and_costs_its_calls():
    measured = measure(BlockAverage(SHAPE, 4), images())
    assert measured.error(restored(ddnm, measured, steps=12, jump=3, times=2)).max() < 1e-3
    driver = Driver(Untrained().denoise)
    sigmas = karras(100, 0.05, 20.0)
    driver.add(0, ddnm(euler, measured, jump=10, times=3)(ask, start([1, 2], 20.0, SHAPE), sigmas, {}, Noise([1, 2])))
    finish(driver)
    assert driver.nfe == 280  # of the official schedule (100, 10, 3)


def test_ddnm_of_jpeg_compresses_to_what_was_given():
    measured = measure(JPEG(SHAPE, 15), images(dtype=torch.float64))
    assert measured.error(restored(ddnm, measured, dtype=torch.float64)).max() < 1e-9
    for method, name in ((ddrm, "DDRM"), (snips, "SNIPS")):
        with pytest.raises(ValueError, match=f"{name} needs a linear degradation, and JPEG is none"):
            method(euler, measured)


@pytest.mark.parametrize("method", [ddnm, ddrm, snips])
def test_what_was_measured_in_full_comes_back(method):
    x = images()
    everything = measure(Inpainting(SHAPE, torch.zeros(8, 8)), x)
    torch.testing.assert_close(restored(method, everything), x, atol=1e-5, rtol=0)


def test_a_right_estimate_is_not_corrected():
    oracle = mixture(shape=(3, 2, 2))
    op, x = BlockAverage((3, 2, 2), 2), start([1, 2], 3.0, (3, 2, 2))
    measured = measure(op, oracle.D(x, 3.0))
    (step,) = [
        e
        for _, e in drive([ddnm(euler, measured, eta=0)(ask, x, [3.0, 1.0], {}, Noise([1, 2]))], oracle.denoise)
        if isinstance(e, Step)
    ]
    plain = oracle.D(x, 3.0) + 1.0 * (x - oracle.D(x, 3.0)) / 3.0
    torch.testing.assert_close(step.x, plain)


@pytest.mark.parametrize("method", [ddnm, ddrm])
def test_with_nothing_measured_it_is_the_full_noise_split(method):
    oracle, measured = mixture(shape=(1, 1, 3)), Measurement(Diagonal(0, 0, 0), torch.zeros(1, 1, 1, 3))
    x, eta = start([4], 5.0, (1, 1, 3)), 0.85
    got = run(method(euler, measured, eta=eta)(ask, x, [5.0, 2.0], {}, Noise([4])), oracle.denoise)
    x0, z = oracle.D(x, 5.0), Noise([4]).child(method.__name__)(x)
    torch.testing.assert_close(got, x0 + 2.0 * (eta * z + math.sqrt(1 - eta**2) * (x - x0) / 5.0))


# ---- noisy measurements --------------------------------------------------------------------------------------

TOY = Mixture(torch.ones(1), torch.zeros(1, 1, 1, 3), torch.ones(1))
TOY_MEASURED = Measurement(Diagonal(1, 0.5, 0), torch.tensor([[[[1.0, 1.0, 0.0]]]]), sigma_y=0.3)


def spread(method, measured, oracle, sigmas, rows, **knobs):
    """Mean and standard deviation of many results, (D,) each."""
    many = Measurement(measured.operator, measured.y.expand(rows, -1, -1, -1).double(), measured.sigma_y)
    z = torch.randn(rows, *measured.operator.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    class One:
        """A stream for all rows: thousands of generators take their time."""

        def __init__(self, seed=2):
            self.stream = torch.Generator().manual_seed(seed)

        def __call__(self, like):
            return torch.randn(like.shape, generator=self.stream, dtype=like.dtype)

        def child(self, name):
            return One(3)

    got = run(method(euler, many, **knobs)(ask, sigmas[0] * z, sigmas, {}, One()), oracle.denoise, max_rows=rows)
    return got.flatten(1).mean(0), got.flatten(1).std(0)


def test_snips_samples_the_posterior():
    """Exactly, in the limit; measured here for mean (0.917, 1.471, 0) and deviation (0.287, 0.514, 1)."""
    mean, std = spread(snips, TOY_MEASURED, TOY, exponential(60, 0.03, 30.0), 3000, inner=25, rate=0.1)
    exact = TOY.posterior(torch.diag(torch.tensor([1, 0.5, 0])), torch.tensor([1.0, 1.0, 0.0]), 0.3).moments()
    torch.testing.assert_close(mean, exact[0], atol=0.06, rtol=0)
    torch.testing.assert_close(std, exact[1].diagonal().sqrt(), atol=0.05, rtol=0)


def test_snips_as_it_comes_samples_the_posterior_in_twenty_steps():
    """Nearly: with its own knobs, on the schedule that a page starts with."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    abar = torch.cumprod(1 - betas, 0)
    mean, std = spread(snips, TOY_MEASURED, TOY, native(20, ((1 - abar) / abar).sqrt().float()), 2000)
    exact = TOY.posterior(torch.diag(torch.tensor([1, 0.5, 0])), torch.tensor([1.0, 1.0, 0.0]), 0.3).moments()
    torch.testing.assert_close(mean, exact[0], atol=0.3, rtol=0)
    torch.testing.assert_close(std, exact[1].diagonal().sqrt(), atol=0.15, rtol=0)


def test_snips_samples_the_posterior_of_a_mixture():
    """Two components, full covariances, and singular vectors that are not the axes."""
    oracle = mixture(seed=4, K=2, shape=(1, 2, 2))
    op = BlockAverage((1, 2, 2), 2)
    A = op.A(torch.eye(4, dtype=torch.float64).reshape(4, 1, 2, 2)).reshape(4, 1).T  # (1, 4)
    measured = Measurement(op, torch.full((1, 1, 1, 1), 0.4), sigma_y=0.2)
    mean, covariance = oracle.posterior(A, torch.tensor([0.4]), 0.2).moments()
    got_mean, got_std = spread(snips, measured, oracle, exponential(50, 0.03, 30.0), 1500, inner=20, rate=0.1)
    torch.testing.assert_close(got_mean, mean, atol=0.12, rtol=0)
    torch.testing.assert_close(got_std, covariance.diagonal().sqrt(), atol=0.1, rtol=0)


@pytest.mark.parametrize("method", [ddnm, ddrm])
def test_ddnm_and_ddrm_fall_short_of_the_posterior_as_is_known(method):
    """They drift to A+ y with too little spread: numbers to notice a change by, not to be proud of."""
    mean, std = spread(method, TOY_MEASURED, TOY, karras(200, 0.02, 30.0), 2000)
    torch.testing.assert_close(mean, torch.tensor([0.975, 1.871, 0.0]).double(), atol=0.08, rtol=0)
    torch.testing.assert_close(std, torch.tensor([0.09, 0.135, 0.87]).double(), atol=0.08, rtol=0)


def second_steps(measured, sigmas, eta, sigma_y):
    """What DDNM+ and DDRM make of one state with one noise: the second of two steps."""
    oracle, x, states = mixture(shape=(1, 1, 3)), start([4], 1.0, (1, 1, 3)), []

    class Same(Noise):
        def child(self, name):
            return Noise([7])

    for method in (ddnm, ddrm):
        flow = method(euler, measured, eta=eta)(ask, sigmas[0] * x, sigmas, {}, Same([4]))
        message, steps = flow.send(None), []
        while True:
            try:
                if isinstance(message, Step):
                    steps.append(message.x)
                    message = flow.send(0.8 * sigmas[1] * x)
                else:
                    message = flow.send([oracle.denoise(one) for one in message])
            except StopIteration:
                break
        states.append(steps[1])
    return states


@pytest.mark.parametrize("s_next", [0.0, 0.1, 0.29, 0.31, 0.7, 3.0])
def test_ddrm_is_ddnm_plus_coordinate_by_coordinate(s_next):
    """With eta_b = 1, for a measurement with noise: the same step from the same state."""
    a, b = second_steps(TOY_MEASURED, [8.0, 4.0, s_next], 0.85, 0.3)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("method", [ddnm, ddrm, snips])
def test_little_noise_is_nearly_none(method):
    """Not quite: the last state is then the network's denoised prediction, of a state that was right."""
    oracle, op = mixture(shape=(3, 2, 2)), Grey((3, 2, 2))
    measured = measure(op, oracle.samples(2))
    near = restored(method, Measurement(op, measured.y, 1e-4), oracle, dtype=torch.float64)
    far = restored(method, Measurement(op, measured.y, 3.0), oracle, dtype=torch.float64)
    assert measured.error(near).max() < 0.1 < measured.error(far).max()


def test_rows_may_be_measured_in_different_places():
    masks = torch.stack([HOLE, ~HOLE])[:, None]
    x = images(dtype=torch.float64)
    both = measure(Inpainting(SHAPE, masks), x, 0.1, Noise([1, 2]))
    for method in (ddnm, ddrm, snips):
        got = restored(method, both, dtype=torch.float64)
        alone = Measurement(Inpainting(SHAPE, HOLE), both.y[:1], 0.1)
        assert torch.equal(got[:1], restored(method, alone, dtype=torch.float64))


# ---- latents -------------------------------------------------------------------------------------------------


class Latent:
    """A state of half the size, and an autoencoder that loses what does not fit into it."""

    id, offers = "latent", frozenset()

    def decode(self, z):
        return (torch.nn.functional.interpolate(z, scale_factor=2).clamp(-1, 1) + 1) / 2

    def encode_image(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels * 2 - 1, 2)


def test_on_latents_ddnm_goes_through_the_autoencoder():
    backbone, big = Latent(), images()[..., :8, :8]
    image = torch.nn.functional.interpolate(big, scale_factor=2)  # one that the autoencoder keeps
    measured = measure(BlockAverage((3, 16, 16), 4), image)
    got = restored_latent(measured, backbone)
    error, free = (measured.error(backbone.decode(x) * 2 - 1).max() for x in (got, restored_latent(None, backbone)))
    assert error < 0.05 < 0.3 < free
    noisy = restored_latent(Measurement(measured.operator, measured.y, 0.1), backbone)
    assert noisy.isfinite().all() and not torch.equal(noisy, got)


def restored_latent(measured, backbone):
    sigmas, x = karras(8, 0.05, 20.0), start([1, 2], 20.0, SHAPE, torch.float32)
    sampler = euler if measured is None else ddnm(euler, measured, backbone=backbone)
    return run(sampler(ask, x, sigmas, {}, Noise([1, 2])), Untrained().denoise)


def test_ddrm_and_snips_want_pixels_and_say_so():
    for name in ("ddrm", "snips"):
        (why,) = refusals([(name, {})], Latent())
        assert "needs latents that are pixels" in why and why.endswith("(Still Life in pixels), and latent has none")
    assert refusals([("ddnm", {})], Latent()) == []


def test_two_whole_loops_do_not_go_together():
    one = {"measured": measure(Grey(SHAPE), images())}
    for pair in (("ddnm", "ddrm"), ("ddnm", "snips"), ("ddrm", "snips")):
        with pytest.raises(ValueError, match="each of them makes the steps"):
            compose([(name, one) for name in pair], euler)
