"""The oracle: a Gaussian mixture, of which everything is known in closed form.

For data x0 ~ sum_k w_k N(mu_k, C_k), with C_k = U_k diag(lambda_k) U_k^T, the noisy x = x0 + sigma * eps is again a
mixture, with lambda_k + sigma^2 in place of lambda_k. So density, score, denoiser and samples are exact at every
level, and so is the posterior of a linear measurement: a mixture again. Tests and the geometry pages lean on it.

Every sum runs within a row, so that a row's bits do not depend on its batch.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.guiding_networks import parse
from common.weighted_text import plain
from samplers.protocol import Ask
from samplers.schedules import native

EXCLUDED = -1e6  # the log weight of a component that a prompt rules out: finite, so that embeddings have gradients
SILENT_WORDS = frozenset("a an the on grey ground".split())


class Mixture:
    """A Gaussian mixture as a backbone.

    weights: (K,) positive, normalised here.
    means: (K, C, h, w).
    covariances: (K,) isotropic variances, (K, C, h, w) diagonals, or (K, D, D) with D = C h w.
    words: for each component the words that name it. A prompt keeps the components that all its words name.

    A condition is {"text": (B, L, K)}: log weights, summed over L, that are added to log w. Isotropic mixtures denoise
    images of any size (their means are resized), the others that of their means only.
    """

    id = "exact"
    weighs_words = False
    offers = frozenset({"prompts", "gradients", "pixels", "classifier"})
    size_multiple = 8
    tokens = 0

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, words: Sequence[Iterable[str]] = ()):
        K, *shape = means.shape
        if len(shape) != 3 or weights.shape != (K,) or (weights <= 0).any():
            raise ValueError(
                f"weights {tuple(weights.shape)} and means {tuple(means.shape)}: give K positive weights and means "
                "(K, C, h, w)"
            )
        D = math.prod(shape)
        self.log_w = weights.double().log() - weights.double().sum().log()  # (K,)
        self.mu = means.double().flatten(1)  # (K, D)
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.basis: Tensor | None = None  # (K, D, D), eigenvectors in columns; None is the identity
        self.isotropic = covariances.shape == (K,)
        if self.isotropic:
            self.lam = covariances.double()[:, None].expand(K, D)  # (K, D)
        elif covariances.shape == means.shape:
            self.lam = covariances.double().flatten(1)
        elif covariances.shape == (K, D, D):
            self.lam, self.basis = torch.linalg.eigh(covariances.double())
            self.lam = self.lam.clamp(min=0)  # a posterior without noise is flat in some directions
        else:
            raise ValueError(
                f"covariances {tuple(covariances.shape)}: give ({K},), {tuple(means.shape)} or ({K}, {D}, {D})"
            )
        self.words = [frozenset(names) for names in words] or [frozenset()] * K
        if len(self.words) != K:
            raise ValueError(f"words for {len(self.words)} components of {K}: give one list for each")
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # Stable Diffusion's
        alpha_bar = torch.cumprod(1 - betas, 0)
        self.sigmas = ((1 - alpha_bar) / alpha_bar).sqrt()  # (1000,) from 0.03 to 14.6
        self.default_size = 8 * self.shape[1]
        numbers = torch.cat([self.log_w, self.mu.flatten(), covariances.double().flatten()])
        self.revision = hashlib.sha256(numbers.numpy().tobytes()).hexdigest()
        self.classifier = Bayes(self)

    def levels(self, width: int, height: int) -> Tensor:
        """The levels of every size: `sigmas`."""
        return self.sigmas

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """Picked from `sigmas`."""
        return native(steps, self.sigmas)

    # ---- the closed forms ------------------------------------------------------------------------------------------

    def D(self, x: Tensor, sigma: float | Tensor, cond: Mapping[str, Any] | None = None) -> Tensor:
        """E[x0 | x] at level sigma, a float or (B,): x (B, C, h, w) -> x0 of the same shape and dtype."""
        r, lam, v, log_p = self._parts(x, sigma, cond)
        x0 = self._mu(x) + self._back(lam / v * r)  # (B, K, D)
        return (log_p.softmax(1)[..., None] * x0).sum(1).view_as(x)

    def score(self, x: Tensor, sigma: float | Tensor, cond: Mapping[str, Any] | None = None) -> Tensor:
        """grad_x log p(x; sigma), of the shape of x."""
        r, _, v, log_p = self._parts(x, sigma, cond)
        return -(log_p.softmax(1)[..., None] * self._back(r / v)).sum(1).view_as(x)

    def log_density(self, x: Tensor, sigma: float | Tensor = 0.0, cond: Mapping[str, Any] | None = None) -> Tensor:
        """log p(x; sigma) in nats: (B,)."""
        return self._parts(x, sigma, cond)[-1].logsumexp(1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the data, float64."""
        w = self.log_w.exp()
        mean = (w[:, None] * self.mu).sum(0)
        away = self.mu - mean  # (K, D)
        return mean, torch.einsum("k,kde->de", w, self._covariances() + away[:, :, None] * away[:, None, :])

    def samples(self, n: int, seed: int = 0) -> Tensor:
        """n exact draws of the data: (n, C, h, w), float64."""
        stream = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.log_w.exp(), n, replacement=True, generator=stream)  # (n,)
        z = torch.randn(n, self.mu.shape[1], generator=stream, dtype=torch.float64) * self.lam[k].sqrt()
        if self.basis is not None:
            z = torch.einsum("nde,ne->nd", self.basis[k], z)
        return (self.mu[k] + z).view(n, *self.shape)

    def posterior(self, A: Tensor, y: Tensor, sigma_y: float) -> "Mixture":
        """The mixture p(x0 | y) for y = A x0 + sigma_y n: A (M, D) on flattened images, y (M,)."""
        A, y = A.double(), y.double()
        C = self._covariances()  # (K, D, D)
        S = A @ C @ A.T + sigma_y**2 * torch.eye(len(y), dtype=torch.float64)  # (K, M, M)
        gain = torch.linalg.solve(S, A @ C).mT  # (K, D, M)
        miss = y - self.mu @ A.T  # (K, M)
        log_w = self.log_w - 0.5 * (
            (miss[:, None] @ torch.linalg.solve(S, miss[:, :, None])).flatten() + torch.linalg.slogdet(S).logabsdet
        )
        means = self.mu + (gain @ miss[:, :, None]).squeeze(-1)
        covariances = C - gain @ A @ C
        weights = log_w.softmax(0).clamp(min=1e-300)
        return Mixture(weights, means.view(-1, *self.shape), (covariances + covariances.mT) / 2, self.words)

    def _parts(
        self, x: Tensor, sigma: float | Tensor, cond: Mapping[str, Any] | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x - mu in the eigenbasis (B, K, D), lambda (K, D), lambda + sigma^2 (B, K, D), log w_k p_k(x) (B, K)."""
        lam, log_w = self.lam.to(x), self.log_w.to(x)
        r = x.flatten(1)[:, None] - self._mu(x)  # (B, K, D)
        if self.basis is not None:
            r = (r[..., :, None] * self.basis.to(x)).sum(-2)
        elif self.isotropic:
            lam = lam[:, :1].expand(-1, r.shape[-1])
        v = lam + torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1) ** 2
        v = v.expand_as(r)
        if cond and "text" in cond:
            log_w = log_w + cond["text"].to(x).sum(1)  # (B, K)
        return r, lam, v, log_w - 0.5 * (r**2 / v + (2 * math.pi * v).log()).sum(-1)

    def _mu(self, x: Tensor) -> Tensor:
        """The means at the size of x: (K, C h w)."""
        if x.shape[1:] == self.shape:
            return self.mu.to(x)
        if not self.isotropic or x.shape[1] != self.shape[0]:
            raise ValueError(f"x has shape {tuple(x.shape)}: this mixture is one of images {self.shape}")
        return F.interpolate(self.mu.view(-1, *self.shape).to(x), size=x.shape[2:]).flatten(1)  # nearest

    def _back(self, r: Tensor) -> Tensor:
        """From the eigenbasis to pixels: (B, K, D) -> (B, K, D)."""
        return r if self.basis is None else (r[..., None, :] * self.basis.to(r)).sum(-1)

    def _covariances(self) -> Tensor:
        if self.basis is None:
            return torch.diag_embed(self.lam)
        return (self.basis * self.lam[:, None, :]) @ self.basis.mT  # (K, D, D)

    # ---- as a backbone ---------------------------------------------------------------------------------------------

    def denoise(self, ask: Ask) -> Tensor:
        """The exact x0, in the dtype of ask.x: float64 where a test asks in it."""
        return self.D(ask.x, ask.sigma, ask.cond)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        if width % 8 or height % 8:
            raise ValueError(f"{width} x {height} pixels: give multiples of 8")
        return self.shape[0], height // 8, width // 8

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        known = frozenset().union(*self.words)
        said = [known.intersection(_words(plain(text))) for text in texts]
        named = torch.tensor([[words <= names for names in self.words] for words in said])  # (B, K)
        return {"text": torch.where(named, 0.0, EXCLUDED)[:, None]}  # (B, 1, K)

    def encode_image(self, pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, 8) * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(self.preview(latents), scale_factor=8)

    def preview(self, x0: Tensor) -> Tensor:
        return ((x0 + 1) / 2).clamp(0, 1)

    def unread(self, text: str) -> str:
        return ""

    def unknown_words(self, text: str) -> list[str]:
        known = SILENT_WORDS.union(*self.words)
        return [word for word in dict.fromkeys(_words(plain(text))) if word not in known]


class Bayes:
    """The classifier of a mixture's noisy states: p(words | x) by Bayes' rule, as `Classifier` of
    backbones/guiding_networks.py gives it."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture

    def parse(self, text: str) -> list[str]:
        return parse(text, sorted(frozenset().union(*self.mixture.words)), {})

    def log_p(self, x: Tensor, sigma: Tensor, words: Sequence[str]) -> Tensor:
        """log p(all the words | x) (B,)."""
        cond = self.mixture.encode_prompt([" ".join(words)] * len(x))
        return self.mixture.log_density(x, sigma, cond) - self.mixture.log_density(x, sigma)


def images(size: int = 8) -> Mixture:
    """The mixture behind `load("exact")`: discs and squares in red, green and blue on grey, size x size latents."""
    at = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(at, at, indexing="ij")
    masks = {"disc": x**2 + y**2 < 0.5, "square": (x.abs() < 0.75) & (y.abs() < 0.75)}  # (h, w)
    colours = {"red": (1.0, -0.6, -0.6), "green": (-0.6, 0.8, -0.6), "blue": (-0.6, -0.4, 1.0)}
    words = [(colour, shape) for colour in colours for shape in masks]
    means = torch.stack([torch.where(masks[s], torch.tensor(colours[c])[:, None, None], -0.2) for c, s in words])
    K = len(words)
    return Mixture(torch.ones(K), means, torch.full((K,), 0.15**2), words)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
