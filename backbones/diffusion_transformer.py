"""Checkpoints of diffusion transformers: the families of `backbones.families`."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones import checkpoint, controlnets, offload
from backbones.autoencoder import autoencoder
from backbones.checkpoint import CheckpointError
from backbones.checkpoint_files import config
from backbones.coordinates import coordinates_in
from backbones.engines import SMALL, EngineChoice, plan
from backbones.families import FAMILIES
from backbones.families.family import Config, Family
from backbones.flow_times import Settings
from backbones.footprint import footprint
from backbones.latent import LatentBackbone
from backbones.transformer import Transformer, TransformerText
from samplers.schedules import INFINITE, native

FITS = tuple(FAMILIES)


@dataclass(eq=False)
class TransformerBackbone(LatentBackbone):
    """A checkpoint of one family, whose levels may depend on the size of the image."""

    family: Family = field(kw_only=True)
    settings: Settings = field(kw_only=True)  # of its scheduler

    @property
    def patch(self) -> int:
        """Latents along a side of a token."""
        return self.family.patch

    @property
    def guidance_keeps_length(self) -> bool:
        """See `backbones.base.Backbone`."""
        return self.family.guidance_keeps_length

    def levels(self, width: int, height: int) -> Tensor:
        """The noise levels (T,) of an image of so many pixels, ascending; as of 50 steps, where the number matters."""
        return levels(self.family, self.settings, self.sigmas, self._shape(width, height))

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """The levels that its pipeline in diffusers steps through: steps + 1, falling, the last 0.0."""
        return schedule(self.family, self.settings, self.sigmas, self._shape(width, height), steps)

    def _shape(self, width: int, height: int) -> tuple[int, int]:
        return height // self.images.factor, width // self.images.factor


def levels(family: Family, settings: Settings, sigmas: Tensor, shape: tuple[int, int]) -> Tensor:
    """sigmas (T,), moved for latents (h, w) where the settings say that levels go by size."""
    if not settings.get("use_dynamic_shifting"):
        return sigmas
    return (sigmas * family.shift(settings, family.image_tokens(shape), 50)).clamp(max=INFINITE)


def schedule(family: Family, settings: Settings, sigmas: Tensor, shape: tuple[int, int], steps: int) -> list[float]:
    """The levels of a run for latents (h, w)."""
    return family.schedule(steps, settings, family.image_tokens(shape)) or native(steps, sigmas)


def settings_in(folder: Path) -> Settings:
    """Of the scheduler in a folder that passed `check`, and whether the checkpoint says that it was distilled."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return {**config(folder, "scheduler"), "is_distilled": bool(index.get("is_distilled"))}


def load(id: str, name: str | None = None) -> TransformerBackbone:
    """From a folder or a Hub id, with the device and dtype of `backbones.engines.plan`; name: in place of the id.

    Raises CheckpointError, an OSError, with what is wrong in words.
    """
    folder = checkpoint.locate(id, FITS)
    coordinates_in(folder, name or id)
    settings = plan(checkpoint.parameters(folder), half="torch-bf16")
    settings = replace(settings, offload=offload.chosen(footprint(folder, settings)))
    pipe, revision = checkpoint.opened(folder, settings.dtype)
    return assembled(pipe, settings, name or id, revision, folder)


def assembled(pipe: Any, plan: EngineChoice, id: str, revision: str, folder: Path) -> TransformerBackbone:
    """pipe: a pipeline of FITS in the plan's dtype, frozen, in eval mode. Raises CheckpointError where it cannot be
    run right."""
    family = FAMILIES[type(pipe).__name__]
    if plan.engine.startswith("openvino") and plan.strict:
        raise CheckpointError(f"{id}: NINE_WAYS_ENGINE={plan.engine} runs UNets only: give torch or torch-bf16")
    offload.place(pipe, plan.device, plan.offload)
    known = coordinates_in(folder, id)
    images = autoencoder(pipe.vae)
    span = known.span if known.prediction == "flow_prediction" else 1
    network = Transformer(id, family, pipe.transformer, plan, images, span)
    parameters = sum(values.numel() for values in pipe.transformer.parameters())
    return TransformerBackbone(
        id, revision, plan.device, network, TransformerText(family, pipe), images, known,
        default_size=family.side, size_multiple=images.factor * family.patch,
        quick=parameters <= SMALL or (plan.device.type != "cpu" and plan.offload != offload.SEQUENTIAL),
        folder=folder, placed=offload.WORDS[plan.offload], family=family, settings=settings_in(folder),
        controlnets=beside(folder, family, pipe.transformer.config),
    )  # fmt: skip


def beside(folder: Path, family: Family, config: Config) -> dict[str, str]:
    """Name -> where, of the ControlNets for a checkpoint with a transformer of this config."""
    return controlnets.beside(folder, config, family.controls) if family.controls else {}
