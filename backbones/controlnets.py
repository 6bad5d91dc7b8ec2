"""Which ControlNets go with a backbone, and opening them: folders of diffusers' ControlNetModel, or ids of the Hub.

Those of a checkpoint folder lie beside it: `still_life_controlnets/depth` goes with `still_life`, for the condition
"depth".
"""

from pathlib import Path
from typing import Any

import torch

from backbones.checkpoint import check_loaded, quiet, revision
from backbones.checkpoint_files import CheckpointError, weights
from backbones.single_file import origin

HUB = {  # (features of the text, widths of the UNet) -> condition -> id, for the families whose ControlNets are known
    (768, (320, 640, 1280, 1280)): {
        "depth": "lllyasviel/control_v11f1p_sd15_depth",
        "edges": "lllyasviel/control_v11p_sd15_canny",
    },
    (2048, (320, 640, 1280)): {
        "depth": "diffusers/controlnet-depth-sdxl-1.0",
        "edges": "diffusers/controlnet-canny-sdxl-1.0",
    },
}


def beside(folder: Path, config: Any) -> dict[str, str]:
    """condition -> folder or Hub id, for a checkpoint folder and its UNet's config; those that lie beside it first."""
    known = HUB.get((config.cross_attention_dim, tuple(config.block_out_channels)), {})
    folder = origin(folder)
    home = folder.with_name(folder.name + "_controlnets")
    local = {one.parent.name: str(one.parent) for one in sorted(home.glob("*/config.json"))}
    return {**known, **local}


def load(where: str, unet: Any, device: torch.device, dtype: torch.dtype) -> tuple[Any, str]:
    """A ControlNetModel, frozen, and a hash of it. Raises CheckpointError where it cannot be had or does not fit.

    Safetensors only; fitting means that its residuals have the shapes of the UNet's skips.
    """
    from diffusers import ControlNetModel

    try:
        with quiet():
            network, found = ControlNetModel.from_pretrained(
                where, torch_dtype=dtype, use_safetensors=True, output_loading_info=True, variant=_variant(Path(where))
            )
    except CheckpointError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"the ControlNet {where} could not be loaded: {lines[0]}") from error
    check_loaded(f"the ControlNet {where}", network, found)
    names = ("block_out_channels", "layers_per_block", "cross_attention_dim")
    for name in names:
        own, theirs = (tuple(v) if isinstance(v, list) else v for v in (network.config[name], unet.config[name]))
        if own != theirs:
            raise CheckpointError(f"the ControlNet {where} has {name} {own} and this network {theirs}: take one that "
                                  "was trained for this family of checkpoints")  # fmt: skip
    digest = revision(Path(where)) if Path(where).is_dir() else where.replace("/", "-")
    return network.to(device).eval().requires_grad_(False), digest


def _variant(folder: Path) -> str | None:
    """Of the weights in a folder; of an id of the Hub those without a variant."""
    return (weights(folder.parent, folder.name, "diffusers").variant or None) if folder.is_dir() else None
