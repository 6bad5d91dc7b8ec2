"""A solver of ours and a scheduler of diffusers, on the same network with the same noise."""

import torch

from samplers.flow import Noise, Step, ask, drive
from tests.support.oracle import mixture

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
oracle = mixture(shape=(2, 4, 4))
SHAPE = (1, 2, 4, 4)
SEED = 3


def levels(scheduler) -> torch.Tensor:
    alpha_bar = scheduler.alphas_cumprod.double()
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def ours(sampler, sigmas) -> list[torch.Tensor]:
    """The x of every step, in VE coordinates."""
    noise = Noise([SEED])
    x = sigmas[0] * noise.child("start")(torch.empty(SHAPE))
    return [e.x for _, e in drive([sampler(ask, x, sigmas, {}, noise)], oracle.denoise) if isinstance(e, Step)]


def theirs(scheduler, sigmas, vp: bool, **extra) -> list[torch.Tensor]:
    """The same by a scheduler whose network is the oracle as a prediction of eps."""
    x = sigmas[0] * Noise([SEED]).child("start")(torch.empty(SHAPE))
    scale = [(1 + s**2) ** -0.5 if vp else 1.0 for s in sigmas]
    x, states = x * scale[0], []
    scheduler.is_scale_input_called = True  # the oracle wants x as it is
    for i, t in enumerate(scheduler.timesteps):
        s = sigmas[i]
        eps = (x / scale[i] - oracle.D(x / scale[i], s)) / s
        x = scheduler.step(eps, t, x, **extra).prev_sample
        states.append(x / scale[i + 1])
    return states


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b):
        torch.testing.assert_close(x, y.float(), atol=1e-4, rtol=1e-4)
