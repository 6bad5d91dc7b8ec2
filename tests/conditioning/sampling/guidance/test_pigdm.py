"""PiGDM: the exact posterior of unit Gaussians, the paper's step, and DDNM's where the Jacobian is the identity."""

import pytest
import torch
from torch.nn import functional as F

from backbones.exact import Mixture
from conditioning.operators import JPEG, BlockAverage, Inpainting, Linear, Measurement, measure
from conditioning.sampling.guidance.pigdm import corrections, pigdm
from conditioning.sampling.revision.ddnm import ddnm
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, run
from samplers.schedules import exponential, karras
from tests.support.oracle import mixture, start

SHAPE = (3, 4, 4)
ORACLE = mixture(seed=3, shape=SHAPE)
MEASURED = measure(BlockAverage(SHAPE, 2), ORACLE.samples(2, seed=5))
euler = SAMPLERS["euler"]


class Diagonal(Linear):
    """An image of three numbers, each measured by its own factor."""

    title = "Diagonal"
    shape = y_shape = (1, 1, 3)
    s = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64)

    def V(self, c):
        return c.reshape(len(c), *self.shape)

    def Vt(self, x):
        return x.flatten(1)

    def U(self, c):
        return self.V(torch.where(self.s.to(c) > 0, c, 0.0))

    def Ut(self, y):
        return torch.where(self.s.to(y) > 0, self.Vt(y), 0.0)


TOY = Mixture(torch.ones(1), torch.zeros(1, 1, 1, 3), torch.ones(1))
TOY_MEASURED = Measurement(Diagonal(), torch.tensor([[[[1.0, 1.0, 0.0]]]]).double(), sigma_y=0.3)


class One:
    """A stream for all rows: thousands of generators take their time."""

    def __init__(self, seed=2):
        self.stream = torch.Generator().manual_seed(seed)

    def __call__(self, like):
        return torch.randn(like.shape, generator=self.stream, dtype=like.dtype)

    def child(self, name):
        return One(3)


