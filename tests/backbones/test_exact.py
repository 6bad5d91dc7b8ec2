import pytest
import torch

import backbones
from backbones.base import Backbone
from backbones.exact import Mixture, images
from samplers.flow import Ask
from tests.support.oracle import SHAPE, mixture

full = mixture()
diagonal = Mixture(torch.ones(2), torch.randn(2, *SHAPE), torch.rand(2, *SHAPE) + 0.1)
isotropic = Mixture(torch.tensor([1.0, 2.0]), torch.randn(2, *SHAPE), torch.tensor([0.2, 0.5]))
ALL = pytest.mark.parametrize("oracle", [full, diagonal, isotropic], ids=["full", "diagonal", "isotropic"])
x = 2 * torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
sigma = torch.tensor([0.1, 0.5, 1.0, 4.0, 30.0], dtype=torch.float64)


@ALL
def test_the_score_is_the_gradient_of_the_log_density(oracle):
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(oracle.log_density(leaf, sigma).sum(), leaf)
    torch.testing.assert_close(oracle.score(x, sigma), gradient)


@ALL
def test_the_denoiser_is_tweedie(oracle):
    torch.testing.assert_close(oracle.D(x, sigma), x + sigma.view(-1, 1, 1, 1) ** 2 * oracle.score(x, sigma))


@ALL
def test_the_density_is_that_of_torch(oracle):
    components = torch.distributions.MultivariateNormal(oracle.mu, oracle._covariances() + 0.25 * torch.eye(4))
    weights = torch.distributions.Categorical(logits=oracle.log_w)
    theirs = torch.distributions.MixtureSameFamily(weights, components).log_prob(x.flatten(1))
    torch.testing.assert_close(oracle.log_density(x, 0.5), theirs)


@ALL
def test_samples_have_the_moments(oracle):
    drawn = oracle.samples(20_000).flatten(1)
    mean, covariance = oracle.moments()
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), covariance, atol=0.1, rtol=0)
    assert torch.equal(oracle.samples(3, seed=7), oracle.samples(3, seed=7))


@ALL
def test_a_row_does_not_depend_on_its_company(oracle):
    together = oracle.D(x, sigma)
    for i in range(len(x)):
        assert torch.equal(oracle.D(x[i : i + 1], sigma[i : i + 1]), together[i : i + 1])


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_answers_in_the_dtype_it_is_asked_in(oracle, dtype):
    x0 = oracle.denoise(Ask(x.to(dtype), sigma.to(dtype), {}))
    assert x0.dtype == dtype
    torch.testing.assert_close(x0.double(), oracle.D(x, sigma), atol=1e-4, rtol=1e-4)


def test_far_out_float32_still_gives_the_mean():
    far = 1e6 * torch.randn(4, *SHAPE)
    mean = full.moments()[0].view(1, *SHAPE).float()
    torch.testing.assert_close(full.D(far, 1e6), mean.expand(4, *SHAPE), atol=1e-3, rtol=0)


def test_the_posterior_is_bayes_rule():
    """log p(x0 | y) = log p(x0) + log p(y | x0) - log p(y): its difference to the right side is one constant."""
    A = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, sigma_y = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.3
    posterior = full.posterior(A, y, sigma_y)
    likelihood = -((y - x.flatten(1) @ A.T) ** 2).sum(1) / (2 * sigma_y**2)
    constant = posterior.log_density(x) - full.log_density(x) - likelihood
    torch.testing.assert_close(constant, constant[:1].expand(5))


def test_the_posterior_of_a_gaussian_is_known():
    """The numbers of a worked example: prior N(0, I), A = diag(1, 0.5, 0), sigma_y = 0.3, y = (1, 1)."""
    prior = Mixture(torch.ones(1), torch.zeros(1, 3, 1, 1), torch.ones(1))
    A = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    mean, covariance = prior.posterior(A, torch.ones(2), 0.3).moments()
    torch.testing.assert_close(mean, torch.tensor([0.917, 1.471, 0.0]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        covariance.diagonal().sqrt(), torch.tensor([0.287, 0.514, 1.0]).double(), atol=1e-3, rtol=0
    )


def test_a_posterior_without_noise_keeps_what_was_measured():
    A, y = torch.eye(4)[:2], torch.tensor([0.3, -0.7])
    drawn = full.posterior(A, y, 0.0).samples(50).flatten(1)
    torch.testing.assert_close(drawn[:, :2], y.double().expand(50, 2), atol=1e-6, rtol=0)
    assert drawn[:, 2:].std() > 0.1


# ---- as a backbone ---------------------------------------------------------------------------------------------------

exact = backbones.load("exact")


def test_it_is_a_backbone():
    assert isinstance(exact, Backbone)
    assert exact.revision == images().revision != images(4).revision
    assert (exact.sigmas.diff() > 0).all() and 14 < exact.sigmas[-1] < 15


def test_a_prompt_picks_components():
    red_disc, blue, anything, both = exact.encode_prompt(["A red disc", "blue", "", "red blue"])["text"][:, 0].softmax(
        -1
    )
    assert red_disc.tolist() == [1, 0, 0, 0, 0, 0]
    torch.testing.assert_close(blue, torch.tensor([0, 0, 0, 0, 0.5, 0.5]))
    torch.testing.assert_close(anything, torch.full((6,), 1 / 6))
    torch.testing.assert_close(both, torch.full((6,), 1 / 6))  # nothing is both, so nothing is said
    assert exact.encode_prompt(["red", "blue"])["text"].shape == (2, 1, 6)
    assert exact.unknown_words("A red elephant on the moon, red elephant") == ["elephant", "moon"]


def test_the_embedding_has_a_gradient():
    text = exact.encode_prompt([""])["text"].requires_grad_()
    x0 = exact.D(torch.randn(1, 3, 8, 8), 5.0, {"text": text})
    (gradient,) = torch.autograd.grad(x0.square().sum(), text)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


@pytest.mark.parametrize("width, height", [(64, 64), (128, 64), (40, 96)])
def test_images_of_any_size(width, height):
    latents = torch.randn(2, *exact.latent_shape(width, height)).clamp(-1, 1)
    image = exact.decode(latents)
    assert image.shape == (2, 3, height, width) and 0 <= image.min() and image.max() <= 1
    torch.testing.assert_close(exact.encode_image(image), latents)
    assert exact.denoise(Ask(latents, torch.ones(2), exact.encode_prompt(["red", ""]))).shape == latents.shape
    assert exact.preview(latents).shape[1] == 3


def test_refusals():
    with pytest.raises(ValueError, match="60 x 64 pixels: give multiples of 8"):
        exact.latent_shape(60, 64)
    with pytest.raises(ValueError, match=r"this mixture is one of images \(1, 2, 2\)"):
        full.D(torch.zeros(1, 1, 4, 4), 1.0)
    with pytest.raises(ValueError, match=r"covariances \(3,\): give \(2,\), \(2, 1, 2, 2\) or \(2, 4, 4\)"):
        Mixture(torch.ones(2), torch.zeros(2, *SHAPE), torch.ones(3))
    with pytest.raises(ValueError, match="give K positive weights"):
        Mixture(torch.zeros(2), torch.zeros(2, *SHAPE), torch.ones(2))
    with pytest.raises(ValueError, match="words for 1 components of 2"):
        Mixture(torch.ones(2), torch.zeros(2, *SHAPE), torch.ones(2), [("one",)])
