"""Checkpoints of the Stable Diffusion families: 1, 2, XL and Still Life, whatever their network predicts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backbones import checkpoint, controlnets, offload, single_file, unet_config
from backbones.adapter_files import Adapters
from backbones.autoencoder import Autoencoder
from backbones.checkpoint import CheckpointError
from backbones.clip_text import CLIPText
from backbones.coordinates import coordinates, coordinates_in
from backbones.engines import SMALL, DecoderGraph, EngineChoice, OpenVINOEngine, plan
from backbones.footprint import footprint
from backbones.ip_adapters import IPAdapters
from backbones.latent import LatentBackbone
from backbones.openvino_later import OpenVINOLater
from backbones.pipelines import STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from backbones.t2i_adapters import T2IAdapters
from backbones.unet import UNet, size_multiple

FITS = STABLE_DIFFUSION.pipelines + STABLE_DIFFUSION_XL.pipelines


def load(id: str, name: str | None = None) -> LatentBackbone:
    """From a folder or a Hub id, with the device and engine of `backbones.engines.plan`; name: in place of the id.

    A small network is warm when this returns. Raises CheckpointError, an OSError, with what is wrong in words.
    """
    folder = checkpoint.locate(id, FITS)
    check_configs(folder, name or id)
    settings = plan(checkpoint.parameters(folder))
    settings = replace(settings, offload=offload.chosen(footprint(folder, settings)))
    pipe, revision = checkpoint.opened(folder, settings.dtype)
    made = assembled(pipe, settings, name or id, revision, folder)
    if checkpoint.parameters(folder) <= SMALL:
        made.warm_up()
    return made


def check_configs(folder: Path, id: str) -> None:
    """Raises CheckpointError where the networks of a folder, by their configs alone, would not run right."""
    unet_config.check(folder)
    coordinates_in(folder, id)


def assembled(pipe: Any, plan: EngineChoice, id: str, revision: str, folder: Path) -> LatentBackbone:
    """pipe: a pipeline of FITS in the plan's dtype, frozen, in eval mode.

    Raises CheckpointError where the UNet wants more than latents and text.
    """
    config = pipe.unet.config
    if pipe.vae.dtype != torch.float32 and pipe.vae.config.get("force_upcast", True):
        pipe.vae.to(torch.float32)
    offload.place(pipe, plan.device, plan.offload)
    unet_config.check_unet(id, config, int(pipe.vae.config.latent_channels))
    try:
        levels = coordinates(type(pipe.scheduler).__name__, pipe.scheduler.config)
    except ValueError as error:
        raise CheckpointError(f"{id}: {error}") from error
    images = Autoencoder(pipe.vae)
    network = UNet(id, pipe.unet, plan, revision, images)
    if isinstance(network.engine, OpenVINOEngine):
        images.decoder = OpenVINOEngine(DecoderGraph(pipe.vae), revision, network.engine.precision).run
    size = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
    parameters = sum(values.numel() for values in pipe.unet.parameters())
    adapters: dict[str, Adapters] = {
        "t2i adapter": T2IAdapters(id, folder, pipe.unet, images.factor, plan.device, plan.dtype),
        "ip adapter": IPAdapters(id, folder, pipe.unet, plan.device, plan.dtype),
    }
    later = OpenVINOLater(folder, network) if plan.later and plan.offload == offload.NONE else None
    return LatentBackbone(
        id, revision, plan.device, network, CLIPText(id, pipe, folder), images, levels,
        default_size=size * images.factor,
        size_multiple=size_multiple(images.factor, len(config.block_out_channels), parameters),
        quick=parameters <= SMALL or (plan.device.type != "cpu" and plan.offload != offload.SEQUENTIAL),
        folder=folder, controlnets=controlnets.beside(folder, config), adapters=adapters, note=single_file.note(folder),
        later=later, placed=offload.WORDS[plan.offload],
    )  # fmt: skip