def spread(sampler, rows=2000, steps=200, **knobs):
    many = Measurement(TOY_MEASURED.operator, TOY_MEASURED.y.expand(rows, -1, -1, -1), TOY_MEASURED.sigma_y)
    sigmas = exponential(steps, 0.01, 60.0)
    x = sigmas[0] * torch.randn(rows, 1, 1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = run(pigdm(sampler, many, **knobs)(ask, x, sigmas, {}, One()), TOY.denoise, max_rows=rows)
    return got.flatten(1).mean(0), got.flatten(1).std(0)


@pytest.mark.parametrize("sampler", ["euler", "ancestral"])
def test_exact_weights_sample_the_posterior(sampler):
    """Of three numbers, with a noisy measurement: mean (0.917, 1.471, 0), deviation (0.287, 0.514, 1)."""
    A = torch.diag(torch.tensor([1.0, 0.5, 0.0]))
    exact = TOY.posterior(A, torch.tensor([1.0, 1.0, 0.0]), 0.3).moments()
    mean, std = spread(SAMPLERS[sampler], weights="exact")
    torch.testing.assert_close(mean, exact[0], atol=0.05, rtol=0)
    torch.testing.assert_close(std, exact[1].diagonal().sqrt(), atol=0.04, rtol=0)


def test_exact_weights_give_the_estimate_of_the_posterior():
    """Not in law but as a function: E[x0 | x, y] of a unit Gaussian, to rounding."""
    x, s = start([1, 2], 2.5, (1, 1, 3)), 2.5
    measured = Measurement(Diagonal(), TOY_MEASURED.y.expand(2, -1, -1, -1), 0.3)
    flow = pigdm(euler, measured, weights="exact")(ask, x, [s, 1.0], {}, Noise([1, 2]))
    (step,) = [e for _, e in drive([flow], TOY.denoise) if isinstance(e, Step)]
    posterior = TOY.posterior(torch.diag(torch.tensor([1.0, 0.5, 0.0])), torch.tensor([1.0, 1.0, 0.0]), 0.3)
    torch.testing.assert_close(step.x0, posterior.D(x, s))


def test_the_papers_weights_drift_to_the_pseudo_inverse():
    """A number to notice a change by: A+ y is (1, 2, 0)."""
    mean, std = spread(euler, rows=1000, eta=0.0)
    assert mean[1] > 1.6 and std[1] < 0.35 and abs(std[2] - 1) < 0.1


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_it_is_the_papers_step_in_variance_preserving_coordinates(eta):
    """As Algorithm 1 and the code of RED-diff write it, for a network that sees x / sqrt(1 + s^2)."""
    s, s_next = 3.0, 1.2
    x = start([1, 2], s, SHAPE)
    flow = pigdm(euler, MEASURED, eta=eta)(ask, x, [s, s_next], {}, Noise([1, 2]))
    (step,) = [e for _, e in drive([flow], ORACLE.denoise) if isinstance(e, Step)]
    a, a_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
    xt = (x * a**0.5).requires_grad_()
    x0 = ORACLE.D(xt / a**0.5, s)
    op = MEASURED.operator
    mat = op.pinv(MEASURED.y) - op.pinv(op.A(x0))
    (g,) = torch.autograd.grad((mat.detach() * x0).sum(), xt)
    c1 = eta * ((1 - a / a_next) * (1 - a_next) / (1 - a)) ** 0.5
    c2 = (1 - a_next - c1**2) ** 0.5
    eps, z = (xt - a**0.5 * x0) / (1 - a) ** 0.5, Noise([1, 2]).child("pigdm")(x)
    moved = a_next**0.5 * x0 + c1 * z + c2 * eps + a_next**0.5 * a**0.5 * g
    torch.testing.assert_close(step.x, (moved / a_next**0.5).detach())


def test_with_the_identity_as_jacobian_it_is_ddnm():
    def shifted(one):
        return one.x - 0.3

    x = start([1, 2], 3.0, SHAPE)
    ends = [
        run(method(euler, MEASURED, eta=0.0)(ask, x, [3.0, 1.0, 0.0], {}, Noise([1, 2])), shifted)
        for method in (pigdm, ddnm)
    ]
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("weights", ["adaptive", "exact"])
def test_the_result_is_nearer_to_what_was_measured(weights):
    sigmas, x = karras(40, 0.02, 20.0), start([1, 2], 20.0, SHAPE)
    plain = run(euler(ask, x, sigmas, {}, Noise([1, 2])), ORACLE.denoise)
    got = run(pigdm(euler, MEASURED, weights=weights, eta=0.0)(ask, x, sigmas, {}, Noise([1, 2])), ORACLE.denoise)
    assert MEASURED.error(got).max() < 0.2 * MEASURED.error(plain).min()


@pytest.mark.parametrize("weights", ["adaptive", "exact"])
def test_noise_beyond_all_measure_says_nothing(weights):
    far = Measurement(MEASURED.operator, MEASURED.y, 1e6)
    x = start([1, 2], 3.0, SHAPE)
    got = run(pigdm(euler, far, weights=weights, eta=0.0)(ask, x, [3.0, 1.0, 0.3], {}, Noise([1, 2])), ORACLE.denoise)
    torch.testing.assert_close(got, run(euler(ask, x, [3.0, 1.0, 0.3], {}, Noise([1, 2])), ORACLE.denoise))


def test_the_correction_is_least_squares_with_a_prior():
    """The minimum of |y - A x|^2 / sigma_y^2 + |x - x0|^2 / r^2, solved with the whole matrix."""
    op, x0, r2 = BlockAverage(SHAPE, 2), start([1, 2], 1.0, SHAPE), 0.7
    measured = measure(op, ORACLE.samples(2, seed=5), 0.4, Noise([1, 2]))
    A = op.A(torch.eye(48, dtype=torch.float64).view(48, *SHAPE)).flatten(1).T  # (12, 48)
    H = A.T @ A / 0.4**2 + torch.eye(48) / r2
    right = torch.linalg.solve(H, ((measured.y - op.A(x0)).flatten(1) @ A / 0.4**2).T).T
    torch.testing.assert_close(corrections(measured)(x0, r2).flatten(1), right)


def test_jpeg_and_latents_are_projected_as_in_ddnm():
    class Latent:
        id, offers = "latent", frozenset({"gradients"})

        def decode(self, z):
            return (F.interpolate(z, scale_factor=2).clamp(-1, 1) + 1) / 2

        def encode_image(self, pixels):
            return F.avg_pool2d(pixels * 2 - 1, 2)

    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double() * 1.6 - 0.8
    jpeg = measure(JPEG((3, 8, 8), 40), x)
    assert jpeg.error(0.5 * x + corrections(jpeg)(0.5 * x, 1.0)).max() < 1e-9
    image = F.interpolate(x, scale_factor=2)  # one that the autoencoder keeps
    measured = measure(Inpainting((3, 16, 16), torch.arange(16).expand(16, 16) < 8), image)
    z = x + corrections(measured, Latent())(0.5 * x, 1.0) - 0.5 * x
    assert measured.error(Latent().decode(z) * 2 - 1).max() < 1e-9


def test_it_has_one_gradient_and_one_call_a_step():
    taped = []

    def noting(one):
        taped.append(one.tape is not None)
        return ORACLE.denoise(one)

    run(pigdm(euler, MEASURED)(ask, start([1, 2], 9.0, SHAPE), karras(5, 0.1, 9.0), {}, Noise([1, 2])), noting)
    assert taped == [True] * 5
