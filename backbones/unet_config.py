"""What a text-to-image UNet wants beside noisy latents, by the config files of its checkpoint: what is run here is kept
apart from what would run and give wrong images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones.checkpoint_files import CheckpointError, config

Config = Mapping[str, Any]
NEEDED = ("sample_size", "in_channels", "out_channels", "block_out_channels", "cross_attention_dim")


def check(folder: Path) -> None:
    """Raises CheckpointError where the UNet of a folder that passed `checkpoint_files.check` cannot be run right."""
    unet, vae = config(folder, "unet"), config(folder, "vae")
    check_unet(str(folder), unet, vae.get("latent_channels"))
    encoders = [part for part in ("text_encoder", "text_encoder_2") if (folder / part).is_dir()]
    texts = [config(folder, part) for part in encoders]
    features: list[Any] = [one.get("hidden_size") for one in texts]
    wanted: Any = unet.get("cross_attention_dim")
    if _all_said(*features, wanted) and sum(features) != wanted:
        raise CheckpointError(f"{folder}: its text encoders give {' + '.join(map(str, features))} features a token and "
                              f"its UNet wants {wanted}: they are of different families of checkpoints")  # fmt: skip
    if unet.get("addition_embed_type") == "text_time":
        _check_sizes_and_pooled(folder, unet, texts)


def check_unet(id: str, unet: Config, latents: Any) -> None:
    """Raises CheckpointError where a UNet of this config wants more than latents of so many channels, text, and at most
    SDXL's pooled text and sizes."""
    if lacks := [name for name in NEEDED if name not in unet]:
        raise CheckpointError(f"{id}: its unet/config.json lacks {', '.join(lacks)}: get it again")
    channels = unet["in_channels"], unet["out_channels"]
    kind = unet.get("addition_embed_type")
    wants = [name for name in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type") if unet.get(name)]
    if kind not in (None, "text_time"):
        wants.append(f"addition_embed_type {kind}")
    if channels not in ((latents, latents), (_inpainting(latents), latents), (_editing(latents), latents)) or wants:
        raise CheckpointError(
            f"{id}: its UNet takes {channels[0]} channels, gives {channels[1]} and wants "
            f"{', '.join(wants) or kind or 'nothing'} beside the text; what fits takes and gives the {latents} "
            f"channels of the latents (an inpainting UNet takes {_inpainting(latents)}, one that edits by instruction "
            f"{_editing(latents)}), and wants text and at most SDXL's text_time{_of_kind(channels[0], latents)}"
        )
    if not unet.get("sample_size"):
        raise CheckpointError(f"{id}: its unet/config.json gives no sample_size, the side of the latents that it was "
                              "trained on: add it, for 512 pixels 64, for 1024 pixels 128")  # fmt: skip


def _inpainting(latents: Any) -> Any:
    """Channels that an inpainting UNet takes: noisy latents, the mask, latents of the image around it."""
    return 2 * latents + 1 if isinstance(latents, int) else None


def _editing(latents: Any) -> Any:
    """Channels that InstructPix2Pix takes: noisy latents, latents of the image."""
    return 2 * latents if isinstance(latents, int) else None


def _of_kind(channels: Any, latents: Any) -> str:
    if not isinstance(channels, int) or not isinstance(latents, int):
        return ""
    return f". {channels} channels are those of depth checkpoints" if channels == latents + 1 else ""


def _check_sizes_and_pooled(folder: Path, unet: Config, texts: list[dict[str, Any]]) -> None:
    """Of the SDXL kind: its UNet reads two text encoders, the pooled text and six sizes."""
    if len(texts) < 2:
        raise CheckpointError(f"{folder}: its UNet is of the SDXL kind (text_time), and its pipeline is not: "
                              "model_index.json should name a StableDiffusionXLPipeline with two text encoders"
                              )  # fmt: skip
    pooled: Any = texts[-1].get("projection_dim")
    size: Any = unet.get("addition_time_embed_dim")
    wanted: Any = unet.get("projection_class_embeddings_input_dim")
    if _all_said(pooled, size, wanted) and pooled + 6 * size != wanted:
        raise CheckpointError(f"{folder}: its UNet wants {wanted} features of pooled text and sizes, and gets {pooled} "
                              f"+ 6 x {size}. SDXL's refiner is like that, and does not run here alone")  # fmt: skip


def _all_said(*widths: Any) -> bool:
    """Old configs do not say all of them."""
    return all(isinstance(width, int) for width in widths)
