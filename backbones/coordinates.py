"""Between VE coordinates (x = x0 + sigma * eps) and the coordinates a network was trained in.

| trained as | sees | sigma of its level | it predicts F, and the prediction of x0 is |
| --- | --- | --- | --- |
| VP, epsilon | x / sqrt(1 + sigma^2) | sqrt((1 - abar) / abar) | x0 = x - sigma F |
| VP, v_prediction | the same | the same | x0 = x / (1 + sigma^2) - sigma / sqrt(1 + sigma^2) F |
| VP, sample | the same | the same | x0 = F |
| flow_prediction | x / (1 + sigma) | t / (1 - t) | x0 = (x - sigma F) / (1 + sigma) |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.checkpoint_files import CheckpointError, config
from samplers.schedules import INFINITE

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
BETAS = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")  # levels of a VP network follow from these


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Of one network: `sigmas` (T,) float32 ascending, level i belongs to timestep i; prediction: of PREDICTIONS."""

    sigmas: Tensor
    prediction: str
    span: int = 1000  # timesteps of a flow network run from 0 to this

    def enter(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W) at level sigma (B,), VE -> what the network sees: its x, and its timesteps (B,) float32."""
        s = sigma.reshape(-1, 1, 1, 1)
        if self.prediction == "flow_prediction":
            t = torch.where(sigma < INFINITE, sigma / (1 + sigma), 1.0)  # the finite level stands for t = 1 itself
            return x / (1 + s), (self.span * t).float()
        return x / (1 + s * s).sqrt(), self.timestep(sigma)

    def leave(self, x: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """x (B, C, H, W) at level sigma (B,), VE, and the network's prediction out -> the prediction of x0."""
        s = sigma.reshape(-1, 1, 1, 1)
        if self.prediction == "epsilon":
            return x - s * out
        if self.prediction == "v_prediction":
            return x / (1 + s * s) - s / (1 + s * s).sqrt() * out
        if self.prediction == "flow_prediction":
            return x / (1 + s) - s / (1 + s) * out
        return out

    def timestep(self, sigma: Tensor) -> Tensor:
        """Levels (B,) -> timesteps (B,) float32, linear in log sigma between training levels, ends beyond them."""
        table = self.sigmas.to(sigma.device).double().log()  # (T,)
        level = sigma.double().log().clamp(table[0], table[-1])  # (B,)
        low = (torch.searchsorted(table, level, right=True) - 1).clamp(0, len(table) - 2)  # (B,)
        part = (level - table[low]) / (table[low + 1] - table[low])
        return (low + part).float()


def coordinates(scheduler_class: str, settings: Mapping[str, Any]) -> Coordinates:
    """Of a network that comes with a scheduler of this class and these settings, whichever of diffusers' it is.

    Raises ValueError where the network predicts something else (an EDM-preconditioned one, say), and where its noise
    levels do not follow from them: diffusers would take values there that it was perhaps not trained at.
    """
    flow = scheduler_class.startswith("FlowMatch") or bool(settings.get("use_flow_sigmas"))
    prediction = "flow_prediction" if flow else settings.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS or scheduler_class.startswith("EDM"):
        raise ValueError(f"{scheduler_class} with prediction {prediction!r}: the network has to predict "
                         f"one of {', '.join(PREDICTIONS)}")  # fmt: skip
    if prediction != "flow_prediction" and (missing := missing_betas(settings)):
        raise ValueError(f"{scheduler_class} without {', '.join(missing)} in its scheduler_config.json: the noise "
                         "levels that the network was trained at do not follow. Copy the file from the checkpoint that "
                         "this one was made from (Stable Diffusion 1, 2 and XL: beta_start 0.00085, beta_end 0.012, "
                         "beta_schedule scaled_linear, num_train_timesteps 1000)")  # fmt: skip
    T = int(settings.get("num_train_timesteps", 1000))
    if prediction == "flow_prediction":
        shift = float(settings.get("shift") or settings.get("flow_shift") or 1.0)
        if settings.get("use_dynamic_shifting"):
            shift = 1.0  # it depends on the size of the image, see `backbones.flow_times`
        t = torch.arange(1, T + 1, dtype=torch.float64) / T
        t = shift * t / (1 + (shift - 1) * t)  # (T,) ends at exactly 1
        sigmas = t / (1 - t)
    else:
        abar = alpha_bars({key: value for key, value in settings.items() if not key.startswith("_")}).double()  # (T,)
        sigmas = ((1 - abar) / abar).sqrt()
        if prediction == "epsilon":
            sigmas = sigmas[sigmas.isfinite()]  # at infinite sigma, eps says nothing about x0
    return Coordinates(sigmas.clamp(max=INFINITE).float(), prediction, T)


def coordinates_in(folder: Path, id: str) -> Coordinates:
    """Of the network of a checkpoint folder, by what its scheduler_config.json says itself: once loaded, a scheduler of
    diffusers has values of its own for what its file does not say.

    Raises CheckpointError where they are not known.
    """
    said = config(folder, "scheduler")
    try:
        return coordinates(str(said.get("_class_name", "")), said)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{id}: {error}") from error


def missing_betas(config: Mapping[str, Any]) -> list[str]:
    """What a VP network's config says nothing of, and its noise levels would follow from."""
    if config.get("trained_betas"):
        return []
    needed = BETAS[2:] if config.get("beta_schedule") == "squaredcos_cap_v2" else BETAS
    return [name for name in needed if config.get(name) is None]


def alpha_bars(config: Mapping[str, Any]) -> Tensor:
    """Of a VP network with a scheduler of this config, (T,) falling, as diffusers computes them.

    The usual schedules without diffusers, whose import takes two seconds: a recipe is checked in less.
    """
    kind = config.get("beta_schedule", "linear")
    if kind not in ("linear", "scaled_linear") or config.get("trained_betas") or config.get("rescale_betas_zero_snr"):
        from diffusers.schedulers import DDPMScheduler

        return DDPMScheduler.from_config(dict(config)).alphas_cumprod
    T = int(config.get("num_train_timesteps", 1000))
    low, high = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if kind == "linear":
        betas = torch.linspace(low, high, T, dtype=torch.float32)
    else:
        betas = torch.linspace(low**0.5, high**0.5, T, dtype=torch.float32) ** 2
    return torch.cumprod(1.0 - betas, dim=0)
